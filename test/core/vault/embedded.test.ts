import { rmSync } from "node:fs";
import { join } from "node:path";
import { inspect } from "node:util";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { vaultContract } from "../../../testing/vault-contract.ts";
import { Secret } from "../../../src/core/secret.ts";
import { createSealFile } from "../../../src/crypto/key-file.ts";
import { openSeal } from "../../../src/crypto/seal.ts";
import type { EmbeddedVault } from "../../../src/vaults/embedded.ts";
import { createEmbeddedVault, embeddedVaultConfig } from "../../../src/vaults/embedded.ts";
import type { Stores } from "../crypto/stores.ts";
import { openStores, temporaryFolder } from "../crypto/stores.ts";

async function make(): Promise<{
  readonly vault: EmbeddedVault;
  /** Another vault, over the very same rows. */
  readonly other: EmbeddedVault;
  readonly stores: Stores;
  readonly close: () => void;
}> {
  const folder = temporaryFolder();
  const stores = openStores();
  const path = join(folder, "seal.key");
  await createSealFile(path);
  const seal = await openSeal({ config: { type: "file", path }, store: stores.dataKeys, now: Date.now, env: {} });
  return {
    vault: createEmbeddedVault({ vault: "local", rows: stores.secrets, seal, now: () => 42 }),
    other: createEmbeddedVault({ vault: "other", rows: stores.secrets, seal, now: () => 42 }),
    stores,
    close() {
      stores.db.close();
      rmSync(folder, { recursive: true });
    },
  };
}

vaultContract({ describe, it }, "embedded", make);

describe("the embedded vault", () => {
  let vault: EmbeddedVault;
  let other: EmbeddedVault;
  let stores: Stores;
  let close: () => void;
  beforeEach(async () => ({ vault, other, stores, close } = await make()));
  afterEach(() => close());

  const signal = new AbortController().signal;
  const write = (name: string, value: string, expected?: string) =>
    vault.write(name, Secret.of(value), signal, expected === undefined ? {} : { expected });
  const read = async (name: string) => (await vault.read(name, signal))?.value.use(String);

  const list = async (): Promise<readonly unknown[]> => {
    const found: unknown[] = [];
    for await (const item of vault.list("", signal)) found.push(item);
    return found;
  };

  it("keeps the last ten versions, and makes an earlier one the newest again", async () => {
    for (let count = 1; count <= 12; count += 1) expect(await write("a", `value ${count}`)).toEqual({ version: String(count) });
    expect(stores.db.prepare("select count(*) as kept, min(version) as oldest from secrets").get()).toEqual({ kept: 10, oldest: 3 });
    expect(await vault.restore("a", "4", signal)).toEqual({ version: "13" });
    expect(await read("a")).toBe("value 4");
    for (const gone of ["2", "99", "0", "-1", "1e1", "x", ""]) expect(await vault.restore("a", gone, signal)).toBeUndefined();
    expect(await list()).toEqual([{ secret: "a", version: "13", updatedAt: 42 }]);
  });

  it("a value that is moved to another vault does not open there", async () => {
    await write("a", "one");
    await expect(other.read("a", signal)).rejects.toMatchObject({ code: "vault_unavailable" });
    expect(await read("a")).toBe("one");
  });

  it("writes only over the version that was expected", async () => {
    await write("a", "one", "0");
    await expect(write("a", "two", "0")).rejects.toMatchObject({ code: "invalid_request" });
    await write("a", "two", "1");
    await expect(write("a", "three", "1")).rejects.toThrow("The secret has changed since it was read. Read it again.");
    expect(await read("a")).toBe("two");
  });

  it("takes names of letters, digits and . _ - in segments, and no others", async () => {
    for (const name of ["a", "A.b_c-9", "app/db/password", "x".repeat(200)]) await write(name, name);
    for (const name of ["", "/", "a/", "/a", "a//b", ".", "..", "a/../b", "a b", "a\n", "ä", "-a", "x".repeat(201), "a\0", "a%2fb"]) {
      for (const work of [() => write(name, "v"), () => read(name), () => vault.remove(name, signal)]) {
        await expect(work()).rejects.toMatchObject({ code: "invalid_request" });
      }
    }
  });

  it("judges a name in no time, however it is built (MT-13)", async () => {
    const start = performance.now();
    for (const name of ["a/".repeat(100_000), `${"a".repeat(199)}!`, `${"a/".repeat(99)}!`])
      await expect(read(name)).rejects.toThrow("The name of a secret");
    expect(performance.now() - start).toBeLessThan(50);
  });

  it("takes values of one byte to one mebibyte", async () => {
    await expect(write("a", "")).rejects.toMatchObject({ code: "invalid_request" });
    await expect(write("a", "x".repeat(1_048_577))).rejects.toMatchObject({ code: "invalid_request" });
    await write("a", "x".repeat(1_048_576));
  });

  it("never returns what was tampered with, and says why to the broker's log only (EX-06)", async () => {
    await write("a", "one-canary");
    await write("a", "two-canary");
    await write("b", "other-canary");
    const rows = await stores.secrets.all(undefined, 10);
    const newest = rows.find((row) => row.name === "a" && row.version === 2)?.sealed ?? new Uint8Array();
    const put = stores.db.prepare("update secrets set sealed = ? where name = 'a' and version = 2");
    const forged = [
      ...rows.filter((row) => row.sealed !== newest).map((row) => row.sealed),
      ...Array.from(newest, (byte, at) => newest.with(at, byte ^ 1)),
      new Uint8Array(),
    ];
    for (const sealed of forged) {
      put.run(sealed);
      const error: unknown = await read("a").catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ code: "vault_unavailable", message: "The vault cannot be read right now. Try again later." });
      expect(error).toHaveProperty("cause.name", "SealError");
      expect(inspect(error, { depth: Infinity, showHidden: true })).not.toContain("canary");
    }
    put.run(newest);
    expect(await read("a")).toBe("two-canary");
  });

  it("holds no value in the database, in any version (EX-07)", async () => {
    await write("a", "canary-in-the-vault");
    await write("a", "canary-in-the-vault");
    const dump = stores.db.prepare("select name, version, sealed from secrets").all();
    expect(dump).toHaveLength(2);
    for (const row of dump) expect(Buffer.from(row["sealed"] as Uint8Array).includes("canary")).toBe(false);
  });

  it("is unavailable, not empty, when the database is gone", async () => {
    await write("a", "value");
    stores.db.exec("alter table secrets rename to lost");
    for (const work of [() => read("a"), () => write("a", "x"), () => vault.remove("a", signal), list]) {
      await expect(work()).rejects.toMatchObject({ code: "vault_unavailable" });
    }
    stores.db.exec("alter table lost rename to secrets");
  });

  it("has a config without options", () => {
    expect(embeddedVaultConfig.parse({ type: "embedded" })).toEqual({ type: "embedded" });
    expect(embeddedVaultConfig.safeParse({ type: "embedded", path: "x" }).success).toBe(false);
  });
});
