import { createSecretKey, hkdfSync } from "node:crypto";
import { lock, unlock } from "./box.ts";

/** What of a data key is bound to its wrapped form. */
interface DataKeyName {
  readonly id: string;
  /** Milliseconds since the epoch. */
  readonly createdAt: number;
}

/** The key-encryption key: wraps data keys, and never touches a record. */
export interface Kek {
  /** Describes how to come by the key, and ends in its public id: `file:<id>`, `argon2id:<cost>:<salt>:<id>`. */
  readonly id: string;
  wrap(name: DataKeyName, dataKey: Uint8Array): Uint8Array;
  /** Throws `SealError` `altered`. The result is the caller's to overwrite. */
  unwrap(row: DataKeyName & { readonly wrapped: Uint8Array }): Buffer;
}

/** Where the key-encryption key comes from. Every method throws `SetupError`. */
export interface KekSource {
  /** The key for a store that has no data keys yet. */
  first(): Promise<Kek>;
  /** The key with exactly this id, or it throws. Never makes one. */
  find(id: string): Promise<Kek>;
  /** A new key to rotate to. Durable when this returns: `find` finds it from now on. */
  next(): Promise<Kek>;
  /** The store is wrapped under this key for good: the one before is let go. Doing it again does nothing. */
  adopt(id: string): Promise<void>;
}

/**
 * The public id is derived from the key (HKDF, RFC 5869), so a key can be checked against it: a wrong or
 * damaged key is found out before anything is opened with it.
 */
export function keyCheck(material: Uint8Array): string {
  return derive(material, "leasehold seal: key id", 16).toString("hex");
}

export function createKek(describe: (check: string) => string, material: Uint8Array): Kek {
  const check = keyCheck(material);
  const bytes = derive(material, "leasehold seal: wrap data keys", 32);
  const key = createSecretKey(bytes);
  bytes.fill(0);
  return {
    id: describe(check),
    wrap: (name, dataKey) => lock(key, check, context(name), dataKey),
    unwrap: (row) => unlock(key, context(row), row.wrapped),
  };
}

/** The time of creation stands in for the version: it decides which key writes, so it must not be alterable. */
function context(name: DataKeyName) {
  return { purpose: "data-key", name: name.id, version: name.createdAt } as const;
}

function derive(material: Uint8Array, info: string, length: number): Buffer {
  return Buffer.from(hkdfSync("sha256", material, "", info, length));
}
