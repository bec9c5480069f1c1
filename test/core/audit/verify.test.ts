import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { LogHead } from "../../../src/audit/append.ts";
import { emptyHead, extend, rootOf } from "../../../src/audit/append.ts";
import { canonical } from "../../../src/audit/canonical.ts";
import { signCheckpoint } from "../../../src/audit/checkpoint.ts";
import { linesOfFile, splitLines } from "../../../src/audit/lines.ts";
import { noteSigner } from "../../../src/audit/note.ts";
import type { Against, Verdict } from "../../../src/audit/verify.ts";
import { verify, verifyStore } from "../../../src/audit/verify.ts";
import { collect, decided, makeLog, memoryLog, start, testKey } from "./log.ts";

const signer = noteSigner("leasehold/test", testKey);
const size = 12;
const { lines, head } = makeLog(size);
const note = signCheckpoint(head, signer);
const against: Against = { notes: [note], verifierKey: signer.verifierKey };
const noteAt = (count: number): string => signCheckpoint(makeLog(count).head, signer);

const check = (log: readonly Uint8Array[], held: Against = against): Promise<Verdict> => verify([log], held);
/** The verdict without its words. */
async function found(log: readonly Uint8Array[], held: Against = against): Promise<object> {
  const verdict = await check(log, held);
  if (verdict.ok) return { ok: true, proven: verdict.proven };
  return { problem: verdict.problem, firstBad: verdict.firstBad, ...(verdict.latest === undefined ? {} : { latest: verdict.latest }) };
}

/** The log with entry `k` replaced by what a careful author writes: its uid is right, and so is its own link. */
function rewrite(k: number): Uint8Array {
  const before = makeLog(k).head;
  return only(extend(before, [decided(1_000 + k)], start + k * 1_000).entries.map(({ bytes }) => bytes));
}

function only<T>(items: readonly T[]): T {
  const [item] = items;
  if (item === undefined || items.length !== 1) throw new Error("not exactly one");
  return item;
}

function at<T>(items: readonly T[], index: number): T {
  const item = items[index];
  if (item === undefined) throw new Error(`no item ${index}`);
  return item;
}

describe("a log as it was written", () => {
  test("is proven up to the newest checkpoint, and says of what", async () => {
    expect(await check(lines)).toEqual({ ok: true, size, root: rootOf(head), proven: size, checkedAgainst: [size] });
    const several = { ...against, notes: [noteAt(9), noteAt(0), noteAt(4)] };
    expect(await check(lines, several)).toMatchObject({ ok: true, size, proven: 9, checkedAgainst: [0, 4, 9] });
  });

  test("every line is canonical JSON, whatever an agent wrote into it", () => {
    for (const line of lines) expect(canonical(JSON.parse(Buffer.from(line).toString()))).toBe(Buffer.from(line).toString());
  });

  test("no two entries have the same uid, not even the first ones of two logs", () => {
    const first = extend(emptyHead, [decided(0)], start).entries;
    const second = extend(emptyHead, [decided(0)], start + 1).entries;
    const uids = [...lines, ...second.map(({ bytes }) => bytes)].map(
      (line) => (JSON.parse(Buffer.from(line).toString()) as { uid: string }).uid,
    );
    expect(new Set(uids).size).toBe(size + 1);
    expect(at(first, 0).bytes).toEqual(at(lines, 0));
  });

  test("the empty log", async () => {
    expect(await check([], { ...against, notes: [noteAt(0)] })).toMatchObject({ ok: true, size: 0, proven: 0 });
    expect(await verify([])).toMatchObject({ ok: true, size: 0 });
  });

  test("without a checkpoint the chain alone is checked, and nothing is called proven", async () => {
    expect(await verify([lines])).toMatchObject({ ok: true, size, proven: 0, checkedAgainst: [] });
  });
});

describe("P-6 AU-01: what is done to a log is detected, and the first bad entry named", () => {
  for (let k = 0; k < size; k++) {
    test(`entry ${k} edited`, async () => {
      const edited = Buffer.from(Buffer.from(at(lines, k)).toString().replace("reporter-", "attacker-"));
      expect(await found(lines.with(k, edited))).toEqual({ problem: "edited", firstBad: k });
    });

    test(`entry ${k} deleted`, async () => {
      const problem = k === size - 1 ? "truncated" : "missing";
      expect(await found(lines.toSpliced(k, 1))).toEqual({ problem, firstBad: k });
    });

    test(`entry ${k} duplicated`, async () => {
      expect(await found(lines.toSpliced(k, 0, at(lines, k)))).toEqual({ problem: "duplicated", firstBad: k + 1 });
      expect(await found([...lines, at(lines, k)])).toEqual({ problem: "duplicated", firstBad: size });
    });

    test(`truncated to ${k} entries`, async () => {
      expect(await found(lines.slice(0, k))).toEqual({ problem: "truncated", firstBad: k });
    });

    test(`a well-made entry inserted before entry ${k}`, async () => {
      expect(await found(lines.toSpliced(k, 0, rewrite(k)))).toEqual({ problem: "inserted", firstBad: k });
    });

    test(`a careless line inserted before entry ${k}`, async () => {
      expect(await found(lines.toSpliced(k, 0, Buffer.from('{"hello":"world"}')))).toEqual({ problem: "inserted", firstBad: k });
    });

    test(`entry ${k} rewritten with a right uid and link`, async () => {
      const verdict = await found(lines.with(k, rewrite(k)));
      // The last one has no successor that would remember it; only the root tells.
      expect(verdict).toEqual(k === size - 1 ? { problem: "root-mismatch", firstBad: 0, latest: k } : { problem: "edited", firstBad: k });
    });
  }

  test("two entries swapped, near or far", async () => {
    for (let i = 0; i < size; i++) {
      for (let j = i + 1; j < size; j++) {
        const swapped = lines.with(i, at(lines, j)).with(j, at(lines, i));
        expect(await found(swapped)).toEqual({ problem: "reordered", firstBad: i });
      }
    }
  });

  test("an entry moved to an earlier place", async () => {
    expect(await found(lines.toSpliced(9, 1).toSpliced(3, 0, at(lines, 9)))).toEqual({ problem: "reordered", firstBad: 3 });
  });

  test("a copy of a later entry put in", async () => {
    expect(await found(lines.toSpliced(3, 0, at(lines, 9)))).toEqual({ problem: "duplicated", firstBad: 3 });
  });

  test("several entries missing, named as such", async () => {
    expect(await check(lines.toSpliced(3, 4))).toMatchObject({
      problem: "missing",
      firstBad: 3,
      explanation: "Entries 3 to 6 are missing: entry 7 stands in its place.",
    });
  });

  test("a line cut in the middle at the end", async () => {
    expect(await found(lines.with(11, at(lines, 11).subarray(0, 100)))).toEqual({ problem: "truncated", firstBad: 11 });
  });

  test("any byte of any entry changed to anything", async () => {
    const dense = { ...against, notes: lines.map((_, k) => noteAt(k + 1)) };
    await fc.assert(
      fc.asyncProperty(fc.nat(size - 1), fc.nat(), fc.integer({ min: 1, max: 255 }), async (k, place, mask) => {
        const changed = Buffer.from(at(lines, k));
        const offset = place % changed.length;
        changed[offset] = at([...changed], offset) ^ mask;
        // As a file: a byte that became a newline makes two lines of one.
        const file = Buffer.concat(lines.with(k, changed).flatMap((line) => [line, Buffer.from("\n")]));
        for (const held of [against, dense]) {
          const verdict = await verify(splitLines(chunked([file], 1_000)), held);
          expect(verdict).toMatchObject({ ok: false, firstBad: k });
        }
      }),
      { numRuns: 400 },
    );
  });

  test("without any checkpoint: edits, deletions and swaps inside still show", async () => {
    for (let k = 0; k < size - 1; k++) {
      const edited = Buffer.from(Buffer.from(at(lines, k)).toString().replace("reporter-", "attacker-"));
      expect(await verify([lines.with(k, edited)])).toMatchObject({ ok: false, firstBad: k });
      expect(await verify([lines.toSpliced(k, 1)])).toMatchObject({ ok: false, firstBad: k });
    }
  });
});

test("without any checkpoint: a damaged frame of the last entry shows too", async () => {
  const text = Buffer.from(at(lines, 11)).toString();
  for (const damaged of [
    text.replace('"v":1}', '"v":2}'),
    text.replace('","v":1}', '","v":1]'),
    `${text} `,
    text.replace('"seq":11', '"seq":011'),
  ])
    expect(await verify([lines.with(11, Buffer.from(damaged))])).toMatchObject({ ok: false, firstBad: 11 });
});

describe("an author who rewrites everything after some point", () => {
  /** Entries 6 and following are others; uids, links and order are all right. */
  const forged = [...lines.slice(0, 6), ...rebuilt(makeLog(6).head, 6)];

  function rebuilt(from: LogHead, count: number): Uint8Array[] {
    const events = Array.from({ length: count }, (_, n) => decided(2_000 + n));
    return extend(from, events, start).entries.map(({ bytes }) => bytes);
  }

  test("passes the chain, and fails against the checkpoint", async () => {
    expect(await verify([forged])).toMatchObject({ ok: true, proven: 0 });
    expect(await found(forged)).toEqual({ problem: "root-mismatch", firstBad: 0, latest: 11 });
  });

  test("earlier checkpoints say how far the log is proven", async () => {
    const held = { ...against, notes: [noteAt(3), noteAt(5), noteAt(9), note] };
    const verdict = await check(forged, held);
    expect(verdict).toMatchObject({ ok: false, problem: "root-mismatch", firstBad: 5, latest: 8, proven: 5 });
    expect(verdict).toMatchObject({ explanation: expect.stringContaining("Entries before 5 are proven") as string });
    expect(await found(forged, { ...against, notes: [noteAt(6), noteAt(7)] })).toEqual({ problem: "root-mismatch", firstBad: 6 });
  });

  test("cannot hide a rewritten beginning behind a later, careless break", async () => {
    const held = { ...against, notes: [noteAt(4), noteAt(8)] };
    expect(await found(forged.toSpliced(10, 1), held)).toEqual({ problem: "root-mismatch", firstBad: 4, latest: 7 });
  });
});

describe("which of two neighbours was changed", () => {
  /** Entry `k` with a right uid that claims to follow something else. */
  const astray = (k: number): Uint8Array =>
    only(extend({ ...makeLog(k).head, last: Buffer.alloc(32, 9) }, [decided(k)], start).entries.map(({ bytes }) => bytes));
  const careless = (k: number): Uint8Array => Buffer.from(Buffer.from(at(lines, k)).toString().replace("reporter-", "attacker-"));
  const badLink = (k: number): Uint8Array =>
    Buffer.from(
      Buffer.from(at(lines, k))
        .toString()
        .replace(/"prev":"./, '"prev":"+'),
    );

  test("the entry whose link was changed with care: its successor does not know it", async () => {
    expect(await found(lines.with(5, astray(5)))).toEqual({ problem: "edited", firstBad: 5 });
  });

  test("the last entry, whose link was changed without care: it disagrees with its uid", async () => {
    expect(await found(lines.with(11, badLink(11)))).toEqual({ problem: "edited", firstBad: 11 });
    expect(await verify([lines.with(11, badLink(11))])).toMatchObject({ problem: "edited", firstBad: 11 });
  });

  test("the last entry, whose link was changed with care: a checkpoint proves the one before", async () => {
    expect(await found(lines.with(11, astray(11)), { ...against, notes: [noteAt(11), note] })).toEqual({ problem: "edited", firstBad: 11 });
  });

  test("both: the first is named", async () => {
    expect(await found(lines.with(5, careless(5)).with(6, careless(6)))).toEqual({ problem: "edited", firstBad: 5 });
    expect(await found(lines.with(0, astray(0)))).toEqual({ problem: "edited", firstBad: 0 });
  });

  test("two entries of one number, and the forged one continued: a checkpoint proves the genuine one", async () => {
    const forged = extend(makeLog(5).head, [decided(100), decided(101)], start).entries.map(({ bytes }) => bytes);
    const log = [...lines.slice(0, 6), ...forged];
    expect(await found(log, { ...against, notes: [noteAt(6)] })).toEqual({ problem: "inserted", firstBad: 6 });
  });
});

describe("checkpoints that are not to be trusted", () => {
  test("one with a changed root, and one of another key", async () => {
    const changed = note.replace(`\n${size}\n`, `\n${size - 1}\n`);
    expect(await check(lines, { ...against, notes: [noteAt(3), changed] })).toMatchObject({ ok: false, problem: "checkpoint-signature" });
    const stranger = noteSigner("leasehold/other", testKey);
    expect(await check(lines, { ...against, notes: [signCheckpoint(head, stranger)] })).toMatchObject({ problem: "checkpoint-signature" });
    expect(await check(lines, { ...against, notes: ["nonsense"] })).toMatchObject({ problem: "checkpoint-signature", proven: 0 });
  });

  test("two histories of one size, both signed", async () => {
    const other = extend(
      emptyHead,
      Array.from({ length: size }, (_, n) => decided(n + 1)),
      start,
    ).head;
    expect(await check(lines, { ...against, notes: [note, signCheckpoint(other, signer)] })).toMatchObject({
      problem: "checkpoint-conflict",
    });
  });

  test("a malformed verifier key is an error of the caller", async () => {
    await expect(check(lines, { notes: [], verifierKey: "leasehold/test" })).rejects.toThrow(TypeError);
  });
});

describe("from a file", () => {
  let folder = "";
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "leasehold-audit-"));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  test("verifies, with and without the last newline", async () => {
    const path = join(folder, "audit.jsonl");
    const text = Buffer.concat(lines.flatMap((line) => [line, Buffer.from("\n")]));
    for (const content of [text, text.subarray(0, -1)]) {
      writeFileSync(path, content);
      expect(await verify(linesOfFile(path), against)).toMatchObject({ ok: true, size, proven: size });
    }
  });

  test("chunks may end anywhere", async () => {
    const text = Buffer.concat(lines.flatMap((line) => [line, Buffer.from("\n")]));
    for (const step of [1, 7, 599, 10_000]) expect((await collect(splitLines(chunked([text], step)))).flat()).toEqual(lines);
  });

  test("a file without lines is refused before it fills the memory", async () => {
    const endless = Array.from({ length: 20 }, () => Buffer.alloc(1 << 20, "x"));
    await expect(collect(splitLines(chunked(endless, 1 << 20)))).rejects.toThrow(RangeError);
  });
});

describe("from the store", () => {
  const stored = (): ReturnType<typeof memoryLog> => memoryLog(2_500);

  test("verifies page by page against saved and kept checkpoints", async () => {
    const store = stored();
    store.notes.push({ size: 1_000, note: noteAt(1_000) });
    const verdict = await verifyStore(store, { ...against, notes: [note] });
    expect(verdict).toMatchObject({ ok: true, size: 2_500, checkedAgainst: [size, 1_000] });
  });

  test("a deleted row, an edited row, rows cut off at the end", async () => {
    const missing = stored();
    missing.entries.splice(1_500, 1);
    expect(await verifyStore(missing, against)).toMatchObject({ problem: "missing", firstBad: 1_500 });
    const edited = stored();
    edited.entries[7] = { ...at(edited.entries, 7), bytes: rewrite(7) };
    expect(await verifyStore(edited, against)).toMatchObject({ problem: "edited", firstBad: 7 });
    const cut = stored();
    cut.entries.splice(2_400);
    expect(await verifyStore(cut, against)).toMatchObject({ problem: "truncated", firstBad: 2_400 });
  });

  test("the last row rewritten, beyond every checkpoint: the stored head tells", async () => {
    const store = stored();
    const before = makeLog(2_499).head;
    store.entries[2_499] = at(extend(before, [decided(9)], start).entries, 0);
    expect(await verifyStore(store, against)).toMatchObject({ problem: "head-mismatch", proven: size });
  });
});

async function* chunked(parts: readonly Uint8Array[], step: number): AsyncGenerator<Uint8Array> {
  for (const part of parts) for (let i = 0; i < part.length; i += step) yield part.subarray(i, i + step);
}
