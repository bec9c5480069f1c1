import type { KeyObject } from "node:crypto";
import { createPrivateKey, createPublicKey, createSecretKey, generateKeyPairSync, randomBytes } from "node:crypto";
import { SetupError } from "../core/setup-error.ts";
import { SealError } from "./box.ts";
import { keyContext } from "./context.ts";
import type { SealedRecords } from "./key-store.ts";
import type { Seal } from "./seal.ts";

interface SigningKey {
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
}

interface MacKey {
  /** 32 random bytes. */
  readonly secret: KeyObject;
}

/** Ed25519 (RFC 8032), ECDSA over P-256 with SHA-256 (RFC 7518 §3.4), HMAC. */
export interface KeyKinds {
  readonly ed25519: SigningKey;
  readonly es256: SigningKey;
  readonly hmac: MacKey;
}
export type KeyKind = keyof KeyKinds;

export interface KeyRow {
  readonly name: string;
  readonly kind: KeyKind;
  readonly sealed: Uint8Array;
  /** DER (SPKI), `null` for `hmac`. */
  readonly publicKey: Uint8Array | null;
  /** Milliseconds since the epoch; 0 or absent for keys from before they rotated. */
  readonly createdAt?: number;
}

/** The broker's own keys at rest. */
export interface KeyRows {
  get(name: string): Promise<KeyRow | undefined>;
  /** Refuses (`false`) when there is one of that name. */
  add(row: KeyRow): Promise<boolean>;
  all(): Promise<readonly KeyRow[]>;
  /** Refuses (`false`) when the row no longer holds `from`. */
  replace(name: string, from: Uint8Array, sealed: Uint8Array): Promise<boolean>;
}

export interface KeyParts<Kind extends KeyKind> {
  readonly rows: KeyRows;
  readonly seal: Seal;
  readonly name: string;
  readonly kind: Kind;
  /** When it is made, if it is: for keys that rotate. */
  readonly createdAt?: number;
}

/** The key of that name, made on first use; processes that start together agree on one. Throws `SetupError`. */
export async function loadOrCreateKey<Kind extends KeyKind>(parts: KeyParts<Kind>): Promise<KeyKinds[Kind]> {
  const { rows, seal, name, kind } = parts;
  const present = (await rows.get(name)) ?? (await createKey(parts)) ?? (await rows.get(name));
  if (!present) throw altered(name);
  return openKey(seal, present, kind);
}

/** The key of a row. Throws `SetupError` when it is not of that kind, or was altered. */
export async function openKey<Kind extends KeyKind>(seal: Seal, row: KeyRow, kind: Kind): Promise<KeyKinds[Kind]> {
  const { name } = row;
  if (row.kind !== kind) throw altered(name);
  try {
    const secret = await seal.open(keyContext(kind, name), row.sealed);
    const key = secret.use((bytes) => codecs[kind].load(bytes));
    secret.destroy();
    // Whoever swaps the public half would have others trust signatures of their own.
    if ("publicKey" in key && !spki(key.publicKey).equals(row.publicKey ?? Buffer.alloc(0))) throw altered(name);
    return key;
  } catch (cause) {
    throw cause instanceof SealError ? altered(name, cause) : cause;
  }
}

/** For rotation. */
export function keyRecords(rows: KeyRows): SealedRecords {
  return {
    async page(after, limit) {
      const all = (await rows.all()).toSorted((a, b) => (a.name < b.name ? -1 : 1));
      return all
        .filter((row) => after === undefined || row.name > after)
        .slice(0, limit)
        .map((row) => ({ cursor: row.name, context: keyContext(row.kind, row.name), sealed: row.sealed }));
    },
    replace: (record, sealed) => rows.replace(record.cursor, record.sealed, sealed),
  };
}

/** A new key, or `undefined` when there is one of that name. */
export async function createKey({ rows, seal, name, kind, createdAt }: KeyParts<KeyKind>): Promise<KeyRow | undefined> {
  const { secret, publicKey } = codecs[kind].make();
  const sealed = seal.encrypt(keyContext(kind, name), secret);
  const row = { name, kind, sealed, publicKey, ...(createdAt === undefined ? {} : { createdAt }) };
  secret.fill(0);
  return (await rows.add(row)) ? row : undefined;
}

interface Codec<Key> {
  make(): { readonly secret: Buffer; readonly publicKey: Buffer | null };
  load(secret: Buffer): Key;
}

const codecs: { readonly [Kind in KeyKind]: Codec<KeyKinds[Kind]> } = {
  ed25519: signing(() => generateKeyPairSync("ed25519")),
  es256: signing(() => generateKeyPairSync("ec", { namedCurve: "P-256" })),
  hmac: {
    make: () => ({ secret: randomBytes(32), publicKey: null }),
    load: (secret) => ({ secret: createSecretKey(secret) }),
  },
};

function signing(generate: () => SigningKey): Codec<SigningKey> {
  return {
    make() {
      const pair = generate();
      return { secret: pair.privateKey.export({ type: "pkcs8", format: "der" }), publicKey: spki(pair.publicKey) };
    },
    load(secret) {
      const privateKey = createPrivateKey({ key: secret, type: "pkcs8", format: "der" });
      return { privateKey, publicKey: createPublicKey(privateKey) };
    },
  };
}

function spki(key: KeyObject): Buffer {
  return key.export({ type: "spki", format: "der" });
}

function altered(name: string, cause?: unknown): SetupError {
  return new SetupError({
    what: `The broker's key "${name}" in the store was altered`,
    fix: "Restore the database from your backup.",
    cause,
  });
}
