import { chmodSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { SetupError } from "../../../src/core/setup-error.ts";
import { Secret } from "../../../src/core/secret.ts";
import { secretContext } from "../../../src/crypto/context.ts";
import { createSealFile } from "../../../src/crypto/key-file.ts";
import { openSeal } from "../../../src/crypto/seal.ts";
import type { Stores } from "./stores.ts";
import { openStores, temporaryFolder } from "./stores.ts";

let folder: string;
let path: string;
let stores: Stores;

beforeEach(() => {
  folder = temporaryFolder();
  path = join(folder, "seal.key");
  stores = openStores();
});
afterEach(() => {
  stores.db.close();
  rmSync(folder, { recursive: true });
});

const open = (file = path) => openSeal({ config: { type: "file", path: file }, store: stores.dataKeys, now: () => 1_000, env: {} });

async function sentence(work: Promise<unknown>): Promise<string> {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof SetupError)) throw new Error("expected a SetupError", { cause: error });
  return error.message.replaceAll(folder, "…");
}

describe("the seal's key file", () => {
  it("is made once, for its owner alone, and opens the store again and again", async () => {
    const { id } = await createSealFile(path);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readFileSync(path, "utf8")).toMatch(/^leasehold-seal-key v1 [0-9a-f]{32}\n[A-Za-z0-9_-]{43}\n$/);

    const first = await open();
    expect(first.key).toBe(id);
    const sealed = first.encrypt(secretContext("a", 1), Secret.of("value"));
    const second = await open();
    expect(second.decrypt(secretContext("a", 1), sealed).use(String)).toBe("value");
    expect(await stores.dataKeys.list()).toHaveLength(1);
    expect(readdirSync(folder)).toEqual(["seal.key"]);
  });

  it("is never overwritten", async () => {
    await createSealFile(path);
    const before = readFileSync(path, "utf8");
    expect(await sentence(createSealFile(path))).toBe(
      "…/seal.key: there is a file already. Keep it: it may be the only key to your secrets.",
    );
    expect(readFileSync(path, "utf8")).toBe(before);
  });

  it("that is missing is told, and nothing is made in its place", async () => {
    expect(await sentence(open())).toBe(
      "…/seal.key: there is no seal key here. Put it back from your backup; for a new installation run: leasehold init",
    );
    expect(readdirSync(folder)).toEqual([]);
    expect(await stores.dataKeys.list()).toEqual([]);
  });

  it.each([0o640, 0o604, 0o660, 0o601])("that others have access to (mode %o) is refused, with the command that helps", async (mode) => {
    await createSealFile(path);
    chmodSync(path, mode);
    expect(await sentence(open())).toBe(
      `…/seal.key: others than its owner have access to it (mode 0${mode.toString(8)}). Run: chmod 600 …/seal.key`,
    );
    expect(await stores.dataKeys.list()).toEqual([]);
  });

  it("with a path that a shell would take apart is quoted in that command", async () => {
    const odd = join(folder, "it's $(here)");
    await createSealFile(odd);
    chmodSync(odd, 0o644);
    expect(await sentence(open(odd))).toContain(String.raw`Run: chmod 600 '…/it'\''s $(here)'`);
  });

  it.runIf(process.getuid?.() === 0)("that belongs to another user is refused", async () => {
    const { chownSync } = await import("node:fs");
    await createSealFile(path);
    chownSync(path, 12_345, 12_345);
    expect(await sentence(open())).toBe("…/seal.key: belongs to another user (uid 12345). Run: chown 0 …/seal.key");
  });

  it("that is a folder, empty, cut short, or something else is refused with its line", async () => {
    mkdirSync(join(folder, "dir"), { mode: 0o700 });
    expect(await sentence(open(join(folder, "dir")))).toBe("…/dir: is not a file. Name the file itself.");

    await createSealFile(path);
    const [head = "", key = ""] = readFileSync(path, "utf8").split("\n");
    const cases: [string, string][] = [
      ["", "…/seal.key:1: is not a Leasehold seal key"],
      ["-----BEGIN PRIVATE KEY-----\n", "…/seal.key:1: is not a Leasehold seal key"],
      [head.replace("v1", "v2"), "…/seal.key:1: is not a Leasehold seal key"],
      [head, "…/seal.key:2: the key is not 32 bytes of base64url"],
      [`${head}\n${key.slice(1)}\n`, "…/seal.key:2: the key is not 32 bytes of base64url"],
      [`${head}\n${key}\n${key}\n`, "…/seal.key:2: the key is not 32 bytes of base64url"],
      [`${head}\n${key.startsWith("A") ? "B" : "A"}${key.slice(1)}\n`, "…/seal.key:2: the key does not match its id, so it was changed"],
      ["x".repeat(5_000), "…/seal.key: is longer than 4096 bytes"],
    ];
    for (const [text, expected] of cases) {
      writeFileSync(path, text);
      const message = await sentence(open());
      expect(message.startsWith(expected), `${message} should start with ${expected}`).toBe(true);
      expect(message).not.toContain(key);
    }
    expect(await stores.dataKeys.list()).toEqual([]);
  });

  it("of another store is refused, and adds no key", async () => {
    const { id } = await createSealFile(path);
    (await open()).close();
    const other = join(folder, "other.key");
    await createSealFile(other);
    expect(await sentence(open(other))).toBe(
      `…/other.key: this key does not belong to this store. Put back the key file with the id ${id.slice(5)}, or restore the database that belongs to this one.`,
    );
    expect(await stores.dataKeys.list()).toHaveLength(1);
  });
});
