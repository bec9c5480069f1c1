import { setTimeout as wait } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import type { AgentName } from "../../../src/core/brand.ts";
import { createCheckpointer } from "../../../src/audit/checkpointer.ts";
import type { EntryFilter } from "../../../src/audit/export.ts";
import { checkpointFor, exportLog, search, tail } from "../../../src/audit/export.ts";
import { splitLines } from "../../../src/audit/lines.ts";
import { verify } from "../../../src/audit/verify.ts";
import { collect, decided, memoryLog, start, testKey } from "./log.ts";

describe("export", () => {
  test("an export and its checkpoint verify together, without the store", async () => {
    const store = memoryLog(2_300);
    const checkpointer = createCheckpointer({ store, key: testKey, origin: "leasehold/test" });
    await checkpointer.sign();
    store.add(decided(2_300), decided(2_301));
    const note = (await checkpointFor(store)) ?? "";
    const verdict = await verify(splitLines(exportLog(store)), { notes: [note], verifierKey: checkpointer.verifierKey });
    expect(verdict).toMatchObject({ ok: true, size: 2_302, proven: 2_300 });
  });

  test("a range, and the checkpoint that fits it", async () => {
    const store = memoryLog(30);
    store.notes.push({ size: 10, note: "ten" }, { size: 20, note: "twenty" });
    const lines = (await collect(splitLines(exportLog(store, { from: 5, to: 15 })))).flat();
    expect(lines).toEqual(store.entries.slice(5, 15).map(({ bytes }) => bytes));
    expect(await checkpointFor(store, 15)).toBe("ten");
    expect(await checkpointFor(store, 9)).toBeUndefined();
    expect(await collect(exportLog(store, { from: 30 }))).toEqual([]);
  });
});

describe("search", () => {
  const store = memoryLog(1_500);
  store.add({ kind: "agent.frozen", actor: { type: "operator", name: "ada" }, agent: "reporter-1" as AgentName });
  // An agent that writes another's name into its purpose is not that other agent.
  store.add({ ...decided(7), actor: { type: "broker" }, purpose: "reporter-1", kind: "access.decided" } as Parameters<typeof store.add>[0]);

  const seqs = async (filter: EntryFilter): Promise<number[]> => (await collect(search(store, filter))).map(({ seq }) => seq);

  test("finds by each field, and by several at once", async () => {
    expect((await seqs({ agent: "reporter-1" })).length).toBe(501);
    expect(await seqs({ agent: "reporter-1", kind: "agent.frozen" })).toEqual([1_500]);
    expect(await seqs({ lease: `01k${"9".padStart(23, "0")}` })).toEqual([9]);
    expect(await seqs({ correlation: "c12" })).toEqual([12]);
    expect((await seqs({ outcome: "deny", kind: "access.decided" })).length).toBe(376);
    expect((await seqs({ credential: "billing-db/readonly" })).length).toBe(1_501);
    expect(await seqs({ credential: "billing-db" })).toEqual([]);
    expect((await seqs({})).length).toBe(1_502);
  });

  test("since is included, until is not", async () => {
    expect(await seqs({ since: start + 3_000, until: start + 6_000 })).toEqual([3, 4, 5]);
  });

  test("answers whole entries", async () => {
    const [entry] = await collect(search(store, { correlation: "c3" }));
    expect(entry).toMatchObject({ at: "2026-11-22T12:00:03.000Z", seq: 3, v: 1, event: decided(3) });
  });
});

describe("tail", () => {
  test("the newest, or from where it is told", async () => {
    const store = memoryLog(25);
    expect((await collect(tail(store))).map(({ seq }) => seq)).toEqual([15, 16, 17, 18, 19, 20, 21, 22, 23, 24]);
    expect((await collect(tail(store, { from: 23 }))).map(({ seq }) => seq)).toEqual([23, 24]);
  });

  test("follows the log until it is told to end", async () => {
    const store = memoryLog(2);
    const ending = new AbortController();
    const seen: number[] = [];
    const following = (async () => {
      for await (const { seq } of tail(store, { follow: true, from: 1, pollInterval: 2, signal: ending.signal })) {
        seen.push(seq);
        if (seq === 3) ending.abort();
      }
    })();
    await wait(10);
    store.add(decided(2));
    await wait(10);
    store.add(decided(3), decided(4));
    await following;
    expect(seen).toEqual([1, 2, 3]);
  });
});
