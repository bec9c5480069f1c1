import { decodeCBOR, decodePartialCBOR } from "@levischuck/tiny-cbor";
import type { JsonWebKey, KeyObject } from "node:crypto";
import { createPublicKey } from "node:crypto";

/** What an authenticator signs (WebAuthn level 2, section 6.1). */
export interface AuthenticatorData {
  /** SHA-256 of the relying party's id. */
  readonly rpIdHash: Buffer;
  readonly userPresent: boolean;
  /** It asked for a finger, a face or a PIN. */
  readonly userVerified: boolean;
  readonly counter: number;
  /** Present in a registration. `key` is DER (SPKI). */
  readonly credential?: { readonly id: Buffer; readonly publicKey: Buffer; readonly algorithm: number };
}

/** COSE numbers (RFC 9053, RFC 8812) of what we verify, the first preferred. */
export const algorithms = { es256: -7, eddsa: -8, rs256: -257 } as const;

const longestId = 1023;

/** Throws when it is not what an authenticator would send. */
export function readAuthenticatorData(bytes: Buffer): AuthenticatorData {
  if (bytes.length < 37) throw new Error("authenticator data is too short");
  const flags = bytes.readUInt8(32);
  const data = {
    rpIdHash: bytes.subarray(0, 32),
    userPresent: (flags & 0x01) !== 0,
    userVerified: (flags & 0x04) !== 0,
    counter: bytes.readUInt32BE(33),
  };
  if ((flags & 0x40) === 0) return data;
  if (bytes.length < 55) throw new Error("attested data is too short");
  // After 16 bytes that name the model of the authenticator, which is nothing to us.
  const length = bytes.readUInt16BE(53);
  const id = bytes.subarray(55, 55 + length);
  if (length === 0 || length > longestId || id.length !== length) throw new Error("a credential id of an odd length");
  const [key] = decodePartialCBOR(new Uint8Array(bytes.subarray(55 + length)), 0);
  const { publicKey, algorithm } = readCoseKey(key);
  return { ...data, credential: { id: Buffer.from(id), algorithm, publicKey: publicKey.export({ type: "spki", format: "der" }) } };
}

/**
 * Authenticator data out of an attestation object (section 6.5). The statement in it is not looked at: we ask for
 * none, and trust no maker of authenticators more than another.
 */
export function readAttestation(bytes: Buffer): AuthenticatorData {
  const object = decodeCBOR(new Uint8Array(bytes));
  const data = object instanceof Map ? object.get("authData") : undefined;
  if (!(data instanceof Uint8Array)) throw new Error("an attestation without authenticator data");
  return readAuthenticatorData(Buffer.from(data));
}

/** RFC 9052 section 7, RFC 9053 section 7, RFC 8230 section 4. */
function readCoseKey(cose: unknown): { readonly publicKey: KeyObject; readonly algorithm: number } {
  if (!(cose instanceof Map)) throw new Error("not a COSE key");
  const bytes = (label: number): string => {
    const value: unknown = cose.get(label);
    if (!(value instanceof Uint8Array)) throw new Error("a COSE key lacks a part");
    return Buffer.from(value).toString("base64url");
  };
  const kind = [cose.get(1), cose.get(3), cose.get(-1)].map((part: unknown) => (typeof part === "number" ? part : "")).join();
  const jwk = (key: JsonWebKey) => createPublicKey({ key, format: "jwk" });
  if (kind === `2,${algorithms.es256},1`)
    return { algorithm: algorithms.es256, publicKey: jwk({ kty: "EC", crv: "P-256", x: bytes(-2), y: bytes(-3) }) };
  if (kind === `1,${algorithms.eddsa},6`)
    return { algorithm: algorithms.eddsa, publicKey: jwk({ kty: "OKP", crv: "Ed25519", x: bytes(-2) }) };
  if (kind.startsWith(`3,${algorithms.rs256},`)) {
    const publicKey = jwk({ kty: "RSA", n: bytes(-1), e: bytes(-2) });
    if ((publicKey.asymmetricKeyDetails?.modulusLength ?? 0) < 2048) throw new Error("an RSA key that is too short");
    return { algorithm: algorithms.rs256, publicKey };
  }
  throw new Error("a key of a kind that was not asked for");
}
