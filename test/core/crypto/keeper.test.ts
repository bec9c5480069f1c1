import { createHmac, createSecretKey, hkdfSync } from "node:crypto";
import { rmSync } from "node:fs";
import { join } from "node:path";
import * as fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { isLeaseId } from "../../../src/core/brand.ts";
import type { LeaseId } from "../../../src/core/brand.ts";
import type { Keeper, Material } from "../../../src/core/ports.ts";
import { Secret } from "../../../src/core/secret.ts";
import { createKeeper } from "../../../src/crypto/keeper.ts";
import { createSealFile } from "../../../src/crypto/key-file.ts";
import type { Seal } from "../../../src/crypto/seal.ts";
import { openSeal } from "../../../src/crypto/seal.ts";
import type { Stores } from "./stores.ts";
import { openStores, temporaryFolder } from "./stores.ts";

let folder: string;
let stores: Stores;
let seal: Seal;
let keeper: Keeper;
let clock = 1_000;
const limits = { records: 100_000, settle: 0 };
const digestKey = createSecretKey(Buffer.alloc(32, 5));
const openAgain = (records = limits.records): Promise<Seal> =>
  openSeal({
    config: { type: "file", path: join(folder, "seal.key") },
    store: stores.dataKeys,
    now: () => clock,
    env: {},
    limits: { records, settle: 0 },
  });

beforeEach(async () => {
  folder = temporaryFolder();
  stores = openStores();
  await createSealFile(join(folder, "seal.key"));
  seal = await openAgain();
  keeper = createKeeper({ seal, digestKey, canonical: JSON.stringify });
});
afterEach(() => {
  stores.db.close();
  rmSync(folder, { recursive: true });
});

function lease(text: string): LeaseId {
  const id = text.padEnd(26, "0");
  if (!isLeaseId(id)) throw new Error(`${id} is no lease id`);
  return id;
}

const shown = (material: Material): unknown =>
  Object.entries(material.fields).map(([name, value]) =>
    value instanceof Secret ? [name, "secret", value.use((bytes) => bytes.toString("hex"))] : [name, value],
  );

describe("the keeper", () => {
  it("gives back the material of a lease, with what is secret still secret", () => {
    const value = fc.oneof(
      fc.string({ unit: "grapheme" }),
      fc.uint8Array().map((bytes) => Secret.of(bytes)),
    );
    const name = fc.oneof(fc.string({ unit: "grapheme" }), fc.constantFrom("__proto__", "constructor", "toString"));
    fc.assert(
      fc.property(fc.array(fc.tuple(name, value), { maxLength: 6 }), (entries) => {
        const material = { fields: Object.fromEntries(entries) };
        const sealed = keeper.seal(lease("1"), material);
        expect(shown(keeper.open(lease("1"), sealed))).toEqual(shown(material));
      }),
    );
  });

  it("binds the material to its lease, and says no more than that the vault is unavailable", () => {
    const sealed = keeper.seal(lease("1"), { fields: { username: "lh_1", password: Secret.of("canary") } });
    expect(Buffer.from(sealed).includes("lh_1") || Buffer.from(sealed).includes("canary")).toBe(false);
    const forged = [...Array.from(sealed, (byte, at) => sealed.with(at, byte ^ 128)), sealed.subarray(1), new Uint8Array()];
    for (const bytes of forged)
      expect(() => keeper.open(lease("1"), bytes)).toThrow(expect.objectContaining({ code: "vault_unavailable" }));
    expect(() => keeper.open(lease("2"), sealed)).toThrow(expect.objectContaining({ code: "vault_unavailable" }));
  });

  it("opens at the second try what another process sealed with a data key that is new here", async () => {
    const other = await openAgain(1);
    other.encrypt({ purpose: "secret", name: "x", version: 1 }, Buffer.from("x"));
    await other.refresh();
    clock += 10;
    const sealed = createKeeper({ seal: other, digestKey, canonical: JSON.stringify }).seal(lease("1"), { fields: { a: "b" } });
    expect(() => keeper.open(lease("1"), sealed)).toThrow(expect.objectContaining({ code: "vault_unavailable" }));
    await vi.waitFor(() => expect(keeper.open(lease("1"), sealed)).toEqual({ fields: { a: "b" } }));
  });

  it("makes digests that match equal values and no others, and differ under another key", () => {
    expect(keeper.digest("value")).toMatch(/^hmac:[A-Za-z0-9_-]{43}$/);
    expect(keeper.digest("value")).toBe(keeper.digest(Secret.of("value")));
    expect(keeper.digest({ a: 1 })).toBe(keeper.digest({ a: 1 }));
    expect(keeper.digest({ a: 1 })).not.toBe(keeper.digest('{"a":1}'));
    expect(keeper.digest("value")).not.toBe(keeper.digest("value "));
    const other = createKeeper({ seal, digestKey: createSecretKey(Buffer.alloc(32, 6)), canonical: JSON.stringify });
    expect(other.digest("value")).not.toBe(keeper.digest("value"));
    // Fixed for ever: a change would cut the audit log in two.
    const key = Buffer.from(hkdfSync("sha256", Buffer.alloc(32, 5), "", "leasehold digest: value", 32));
    expect(keeper.digest("value")).toBe(`hmac:${createHmac("sha256", key).update("value").digest("base64url")}`);
  });
});
