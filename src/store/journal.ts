import { setTimeout as pause } from "node:timers/promises";
import type { Kysely } from "kysely";
import { sql } from "kysely";
import { Failure } from "../core/errors.ts";
import type { AuditEvent } from "../core/event.ts";
import { prepared } from "./prepared.ts";
import { isBusy } from "./sqlite.ts";
import type { Database } from "./sqlite.ts";
import type { Tables } from "./schema.ts";

export type Transaction = Kysely<Tables>;

/**
 * A change, and the events that tell of it. It may run more than once: when a group fails, each of
 * its members is tried again alone, so that one bad member cannot fail the others.
 */
type Work<T> = (tx: Transaction) => Promise<{ readonly result: T; readonly events: readonly AuditEvent[] }>;

/**
 * What the audit log makes of events: pure, so that the store can run it inside its transaction and
 * the log never knows what a table is. `head` is opaque to us, `undefined` before the first entry.
 */
export interface LogFormat {
  extend(
    head: Uint8Array | undefined,
    events: readonly AuditEvent[],
    at: number,
  ): {
    readonly first: number;
    readonly entries: readonly { readonly seq: number; readonly bytes: Uint8Array; readonly hash: Uint8Array }[];
    readonly head: Uint8Array;
  };
}

/** The only way to write. What resolves is on disk, together with its audit events. */
export interface Journal {
  write<T>(work: Work<T>): Promise<{ readonly result: T; readonly seq: bigint }>;
  /** Resolves when everything that was asked for so far is on disk or has failed. */
  drain(): Promise<void>;
}

/** For writes that have no place in the audit log. */
export function silent<T>(result: T): { readonly result: T; readonly events: readonly AuditEvent[] } {
  return { result, events: [] };
}

interface Waiting {
  readonly run: (tx: Transaction) => Promise<{ events: readonly AuditEvent[]; settle: (seq: number) => void }>;
  readonly fail: (cause: unknown) => void;
}

/** Milliseconds that a write waits for another process to end its own. */
const lockPatience = 3_000;

/** The transaction was never begun, which is nobody's fault in the group: trying each alone would only take longer. */
class NotBegun extends Error {
  override readonly name = "NotBegun";
}

/**
 * Group commit: all that arrives in one turn of the event loop becomes one transaction and one
 * fsync. A commit waits for the disk either way; sixteen callers share one wait instead of queueing
 * for sixteen.
 */
export function createJournal(database: Database, format: LogFormat, now: () => number): Journal {
  let waiting: Waiting[] = [];
  let flushing: Promise<void> | undefined;

  function schedule(): void {
    flushing ??= new Promise<void>((resolve) => {
      setImmediate(() => void flushAll().finally(resolve));
    });
  }

  async function flushAll(): Promise<void> {
    while (waiting.length > 0) {
      const group = waiting;
      waiting = [];
      await flush(group);
    }
    flushing = undefined;
  }

  async function flush(group: readonly Waiting[]): Promise<void> {
    try {
      await commit(group);
    } catch (cause) {
      if (group.length === 1 || cause instanceof NotBegun) for (const member of group) member.fail(cause);
      else for (const member of group) await flush([member]);
    }
  }

  /** The connection itself waits for milliseconds only: its waiting stops the whole process, ours does not. */
  async function begin(tx: Transaction): Promise<void> {
    const until = performance.now() + lockPatience;
    for (;;) {
      try {
        await sql`BEGIN IMMEDIATE`.execute(tx);
        return;
      } catch (cause) {
        if (!isBusy(cause) || performance.now() > until) throw new NotBegun("the store cannot be written", { cause });
      }
      await pause(5);
    }
  }

  async function commit(group: readonly Waiting[]): Promise<void> {
    const tx = database.write;
    await begin(tx);
    const settled: ((first: number) => void)[] = [];
    let firstSeq = 0;
    try {
      const events: AuditEvent[] = [];
      for (const member of group) {
        const done = await member.run(tx);
        const offset = events.length;
        events.push(...done.events);
        settled.push((first) => done.settle(first + offset));
      }
      if (events.length > 0) firstSeq = await append(tx, events);
      await sql`COMMIT`.execute(tx);
    } catch (cause) {
      // A failed COMMIT may have rolled back by itself; then there is nothing left to roll back.
      await sql`ROLLBACK`.execute(tx).catch(() => undefined);
      throw cause;
    }
    for (const settle of settled) settle(firstSeq);
  }

  /** The head is read in every transaction: other processes append to the same log. Answers with the first new position. */
  async function append(tx: Transaction, events: readonly AuditEvent[]): Promise<number> {
    const [row] = (await readHead(tx, {})).rows;
    const { first, entries, head } = format.extend(row?.head, events, now());
    for (const { seq, bytes, hash } of entries) await addEntry(tx, { seq, bytes, hash });
    await writeHead(tx, { head });
    return first;
  }

  return {
    write: (work) =>
      new Promise((resolve, reject) => {
        waiting.push({
          async run(tx) {
            const { result, events } = await work(tx);
            return { events, settle: (seq) => resolve({ result, seq: BigInt(seq) }) };
          },
          fail: (cause) => reject(cause instanceof Failure ? cause : new Failure("audit_unavailable", {}, { cause })),
        });
        schedule();
      }),
    async drain() {
      await (flushing ?? Promise.resolve());
      if (waiting.length > 0) await this.drain();
    },
  };
}

const readHead = prepared((db) => db.selectFrom("audit_head").select("head").where("id", "=", 0));

const addEntry = prepared((db, { seq, bytes, hash }: { seq: number; bytes: Uint8Array; hash: Uint8Array }) =>
  db.insertInto("audit_entries").values({ seq, bytes, hash }),
);

const writeHead = prepared((db, { head }: { head: Uint8Array }) =>
  db
    .insertInto("audit_head")
    .values({ id: 0, head })
    .onConflict((conflict) => conflict.column("id").doUpdateSet({ head })),
);
