import { rmSync } from "node:fs";
import { join } from "node:path";
import * as fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { SetupError } from "../../../src/core/setup-error.ts";
import { Secret } from "../../../src/core/secret.ts";
import { SealError } from "../../../src/crypto/box.ts";
import type { SealContext } from "../../../src/crypto/context.ts";
import { associatedData, secretContext } from "../../../src/crypto/context.ts";
import { createSealFile } from "../../../src/crypto/key-file.ts";
import type { KeyringLimits } from "../../../src/crypto/keyring.ts";
import type { Seal } from "../../../src/crypto/seal.ts";
import { openSeal } from "../../../src/crypto/seal.ts";
import type { Stores } from "./stores.ts";
import { openStores, temporaryFolder } from "./stores.ts";

let folder: string;
let path: string;
let stores: Stores;
let clock = 1_000_000;

beforeEach(async () => {
  folder = temporaryFolder();
  path = join(folder, "seal.key");
  stores = openStores();
  clock = 1_000_000;
  await createSealFile(path);
});
afterEach(() => {
  stores.db.close();
  rmSync(folder, { recursive: true });
});

const open = (limits?: KeyringLimits): Promise<Seal> =>
  openSeal({ config: { type: "file", path }, store: stores.dataKeys, now: () => clock, env: {}, ...(limits ? { limits } : {}) });
const refused = (reason: SealError["reason"]): unknown => expect.objectContaining({ name: "SealError", reason });

const contexts: fc.Arbitrary<SealContext> = fc.record({
  purpose: fc.constantFrom("secret", "lease-material", "signing-key", "data-key"),
  name: fc.string({ unit: "grapheme", maxLength: 40 }).filter((text) => text.isWellFormed()),
  version: fc.nat(),
});

describe("the seal", () => {
  it("opens what it sealed, any bytes under any name, and never seals the same bytes twice", async () => {
    const seal = await open();
    fc.assert(
      fc.property(contexts, fc.uint8Array({ maxLength: 300 }), (context, value) => {
        const sealed = seal.encrypt(context, value);
        expect(sealed).toHaveLength(value.length + 45);
        expect(sealed).not.toEqual(seal.encrypt(context, Secret.of(value)));
        expect(seal.decrypt(context, sealed).use((bytes) => bytes.equals(value))).toBe(true);
      }),
      { numRuns: 200 },
    );
  });

  it("gives no two contexts the same additional data", () => {
    const header = new Uint8Array(17);
    fc.assert(
      fc.property(contexts, contexts, (a, b) => {
        const same = a.purpose === b.purpose && a.name === b.name && a.version === b.version;
        expect(associatedData(a, header).equals(associatedData(b, header))).toBe(same);
      }),
    );
    // Fixed for ever: a change would make every store unreadable.
    expect(associatedData(secretContext("app/db", 258), new Uint8Array([1, 2])).toString("hex")).toBe(
      "010200000006" + Buffer.from("secret").toString("hex") + "00000006" + Buffer.from("app/db").toString("hex") + "0000000000000102",
    );
    expect(() => associatedData(secretContext("\ud800", 1), header)).toThrow(RangeError);
    expect(() => associatedData(secretContext("a", 2 ** 53), header)).toThrow(RangeError);
    expect(() => associatedData(secretContext("a", -1), header)).toThrow(RangeError);
  });

  it("detects a change of any bit of a record, and any record cut short or made longer", async () => {
    const seal = await open();
    const context = secretContext("billing/db", 3);
    const sealed = seal.encrypt(context, Secret.of("correct horse battery staple"));
    for (let at = 0; at < sealed.length; at += 1) {
      for (let bit = 0; bit < 8; bit += 1) {
        const changed = Buffer.from(sealed);
        changed[at] = (changed[at] ?? 0) ^ (1 << bit);
        expect(() => seal.decrypt(context, changed), `byte ${at} bit ${bit}`).toThrow(SealError);
        await expect(seal.open(context, changed), `byte ${at} bit ${bit}`).rejects.toThrow(SealError);
      }
      expect(() => seal.decrypt(context, sealed.subarray(0, at))).toThrow(refused("altered"));
    }
    expect(() => seal.decrypt(context, Buffer.concat([sealed, Buffer.alloc(1)]))).toThrow(refused("altered"));
    expect(seal.decrypt(context, sealed).use(String)).toBe("correct horse battery staple");
  });

  it("detects values that changed places: between names, versions and purposes", async () => {
    const seal = await open();
    await fc.assert(
      fc.asyncProperty(contexts, contexts, async (mine, other) => {
        fc.pre(JSON.stringify(mine) !== JSON.stringify(other));
        const sealed = seal.encrypt(other, Buffer.from("other"));
        expect(() => seal.decrypt(mine, sealed)).toThrow(refused("altered"));
        await expect(seal.open(mine, sealed)).rejects.toThrow(refused("altered"));
      }),
    );
    const old = seal.encrypt(secretContext("a", 1), Buffer.from("leaked"));
    expect(() => seal.decrypt(secretContext("a", 2), old)).toThrow(refused("altered"));
  });

  it("detects parts swapped between two records of the same value and name", async () => {
    const seal = await open();
    const context = secretContext("a", 1);
    const [one, two] = [seal.encrypt(context, Buffer.from("same")), seal.encrypt(context, Buffer.from("same"))];
    for (const [from, to] of [
      [17, 29],
      [29, 33],
      [33, 49],
    ]) {
      const mixed = Buffer.from(one);
      mixed.set(two.subarray(from, to), from);
      expect(() => seal.decrypt(context, mixed), `bytes ${from}–${to}`).toThrow(refused("altered"));
    }
  });

  it("refuses to open with a data key of which any bit was changed, or its id, age or owner", async () => {
    const seal = await open();
    const [row] = await stores.dataKeys.list();
    if (!row) throw new Error("no data key");
    const put = stores.db.prepare("update data_keys set wrapped = ?");
    for (let at = 0; at < row.wrapped.length; at += 1) {
      const changed = Buffer.from(row.wrapped);
      changed[at] = (changed[at] ?? 0) ^ (1 << (at % 8));
      put.run(changed);
      await expect(open(), `byte ${at}`).rejects.toThrow(
        `Data key ${row.id} in the store was altered. Restore the database from your backup.`,
      );
    }
    put.run(row.wrapped);
    stores.db.exec("update data_keys set created_at = created_at + 1");
    await expect(open()).rejects.toThrow(SetupError);
    stores.db.exec(`update data_keys set created_at = created_at - 1, id = '${"ab".repeat(16)}'`);
    await expect(open()).rejects.toThrow(SetupError);
    stores.db.exec(`update data_keys set id = '${row.id}'`);
    await open();
    // Who holds the keys already is not disturbed by any of it, and makes no new ones when they disappear.
    stores.db.exec("delete from data_keys");
    await expect(seal.refresh()).rejects.toThrow("The data keys have disappeared from the store");
    expect(await stores.dataKeys.list()).toEqual([]);
    seal.encrypt(secretContext("a", 1), Buffer.from("x"));
  });

  it("refuses two data keys whose wrapped forms changed places, and keys of two seals in one store", async () => {
    const limits = { records: 1, settle: 0 };
    const seal = await open(limits);
    seal.encrypt(secretContext("a", 1), Buffer.from("x"));
    await seal.refresh();
    const [one, two] = await stores.dataKeys.list();
    if (!one || !two) throw new Error("expected two data keys");
    const put = stores.db.prepare("update data_keys set wrapped = ? where id = ?");
    put.run(one.wrapped, two.id);
    put.run(two.wrapped, one.id);
    await expect(open()).rejects.toThrow("was altered");
    stores.db.prepare("update data_keys set kek = 'file:00' where id = ?").run(one.id);
    await expect(open()).rejects.toThrow("The data keys in the store belong to different seals");
  });

  it("opens what another process sealed with a data key that is new to this one", async () => {
    const mine = await open({ records: 2, settle: 0 });
    const other = await open({ records: 2, settle: 0 });
    for (let version = 1; version <= 2; version += 1) other.encrypt(secretContext("a", version), Buffer.from("x"));
    await other.refresh();
    clock += 1;
    const sealed = other.encrypt(secretContext("a", 3), Buffer.from("new"));
    expect(() => mine.decrypt(secretContext("a", 3), sealed)).toThrow(refused("unknown-key"));
    expect((await mine.open(secretContext("a", 3), sealed)).use(String)).toBe("new");
  });

  it("uses a new data key only when every process had the time to learn of it", async () => {
    const limits = { records: 3, settle: 60_000 };
    const seal = await open(limits);
    const keyOf = (sealed: Uint8Array): string => Buffer.from(sealed).toString("hex", 1, 17);
    const encrypt = (): string => keyOf(seal.encrypt(secretContext("a", 1), Buffer.from("x")));
    const first = encrypt();
    for (let count = 1; count < 3; count += 1) encrypt();
    clock += 1;
    await seal.refresh();
    expect((await stores.dataKeys.list()).map((row) => row.records).toSorted((a, b) => a - b)).toEqual([0, 3]);
    clock += 59_999;
    expect(encrypt()).toBe(first);
    clock += 1;
    expect(encrypt()).not.toBe(first);
    await seal.refresh();
    const retired = (await stores.dataKeys.list()).find((row) => row.id === first);
    expect(retired?.retiredAt).toBe(clock);
  });

  it("refuses to seal on with a data key that is long past its limit", async () => {
    const seal = await open({ records: 2, settle: 60_000 });
    const encrypt = () => seal.encrypt(secretContext("a", 1), Buffer.from("x"));
    for (let count = 0; count < 4; count += 1) encrypt();
    expect(encrypt).toThrow(refused("exhausted"));
    clock += 1;
    await seal.refresh();
    expect(encrypt).toThrow(refused("exhausted"));
    clock += 60_000;
    encrypt();
  });

  it("is one store for processes that start at the same time", async () => {
    const seals = await Promise.all([open(), open(), open()]);
    const sealed = seals.map((seal) => seal.encrypt(secretContext("a", 1), Buffer.from("x")));
    for (const seal of seals) for (const bytes of sealed) expect((await seal.open(secretContext("a", 1), bytes)).use(String)).toBe("x");
  });

  it("does nothing any more once it is closed", async () => {
    const seal = await open();
    const sealed = seal.encrypt(secretContext("a", 1), Buffer.from("x"));
    seal.close();
    expect(() => seal.encrypt(secretContext("a", 1), Buffer.from("x"))).toThrow(refused("closed"));
    expect(() => seal.decrypt(secretContext("a", 1), sealed)).toThrow(refused("closed"));
    await expect(seal.refresh()).rejects.toThrow(refused("closed"));
  });
});
