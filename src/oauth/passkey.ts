import { createPublicKey, hash, randomBytes, timingSafeEqual, verify } from "node:crypto";
import type { KeyObject } from "node:crypto";
import { isIP } from "node:net";
import { z } from "zod";
import type { Account } from "../identity/directory.ts";
import type { NewPasskey, Passkey } from "../identity/users.ts";
import type { AuthenticatorData } from "./passkey-data.ts";
import { algorithms, readAttestation, readAuthenticatorData } from "./passkey-data.ts";
import { token } from "./people-request.ts";

/**
 * Passkeys (WebAuthn level 2). A challenge is good for ten minutes and for what it was bound to: one sign-in, one
 * enrolment. It carries its own proof, so that any process of a broker can check what another one asked.
 */
export interface Passkeys {
  /** What the browser is asked with, as JSON. */
  requestOptions(bound: string): string;
  creationOptions(bound: string, account: Pick<Account, "account" | "name">): string;
  /** Section 7.1. Throws when anything is not as it should be. */
  register(answer: string, bound: string): NewPasskey;
  /** Section 7.2. Answers with the new counter, or throws. */
  assert(answer: string, bound: string, find: (id: Buffer) => Promise<Passkey | undefined>): Promise<{ passkey: Passkey; counter: number }>;
}

const bytes = z
  .string()
  .max(12_000)
  .regex(/^[A-Za-z0-9_-]*$/)
  .transform((text) => Buffer.from(text, "base64url"));
const creation = z.object({ id: bytes, clientDataJSON: bytes, attestationObject: bytes });
const assertion = z.object({ id: bytes, clientDataJSON: bytes, authenticatorData: bytes, signature: bytes, userHandle: bytes.optional() });
const clientData = z.object({ type: z.string(), challenge: bytes, origin: z.string(), crossOrigin: z.boolean().optional() });

const challengeFor = 10 * 60_000;

/** `undefined` where the public URL names an address: browsers give passkeys to names only, `localhost` among them. */
export function createPasskeys(parts: {
  readonly publicUrl: string;
  readonly key: KeyObject;
  readonly now: () => number;
}): Passkeys | undefined {
  const { key, now } = parts;
  const { hostname, origin } = new URL(parts.publicUrl);
  if (isIP(hostname.replace(/^\[|\]$/g, "")) !== 0) return undefined;
  const rpIdHash = hash("sha256", hostname, "buffer");

  function challenge(purpose: string, bound: string): string {
    const open = `${now() + challengeFor}.${randomBytes(16).toString("base64url")}`;
    return Buffer.from(`${open}.${token(key, "passkey", purpose, bound, open)}`).toString("base64url");
  }

  function checkClient(raw: Buffer, purpose: "create" | "get", bound: string): void {
    const data = clientData.parse(JSON.parse(raw.toString("utf8")));
    if (data.type !== `webauthn.${purpose}`) throw new Error("an answer to another question");
    if (data.origin !== origin || data.crossOrigin === true) throw new Error("an answer given to another site");
    const [until = "", nonce = "", mac = ""] = data.challenge.toString("utf8").split(".");
    if (!same(Buffer.from(mac), Buffer.from(token(key, "passkey", purpose, bound, `${until}.${nonce}`))))
      throw new Error("not our challenge");
    if (now() > Number(until)) throw new Error("a challenge that has expired");
  }

  function checkAuthenticator(data: AuthenticatorData): void {
    if (!same(data.rpIdHash, rpIdHash)) throw new Error("a passkey of another site");
    if (!data.userPresent || !data.userVerified) throw new Error("the authenticator did not verify its user");
  }

  return {
    requestOptions: (bound) =>
      JSON.stringify({ challenge: challenge("get", bound), rpId: hostname, userVerification: "required", timeout: 300_000 }),

    creationOptions: (bound, account) =>
      JSON.stringify({
        challenge: challenge("create", bound),
        rp: { id: hostname, name: "Leasehold" },
        user: { id: Buffer.from(account.account).toString("base64url"), name: account.name, displayName: account.name },
        pubKeyCredParams: Object.values(algorithms).map((alg) => ({ type: "public-key", alg })),
        authenticatorSelection: { residentKey: "required", requireResidentKey: true, userVerification: "required" },
        attestation: "none",
        timeout: 300_000,
      }),

    register(answer, bound) {
      const { clientDataJSON, attestationObject } = creation.parse(JSON.parse(answer));
      checkClient(clientDataJSON, "create", bound);
      const data = readAttestation(attestationObject);
      checkAuthenticator(data);
      if (!data.credential) throw new Error("a registration without a key");
      return { ...data.credential, counter: data.counter, name: "passkey" };
    },

    async assert(answer, bound, find) {
      const given = assertion.parse(JSON.parse(answer));
      checkClient(given.clientDataJSON, "get", bound);
      const data = readAuthenticatorData(given.authenticatorData);
      checkAuthenticator(data);
      const passkey = await find(given.id);
      if (!passkey) throw new Error("a passkey of nobody");
      if (given.userHandle && given.userHandle.length > 0 && given.userHandle.toString() !== passkey.account)
        throw new Error("a passkey of somebody else");
      const signed = Buffer.concat([given.authenticatorData, hash("sha256", given.clientDataJSON, "buffer")]);
      const publicKey = createPublicKey({ key: Buffer.from(passkey.publicKey), format: "der", type: "spki" });
      const digest = passkey.algorithm === algorithms.eddsa ? null : "sha256";
      if (!verify(digest, signed, publicKey, given.signature)) throw new Error("a bad signature");
      // Section 6.1.1: a counter that does not grow means that there are two of this authenticator. Many never count.
      if ((data.counter !== 0 || passkey.counter !== 0) && data.counter <= passkey.counter) throw new Error("a copy of a passkey");
      return { passkey, counter: data.counter };
    },
  };
}

function same(a: Buffer, b: Buffer): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}
