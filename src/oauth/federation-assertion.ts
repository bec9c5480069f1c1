import { decodeJwt, decodeProtectedHeader } from "jose";
import type { IssuerKeys } from "./issuer-keys.ts";
import { KeysUnavailable } from "./issuer-keys.ts";

/** A token of somebody else that is not accepted. `message` is for the operator; whoever brought it learns only that it is not. */
export class Unacceptable extends Error {
  override readonly name = "Unacceptable";
}

type Claims = Readonly<Record<string, unknown>>;

const longest = 16 * 1024;
/** Milliseconds by which the issuer's clock and ours may differ. */
const skew = 30_000;
const oldest = 3_600_000;
const oldestInKubernetes = 24 * 3_600_000;

/** What a token says of itself before anybody checked it: good to find the keys to check it with, and for nothing else. */
export function peek(token: string): { readonly typ: string | undefined; readonly issuer: string } {
  if (token.length > longest) throw new Unacceptable("the token is longer than 16 KiB");
  try {
    const { typ } = decodeProtectedHeader(token);
    const { iss } = decodeJwt(token);
    if (typeof iss !== "string" || iss === "") throw new Error("no issuer");
    return { typ: typ?.toLowerCase().replace(/^application\//, ""), issuer: iss };
  } catch (cause) {
    throw new Unacceptable("it is not a JWT that names its issuer", { cause });
  }
}

/** What it says once its signature has been checked. Throws `Unacceptable` or `KeysUnavailable`. */
export async function signedClaims(keys: IssuerKeys, token: string): Promise<Claims> {
  try {
    return await keys.verify(token);
  } catch (cause) {
    throw cause instanceof KeysUnavailable ? cause : new Unacceptable("its signature is not good", { cause });
  }
}

/**
 * Until when the token is good, in milliseconds; throws when it is not now (RFC 7523 section 3, 4 to 6). It may be an hour old at
 * most. Those of Kubernetes are rotated by the kubelet and live longer: for them it is a lifetime of a day.
 */
export function goodUntil(claims: Claims, now: number): number {
  const exp = instant(claims, "exp");
  if (exp === undefined) throw new Unacceptable("it never expires");
  const iat = instant(claims, "iat");
  const nbf = instant(claims, "nbf");
  if (now >= exp + skew) throw new Unacceptable("it has expired");
  if ((nbf !== undefined && now < nbf - skew) || (iat !== undefined && now < iat - skew)) throw new Unacceptable("it is not valid yet");
  const inKubernetes = iat !== undefined && typeof claims["kubernetes.io"] === "object";
  if (inKubernetes ? exp - iat > oldestInKubernetes + skew : iat === undefined ? exp - now > oldest + skew : now - iat > oldest + skew)
    throw new Unacceptable(
      inKubernetes ? "it lives for more than a day" : iat === undefined ? "it lives for more than an hour" : "it is older than an hour",
    );
  return exp;
}

function instant(claims: Claims, name: string): number | undefined {
  const value = claims[name];
  if (value === undefined) return undefined;
  if (typeof value !== "number" || !Number.isFinite(value) || value < 0 || value > 1e11) throw new Unacceptable(`its ${name} is no time`);
  return value * 1000;
}

/** One audience, and that one: what is meant for others as well, others could bring here (RFC 7523 section 3, 3). */
export function isFor(claims: Claims, audience: string): boolean {
  const { aud } = claims;
  return aud === audience || (Array.isArray(aud) && aud.length === 1 && aud[0] === audience);
}

/** A text claim that must be there, and not be endless. */
export function textClaim(claims: Claims, name: string): string {
  const value = claims[name];
  if (typeof value !== "string" || value === "" || value.length > 1024) throw new Unacceptable(`it has no usable ${name}`);
  return value;
}
