import { setTimeout as wait } from "node:timers/promises";
import type { AuditEvent, EventKind } from "../core/event.ts";
import type { AuditEntry } from "./entry.ts";
import { parseEntry } from "./entry.ts";
import { linesOfStore } from "./lines.ts";
import type { LogStore } from "./log-store.ts";

const newline = Buffer.from("\n");

/** Entries `from` (0) to `to - 1` (all that are there now) as JSON Lines, many lines in a chunk. Verifiable from 0 only. */
export async function* exportLog(
  store: LogStore,
  range: { readonly from?: number; readonly to?: number } = {},
): AsyncGenerator<Uint8Array> {
  const to = Math.min(range.to ?? Infinity, (await store.head()).size);
  for await (const lines of linesOfStore(store, range.from ?? 0, to)) yield Buffer.concat(lines.flatMap((line) => [line, newline]));
}

/** The newest checkpoint that an export ending before entry `to` can be verified with. */
export async function checkpointFor(store: LogStore, to = Infinity): Promise<string | undefined> {
  return (await store.checkpoints()).findLast(({ size }) => size <= to)?.note;
}

/** All that are given must hold. */
export interface EntryFilter {
  /** The agent that acted, or that was acted upon. */
  readonly agent?: string;
  readonly credential?: string;
  readonly lease?: string;
  readonly kind?: EventKind;
  readonly correlation?: string;
  readonly outcome?: string;
  /** Milliseconds since the epoch: not before, and before. */
  readonly since?: number;
  readonly until?: number;
}

/** Entries that match, oldest first. Reads the whole log: 3 µs for an entry that does not match. */
export async function* search(store: LogStore, filter: EntryFilter): AsyncGenerator<AuditEntry> {
  const needles = needlesOf(filter);
  const { size } = await store.head();
  for await (const lines of linesOfStore(store, 0, size)) {
    for (const line of lines) {
      const bytes = Buffer.from(line.buffer, line.byteOffset, line.byteLength);
      // What is not in the bytes is not in the entry: most entries need no parsing.
      if (!needles.every((needle) => bytes.includes(needle))) continue;
      const entry = parseEntry(line);
      if (matches(entry, filter)) yield entry;
    }
  }
}

export interface TailOptions {
  /** First entry. Default: the ten newest. */
  readonly from?: number;
  /** Goes on with new entries as they come, until `signal`. */
  readonly follow?: boolean;
  /** Milliseconds between looks at the log. Default 250. */
  readonly pollInterval?: number;
  readonly signal?: AbortSignal;
}

/** Entries in order. Ends, without an error, when there are no more or when `signal` says so. */
export async function* tail(store: LogStore, options: TailOptions = {}): AsyncGenerator<AuditEntry> {
  const { follow = false, pollInterval = 250, signal } = options;
  let next = options.from ?? Math.max(0, (await store.head()).size - 10);
  for (;;) {
    const { size } = await store.head();
    for await (const lines of linesOfStore(store, next, size)) {
      for (const line of lines) {
        if (signal?.aborted) return;
        const entry = parseEntry(line);
        next = entry.seq + 1;
        yield entry;
      }
    }
    if (!follow || signal?.aborted) return;
    await wait(pollInterval, undefined, signal ? { signal } : {}).catch(() => undefined);
  }
}

function needlesOf({ agent, credential, lease, kind, correlation, outcome }: EntryFilter): readonly string[] {
  return [agent, credential, lease, kind, correlation, outcome]
    .filter((value) => value !== undefined)
    .map((value) => JSON.stringify(value));
}

function matches({ at, event }: AuditEntry, filter: EntryFilter): boolean {
  const time = Date.parse(at);
  return (
    (filter.since === undefined || time >= filter.since) &&
    (filter.until === undefined || time < filter.until) &&
    (filter.kind === undefined || event.kind === filter.kind) &&
    (filter.correlation === undefined || event.correlation === filter.correlation) &&
    (filter.agent === undefined || agentsOf(event).includes(filter.agent)) &&
    (filter.credential === undefined || ("credential" in event && event.credential === filter.credential)) &&
    (filter.lease === undefined || ("lease" in event && event.lease === filter.lease)) &&
    (filter.outcome === undefined || ("outcome" in event && event.outcome === filter.outcome))
  );
}

function agentsOf(event: AuditEvent): readonly string[] {
  const { actor } = event;
  return [...(actor.type === "agent" ? [actor.agent, ...(actor.chain ?? [])] : []), ...("agent" in event ? [event.agent] : [])];
}
