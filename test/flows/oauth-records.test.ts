import { randomBytes } from "node:crypto";
import { mkdtemp, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { logFormat } from "../../src/audit/format.ts";
import type { AuditEvent } from "../../src/core/event.ts";
import { createSealFile } from "../../src/crypto/key-file.ts";
import type { Seal } from "../../src/crypto/seal.ts";
import { openSeal } from "../../src/crypto/seal.ts";
import { createSealedJson } from "../../src/crypto/sealed-json.ts";
import { createLogRows } from "../../src/store/audit-log.ts";
import type { Journal } from "../../src/store/journal.ts";
import { createJournal } from "../../src/store/journal.ts";
import { createDataKeyStore } from "../../src/store/keys.ts";
import type { OAuthRecords } from "../../src/store/oauth-records.ts";
import { createOAuthRecords } from "../../src/store/oauth-records.ts";
import type { Database } from "../../src/store/sqlite.ts";
import { openSqlite } from "../../src/store/sqlite.ts";
import { removeFolder } from "./house.ts";

const minute = 60_000;
let folder: string;
let time: number;
let database: Database;
let journal: Journal;
let seal: Seal;
let records: OAuthRecords;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "leasehold-records-"));
  time = Date.now();
  database = await openSqlite(join(folder, "leasehold.db"), () => time);
  journal = createJournal(database, logFormat, () => time);
  await createSealFile(join(folder, "master.key"));
  const config = { type: "file", path: join(folder, "master.key") } as const;
  seal = await openSeal({ config, env: {}, store: createDataKeyStore(database, journal), now: () => time });
  records = createOAuthRecords({ database, journal, sealed: createSealedJson(seal), now: () => time });
});
afterEach(async () => {
  seal.close();
  await journal.drain();
  await database.close();
  await removeFolder(folder);
});

const newId = () => randomBytes(32).toString("base64url");
const revoked = (session: string): AuditEvent => ({ kind: "token.revoked", actor: { type: "broker" }, session });
const sizeOfLog = async () => (await createLogRows(database, journal).head())?.length;

/** A grant with a code and a refresh token of it. */
async function signIn(client = "app", account = "ada") {
  const [grant, code, refresh] = [newId(), newId(), newId()];
  const facts = { grant, client, account };
  await records.put("Grant", grant, { iat: 1.5, clientId: client }, facts);
  await records.put("AuthorizationCode", code, { grantId: grant, what: "code" }, { ...facts, expiresAt: time + minute });
  await records.put("RefreshToken", refresh, { grantId: grant, what: "refresh" }, { ...facts, expiresAt: time + 30 * minute });
  return { grant, code, refresh };
}

describe("records of the authorization server", () => {
  it("are what was put there, by model and id, and by a second id", async () => {
    const { grant, code } = await signIn();
    expect(await records.find("AuthorizationCode", code)).toEqual({ grantId: grant, what: "code" });
    expect(await records.find("RefreshToken", code)).toBeUndefined();
    expect(await records.find("AuthorizationCode", `${code}x`)).toBeUndefined();
    await records.put("DeviceCode", "d", { step: 1 }, { lookup: "ABCD-EFGH" });
    expect(await records.findByLookup("DeviceCode", "ABCD-EFGH")).toEqual({ step: 1 });
    expect(await records.findByLookup("Session", "ABCD-EFGH")).toBeUndefined();
    await records.put("DeviceCode", "d", { step: 2 }, { lookup: "ABCD-EFGH" });
    expect(await records.find("DeviceCode", "d")).toEqual({ step: 2 });
    await records.update("DeviceCode", "gone", { step: 3 }, {});
    expect(await records.find("DeviceCode", "gone")).toBeUndefined();
    await records.remove("DeviceCode", "d");
    expect(await records.findByLookup("DeviceCode", "ABCD-EFGH")).toBeUndefined();
  });

  it("P-5 a copy of the database holds nothing to come in with", async () => {
    const { code, refresh } = await signIn();
    await records.put("DeviceCode", "the-device-code", { secret: "canary-in-payload" }, { lookup: "USER-CODE" });
    await journal.drain();
    const files = await Promise.all(
      ["leasehold.db", "leasehold.db-wal"].map((name) => readFile(join(folder, name)).catch(() => Buffer.alloc(0))),
    );
    const bytes = Buffer.concat(files).toString("latin1");
    expect(bytes).toContain("RefreshToken");
    for (const secret of [code, refresh, "the-device-code", "USER-CODE", "canary-in-payload"]) expect(bytes).not.toContain(secret);
  });

  it("a payload that is moved to another record does not open", async () => {
    const [one, other] = [await signIn("app"), await signIn("rival")];
    const rows = await database.read.selectFrom("oauth_records").selectAll().where("model", "=", "RefreshToken").execute();
    const [a, b] = rows;
    if (!a || !b) throw new Error("no rows");
    await journal.write(async (tx) => {
      await tx
        .updateTable("oauth_records")
        .set({ sealed: a.sealed })
        .where("model", "=", "RefreshToken")
        .where("digest", "=", b.digest)
        .execute();
      return { result: undefined, events: [] };
    });
    const found = await Promise.allSettled([one, other].map(({ refresh }) => records.find("RefreshToken", refresh)));
    expect(found.map(({ status }) => status).toSorted()).toEqual(["fulfilled", "rejected"]);
  });

  it("OA-08 of a hundred that use one up at once, one succeeds, and it stays used", async () => {
    const { code, grant } = await signIn();
    const outcomes = await Promise.all(Array.from({ length: 100 }, () => records.consume("AuthorizationCode", code)));
    expect(outcomes.filter(Boolean)).toHaveLength(1);
    expect(await records.find("AuthorizationCode", code)).toMatchObject({ consumed: Math.floor(time / 1000) });
    await records.put("AuthorizationCode", code, { grantId: grant, what: "again" }, { grant });
    expect(await records.consume("AuthorizationCode", code)).toBe(false);
    expect(await records.consume("AuthorizationCode", "unknown")).toBe(false);
    await records.release("AuthorizationCode", code);
    expect([await records.consume("AuthorizationCode", code), await records.consume("AuthorizationCode", code)]).toEqual([true, false]);
    await records.endGrant(grant, revoked(grant));
    await records.release("AuthorizationCode", code);
    expect(await records.find("AuthorizationCode", code)).toBeUndefined();
  });

  it("what is good once is claimed by one, and its claim holds for as long as it says", async () => {
    const until = time + minute;
    const outcomes = await Promise.all(Array.from({ length: 100 }, () => records.claim("ReplayDetection", "jti", until, { iss: "app" })));
    expect(outcomes.filter(Boolean)).toHaveLength(1);
    expect(await records.find("ReplayDetection", "jti")).toEqual({ iss: "app" });
    time = until;
    await records.prune();
    expect(await records.claim("ReplayDetection", "jti", until)).toBe(false);
    expect(await records.claim("Assertion", "jti", until)).toBe(true);
  });

  it("a grant that ends takes all of it along, is written down once, and nothing can be added to it", async () => {
    const [mine, other] = [await signIn("app", "ada"), await signIn("app", "bob")];
    const before = await sizeOfLog();
    const ended = await Promise.all([mine, mine, mine].map(({ grant }) => records.endGrant(grant, revoked(grant))));
    expect(ended.filter(Boolean)).toHaveLength(1);
    expect(await sizeOfLog()).not.toBe(before);
    for (const [model, id] of [
      ["Grant", mine.grant],
      ["AuthorizationCode", mine.code],
      ["RefreshToken", mine.refresh],
    ] as const)
      expect(await records.find(model, id)).toBeUndefined();
    await records.put("RefreshToken", "late", { grantId: mine.grant }, { grant: mine.grant });
    expect(await records.find("RefreshToken", "late")).toBeUndefined();
    expect(await records.find("RefreshToken", other.refresh)).toBeDefined();
    const logged = await sizeOfLog();
    expect(await records.endGrant(mine.grant, revoked(mine.grant))).toBe(false);
    expect(await sizeOfLog()).toBe(logged);
  });

  it("a refresh token that is being made while its grant ends is not kept, in whichever order", async () => {
    for (let round = 0; round < 20; round++) {
      const { grant } = await signIn();
      const late = newId();
      const put = () => records.put("RefreshToken", late, { grantId: grant }, { grant });
      const end = () => records.endGrant(grant, revoked(grant));
      await Promise.all(round % 2 === 0 ? [put(), end()] : [end(), put()]);
      expect(await records.find("RefreshToken", late)).toBeUndefined();
    }
  });

  it("grants are found by client and by account", async () => {
    const [a, b, c] = [await signIn("app", "ada"), await signIn("app", "bob"), await signIn("rival", "ada")];
    expect((await records.grants({ client: "app" })).toSorted()).toEqual([a.grant, b.grant].toSorted());
    expect((await records.grants({ account: "ada" })).toSorted()).toEqual([a.grant, c.grant].toSorted());
    expect(await records.grants({ account: "nobody" })).toEqual([]);
  });

  it("what expired or was used long ago is forgotten, and nothing else is", async () => {
    const { code, refresh, grant } = await signIn();
    await records.consume("RefreshToken", refresh);
    await records.put("Session", "browser", {}, { account: "ada" });
    const known = async () => [
      (await records.find("AuthorizationCode", code)) !== undefined,
      (await records.find("RefreshToken", refresh)) !== undefined,
      (await records.find("Grant", grant)) !== undefined,
      (await records.find("Session", "browser")) !== undefined,
    ];
    time += 5 * minute;
    await records.prune();
    expect(await known()).toEqual([true, true, true, true]);
    time += 10 * minute;
    await records.prune();
    expect(await known()).toEqual([false, true, true, true]);
    time += 8 * 24 * 60 * minute;
    await records.prune();
    expect(await known()).toEqual([false, false, true, true]);
    await records.removeOfAccount("Session", "ada");
    expect(await known()).toEqual([false, false, true, false]);
  });

  it("pages through all of them for a new seal, and replaces only what nobody changed meanwhile", async () => {
    for (let at = 0; at < 7; at++) await signIn(`client-${at}`);
    const sealed = records.sealedRecords();
    const seen: string[] = [];
    let after: string | undefined;
    for (;;) {
      const page = await sealed.page(after, 4);
      seen.push(...page.map(({ cursor }) => cursor));
      after = page.at(-1)?.cursor;
      if (page.length < 4) break;
    }
    expect([seen.length, new Set(seen).size]).toEqual([21, 21]);
    const [first] = await sealed.page(undefined, 1);
    if (!first) throw new Error("no record");
    expect(await sealed.replace(first, first.sealed)).toBe(true);
    expect(await sealed.replace({ ...first, sealed: Buffer.from("other") }, first.sealed)).toBe(false);
  });
});
