import * as oauth from "oauth4webapi";

/** A key pair that tokens are bound to (RFC 9449 section 4), as it is kept with the login. */
export type ProofKey = Readonly<Record<"kty" | "crv" | "x" | "y" | "d", string>>;

/** Whether the authorization server takes proofs of the one kind that we make. */
export function takesProofs(as: oauth.AuthorizationServer): boolean {
  return as.dpop_signing_alg_values_supported?.includes("ES256") === true;
}

export async function newProofKey(): Promise<ProofKey> {
  const { privateKey } = await oauth.generateKeyPair("ES256", { extractable: true });
  const { kty = "", crv = "", x = "", y = "", d = "" } = await crypto.subtle.exportKey("jwk", privateKey);
  return { kty, crv, x, y, d };
}

export async function proofs(client: oauth.Client, key: ProofKey): Promise<oauth.DPoPHandle> {
  const algorithm = { name: "ECDSA", namedCurve: "P-256" };
  const { d: _, ...open } = key;
  const [privateKey, publicKey] = await Promise.all([
    crypto.subtle.importKey("jwk", key, algorithm, false, ["sign"]),
    crypto.subtle.importKey("jwk", open, algorithm, true, ["verify"]),
  ]);
  return oauth.DPoP(client, { privateKey, publicKey });
}

export function isProofKey(value: unknown): value is ProofKey {
  if (typeof value !== "object" || value === null) return false;
  const key: Readonly<Record<string, unknown>> = { ...value };
  return ["kty", "crv", "x", "y", "d"].every((name) => typeof key[name] === "string");
}
