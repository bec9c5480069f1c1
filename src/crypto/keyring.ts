import type { KeyObject } from "node:crypto";
import { createSecretKey, randomBytes } from "node:crypto";
import { SetupError } from "../core/setup-error.ts";
import { SealError } from "./box.ts";
import type { Kek, KekSource } from "./kek.ts";
import type { DataKeyRow, DataKeyStore } from "./key-store.ts";

export interface KeyringLimits {
  /**
   * Records after which a data key gets a successor; at twice that it refuses. With random 96-bit nonces
   * the chance that two of 2³¹ records share one is below 2⁻³⁴ (NIST SP 800-38D §8.3 allows 2⁻³²).
   */
  readonly records: number;
  /** Milliseconds between the announcement of a data key and its first use, so that every process knows it by then. */
  readonly settle: number;
}

export const keyringDefaults: KeyringLimits = { records: 2 ** 30, settle: 60_000 };

/** How often a process has to call `refresh`, in milliseconds: twice within the time a new data key takes to settle. */
export const refreshEvery = keyringDefaults.settle / 2;

export interface KeyringParts {
  readonly source: KekSource;
  readonly store: DataKeyStore;
  readonly now: () => number;
  readonly limits?: KeyringLimits;
}

interface DataKey {
  readonly id: string;
  readonly key: KeyObject;
}

/** The data keys of this process, in memory, as of the last `refresh`. */
export interface Keyring {
  /** Id of the key-encryption key that the store is wrapped under. */
  readonly kek: string;
  find(id: string): KeyObject | undefined;
  /** The key for a new record, counting it. Throws `SealError` `exhausted`. */
  writer(): DataKey;
  /** The key that records move to in a rotation, settled or not, counting one. */
  successor(): DataKey;
  /** Reads the store again, and the key file or passphrase if the store is under another key by now. Throws `SetupError`. */
  refresh(): Promise<void>;
  close(): void;
}

interface Held extends DataKey {
  /** Records sealed here that the store does not count yet. */
  unreported: number;
}

export async function openKeyring(parts: KeyringParts): Promise<Keyring> {
  const { source, store, now } = parts;
  const limits = parts.limits ?? keyringDefaults;
  const held = new Map<string, Held>();
  let kek: Kek | undefined;
  /** Rows that may write, oldest first. */
  let writers: readonly DataKeyRow[] = [];
  let reading: Promise<void> | undefined;
  let following: Promise<void> | undefined;
  let closed = false;

  async function report(): Promise<void> {
    for (const key of held.values()) {
      const more = key.unreported;
      if (more === 0) continue;
      await store.count(key.id, more);
      key.unreported -= more;
    }
  }

  async function kekOf(rows: readonly DataKeyRow[]): Promise<Kek> {
    const [id, ...others] = new Set(rows.map((row) => row.kek));
    if (others.length > 0) throw damaged("The data keys in the store belong to different seals");
    if (id === undefined) {
      // Making new ones would seal new records away from the old.
      if (held.size > 0) throw damaged("The data keys have disappeared from the store");
      return kek ?? source.first();
    }
    return kek?.id === id ? kek : source.find(id);
  }

  async function read(): Promise<void> {
    await report();
    // Each turn that does not end this was overtaken by another process, which then got somewhere.
    for (let turn = 0; turn < 10; turn += 1) {
      const rows = (await store.list()).toSorted(byAge);
      const present = await kekOf(rows);
      const opened = rows.filter((row) => !held.has(row.id)).map((row) => open(present, row));
      if (closed) return;
      for (const key of opened) held.set(key.id, key);
      kek = present;
      writers = rows.filter((row) => row.retiredAt === null);
      const newest = writers.at(-1);
      if (newest && newest.records < limits.records) return retireExhausted(newest);
      await addDataKey(store, present, now(), rows);
    }
    throw new SetupError({ what: "The seal is being rotated by several processes at once", fix: "Let one finish, then try again." });
  }

  async function retireExhausted(newest: DataKeyRow): Promise<void> {
    if (newest.createdAt + limits.settle > now()) return;
    for (const row of writers) if (row !== newest && row.records >= limits.records) await store.retire(row.id, now());
  }

  function start(): Promise<void> {
    following = undefined;
    reading = read().finally(() => (reading = undefined));
    return reading;
  }

  function use(row: DataKeyRow | undefined): DataKey {
    if (closed) throw new SealError("closed", "the seal is closed");
    const key = row && held.get(row.id);
    if (!row || !key) throw new SealError("unknown-key", "there is no data key to seal with");
    if (row.records + key.unreported >= 2 * limits.records)
      throw new SealError("exhausted", `data key ${row.id} has sealed all it safely can`);
    key.unreported += 1;
    return key;
  }

  const keyring: Keyring = {
    get kek() {
      return kek?.id ?? "";
    },
    find: (id) => held.get(id)?.key,
    writer() {
      const settled = now() - limits.settle;
      return use(writers.findLast((row) => row.createdAt <= settled) ?? writers[0]);
    },
    successor: () => use(writers.at(-1)),
    refresh() {
      if (closed) return Promise.reject(new SealError("closed", "the seal is closed"));
      // One that runs already may have looked too early for this caller.
      if (reading) return (following ??= reading.catch(() => undefined).then(start));
      return start();
    },
    close() {
      closed = true;
      // A KeyObject overwrites its memory when it is collected; there is no earlier way.
      held.clear();
      writers = [];
      kek = undefined;
    },
  };
  await keyring.refresh();
  return keyring;
}

/** Adds a random data key, the newest of all, and says when. `undefined` when the store has moved to another key-encryption key meanwhile. */
export async function addDataKey(store: DataKeyStore, kek: Kek, now: number, rows: readonly DataKeyRow[]): Promise<number | undefined> {
  // Newest also where another host's clock runs ahead of ours.
  const name = { id: randomBytes(16).toString("hex"), createdAt: Math.max(now, ...rows.map((row) => row.createdAt + 1)) };
  const bytes = randomBytes(32);
  const wrapped = kek.wrap(name, bytes);
  bytes.fill(0);
  const added = await store.add({ ...name, kek: kek.id, wrapped, retiredAt: null, records: 0 });
  return added ? name.createdAt : undefined;
}

/** Throws `SetupError` for a row that was altered. */
export function unwrapRow(kek: Kek, row: DataKeyRow): Buffer {
  try {
    const bytes = kek.unwrap(row);
    if (bytes.length === 32) return bytes;
  } catch (cause) {
    throw damaged(`Data key ${row.id} in the store was altered`, cause);
  }
  throw damaged(`Data key ${row.id} in the store has the wrong length`);
}

export function byAge(a: DataKeyRow, b: DataKeyRow): number {
  return a.createdAt - b.createdAt || (a.id < b.id ? -1 : 1);
}

function open(kek: Kek, row: DataKeyRow): Held {
  const bytes = unwrapRow(kek, row);
  const key = createSecretKey(bytes);
  bytes.fill(0);
  return { id: row.id, key, unreported: 0 };
}

function damaged(what: string, cause?: unknown): SetupError {
  return new SetupError({ what, fix: "Restore the database from your backup.", cause });
}
