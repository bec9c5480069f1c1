import assert from "node:assert/strict";
import { inspect } from "node:util";
import type { Vault } from "../src/core/ports.ts";
import { Secret } from "../src/core/secret.ts";

/** What the suite needs of a test runner: vitest, node:test and others have it. */
export interface Runner {
  readonly describe: (name: string, body: () => void) => unknown;
  readonly it: (name: string, body: () => Promise<void>) => unknown;
}

/** One vault, empty, for one test. */
export interface VaultUnderTest {
  readonly vault: Vault;
  /** Puts a secret where the vault reads it, for a vault that cannot write. */
  readonly plant?: (secret: string, value: string) => Promise<void>;
  readonly close?: () => Promise<void> | void;
}

/** What every `Vault` has to keep to, whatever it stands on. */
export function vaultContract({ describe, it }: Runner, name: string, make: () => Promise<VaultUnderTest>): void {
  function check(title: string, body: (vault: Vault, plant: (secret: string, value: string) => Promise<void>) => Promise<void>): void {
    it(title, async () => {
      const { vault, plant, close } = await make();
      try {
        await body(vault, plant ?? (async (secret, value) => void (await writer(vault)(secret, Secret.of(value), going))));
      } finally {
        await close?.();
      }
    });
  }

  describe(`the vault contract: ${name}`, () => {
    check("answers undefined for what does not exist", async (vault) => {
      assert.equal(await vault.read("missing/secret", going), undefined);
      assert.deepEqual(await collect(vault, ""), []);
    });

    check("gives back what was put in, byte for byte, with a version", async (vault, plant) => {
      const value = 'p\u00e4ss\u{1f511}\n with = "quotes" and a trailing newline\n';
      await plant("app/token", value);
      const found = await vault.read("app/token", going);
      assert.equal(found?.value.use(String), value);
      assert.notEqual(found?.version, "");
      assert.equal((await vault.read("app/token", going))?.version, found?.version, "the version of an unchanged secret stays");
    });

    check("keeps apart names that look alike", async (vault, plant) => {
      const names = ["app/db", "app/db2", "app/d", "app", "app_db", "app-db", "appxdb"];
      for (const each of names) await plant(each, `value of ${each}`);
      for (const each of names) assert.equal((await vault.read(each, going))?.value.use(String), `value of ${each}`);
    });

    check("lists by the characters of a prefix, which is no pattern, and without values", async (vault, plant) => {
      for (const each of ["a_b/1", "a_b/2", "axb/1", "b/1"]) await plant(each, canary);
      assert.deepEqual(
        (await collect(vault, "")).map((item) => item.secret),
        ["a_b/1", "a_b/2", "axb/1", "b/1"],
      );
      assert.deepEqual(
        (await collect(vault, "a_b/")).map((item) => item.secret),
        ["a_b/1", "a_b/2"],
      );
      for (const pattern of ["%", "*", "a%", "a?b", ".*", "\\"]) assert.deepEqual(await collect(vault, pattern), [], pattern);
      assert.ok(!everything(await collect(vault, "")).includes(canary));
      const read = await vault.read("b/1", going);
      assert.equal((await collect(vault, "b/"))[0]?.version, read?.version, "the listed version is the one that is read");
    });

    check("honours an abort signal", async (vault, plant) => {
      await plant("app/token", canary);
      const gone = AbortSignal.abort(new Error("gone"));
      await assert.rejects(async () => vault.read("app/token", gone));
      await assert.rejects(async () => collect(vault, "", gone));
      if (vault.write) await assert.rejects(async () => vault.write?.("app/token", Secret.of("later"), gone));
      if (vault.remove) await assert.rejects(async () => vault.remove?.("app/token", gone));
      assert.equal((await vault.read("app/token", going))?.value.use(String), canary, "and does nothing");
    });

    check("never puts a value into an error", async (vault, plant) => {
      await plant("app/token", canary);
      const gone = AbortSignal.abort();
      const write = vault.write && writer(vault);
      const attempts: (() => Promise<unknown>)[] = [() => vault.read("app/token", gone), () => collect(vault, "", gone)];
      for (const bad of ["", "/", "../x", "a//b", "a\0b", "a b", "x".repeat(5_000)]) {
        attempts.push(() => vault.read(bad, going));
        if (write) attempts.push(() => write(bad, Secret.of(canary), going));
      }
      if (write) attempts.push(() => write("app/token", Secret.of(canary), gone));
      for (const attempt of attempts) {
        const error: unknown = await attempt().catch((thrown: unknown) => thrown);
        if (error instanceof Error) assert.ok(!everything(error).includes(canary), "a value is in an error");
      }
    });

    check("gives every concurrent write a version of its own, and reads the newest", async (vault) => {
      if (!vault.write) return;
      const write = writer(vault);
      const versions = await Promise.all(
        Array.from({ length: 8 }, async (_, index) => ({
          value: `value ${index}`,
          ...(await write("app/busy", Secret.of(`value ${index}`), going)),
        })),
      );
      assert.equal(new Set(versions.map((each) => each.version)).size, versions.length);
      const found = await vault.read("app/busy", going);
      const last = versions.find((each) => each.version === found?.version);
      assert.equal(found?.value.use(String), last?.value, "a version is the value that was written as it");
      await write("app/busy", Secret.of("afterwards"), going);
      assert.equal((await vault.read("app/busy", going))?.value.use(String), "afterwards");
    });

    check("removes all of a secret, once", async (vault, plant) => {
      if (!vault.remove) return;
      await plant("app/token", "value");
      assert.equal(await vault.remove("app/token", going), true);
      assert.equal(await vault.read("app/token", going), undefined);
      assert.deepEqual(await collect(vault, "app/"), []);
      assert.equal(await vault.remove("app/token", going), false);
    });
  });
}

const canary = "canary-7f3a91-never-shown";
const going = new AbortController().signal;

function writer(vault: Vault): NonNullable<Vault["write"]> {
  return (secret, value, signal) => {
    if (!vault.write) throw new Error("a vault that cannot write needs `plant`");
    return vault.write(secret, value, signal);
  };
}

type Listed = Vault["list"] extends (...parts: never[]) => AsyncIterable<infer Item> ? Item : never;

async function collect(vault: Vault, prefix: string, signal = going): Promise<readonly Listed[]> {
  const found: Listed[] = [];
  for await (const item of vault.list(prefix, signal)) found.push(item);
  return found.toSorted((a, b) => (a.secret < b.secret ? -1 : 1));
}

/** All that a logger could make of it: causes, own and hidden properties, buffers as text. */
function everything(value: unknown): string {
  const seen = inspect(value, { depth: Infinity, showHidden: true, maxArrayLength: null, maxStringLength: null });
  const chain = value instanceof Error ? `${String(value)}\n${value.stack ?? ""}\n${everything(value.cause)}` : "";
  return `${seen}\n${JSON.stringify(value)}\n${chain}`;
}
