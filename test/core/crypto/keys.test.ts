import { sign, verify } from "node:crypto";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createSealFile } from "../../../src/crypto/key-file.ts";
import type { KeyKind } from "../../../src/crypto/keys.ts";
import { loadOrCreateKey } from "../../../src/crypto/keys.ts";
import type { Seal } from "../../../src/crypto/seal.ts";
import { openSeal } from "../../../src/crypto/seal.ts";
import type { Stores } from "./stores.ts";
import { openStores, temporaryFolder } from "./stores.ts";

let folder: string;
let stores: Stores;
let seal: Seal;

beforeEach(async () => {
  folder = temporaryFolder();
  stores = openStores();
  const path = join(folder, "seal.key");
  await createSealFile(path);
  seal = await openSeal({ config: { type: "file", path }, store: stores.dataKeys, now: () => 1, env: {} });
});
afterEach(() => {
  stores.db.close();
  rmSync(folder, { recursive: true });
});

const key = <Kind extends KeyKind>(name: string, kind: Kind) => loadOrCreateKey({ rows: stores.keys, seal, name, kind });
const data = Buffer.from("checkpoint");

describe("the broker's own keys", () => {
  it("are made once and sign the same ever after, also when two processes start together", async () => {
    const [a, b] = await Promise.all([key("audit", "ed25519"), key("audit", "ed25519")]);
    expect(verify(null, data, b.publicKey, sign(null, data, a.privateKey))).toBe(true);

    const [c, d] = await Promise.all([key("tokens", "es256"), key("tokens", "es256")]);
    const signature = sign("sha256", data, { key: c.privateKey, dsaEncoding: "ieee-p1363" });
    expect(verify("sha256", data, { key: d.publicKey, dsaEncoding: "ieee-p1363" }, signature)).toBe(true);

    const [e, f] = await Promise.all([key("digest", "hmac"), key("digest", "hmac")]);
    expect(e.secret.equals(f.secret)).toBe(true);
    expect(e.secret.symmetricKeySize).toBe(32);
    expect(await stores.keys.all()).toHaveLength(3);
  });

  it("are not used under another name or kind, nor with another's public half", async () => {
    await key("audit", "ed25519");
    await key("other", "ed25519");
    await key("tokens", "es256");
    const sentence = /^The broker's key "audit" in the store was altered\. Restore the database from your backup\.$/;
    await expect(key("audit", "es256")).rejects.toThrow(sentence);

    const set = (column: string, from: string) =>
      stores.db.exec(`update keys set ${column} = (select ${column} from keys where name = '${from}') where name = 'audit'`);
    const saved = await stores.keys.get("audit");
    if (!saved) throw new Error("no key");
    const restore = () => stores.db.prepare("update keys set sealed = ?, public_key = ?, kind = ? where name = 'audit'");
    for (const [column, from] of [
      ["sealed", "other"],
      ["sealed", "tokens"],
      ["public_key", "other"],
    ] as const) {
      set(column, from);
      await expect(key("audit", "ed25519"), `${column} of ${from}`).rejects.toThrow(sentence);
      restore().run(saved.sealed, saved.publicKey, saved.kind);
    }
    stores.db.exec("update keys set kind = 'hmac' where name = 'audit'");
    await expect(key("audit", "hmac")).rejects.toThrow(sentence);
    restore().run(saved.sealed, null, saved.kind);
    await expect(key("audit", "ed25519")).rejects.toThrow(sentence);
    restore().run(saved.sealed, saved.publicKey, saved.kind);
    await key("audit", "ed25519");
  });
});
