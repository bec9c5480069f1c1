import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Secret } from "../../../src/core/secret.ts";
import { secretContext } from "../../../src/crypto/context.ts";
import { createSealFile } from "../../../src/crypto/key-file.ts";
import { keyRecords, loadOrCreateKey } from "../../../src/crypto/keys.ts";
import type { RotationStep } from "../../../src/crypto/rotate.ts";
import { rotateSeal } from "../../../src/crypto/rotate.ts";
import type { Seal } from "../../../src/crypto/seal.ts";
import { createKekSource, createSeal } from "../../../src/crypto/seal.ts";
import { createEmbeddedVault, secretRecords } from "../../../src/vaults/embedded.ts";
import type { Stores } from "./stores.ts";
import { openStores, temporaryFolder } from "./stores.ts";

let folder: string;
let path: string;
let stores: Stores;
let clock: number;

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

const now = () => clock;
const source = () => createKekSource({ type: "file", path }, {});
const open = (): Promise<Seal> => createSeal({ source: source(), store: stores.dataKeys, now });
const signal = new AbortController().signal;
const vaultOf = (seal: Seal) => createEmbeddedVault({ rows: stores.secrets, seal, now });

async function fill(seal: Seal): Promise<void> {
  const vault = vaultOf(seal);
  for (let count = 0; count < 12; count += 1) await vault.write(`app/${count % 5}`, Secret.of(`value ${count}`), signal);
  await loadOrCreateKey({ rows: stores.keys, seal, name: "digest", kind: "hmac" });
}

async function contents(seal: Seal): Promise<readonly string[]> {
  const rows = await stores.secrets.all(undefined, 1_000);
  const values = await Promise.all(
    rows.map(
      async ({ name, version, sealed }) => `${name} ${version} ${(await seal.open(secretContext(name, version), sealed)).use(String)}`,
    ),
  );
  const digest = await loadOrCreateKey({ rows: stores.keys, seal, name: "digest", kind: "hmac" });
  return [...values, digest.secret.export().toString("hex")];
}

async function rotation(): Promise<AsyncGenerator<RotationStep, void, void>> {
  const from = source();
  const seal = await createSeal({ source: from, store: stores.dataKeys, now });
  const records = [secretRecords(stores.secrets), keyRecords(stores.keys)];
  return rotateSeal({ seal, source: from, store: stores.dataKeys, records, now, batch: 4 });
}

/** Runs so many steps and then no more, as if the process had been killed. */
async function rotateUntil(count: number): Promise<readonly RotationStep[]> {
  const steps: RotationStep[] = [];
  if (count === 0) return steps;
  for await (const step of await rotation()) {
    steps.push(step);
    if (step.step === "announced") clock = step.settlesAt;
    if (steps.length === count) break;
  }
  return steps;
}

const live = async () => (await stores.dataKeys.list()).filter((row) => row.retiredAt === null);
const dataKeysInUse = (): readonly string[] => {
  const rows = stores.db.prepare(
    "select distinct hex(substr(sealed, 2, 16)) as id from (select sealed from secrets union all select sealed from keys)",
  );
  return rows.all().map((row) => String(row["id"]).toLowerCase());
};

describe("rotation of the seal", () => {
  it("puts a new key in place of the old, and every record under a new data key", async () => {
    const seal = await open();
    await fill(seal);
    const before = await contents(seal);
    const oldFile = readFileSync(path, "utf8");
    const steps = await rotateUntil(Infinity);

    expect(steps.map((step) => step.step).filter((step, at, all) => step !== all[at - 1])).toEqual([
      "announced",
      "key-written",
      "rewrapped",
      "adopted",
      "resealed",
      "retired",
    ]);
    expect(steps.reduce((sum, step) => sum + (step.step === "resealed" ? step.records : 0), 0)).toBe(13);
    expect(steps.at(-1)).toEqual({ step: "retired", dataKeys: 1, unreadable: [] });
    expect(readFileSync(path, "utf8")).not.toBe(oldFile);
    expect(readdirSync(folder)).toEqual(["seal.key"]);
    expect(await contents(await open())).toEqual(before);
    expect(dataKeysInUse()).toEqual((await live()).map((row) => row.id));
    expect(await stores.dataKeys.list()).toHaveLength(2);
  });

  it("makes the old key file useless for what the store holds from then on", async () => {
    await fill(await open());
    const old = join(folder, "old", "seal.key");
    mkdirSync(join(folder, "old"));
    copyFileSync(path, old);
    await rotateUntil(Infinity);
    path = old;
    await expect(open()).rejects.toThrow("this key does not belong to this store");
  });

  it("may stop after any step: all opens, all writes, and the next rotation finishes", async () => {
    const total = (await rotateUntil(Infinity)).length;
    expect(total).toBeGreaterThanOrEqual(5);
    for (let stop = 0; stop <= 9; stop += 1) {
      stores.db.close();
      stores = openStores();
      rmSync(path);
      await createSealFile(path);
      const running = await open();
      await fill(running);
      const before = await contents(running);

      const steps = await rotateUntil(stop);
      const fresh = await open();
      for (const seal of [running, fresh]) expect(await contents(seal), `stopped after ${JSON.stringify(steps.at(-1))}`).toEqual(before);
      await vaultOf(running).write("during", Secret.of("running"), signal);
      await vaultOf(fresh).write("during", Secret.of("fresh"), signal);
      expect((await vaultOf(running).read("during", signal))?.value.use(String)).toBe("fresh");
      expect((await vaultOf(fresh).read("during", signal))?.version).toBe("2");

      const after = await contents(fresh);
      await rotateUntil(Infinity);
      expect(await contents(await open())).toEqual(after);
      expect(await contents(running)).toEqual(after);
      expect(dataKeysInUse()).toEqual((await live()).map((row) => row.id));
      expect(readdirSync(folder), "no key is left behind").toEqual(["seal.key"]);
    }
  });

  it("that died between the store and the key file is finished by the next start", async () => {
    await fill(await open());
    await rotateUntil(3);
    expect(readdirSync(folder)).toHaveLength(2);
    // Even if the file under the old name is lost.
    rmSync(path);
    const seal = await open();
    expect(readdirSync(folder)).toEqual(["seal.key"]);
    await contents(seal);
  });

  it("lets a process that had the old keys open read and write throughout", async () => {
    const running = await open();
    await fill(running);
    const vault = vaultOf(running);
    let count = 0;
    for await (const report of await rotation()) {
      const { step } = report;
      count += 1;
      await vault.write("busy", Secret.of(`during ${count} ${step}`), signal);
      expect((await vault.read("busy", signal))?.value.use(String)).toBe(`during ${count} ${step}`);
      if (count % 2 === 0) await running.refresh();
      if (report.step === "announced") clock = report.settlesAt;
    }
    // With a data key that was announced and is settled by now, though this process was told of no rotation.
    expect((await open()).key).toBe((await stores.dataKeys.list())[0]?.kek);
    await running.refresh();
    expect(running.key).toBe((await open()).key);
    expect((await vaultOf(await open()).read("busy", signal))?.version).toBe(String(count));
  });

  it("is done by two processes at once without harm", async () => {
    const running = await open();
    await fill(running);
    const before = await contents(running);
    const one = await rotation();
    const two = await rotation();
    for (let done = 0; done < 2;) {
      done = 0;
      for (const run of [one, two]) if ((await run.next()).done) done += 1;
    }
    expect(await contents(await open())).toEqual(before);
    expect(await contents(running)).toEqual(before);
    expect(existsSync(path)).toBe(true);
    expect(await live()).toHaveLength(1);
  });

  it("names the records that do not open, and moves the others", async () => {
    await fill(await open());
    stores.db.exec("update secrets set sealed = zeroblob(60) where name = 'app/3' and version = 1");
    const steps = await rotateUntil(Infinity);
    expect(steps.at(-1)).toEqual({ step: "retired", dataKeys: 1, unreadable: ["secret app/3 version 1"] });
  });

  it("does not bring back what was removed or changed while it ran", async () => {
    const seal = await open();
    const vault = vaultOf(seal);
    await vault.write("gone", Secret.of("old"), signal);
    const table = secretRecords(stores.secrets);
    const [record] = await table.page(undefined, 10);
    if (!record) throw new Error("no record");
    await vault.remove("gone", signal);
    expect(await table.replace(record, record.sealed)).toBe(false);
    await vault.write("gone", Secret.of("new"), signal);
    expect(await table.replace(record, record.sealed)).toBe(false);
    expect((await vault.read("gone", signal))?.value.use(String)).toBe("new");
  });
});
