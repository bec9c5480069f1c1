import { rmSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { calculateJwkThumbprint, exportJWK } from "jose";
import { createSealFile } from "../../../src/crypto/key-file.ts";
import { openKeySet } from "../../../src/crypto/key-set.ts";
import type { RotatingKeyRows } from "../../../src/crypto/key-set.ts";
import type { KeyRow } from "../../../src/crypto/keys.ts";
import { loadOrCreateKey } from "../../../src/crypto/keys.ts";
import type { Seal } from "../../../src/crypto/seal.ts";
import { openSeal } from "../../../src/crypto/seal.ts";
import type { Stores } from "./stores.ts";
import { openStores, temporaryFolder } from "./stores.ts";

const minute = 60_000;
const day = 24 * 60 * minute;
const [every, keep, lead] = [30 * day, 61 * minute, 10 * minute];

let folder: string;
let stores: Stores;
let seal: Seal;
let time: number;
let rotated: string[];
let rows: RotatingKeyRows & { readonly held: Map<string, KeyRow> };

beforeEach(async () => {
  folder = temporaryFolder();
  stores = openStores();
  const path = join(folder, "seal.key");
  await createSealFile(path);
  seal = await openSeal({ config: { type: "file", path }, store: stores.dataKeys, now: () => 1, env: {} });
  time = Date.UTC(2026, 0, 1);
  rotated = [];
  rows = rowsInMemory();
});
afterEach(() => {
  stores.db.close();
  rmSync(folder, { recursive: true });
});

const open = () => openKeySet({ rows, seal, name: "tokens", every, keep, now: () => time, rotated: async (kid) => rotated.push(kid) });
type Set = Awaited<ReturnType<typeof open>>;
const kids = (set: Set) => set.published().map(({ kid }) => kid);

/** As a running broker does it. */
async function pass(duration: number, ...sets: readonly Set[]): Promise<void> {
  const until = time + duration;
  while (time < until) {
    time = Math.min(time + 15 * minute, until);
    for (const set of sets) await set.rotate();
  }
}

describe("keys that take turns", () => {
  it("the first one signs at once, and is named by its thumbprint", async () => {
    const set = await open();
    const key = set.current();
    expect(kids(set)).toEqual([key.kid]);
    expect(key.kid).toBe(await calculateJwkThumbprint(await exportJWK(key.publicKey)));
    expect(set.find(key.kid)?.equals(key.publicKey)).toBe(true);
    expect(set.find("unknown")).toBeUndefined();
  });

  it("the next one is published ten minutes before it signs; the last one goes when nothing of it can be valid", async () => {
    const set = await open();
    const first = set.current().kid;
    await pass(every - lead - minute, set);
    expect(kids(set)).toEqual([first]);
    time += minute;
    expect(await set.rotate()).toBe(true);
    const [, second = ""] = kids(set);
    expect([kids(set), rotated, set.current().kid]).toEqual([[first, second], [second], first]);
    expect(await set.rotate()).toBe(false);

    time += lead - 1;
    expect(set.current().kid).toBe(first);
    time += 1;
    expect([set.current().kid, kids(set)]).toEqual([second, [second, first]]);
    time += keep - 1;
    expect(set.find(first)).toBeDefined();
    time += 1;
    expect([set.find(first), kids(set)]).toEqual([undefined, [second]]);
    expect(rows.held.size).toBe(2);
    expect(await set.rotate()).toBe(true);
    expect([...rows.held.keys()]).toEqual(["tokens/1"]);
  });

  it("goes on like that, one key a turn and never more than two at once", async () => {
    const set = await open();
    const signed = new Set<string>();
    for (let turn = 0; turn < 12; turn++) {
      await pass(10 * day, set);
      signed.add(set.current().kid);
      expect(kids(set).length).toBeLessThanOrEqual(2);
    }
    expect(signed.size).toBe(4);
    expect(rotated).toHaveLength(new Set(rotated).size);
    expect(rows.held.size).toBeLessThanOrEqual(2);
  });

  it("several processes agree, however they come to it: one makes the key, and one writes it down", async () => {
    const [one, two] = await Promise.all([open(), open()]);
    expect(one.current().kid).toBe(two.current().kid);
    time += every;
    await Promise.all([one.rotate(), two.rotate()]);
    expect(rotated).toHaveLength(1);
    await Promise.all([one.rotate(), two.rotate()]);
    expect(kids(one)).toEqual(kids(two));
    for (const moment of [lead - 1, 1, keep - 1, 1]) {
      time += moment;
      expect(one.current().kid).toBe(two.current().kid);
      expect(kids(one)).toEqual(kids(two));
    }
    await one.rotate();
    await two.rotate();
    expect([kids(one), kids(two)]).toEqual([rotated, rotated]);
    expect(kids(await open())).toEqual(rotated);
  });

  it("a process that heard of none looks for the key that a token names, but not as often as anybody asks", async () => {
    const [one, two] = [await open(), await open()];
    time += every;
    await one.rotate();
    const next = rotated[0] ?? "";
    expect(two.find(next)).toBeUndefined();
    let reads = 0;
    const { all } = rows;
    rows.all = () => ((reads += 1), all());
    await Promise.all(Array.from({ length: 100 }, () => two.refresh()));
    expect([two.find(next) !== undefined, reads]).toEqual([true, 1]);
    await two.refresh();
    expect(reads).toBe(1);
    time += 10_000;
    await two.refresh();
    expect(reads).toBe(2);
  });

  it("a broker that was off for long goes on with the old key until the new one is known", async () => {
    const first = (await open()).current().kid;
    time += 400 * day;
    const set = await open();
    expect(set.current().kid).toBe(first);
    await set.rotate();
    expect(set.current().kid).toBe(first);
    time += lead;
    expect(set.current().kid).toBe(rotated[0]);
    expect(kids(set)).toHaveLength(2);
  });

  it("keys of other names are none of it, and a row that was altered stops it", async () => {
    await loadOrCreateKey({ rows, seal, name: "tokens-of-others", kind: "es256" });
    await loadOrCreateKey({ rows, seal, name: "oauth", kind: "hmac" });
    expect(kids(await open())).toHaveLength(1);
    const row = rows.held.get("tokens");
    const other = rows.held.get("tokens-of-others");
    if (!row || !other) throw new Error("no rows");
    rows.held.set("tokens", { ...row, sealed: other.sealed, publicKey: other.publicKey });
    await expect(open()).rejects.toThrow(/altered|changed/);
  });
});

function rowsInMemory(): RotatingKeyRows & { readonly held: Map<string, KeyRow> } {
  const held = new Map<string, KeyRow>();
  return {
    held,
    get: async (name) => held.get(name),
    all: async () => [...held.values()],
    async add(row) {
      if (held.has(row.name)) return false;
      held.set(row.name, row);
      return true;
    },
    async replace(name, from, sealed) {
      const row = held.get(name);
      if (!row || row.sealed !== from) return false;
      held.set(name, { ...row, sealed });
      return true;
    },
    remove: async (name) => void held.delete(name),
  };
}
