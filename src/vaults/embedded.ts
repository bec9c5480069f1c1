import { z } from "zod";
import { Failure } from "../core/errors.ts";
import type { Vault } from "../core/ports.ts";
import type { Secret } from "../core/secret.ts";
import { secretContext } from "../crypto/context.ts";
import type { SealedRecords } from "../crypto/key-store.ts";
import type { Seal } from "../crypto/seal.ts";

export const embeddedVaultConfig = z.strictObject({ type: z.literal("embedded") });

export interface SecretRow {
  readonly name: string;
  /** From 1, without gaps. */
  readonly version: number;
  readonly sealed: Uint8Array;
  /** Milliseconds since the epoch. */
  readonly updatedAt: number;
}

/** Sealed secrets at rest. Every method is one durable transaction. */
export interface SecretRows {
  /** The newest version, or the one asked for. */
  get(name: string, version?: number): Promise<SecretRow | undefined>;
  /**
   * Adds `row` and drops versions below `oldest`. Refuses (`false`) when the newest version is not the one
   * before it (none, for version 1): someone else was faster.
   */
  put(row: SecretRow, oldest: number): Promise<boolean>;
  /** The newest version of each name that starts with exactly these characters, by name. The prefix is no pattern. */
  list(prefix: string): Promise<readonly Omit<SecretRow, "sealed">[]>;
  /** All versions. `false` when there was none. */
  remove(name: string): Promise<boolean>;
  /** Every version of everything, by name and version, behind the given one. */
  all(after: Pick<SecretRow, "name" | "version"> | undefined, limit: number): Promise<readonly SecretRow[]>;
  /** Refuses (`false`) when that version no longer holds `from`. */
  replace(row: Pick<SecretRow, "name" | "version">, from: Uint8Array, sealed: Uint8Array): Promise<boolean>;
}

export interface EmbeddedVaultParts {
  /** The vault's own name, sealed in with each value: one that is moved to another vault no longer opens. */
  readonly vault?: string;
  readonly rows: SecretRows;
  readonly seal: Seal;
  readonly now: () => number;
}

interface WriteOptions {
  /** Write only if this is the newest version (`"0"`: if there is none). Throws `invalid_request` if it is not. */
  readonly expected?: string;
}

export interface EmbeddedVault extends Vault {
  write(secret: string, value: Secret, signal: AbortSignal, options?: WriteOptions): Promise<{ readonly version: string }>;
  remove(secret: string, signal: AbortSignal): Promise<boolean>;
  /** Makes an earlier version the newest one again, as a new version. `undefined` when it is not kept (any more). */
  restore(secret: string, version: string, signal: AbortSignal): Promise<{ readonly version: string } | undefined>;
}

/** How many versions of a secret are kept, the newest included. */
const keptVersions = 10;

/** Bytes of one value: 1 MiB. */
const largest = 1_048_576;
/** Lost races after which a write gives up. */
const tries = 50;
const namePattern = /^[A-Za-z0-9][A-Za-z0-9._-]*(?:\/[A-Za-z0-9][A-Za-z0-9._-]*)*$/;

/** The built-in vault. Whatever goes wrong below it is `vault_unavailable`, with the reason in the cause. */
export function createEmbeddedVault({ vault, rows, seal, now }: EmbeddedVaultParts): EmbeddedVault {
  const context = contextIn(vault);
  async function read(
    name: string,
    version: number | undefined,
  ): Promise<{ readonly value: Secret; readonly version: number } | undefined> {
    const row = await rows.get(name, version);
    return row && { value: await seal.open(context(name, row.version), row.sealed), version: row.version };
  }

  async function write(name: string, value: Secret, signal: AbortSignal, expected?: string): Promise<{ readonly version: string }> {
    const length = value.use((bytes) => bytes.length);
    if (length === 0 || length > largest) throw invalid(`A secret must have 1 to ${largest} bytes.`);
    for (let attempt = 0; attempt < tries; attempt += 1) {
      signal.throwIfAborted();
      const newest = (await rows.get(name))?.version ?? 0;
      if (expected !== undefined && expected !== String(newest)) throw invalid("The secret has changed since it was read. Read it again.");
      signal.throwIfAborted();
      const version = newest + 1;
      const sealed = seal.encrypt(context(name, version), value);
      if (await rows.put({ name, version, sealed, updatedAt: now() }, version - keptVersions + 1)) return { version: String(version) };
    }
    throw new Error(`lost the race for a new version ${tries} times`);
  }

  return {
    read: (secret, signal) =>
      guarded(secret, signal, async () => {
        const found = await read(secret, undefined);
        signal.throwIfAborted();
        return found && { value: found.value, version: String(found.version) };
      }),

    async *list(prefix, signal) {
      const found = await guarded(undefined, signal, () => rows.list(prefix));
      for (const { name, version, updatedAt } of found) {
        await guarded(undefined, signal, () => Promise.resolve());
        yield { secret: name, version: String(version), updatedAt };
      }
    },

    write: (secret, value, signal, options) => guarded(secret, signal, () => write(secret, value, signal, options?.expected)),

    remove: (secret, signal) => guarded(secret, signal, () => rows.remove(secret)),

    restore: (secret, version, signal) =>
      guarded(secret, signal, async () => {
        if (!/^[1-9]\d{0,14}$/.test(version)) return undefined;
        const old = await read(secret, Number(version));
        return old && write(secret, old.value, signal).finally(() => old.value.destroy());
      }),
  };
}

/** For rotation. */
export function secretRecords(rows: SecretRows, vault?: string): SealedRecords {
  const context = contextIn(vault);
  return {
    async page(after, limit) {
      const page = await rows.all(after === undefined ? undefined : position(after), limit);
      return page.map((row) => ({
        cursor: `${row.version} ${row.name}`,
        context: context(row.name, row.version),
        sealed: row.sealed,
      }));
    },
    replace: ({ cursor, sealed: from }, sealed) => rows.replace(position(cursor), from, sealed),
  };
}

/** No name of a secret has a colon in it. */
function contextIn(vault: string | undefined): typeof secretContext {
  return (name, version) => secretContext(vault === undefined ? name : `${vault}:${name}`, version);
}

function position(cursor: string): { readonly name: string; readonly version: number } {
  const space = cursor.indexOf(" ");
  return { name: cursor.slice(space + 1), version: Number(cursor.slice(0, space)) };
}

async function guarded<T>(name: string | undefined, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  if (name !== undefined && (name.length > 200 || !namePattern.test(name))) {
    throw invalid("The name of a secret has 1 to 200 characters: letters, digits and . _ - in segments joined by /.");
  }
  try {
    signal.throwIfAborted();
    return await work();
  } catch (cause) {
    throw cause instanceof Failure ? cause : new Failure("vault_unavailable", {}, { cause });
  }
}

function invalid(problem: string): Failure {
  return new Failure("invalid_request", { problem });
}
