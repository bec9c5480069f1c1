import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { createLocalJWKSet, createRemoteJWKSet, decodeProtectedHeader, jwtVerify } from "jose";
import type { JSONWebKeySet } from "jose";
import { pino } from "pino";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { compose } from "../../src/compose.ts";
import type { House } from "../../src/compose.ts";
import type { AuthorizationHouse, Fields } from "./authorization-house.ts";
import { basic, claimsIn, openAuthorizationHouse, rawRequest, redirect, tokensOf } from "./authorization-house.ts";
import { freePort } from "./documents.ts";
import { operator } from "./oauth-house.ts";
import type { Person } from "./person.ts";

const minute = 60_000;
const day = 24 * 60 * minute;
const kidOf = (token: string): string => decodeProtectedHeader(token).kid ?? "";

/** Another broker process on the same store, behind the same public URL. */
async function openSecond(first: House) {
  const port = await freePort();
  const config = { ...first.config, server: { ...first.config.server, listen: { host: "127.0.0.1", port } } };
  const house = await compose({ config, logger: pino({ level: "silent" }) });
  const ending = new AbortController();
  const listening = Promise.withResolvers<unknown>();
  const serving = house.serve(ending.signal, listening.resolve);
  await Promise.race([listening.promise, serving]);
  const { host } = new URL(config.server.publicUrl);
  return {
    house,
    async token(fields: Fields, headers: Fields = {}) {
      const type = { host, "content-type": "application/x-www-form-urlencoded" };
      const body = new URLSearchParams(fields).toString();
      const { status, text } = await rawRequest(port, "/oauth/token", { method: "POST", headers: { ...type, ...headers }, body });
      return { status, body: JSON.parse(text) as Record<string, unknown> };
    },
    async jwks() {
      return JSON.parse((await rawRequest(port, "/oauth/jwks", { headers: { host } })).text) as JSONWebKeySet;
    },
    async call(token: string) {
      const headers = {
        host,
        authorization: `Bearer ${token}`,
        "content-type": "application/json",
        accept: "application/json, text/event-stream",
      };
      const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/call", params: { name: "whoami", arguments: {} } });
      return (await rawRequest(port, "/mcp", { method: "POST", headers, body })).status;
    },
    async close() {
      ending.abort();
      await serving;
      await house.close();
    },
  };
}

describe("keys that take turns, while the broker serves", () => {
  let house: AuthorizationHouse;
  let second: Awaited<ReturnType<typeof openSecond>>;
  const real = Date.now();
  beforeAll(async () => {
    vi.useFakeTimers({ toFake: ["Date"], now: real, shouldAdvanceTime: true });
    house = await openAuthorizationHouse();
    second = await openSecond(house.house);
  });
  afterAll(async () => {
    await second.close();
    await house.close();
    vi.useRealTimers();
  });

  const jwks = async () => JSON.parse((await house.get("/oauth/jwks")).text) as JSONWebKeySet;
  const kids = async () => (await jwks()).keys.map(({ kid }) => kid);
  const mint = async () => tokensOf((await house.credentials()).body).access_token;
  const rotateAll = async () => {
    await house.house.tokenKeys.rotate();
    await second.house.tokenKeys.rotate();
  };

  it("the next key is in the JWKS before it signs; what the last one signed is good until it expires; then it is gone", async () => {
    const first = kidOf(await mint());
    expect(await kids()).toEqual([first]);
    expect(JSON.stringify(await jwks())).not.toMatch(/"(?:d|p|q|k)":/);

    vi.setSystemTime(real + 30 * day - 9 * minute);
    const [busy] = await Promise.all([Promise.all(Array.from({ length: 20 }, () => house.credentials())), rotateAll()]);
    expect(busy.map(({ status }) => status)).toEqual(Array.from({ length: 20 }, () => 200));
    const known = await jwks();
    const [, next = ""] = await kids();
    expect(await kids()).toEqual([first, next]);
    expect(kidOf(await mint())).toBe(first);
    expect((await second.jwks()).keys.map(({ kid }) => kid)).toEqual([first, next]);
    expect((await house.eventsOf("key.rotated")).map(({ key }) => key)).toEqual([next]);

    vi.setSystemTime(real + 30 * day + 2 * minute);
    const [before, answers] = [await mint(), await Promise.all(Array.from({ length: 20 }, () => house.credentials()))];
    expect(new Set([before, ...answers.map(({ body }) => tokensOf(body).access_token)].map(kidOf))).toEqual(new Set([next]));
    // Whoever read the set before knows the key by now.
    expect((await jwtVerify(before, createLocalJWKSet(known), { issuer: house.url, audience: house.mcp })).payload.sub).toBe("svc");
    expect([(await house.call(before)).status, await second.call(before)]).toEqual([200, 200]);
    const other = tokensOf((await second.token({ grant_type: "client_credentials" }, { authorization: basic("svc") })).body).access_token;
    expect([kidOf(other), (await house.call(other)).status]).toEqual([next, 200]);

    vi.setSystemTime(real + 30 * day + 2 * 60 * minute);
    await rotateAll();
    expect(await kids()).toEqual([next]);
    expect((await second.jwks()).keys.map(({ kid }) => kid)).toEqual([next]);
    expect(house.house.tokenKeys.find(first)).toBeUndefined();
    expect(kidOf(await mint())).toBe(next);
  });

  it("a token of the last key is good as long as it would have been", async () => {
    vi.setSystemTime(real + 100 * day);
    await rotateAll();
    vi.setSystemTime(real + 100 * day + 9 * minute + 50_000);
    const token = await mint();
    vi.setSystemTime(real + 100 * day + 15 * minute);
    await rotateAll();
    expect(kidOf(await mint())).not.toBe(kidOf(token));
    expect([(await house.call(token)).status, await second.call(token)]).toEqual([200, 200]);
    vi.setSystemTime(real + 100 * day + 21 * minute);
    expect((await house.call(token)).status).toBe(401);
  });

  it("id tokens are signed with the key that access tokens are, and it is in the set", async () => {
    vi.setSystemTime(real + 200 * day);
    await rotateAll();
    await mint();
    vi.setSystemTime(real + 200 * day + 11 * minute);
    const person = await house.person("ida");
    const given = await house.codeFor(person, "app", { scope: "openid use:http" });
    const { body } = await house.redeem(given);
    const { id_token: id } = body;
    expect(kidOf(String(id))).toBe(kidOf(tokensOf(body).access_token));
    const set = createRemoteJWKSet(new URL(`${house.url}/oauth/jwks`));
    expect((await jwtVerify(String(id), set, { issuer: house.url })).payload.aud).toBe("app");
  });
});

describe("two brokers on one store", () => {
  let house: AuthorizationHouse;
  let second: Awaited<ReturnType<typeof openSecond>>;
  let ada: Person;
  beforeAll(async () => {
    house = await openAuthorizationHouse();
    second = await openSecond(house.house);
    ada = await house.person();
  });
  afterAll(async () => {
    await second.close();
    await house.close();
  });

  it("a code of one is redeemed at the other, once in all, and what comes of it is good at both", async () => {
    const given = await house.codeFor(ada);
    const fields = {
      grant_type: "authorization_code",
      code: given.code,
      code_verifier: given.verifier,
      redirect_uri: redirect,
      client_id: "app",
    };
    const tokens = tokensOf((await second.token(fields)).body);
    expect([(await house.call(tokens.access_token)).status, await second.call(tokens.access_token)]).toEqual([200, 200]);
    const next = tokensOf((await house.refresh(tokens.refresh_token)).body);
    const again = await second.token({ grant_type: "refresh_token", refresh_token: next.refresh_token, client_id: "app" });
    expect(again.status).toBe(200);
    expect((await house.redeem(given)).body["error"]).toBe("invalid_grant");
    expect([(await house.call(next.access_token)).status, await second.call(tokensOf(again.body).access_token)]).toEqual([401, 401]);
    expect((await house.eventsOf("token.replayed")).map(({ what }) => what)).toEqual(["code"]);
  });

  it("OA-08 of twenty at each, one gets tokens", async () => {
    const given = await house.codeFor(ada);
    const fields = {
      grant_type: "authorization_code",
      code: given.code,
      code_verifier: given.verifier,
      redirect_uri: redirect,
      client_id: "app",
    };
    const both = Array.from({ length: 40 }, (_, at) => (at % 2 === 0 ? house.redeem(given) : second.token(fields)));
    expect((await Promise.all(both)).filter(({ status }) => status === 200)).toHaveLength(1);
  });

  it("what is ended at one is dead at the other, at the next call", async () => {
    const tokens = await house.signIn(ada);
    expect(await second.call(tokens.access_token)).toBe(200);
    await second.house.signIns.end(String(claimsIn(tokens.access_token)["sid"]), operator);
    expect((await house.call(tokens.access_token)).status).toBe(401);
    expect((await house.refresh(tokens.refresh_token)).body["error"]).toBe("invalid_grant");
  });
});

describe("a new master key", () => {
  it("carries codes, refresh tokens, clients and authenticator apps along, and nothing is left under the old one", async () => {
    const house = await openAuthorizationHouse();
    const olga = await house.person("olga", "operator");
    const [tokens, given] = [await house.signIn(olga), await house.codeFor(olga)];
    const sealed = () => {
      const store = new DatabaseSync(join(house.folder, "data", "leasehold.db"), { readOnly: true });
      const tables = { oauth_records: "sealed", clients: "sealed", signing_keys: "sealed", users: "totp" };
      const all = Object.entries(tables).flatMap(([table, column]) =>
        store
          .prepare(`SELECT ${column} AS sealed FROM ${table} WHERE ${column} IS NOT NULL`)
          .all()
          .map((row) => [table, Buffer.from(row["sealed"] as Uint8Array).toString("hex")]),
      );
      store.close();
      return all;
    };
    const before = sealed();
    let moved = 0;
    for await (const step of house.house.rotateSeal()) if (step.step === "resealed") moved += step.records;
    expect(moved).toBeGreaterThanOrEqual(before.length);
    const after = sealed();
    expect(after.length).toBe(before.length);
    expect(after.filter(([, bytes]) => before.some(([, old]) => old === bytes))).toEqual([]);

    expect((await house.redeem(given)).status).toBe(200);
    const next = await house.refresh(tokens.refresh_token);
    expect(next.status).toBe(200);
    expect((await house.credentials()).status).toBe(200);
    // Another process, that has only what is on disk.
    const second = await openSecond(house.house);
    const again = await second.token({ grant_type: "refresh_token", refresh_token: tokensOf(next.body).refresh_token, client_id: "app" });
    expect(again.status).toBe(200);
    expect((await second.token({ grant_type: "client_credentials" }, { authorization: basic("svc") })).status).toBe(200);
    await second.close();
    await house.signIn(olga, "app", { prompt: "login consent" });
    await house.close();
  });
});
