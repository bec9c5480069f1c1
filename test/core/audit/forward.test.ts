import { setTimeout as wait } from "node:timers/promises";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import type { AuditSink } from "../../../src/core/ports.ts";
import { parseEntry } from "../../../src/audit/entry.ts";
import type { Forwarder, ForwarderParts, Positions } from "../../../src/audit/forward.ts";
import { startForwarder } from "../../../src/audit/forward.ts";
import { decided, memoryLog } from "./log.ts";

const limits = { batch: 4, deadline: 40, idle: 5_000, firstRetry: 2, maxRetry: 8 };

function savedPositions(): Positions & { readonly at: Map<string, number> } {
  const at = new Map<string, number>();
  return { at, load: async (sink) => at.get(sink) ?? 0, save: async (sink, position) => void at.set(sink, position) };
}

/** A receiver that keeps what it gets, and does whatever `mood` says first. */
function receiver(
  mood: (call: number, signal: AbortSignal) => Promise<void> | void = () => undefined,
): AuditSink & { readonly got: number[] } {
  const got: number[] = [];
  let calls = 0;
  return {
    got,
    async send(batch, signal) {
      await mood(calls++, signal);
      got.push(...batch.map((line) => parseEntry(line).seq));
    },
  };
}

function run(parts: Pick<ForwarderParts, "store" | "sinks"> & Partial<ForwarderParts>): Forwarder & { readonly alarms: string[] } {
  const alarms: string[] = [];
  const forwarder = startForwarder({
    positions: savedPositions(),
    limits,
    alarm: ({ sink, position, failures }) => alarms.push(`${sink} ${position} ${failures}`),
    ...parts,
  });
  onTestFinished(() => forwarder.stop());
  return { ...forwarder, alarms };
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, n) => n);

describe("the forwarder", () => {
  test("brings everything to every sink in order, and new entries when it is nudged", async () => {
    const store = memoryLog(10);
    const sinks = { a: receiver(), b: receiver() };
    const forwarder = run({ store, sinks });
    await vi.waitFor(() => expect([sinks.a.got, sinks.b.got]).toEqual([upTo(10), upTo(10)]));
    store.add(decided(10));
    forwarder.nudge();
    await vi.waitFor(() => expect(sinks.a.got).toEqual(upTo(11)));
    await vi.waitFor(() => expect(forwarder.status()).toContainEqual({ sink: "a", position: 11, failures: 0 }));
  });

  test("a nudge that comes while the log is being read is not lost", async () => {
    const store = memoryLog(1);
    const sink = receiver();
    let late = true;
    const slow = {
      ...store,
      async read(from: number, limit: number) {
        const found = await store.read(from, limit);
        if (found.length === 0 && late) {
          late = false;
          store.add(decided(1));
          forwarder.nudge();
        }
        return found;
      },
    };
    const forwarder = run({ store: slow, sinks: { sink } });
    await vi.waitFor(() => expect(sink.got).toEqual([0, 1]));
  });

  test("looks by itself when nobody nudges", async () => {
    const store = memoryLog(1);
    const sink = receiver();
    run({ store, sinks: { sink }, limits: { ...limits, idle: 5 } });
    await vi.waitFor(() => expect(sink.got).toEqual([0]));
    store.add(decided(1));
    await vi.waitFor(() => expect(sink.got).toEqual([0, 1]));
  });

  test("AU-04: a sink that is down is tried again, loses nothing, and holds up nobody", async () => {
    const store = memoryLog(10);
    let down = true;
    const sinks = {
      ill: receiver(() => {
        if (down) throw new Error("connection refused");
      }),
      well: receiver(),
    };
    const forwarder = run({ store, sinks });
    await vi.waitFor(() => expect(forwarder.alarms).toContain("ill 0 4"));
    expect(sinks.well.got).toEqual(upTo(10));
    expect(forwarder.alarms.every((alarm) => alarm.startsWith("ill"))).toBe(true);
    down = false;
    await vi.waitFor(() => expect(sinks.ill.got).toEqual(upTo(10)));
    await vi.waitFor(() => expect(forwarder.status()).toContainEqual({ sink: "ill", position: 10, failures: 0 }));
  });

  test("AU-04: a sink that accepts and never answers, deaf to the signal too, is given up at the deadline", async () => {
    const store = memoryLog(3);
    const sink = receiver((call) => (call === 0 ? new Promise(() => undefined) : undefined));
    const forwarder = run({ store, sinks: { sink } });
    await vi.waitFor(() => expect(sink.got).toEqual(upTo(3)));
    expect(forwarder.alarms).toEqual(["sink 0 1"]);
  });

  test("AU-04: never more than one batch is in flight, however long the log", async () => {
    const store = memoryLog(100);
    let inFlight = 0;
    let most = 0;
    const sizes: number[] = [];
    const sink: AuditSink = {
      async send(batch) {
        inFlight += 1;
        most = Math.max(most, inFlight);
        sizes.push(batch.length);
        await wait(1);
        inFlight -= 1;
      },
    };
    const forwarder = run({ store, sinks: { sink } });
    for (let n = 0; n < 50; n++) forwarder.nudge();
    await vi.waitFor(() => expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(100));
    expect([most, Math.max(...sizes)]).toEqual([1, 4]);
  });

  test("AU-04: goes on after a restart where it was, and sends again what was not confirmed", async () => {
    const store = memoryLog(10);
    const positions = savedPositions();
    const first = receiver((call, signal) =>
      call === 1 ? new Promise((_, refuse) => signal.addEventListener("abort", () => refuse(new Error("stopped")))) : undefined,
    );
    const forwarder = startForwarder({
      store,
      sinks: { sink: first },
      positions,
      limits: { ...limits, deadline: 60_000 },
      alarm: () => undefined,
    });
    await vi.waitFor(() => expect(first.got).toEqual(upTo(4)));
    await forwarder.stop();
    expect(positions.at.get("sink")).toBe(4);
    const second = receiver();
    run({ store, sinks: { sink: second }, positions });
    await vi.waitFor(() => expect(second.got).toEqual([4, 5, 6, 7, 8, 9]));
  });

  test("a position that cannot be saved means the batch comes again, not that it is lost", async () => {
    const store = memoryLog(3);
    const positions = savedPositions();
    let broken = true;
    const sink = receiver();
    run({
      store,
      sinks: { sink },
      positions: { ...positions, save: async (name, at) => (broken ? Promise.reject(new Error("locked")) : positions.save(name, at)) },
    });
    await vi.waitFor(() => expect(sink.got.length).toBeGreaterThan(3));
    broken = false;
    await vi.waitFor(() => expect(positions.at.get("sink")).toBe(3));
    expect(sink.got.slice(0, 6)).toEqual([0, 1, 2, 0, 1, 2]);
  });

  test("a log that is shorter than what the sink has already is an alarm", async () => {
    const positions = savedPositions();
    positions.at.set("sink", 9);
    const sink = receiver();
    const forwarder = run({ store: memoryLog(3), sinks: { sink }, positions });
    await vi.waitFor(() => expect(forwarder.alarms).toContain("sink 9 1"));
    expect(sink.got).toEqual([]);
  });

  test("stops at once, in the middle of a pause or of a batch", async () => {
    const stuck = receiver(() => new Promise(() => undefined));
    const forwarder = startForwarder({
      store: memoryLog(3),
      sinks: { stuck, idle: receiver() },
      positions: savedPositions(),
      limits: { ...limits, deadline: 60_000, idle: 60_000 },
      alarm: () => undefined,
    });
    await wait(5);
    const before = performance.now();
    await forwarder.stop();
    expect(performance.now() - before).toBeLessThan(1_000);
  });
});
