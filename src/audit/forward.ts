import { setTimeout as wait } from "node:timers/promises";
import type { AuditSink } from "../core/ports.ts";
import type { LogStore } from "./log-store.ts";

/** How far each sink got: the first entry that it has not taken. 0 for a sink never seen. */
export interface Positions {
  load(sink: string): Promise<number>;
  save(sink: string, position: number): Promise<void>;
}

export interface ForwarderParts {
  readonly store: LogStore;
  readonly sinks: Readonly<Record<string, AuditSink>>;
  readonly positions: Positions;
  readonly limits: ForwarderLimits;
  /** Told of every failure, with how many came in a row. */
  readonly alarm: (problem: {
    readonly sink: string;
    readonly position: number;
    readonly failures: number;
    readonly cause: unknown;
  }) => void;
}

/** Milliseconds, but for `batch`, which is entries. */
export interface ForwarderLimits {
  readonly batch: number;
  /** How long a sink may take for one batch. A sink that accepts and never answers is a sink that is down. */
  readonly deadline: number;
  /** How long new entries may go unnoticed when nobody calls `nudge`. */
  readonly idle: number;
  readonly firstRetry: number;
  readonly maxRetry: number;
}

export const forwarderDefaults: ForwarderLimits = { batch: 500, deadline: 10_000, idle: 1_000, firstRetry: 250, maxRetry: 30_000 };

export interface Forwarder {
  /** Says that there are new entries. Returns at once, whatever the sinks are doing. */
  nudge(): void;
  status(): readonly SinkStatus[];
  /** Lets go of batches in flight (they are sent again after the next start) and returns when nothing runs any more. */
  stop(): Promise<void>;
}

interface SinkStatus {
  readonly sink: string;
  /** Entries that the sink has taken. `undefined` until its position was read. */
  readonly position: number | undefined;
  /** In a row; 0 when the last batch went through. */
  readonly failures: number;
}

/**
 * Copies the log to sinks: each has its own pace and position, gets every entry in order, at least once,
 * and holds one batch in memory. The log itself is the spool, so a sink that is down for a day costs
 * nothing but the day, and no caller ever waits for one.
 */
export function startForwarder(parts: ForwarderParts): Forwarder {
  const stopping = new AbortController();
  const lines = Object.entries(parts.sinks).map(([name, sink]) => startLine(name, sink, parts, stopping.signal));
  return {
    nudge: () => lines.forEach((line) => line.nudge()),
    status: () => lines.map((line) => line.status()),
    async stop() {
      stopping.abort();
      await Promise.all(lines.map((line) => line.done));
    },
  };
}

interface Line {
  nudge(): void;
  status(): SinkStatus;
  readonly done: Promise<void>;
}

function startLine(name: string, sink: AuditSink, parts: ForwarderParts, stopping: AbortSignal): Line {
  const { store, positions, limits } = parts;
  let position: number | undefined;
  let failures = 0;
  let nudged = false;
  let awake = new AbortController();

  /** One batch from the log to the sink. Answers whether there was one. */
  async function sendNext(): Promise<boolean> {
    position ??= await positions.load(name);
    const batch = await store.read(position, limits.batch);
    const last = batch.at(-1);
    if (!last) return caughtUp(position);
    await inTime(
      sink.send(
        batch.map((entry) => entry.bytes),
        AbortSignal.any([stopping, AbortSignal.timeout(limits.deadline)]),
      ),
      limits.deadline,
      stopping,
    );
    await positions.save(name, last.seq + 1);
    position = last.seq + 1;
    return true;
  }

  async function caughtUp(at: number): Promise<false> {
    const { size } = await store.head();
    // A log that was restored from an older backup: what comes next would be skipped in silence.
    if (at > size) throw new Error(`sink ${name} already has ${at} entries, and the log only ${size}`);
    return false;
  }

  async function run(): Promise<void> {
    while (!stopping.aborted) {
      nudged = false;
      try {
        const sent = await sendNext();
        failures = 0;
        if (!sent) await sleep(limits.idle);
      } catch (cause) {
        if (stopping.aborted) return;
        failures += 1;
        parts.alarm({ sink: name, position: position ?? 0, failures, cause });
        await pause(Math.min(limits.firstRetry * 2 ** Math.min(failures - 1, 20), limits.maxRetry), stopping);
      }
    }
  }

  /** Until the time is over, or someone nudges, be it just before. */
  async function sleep(milliseconds: number): Promise<void> {
    if (nudged) return;
    awake = new AbortController();
    await pause(milliseconds, AbortSignal.any([stopping, awake.signal]));
  }

  return {
    nudge() {
      nudged = true;
      awake.abort();
    },
    status: () => ({ sink: name, position, failures }),
    done: run(),
  };
}

/** Rejects at the deadline, and on `stopping`, even when the work minds neither. */
async function inTime(work: Promise<void>, milliseconds: number, stopping: AbortSignal): Promise<void> {
  const enough = new AbortController();
  const deadline = wait(milliseconds, undefined, { signal: AbortSignal.any([stopping, enough.signal]), ref: false }).then(() => {
    throw new Error(`no answer within ${milliseconds} ms`);
  });
  try {
    await Promise.race([work, deadline]);
  } finally {
    enough.abort();
    deadline.catch(() => undefined);
    work.catch(() => undefined);
  }
}

async function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  await wait(milliseconds, undefined, { signal, ref: false }).catch(() => undefined);
}
