import type { LeaseId } from "../core/brand.ts";

type Purpose = "secret" | "lease-material" | "signing-key" | "data-key" | "oauth-record" | "oauth-client" | "totp-key";

/**
 * What a sealed value is and where it belongs. It is authenticated with the value, so bytes that are
 * moved to another row, table or version no longer open.
 */
export interface SealContext {
  readonly purpose: Purpose;
  readonly name: string;
  /** 0–2⁵³−1. */
  readonly version: number;
}

export function secretContext(name: string, version: number): SealContext {
  return { purpose: "secret", name, version };
}

export function leaseContext(lease: LeaseId): SealContext {
  return { purpose: "lease-material", name: lease, version: 1 };
}

/** No kind contains a slash, so kind and name cannot be confused. */
export function keyContext(kind: string, name: string): SealContext {
  return { purpose: "signing-key", name: `${kind}/${name}`, version: 1 };
}

/** `digest` in base64url. No model contains a slash. */
export function oauthRecordContext(model: string, digest: string): SealContext {
  return { purpose: "oauth-record", name: `${model}/${digest}`, version: 1 };
}

export function oauthClientContext(client: string): SealContext {
  return { purpose: "oauth-client", name: client, version: 1 };
}

export function totpContext(account: string): SealContext {
  return { purpose: "totp-key", name: account, version: 1 };
}

/**
 * The additional data of AES-GCM (NIST SP 800-38D). Each part carries its length, so no two contexts
 * encode to the same bytes.
 */
export function associatedData(context: SealContext, header: Uint8Array): Buffer {
  // Lone surrogates all encode to U+FFFD, which would let two names share one encoding.
  if (!context.name.isWellFormed()) throw new RangeError("a name must be well-formed Unicode");
  if (!Number.isSafeInteger(context.version) || context.version < 0) throw new RangeError("a version must be a whole number");
  const purposeLength = Buffer.byteLength(context.purpose);
  const nameLength = Buffer.byteLength(context.name);
  const data = Buffer.allocUnsafe(header.length + 4 + purposeLength + 4 + nameLength + 8);
  // The header has a fixed length, given by its format byte.
  data.set(header, 0);
  let at = header.length;
  at = data.writeUInt32BE(purposeLength, at);
  at += data.write(context.purpose, at);
  at = data.writeUInt32BE(nameLength, at);
  at += data.write(context.name, at);
  data.writeBigUInt64BE(BigInt(context.version), at);
  return data;
}
