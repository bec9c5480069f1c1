import { SealError } from "./box.ts";
import type { Kek, KekSource } from "./kek.ts";
import type { DataKeyStore, SealedRecord, SealedRecords } from "./key-store.ts";
import { addDataKey, byAge, keyringDefaults, unwrapRow } from "./keyring.ts";
import type { Seal } from "./seal.ts";

export interface RotationParts {
  /** The rotating process's own seal, over the same `source` and `store`. */
  readonly seal: Seal;
  readonly source: KekSource;
  readonly store: DataKeyStore;
  /** Every table with sealed values. */
  readonly records: readonly SealedRecords[];
  readonly now: () => number;
  /** Records a batch. */
  readonly batch?: number;
}

/** Times that a table is gone through at most. */
const passes = 3;

/** Each is durable when it is reported. */
export type RotationStep =
  /** A new data key is in the store. Wait until `settlesAt`, and no running process meets a key that it does not know. */
  | { readonly step: "announced"; readonly settlesAt: number }
  | { readonly step: "key-written"; readonly key: string }
  | { readonly step: "rewrapped"; readonly key: string }
  | { readonly step: "adopted"; readonly key: string }
  | { readonly step: "resealed"; readonly records: number }
  | { readonly step: "retired"; readonly dataKeys: number; readonly unreadable: readonly string[] };

/**
 * A new key-encryption key, a new data key, and every record moved to it. It may stop for good after any
 * step: everything still opens, running processes go on, and the next rotation finishes what is left.
 * Throws `SetupError`.
 */
export async function* rotateSeal(parts: RotationParts): AsyncGenerator<RotationStep, void, void> {
  const { seal, source, store, now } = parts;

  const announcedAt = await announce(parts);
  await seal.refresh();
  yield { step: "announced", settlesAt: announcedAt + keyringDefaults.settle };

  const next = await source.next();
  yield { step: "key-written", key: next.id };

  await rewrap(parts, next);
  yield { step: "rewrapped", key: next.id };

  await source.adopt(next.id);
  yield { step: "adopted", key: next.id };

  await seal.refresh();
  const unreadable = new Set<string>();
  for (const table of parts.records) {
    // A process that writes with the old data key until the new one settles may add behind the cursor.
    // When nobody waited for that, it may go on doing so: what it adds is left to the next rotation.
    for (let pass = 0, moved = -1; moved !== 0 && pass < passes; pass += 1) {
      moved = 0;
      for await (const count of resealTable(parts, table, unreadable)) {
        moved += count;
        yield { step: "resealed", records: count };
      }
    }
  }

  const dataKeys = await retireOld(store, now());
  await seal.refresh();
  yield { step: "retired", dataKeys, unreadable: [...unreadable] };
}

async function announce({ source, store, now }: RotationParts): Promise<number> {
  for (;;) {
    const rows = await store.list();
    const id = rows[0]?.kek;
    const kek = id === undefined ? await source.first() : await source.find(id);
    const createdAt = await addDataKey(store, kek, now(), rows);
    if (createdAt !== undefined) return createdAt;
  }
}

async function rewrap({ source, store }: RotationParts, next: Kek): Promise<void> {
  for (;;) {
    const rows = await store.list();
    const from = rows[0]?.kek;
    if (from === undefined || from === next.id) return;
    const kek = await source.find(from);
    // The store leaves a key only after its file has its final name. So a file that still waits for its
    // name is never outdated, and whoever finds one may finish the move.
    await source.adopt(from);
    const rewrapped = rows.map((row) => {
      const dataKey = unwrapRow(kek, row);
      const wrapped = next.wrap(row, dataKey);
      dataKey.fill(0);
      return { id: row.id, kek: next.id, wrapped };
    });
    // Refused when another process added a data key meanwhile: then that one has to come along.
    if (await store.rewrap(from, rewrapped)) return;
  }
}

async function* resealTable({ seal, batch = 500 }: RotationParts, table: SealedRecords, unreadable: Set<string>): AsyncGenerator<number> {
  let after: string | undefined;
  for (;;) {
    const page = await table.page(after, batch);
    const last = page.at(-1);
    if (!last) return;
    after = last.cursor;
    let moved = 0;
    for (const record of page) if (await resealRecord(seal, table, record, unreadable)) moved += 1;
    if (moved > 0) yield moved;
  }
}

async function resealRecord(seal: Seal, table: SealedRecords, record: SealedRecord, unreadable: Set<string>): Promise<boolean> {
  try {
    const sealed = await seal.reseal(record.context, record.sealed);
    return sealed !== undefined && (await table.replace(record, sealed));
  } catch (error) {
    if (!(error instanceof SealError) || (error.reason !== "altered" && error.reason !== "unknown-key")) throw error;
    // One damaged record must not keep all others under the old key; it stays as it is, and is named.
    unreadable.add(`${record.context.purpose} ${record.context.name} version ${record.context.version}`);
    return false;
  }
}

async function retireOld(store: DataKeyStore, at: number): Promise<number> {
  const old = (await store.list())
    .filter((row) => row.retiredAt === null)
    .toSorted(byAge)
    .slice(0, -1);
  for (const row of old) await store.retire(row.id, at);
  return old.length;
}
