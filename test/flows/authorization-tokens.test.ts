import { generateKeyPairSync, randomUUID, sign } from "node:crypto";
import type { KeyObject } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { calculateJwkThumbprint, decodeProtectedHeader, exportJWK, SignJWT } from "jose";
import * as oauth from "oauth4webapi";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { AgentName } from "../../src/core/brand.ts";
import type { AuthorizationHouse, Fields } from "./authorization-house.ts";
import { basic, claimsIn, openAuthorizationHouse, redirect, tokensOf } from "./authorization-house.ts";
import type { Person } from "./person.ts";

const machine = generateKeyPairSync("ec", { namedCurve: "P-256" });
let house: AuthorizationHouse;
let ada: Person;
beforeAll(async () => {
  house = await openAuthorizationHouse({
    agents: `
  bound: { roles: [ticket-automation], redirectUris: ["${redirect}"], dpop: required }
  machine: { roles: [ticket-automation], jwks: keys.json }`,
    prepare: async (folder) => writeFile(join(folder, "keys.json"), JSON.stringify({ keys: [await exportJWK(machine.publicKey)] })),
  });
  ada = await house.person();
});
afterAll(() => house.close());

interface Key {
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
}
const newKey = (): Key => generateKeyPairSync("ec", { namedCurve: "P-256" });

/** A proof for the token endpoint (RFC 9449 section 4.2). */
async function proof(key: Key, claims: object = {}, header: object = {}): Promise<string> {
  const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const body = { jti: randomUUID(), htm: "POST", htu: `${house.url}/oauth/token`, iat: Math.floor(Date.now() / 1000), ...claims };
  const jwk = await exportJWK(key.publicKey);
  const signed = `${encode({ typ: "dpop+jwt", alg: "ES256", jwk, ...header })}.${encode(body)}`;
  return `${signed}.${sign("sha256", Buffer.from(signed), { key: key.privateKey, dsaEncoding: "ieee-p1363" }).toString("base64url")}`;
}

const thumbprintOf = async (key: Key): Promise<string> => calculateJwkThumbprint(await exportJWK(key.publicKey));

describe("access tokens", () => {
  it("RFC 9068 §2.2 carry iss, exp, aud, sub, client_id, iat and jti, ten minutes long, of the type at+jwt", async () => {
    const { access_token: own } = tokensOf((await house.credentials()).body);
    const { access_token: hers } = await house.signIn(ada);
    const account = (await house.house.users.byName("ada"))?.account;
    for (const [token, who] of [
      [own, { sub: "svc", client_id: "svc" }],
      [hers, { sub: `user:${account}`, client_id: "app", act: { sub: "app" }, sid: expect.any(String) }],
    ] as const) {
      expect(decodeProtectedHeader(token)).toMatchObject({ alg: "ES256", typ: "at+jwt", kid: expect.any(String) });
      const claims = claimsIn(token);
      expect(claims).toMatchObject({ iss: house.url, aud: house.mcp, jti: expect.stringMatching(/^.{20,}$/), ...who });
      expect(Number(claims["exp"]) - Number(claims["iat"])).toBeCloseTo(600, 3);
    }
    expect(claimsIn(own)).not.toHaveProperty("sid");
    expect(claimsIn(own)["jti"]).not.toBe(claimsIn(tokensOf((await house.credentials()).body).access_token)["jti"]);
  });

  it("a client with keys proves itself by private_key_jwt, each assertion once, also at the same moment", async () => {
    const discovered = await oauth.discoveryRequest(new URL(house.url), { algorithm: "oauth2", [oauth.allowInsecureRequests]: true });
    const server = await oauth.processDiscoveryResponse(new URL(house.url), discovered);
    const key = await crypto.subtle.importKey("jwk", await exportJWK(machine.privateKey), { name: "ECDSA", namedCurve: "P-256" }, false, [
      "sign",
    ]);
    const client = { client_id: "machine" };
    const options = { [oauth.allowInsecureRequests]: true } as const;
    const answer = await oauth.clientCredentialsGrantRequest(server, client, oauth.PrivateKeyJwt(key), new URLSearchParams(), options);
    const { access_token: token } = await oauth.processClientCredentialsResponse(server, client, answer);
    expect((await house.call(token)).status).toBe(200);

    const assertion = async (change: object = {}): Promise<Fields> => ({
      grant_type: "client_credentials",
      client_assertion_type: "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
      client_assertion: await new SignJWT({ iss: "machine", sub: "machine", aud: house.url, jti: randomUUID(), ...change })
        .setProtectedHeader({ alg: "ES256" })
        .setIssuedAt()
        .setExpirationTime("1m")
        .sign(machine.privateKey),
    });
    const once = await assertion();
    const answers = await Promise.all(Array.from({ length: 20 }, () => house.token(once)));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    expect((await house.token(once)).status).toBeGreaterThanOrEqual(400);
    for (const wrong of [{ sub: "svc" }, { iss: "svc" }, { aud: "https://elsewhere.example" }, { jti: undefined }])
      expect((await house.token(await assertion(wrong))).body["error"], JSON.stringify(wrong)).toBe("invalid_client");
  });

  it("are on record before they leave", async () => {
    const { access_token: token } = await house.signIn(ada);
    const store = new DatabaseSync(join(house.folder, "data", "leasehold.db"), { readOnly: true });
    const rows = store.prepare("SELECT bytes FROM audit_entries ORDER BY seq DESC LIMIT 5").all();
    store.close();
    const events = rows.map(({ bytes }) => JSON.parse(Buffer.from(bytes as Uint8Array).toString()) as { event: Record<string, unknown> });
    const account = (await house.house.users.byName("ada"))?.account;
    const { jti, sid, exp } = claimsIn(token);
    expect(events.map(({ event }) => event)).toContainEqual(
      expect.objectContaining({
        kind: "token.minted",
        agent: "app",
        client: "app",
        user: account,
        token: jti,
        session: sid,
        grant: "authorization_code",
        expiresAt: Math.round(Number(exp) * 1000),
      }),
    );
  });
});

describe("DPoP at the token endpoint", () => {
  it("RFC 9449 §5 OA-20 binds the token to the key, and the refresh token of a public client with it", async () => {
    const key = newKey();
    const jkt = await thumbprintOf(key);
    const given = await house.codeFor(ada);
    const { body } = await house.redeem(given, {}, { dpop: await proof(key) });
    const tokens = tokensOf(body);
    expect(body["token_type"]).toBe("DPoP");
    expect(claimsIn(tokens.access_token)["cnf"]).toEqual({ jkt });
    expect((await house.call(tokens.access_token)).status).toBe(401);
    for (const headers of [{}, { dpop: await proof(newKey()) }] as Fields[])
      expect((await house.refresh(tokens.refresh_token, {}, "app", headers)).body["error"]).toBe("invalid_grant");
    const again = await house.refresh(tokens.refresh_token, {}, "app", { dpop: await proof(key) });
    expect([again.status, again.body["token_type"]]).toEqual([200, "DPoP"]);
    expect(claimsIn(tokensOf(again.body).access_token)["cnf"]).toEqual({ jkt });
    const own = await house.credentials("svc", {}, { dpop: await proof(key) });
    expect([own.body["token_type"], claimsIn(tokensOf(own.body).access_token)["cnf"]]).toEqual(["DPoP", { jkt }]);
  });

  it("RFC 9449 §5 OA-20 a key that was named at the authorization endpoint is the only one", async () => {
    const [key, other] = [newKey(), newKey()];
    const given = await house.codeFor(ada, "app", { dpop_jkt: await thumbprintOf(key) });
    expect((await house.redeem(given, {}, { dpop: await proof(other) })).status).toBe(400);
    const second = await house.codeFor(ada, "app", { dpop_jkt: await thumbprintOf(key) });
    expect((await house.redeem(second)).status).toBe(400);
    const third = await house.codeFor(ada, "app", { dpop_jkt: await thumbprintOf(key) });
    expect((await house.redeem(third, {}, { dpop: await proof(key) })).status).toBe(200);
  });

  it("RFC 9449 §11.1 OA-20 takes a proof once, also of twenty at the same moment", async () => {
    const key = newKey();
    const dpop = await proof(key);
    const answers = await Promise.all(Array.from({ length: 20 }, () => house.credentials("svc", {}, { dpop })));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    expect((await house.credentials("svc", {}, { dpop })).status).toBe(400);
    expect((await house.credentials("svc", {}, { dpop: await proof(key) })).status).toBe(200);
  });

  const seconds = (ahead: number) => Math.floor(Date.now() / 1000) + ahead;
  it.each<[string, (key: Key) => Promise<string>]>([
    ["for another method", (key) => proof(key, { htm: "GET" })],
    ["for another URL", (key) => proof(key, { htu: `${house.url}/oauth/par` })],
    ["for another host", (key) => proof(key, { htu: "https://evil.example/oauth/token" })],
    ["without an id", (key) => proof(key, { jti: undefined })],
    ["from long ago", (key) => proof(key, { iat: seconds(-3600) })],
    ["from the future", (key) => proof(key, { iat: seconds(3600) })],
    ["of another type", (key) => proof(key, {}, { typ: "JWT" })],
    ["that nobody signed", (key) => proof(key, {}, { alg: "none" })],
    ["with a nonce that is not ours", (key) => proof(key, { nonce: "x".repeat(43) })],
    ["with the private half in it", async (key) => proof(key, {}, { jwk: await exportJWK(key.privateKey) })],
    ["signed by another key", async (key) => proof({ privateKey: newKey().privateKey, publicKey: key.publicKey })],
    ["that is none", async () => "a.b.c"],
  ])("RFC 9449 §4.3 OA-20 refuses a proof %s", async (_what, make) => {
    const { status, body } = await house.credentials("svc", {}, { dpop: await make(newKey()) });
    expect([status, body["error"]]).toEqual([400, expect.stringMatching(/^(?:invalid_dpop_proof|use_dpop_nonce)$/)]);
    expect(body).not.toHaveProperty("access_token");
  });

  it("is wanted of one client, where its configuration says so", async () => {
    const { code, verifier } = await house.codeFor(ada, "bound");
    const without = await house.redeem({ code, verifier }, { client_id: "bound" });
    expect([without.status, without.text.includes("access_token")]).toEqual([400, false]);
    const next = await house.codeFor(ada, "bound");
    expect((await house.redeem(next, { client_id: "bound" }, { dpop: await proof(newKey()) })).body["token_type"]).toBe("DPoP");
  });

  it("is wanted of everyone, where the configuration says so", async () => {
    const strict = await openAuthorizationHouse({ extra: "oauth: { requestsPerMinute: 100000, dpop: required }" });
    const without = await strict.credentials();
    expect([without.status, without.text.includes("access_token")]).toEqual([400, false]);
    const dpop = await proof(newKey(), { htu: `${strict.url}/oauth/token` });
    expect((await strict.credentials("svc", {}, { dpop })).body["token_type"]).toBe("DPoP");
    expect((await strict.eventsOf("token.minted")).map(({ agent }) => agent)).toEqual(["svc"]);
    await strict.close();
  });
});

describe("introspection", () => {
  const introspect = (token: string, client = "web", more: Fields = {}) =>
    house.send("/oauth/introspect", { token, ...more }, { authorization: basic(client) });
  const signInToWeb = async (person: Person) => {
    const given = await house.codeFor(person, "web");
    return tokensOf((await house.redeem(given, { client_id: "web" }, { authorization: basic("web") })).body);
  };

  it("RFC 7662 §2.2 OA-24 tells a client of its own tokens while they are good, and of nothing else", async () => {
    const tokens = await signInToWeb(ada);
    const { sub, jti } = claimsIn(tokens.access_token);
    expect((await introspect(tokens.access_token)).body).toMatchObject({
      active: true,
      sub,
      jti,
      client_id: "web",
      iss: house.url,
      aud: house.mcp,
    });
    expect((await introspect(tokens.refresh_token)).body).toMatchObject({ active: true, sub, client_id: "web" });
    const nothing = JSON.stringify({ active: false });
    const { access_token: others } = tokensOf((await house.credentials()).body);
    const [head, body] = tokens.access_token.split(".");
    for (const token of [others, "unknown", `${head}.${body}.${"A".repeat(86)}`, "a.b.c", "x".repeat(5000)])
      expect((await introspect(token)).text, token.slice(0, 20)).toBe(nothing);
    for (const token of [tokens.access_token, tokens.refresh_token]) expect((await introspect(token, "svc")).text).toBe(nothing);
    expect((await introspect(tokens.access_token, "web", { token_type_hint: "refresh_token" })).body["active"]).toBe(true);

    await house.house.signIns.end(String(claimsIn(tokens.access_token)["sid"]));
    for (const token of [tokens.access_token, tokens.refresh_token]) expect((await introspect(token)).text).toBe(nothing);
  });

  it("RFC 7662 §2.2 OA-24 a token whose right is gone is inactive, whatever it was that went", async () => {
    const { agents, revocations, users, operator } = house.house;
    const by = { type: "operator", name: "test" } as const;
    const bob = await house.person("bob");
    const account = (await users.byName("bob"))?.account ?? "";
    const ends: readonly ((session: string) => Promise<unknown>)[] = [
      (session) => revocations.revoke(session, Date.now() + 60_000),
      () => agents.change("web" as AgentName, "token.revoked", by),
      () => users.change(account, "user.sessions-ended", by),
      () => users.change(account, "user.frozen", by),
    ];
    for (const end of ends) {
      const { access_token: token, refresh_token: next } = await signInToWeb(bob);
      const active = async () => [(await introspect(token)).body["active"], (await introspect(next)).body["active"]];
      await operator.freeze("app" as AgentName, "test");
      expect(await active()).toEqual([true, true]);
      await operator.unfreeze("app" as AgentName, "test");
      await end(String(claimsIn(token)["sid"]));
      expect(await active(), String(end)).toEqual([false, false]);
    }
  });

  it("RFC 7662 §2.1 wants a client that authenticates itself", async () => {
    const { access_token: token } = await house.signIn(ada);
    for (const [fields, headers] of [
      [{}, {}],
      [{ client_id: "app" }, {}],
      [{}, { authorization: basic("svc", "wrong") }],
      [{}, { authorization: `Bearer ${token}` }],
    ] as const) {
      const { status, text } = await house.send("/oauth/introspect", { token, ...fields }, headers);
      expect(status).toBeGreaterThanOrEqual(400);
      expect(text).not.toContain("active");
    }
  });
});

describe("revocation", () => {
  it.each(["access_token", "refresh_token"] as const)(
    "RFC 7009 §2.1 OA-24 of its %s ends the sign-in, for its own client only",
    async (which) => {
      const tokens = await house.signIn(ada);
      for (const [fields, headers] of [
        [{ client_id: "rival" }, {}],
        [{}, { authorization: basic("svc") }],
      ] as const) {
        const other = await house.send("/oauth/revoke", { token: tokens[which], ...fields }, headers);
        expect([other.status, other.text]).toEqual([200, ""]);
      }
      expect((await house.send("/oauth/revoke", { token: tokens[which] })).status).toBeGreaterThanOrEqual(400);
      expect((await house.send("/oauth/revoke", { token: tokens[which] }, { authorization: basic("svc", "wrong") })).status).toBe(401);
      expect((await house.call(tokens.access_token)).status).toBe(200);

      const done = await house.send("/oauth/revoke", { token: tokens[which], client_id: "app" });
      expect([done.status, done.text]).toEqual([200, ""]);
      expect((await house.call(tokens.access_token)).status).toBe(401);
      expect((await house.refresh(tokens.refresh_token)).body["error"]).toBe("invalid_grant");
      expect((await house.eventsOf("token.revoked")).at(-1)).toMatchObject({
        client: "app",
        session: claimsIn(tokens.access_token)["sid"],
      });
      expect(await house.eventsOf("token.replayed")).toEqual([]);
    },
  );

  it("RFC 7009 §2.2 of what is unknown, or was revoked before, is a success", async () => {
    const own = tokensOf((await house.credentials()).body).access_token;
    for (const token of ["unknown", "a.b.c", own, own]) {
      const { status } = await house.send("/oauth/revoke", { token }, { authorization: basic("svc") });
      expect([token, status]).toEqual([token, 200]);
    }
    expect((await house.call(own)).status).toBe(401);
    const other = tokensOf((await house.credentials()).body).access_token;
    expect((await house.call(other)).status).toBe(200);
    expect((await house.send("/oauth/revoke", {}, { authorization: basic("svc") })).body["error"]).toBe("invalid_request");
  });
});
