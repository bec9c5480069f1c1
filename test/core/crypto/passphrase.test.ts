import { scryptSync } from "node:crypto";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Secret } from "../../../src/core/secret.ts";
import { secretContext } from "../../../src/crypto/context.ts";
import { createKek } from "../../../src/crypto/kek.ts";
import type { PassphraseFrom } from "../../../src/crypto/passphrase.ts";
import { rotateSeal } from "../../../src/crypto/rotate.ts";
import { createKekSource, createSeal, openSeal } from "../../../src/crypto/seal.ts";
import type { Stores } from "./stores.ts";
import { openStores, temporaryFolder } from "./stores.ts";

let folder: string;
let stores: Stores;

beforeEach(() => {
  folder = temporaryFolder();
  stores = openStores();
});
afterEach(() => {
  stores.db.close();
  rmSync(folder, { recursive: true });
});

const now = () => 1_000;
const right = "correct horse battery";
const open = (from: PassphraseFrom, env: Record<string, string> = {}) =>
  openSeal({ config: { type: "passphrase", from }, store: stores.dataKeys, now, env });
const prompt = (text: string): PassphraseFrom => ({ prompt: () => Promise.resolve(Secret.of(text)) });

// Stretching takes 0.2 s on an idle core, and the tests share theirs.
describe("a passphrase", { timeout: 30_000 }, () => {
  it("opens the same store from the environment, a file or a prompt", async () => {
    const sealed = (await open({ env: "SEAL" }, { SEAL: right })).encrypt(secretContext("a", 1), Secret.of("value"));
    const file = join(folder, "passphrase");
    writeFileSync(file, `${right}\n`, { mode: 0o600 });
    for (const seal of [await open({ file }), await open(prompt(right))]) {
      expect(seal.decrypt(secretContext("a", 1), sealed).use(String)).toBe("value");
    }
    const [row, ...more] = await stores.dataKeys.list();
    expect(more).toEqual([]);
    expect(row?.kek).toMatch(/^argon2id:m=65536,t=3,p=4:[A-Za-z0-9_-]{22}:[0-9a-f]{32}$/);
  });

  it("is the same however the keyboard composes its characters", async () => {
    const composed = await open(prompt("na\u00efve caf\u00e9 society"));
    const decomposed = await open(prompt("nai\u0308ve cafe\u0301 society"));
    expect(decomposed.key).toBe(composed.key);
  });

  it("that is wrong gets one sentence, whatever is wrong with it, and makes no keys", async () => {
    await open(prompt(right));
    const before = await stores.dataKeys.list();
    for (const wrong of [`${right} `, ""]) {
      await expect(open(prompt(wrong))).rejects.toThrow(/^The passphrase is wrong\. Give the one that this store was sealed with\.$/);
    }
    expect(await stores.dataKeys.list()).toEqual(before);
  });

  it("that is too short, unset, missing or open to others is refused before there is a store", async () => {
    const file = join(folder, "passphrase");
    await expect(open(prompt("short"))).rejects.toThrow(
      "The passphrase has fewer than 12 characters. Choose a longer one, of several words.",
    );
    await expect(open({ env: "SEAL" })).rejects.toThrow("The environment variable SEAL is not set. Set it to the passphrase of the seal.");
    await expect(open({ file })).rejects.toThrow("there is no passphrase file here");
    writeFileSync(file, right, { mode: 0o644 });
    await expect(open({ file })).rejects.toThrow(`Run: chmod 600 ${file}`);
    expect(await stores.dataKeys.list()).toEqual([]);
  });

  it("cannot be made to cost more by who can write to the store", async () => {
    await open(prompt(right));
    for (const kek of ["argon2id:m=9999999,t=3,p=4", "argon2id:m=65536,t=99,p=4", "scrypt:n=9999999,r=8,p=1", "bcrypt:m=1,t=1,p=1"]) {
      stores.db.prepare("update data_keys set kek = ?").run(`${kek}:${"A".repeat(22)}:${"0".repeat(32)}`);
      await expect(open(prompt(right))).rejects.toThrow("The description of the passphrase in the store is damaged");
    }
  });

  it("of a store that was sealed where there is no Argon2 opens it too", async () => {
    const salt = Buffer.alloc(16, 7);
    const material = scryptSync(right, salt, 32, { N: 131_072, r: 8, p: 1, maxmem: 2 ** 28 });
    const kek = createKek((check) => `scrypt:n=131072,r=8,p=1:${salt.toString("base64url")}:${check}`, material);
    const name = { id: "5a".repeat(16), createdAt: 1 };
    await stores.dataKeys.add({ ...name, kek: kek.id, wrapped: kek.wrap(name, Buffer.alloc(32, 1)), retiredAt: null, records: 0 });
    expect((await open(prompt(right))).key).toBe(kek.id);
    await expect(open(prompt("wrong passphrase"))).rejects.toThrow("The passphrase is wrong");
  });

  it("for a store with a key file is refused, and the other way round", async () => {
    await open(prompt(right));
    const { createSealFile } = await import("../../../src/crypto/key-file.ts");
    const path = join(folder, "seal.key");
    await createSealFile(path);
    const file = () => openSeal({ config: { type: "file", path }, store: stores.dataKeys, now, env: {} });
    await expect(file()).rejects.toThrow("The store is sealed with a passphrase. Set seal.type to passphrase.");
    stores.db.exec("delete from data_keys");
    await file();
    await expect(open(prompt(right))).rejects.toThrow("The store is sealed with a key file. Set seal.type to file.");
  });

  it("is rotated to another, and a running broker without it reads on with what it knows", async () => {
    const env = { OLD: right, NEW: "another fine passphrase" };
    const running = await open(prompt(right));
    const source = createKekSource({ type: "passphrase", from: { env: "OLD" }, next: { env: "NEW" } }, env);
    const seal = await createSeal({ source, store: stores.dataKeys, now });
    const sealed = seal.encrypt(secretContext("a", 1), Secret.of("value"));
    const steps: string[] = [];
    for await (const { step } of rotateSeal({ seal, source, store: stores.dataKeys, records: [], now })) steps.push(step);
    expect(steps).toEqual(["announced", "key-written", "rewrapped", "adopted", "retired"]);

    expect(running.decrypt(secretContext("a", 1), sealed).use(String)).toBe("value");
    await expect(running.refresh()).rejects.toThrow("The passphrase of the seal was changed. Start the broker again with the new one.");
    expect(running.decrypt(secretContext("a", 1), sealed).use(String)).toBe("value");
    expect((await open({ env: "NEW" }, env)).decrypt(secretContext("a", 1), sealed).use(String)).toBe("value");
    await expect(open({ env: "OLD" }, env)).rejects.toThrow("The passphrase is wrong");
  });
});
