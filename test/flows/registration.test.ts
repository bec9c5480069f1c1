import { writeFile } from "node:fs/promises";
import { createServer } from "node:https";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import { afterEach, describe, expect, it } from "vitest";
import type { AgentName } from "../../src/core/brand.ts";
import { createAddressRule } from "../../src/outbound/address.ts";
import { createGuardedFetch } from "../../src/outbound/fetch.ts";
import { certificateFor } from "./certificate.ts";
import type { HouseOptions, RegistrationHouse } from "./registration-house.ts";
import { openRegistrationHouse } from "./registration-house.ts";

let house: RegistrationHouse | undefined;
afterEach(async () => {
  await house?.close();
  house = undefined;
});

async function open(options?: HouseOptions): Promise<RegistrationHouse> {
  house = await openRegistrationHouse(options);
  return house;
}

const operator = { type: "operator", name: "test" } as const;
const web = { client_name: "Some agent", redirect_uris: ["https://app.example/callback"], token_endpoint_auth_method: "none" };

describe("registration", () => {
  it("RFC 7591 §3.2.1 a client becomes an agent without roles, and both are in the log", async () => {
    const { register, agents, clients, audit } = await open();
    const { status, body, headers } = await register(web);
    expect(status).toBe(201);
    expect(headers.get("cache-control")).toContain("no-store");
    expect(body).toMatchObject({
      client_name: "Some agent",
      redirect_uris: web.redirect_uris,
      grant_types: ["authorization_code", "refresh_token"],
      response_types: ["code"],
      token_endpoint_auth_method: "none",
      registration_access_token: expect.any(String),
    });
    expect(body).not.toHaveProperty("client_secret");
    const id = String(body["client_id"]);
    expect(id).toMatch(/^some-agent-[0-9a-z]{8}$/);
    expect(await agents.find(id as AgentName)).toMatchObject({ roles: [], registeredBy: "dcr" });
    expect(await clients.find(id)).toMatchObject({ agent: id, source: "dcr", name: "Some agent", vouched: false });
    expect(await audit()).toMatchObject([
      { kind: "agent.added", agent: id, actor: { type: "client", client: id, ip: "192.0.2.1" } },
      { kind: "client.registered", client: id, source: "dcr", name: "Some agent" },
    ]);
  });

  it.each([
    ["javascript:alert(1)"],
    ["data:text/html,<script>"],
    ["file:///etc/passwd"],
    ["vbscript:msgbox"],
    ["blob:https://app.example/1"],
    ["https://app.example/cb\r\nSet-Cookie: a=b"],
    ["https://app.example/cb%0d%0aLocation:"],
    ["http://app.example/callback"],
    ["http://127.0.0.1.evil.example/"],
    ["http://127.1/"],
    ["http://2130706433/"],
    ["https://*.example/callback"],
    ["https://app.example/callback#fragment"],
    ["https://app.example/#"],
    ["https://user@app.example/callback"],
    ["http://localhost@evil.example/"],
    ["https://app.example/..;/callback"],
    ["https://app.example/a/%2e%2e/callback"],
    ["https://app.example\\@evil.example/"],
    [" https://app.example/"],
    ["cursor://anysphere.cursor-mcp/oauth/callback/"],
    ["cursor://evil/oauth/callback"],
    ["com.example.app:/callback"],
    ["//app.example/callback"],
    ["https://app.exаmple/callback"],
    [42],
  ])("OA-02 RFC 7591 §3.2.2 refuses the redirect URI %j", async (uri) => {
    const { register, clients } = await open();
    const { status, body } = await register({ ...web, redirect_uris: ["https://app.example/callback", uri] });
    expect([status, body["error"]]).toEqual([400, "invalid_redirect_uri"]);
    expect(await clients.list()).toEqual([]);
  });

  it("RFC 7591 §2 a client that wants a code says where to", async () => {
    const { register } = await open();
    expect(await register({ client_name: "x", token_endpoint_auth_method: "none" })).toMatchObject({
      status: 400,
      body: { error: "invalid_redirect_uri" },
    });
  });

  it("RFC 8252 §7.3 real clients register, and loopback addresses match on any port", async () => {
    const { register, authorize } = await open();
    const cursor = [
      "cursor://anysphere.cursor-mcp/oauth/callback",
      "http://localhost:8787/callback",
      "https://www.cursor.com/agents/mcp/oauth/callback",
    ];
    const registered = await register({ ...web, client_name: "Cursor", redirect_uris: cursor });
    expect(registered.status).toBe(201);
    const id = String(registered.body["client_id"]);
    for (const uri of [...cursor, "http://localhost:1234/callback"]) expect([uri, (await authorize(id, uri)).status]).toEqual([uri, 303]);

    const code = await register({ ...web, client_name: "VS Code", redirect_uris: ["http://127.0.0.1/", "https://vscode.dev/redirect"] });
    for (const uri of ["http://127.0.0.1:33418/", "http://127.0.0.1/", "https://vscode.dev/redirect"])
      expect([uri, (await authorize(String(code.body["client_id"]), uri)).status]).toEqual([uri, 303]);

    const codex = await register({ ...web, client_name: "Codex", redirect_uris: ["http://127.0.0.1:51234/callback/5f3a"] });
    expect((await authorize(String(codex.body["client_id"]), "http://127.0.0.1:51234/callback/5f3a")).status).toBe(303);
    expect((await authorize(String(codex.body["client_id"]), "http://127.0.0.1:51234/callback/other")).status).toBe(400);
  });

  it("OA-01 a redirect URI that is off by anything gets a page of our own, no redirect and no code", async () => {
    const { register, authorize } = await open();
    const { body } = await register({ ...web, redirect_uris: ["https://app.example/callback", "http://127.0.0.1/cb"] });
    const id = String(body["client_id"]);
    expect((await authorize(id, "https://app.example/callback")).status).toBe(303);
    const wrong = [
      "https://app.example/callbac",
      "https://app.example/callbackk",
      "https://app.example/Callback",
      "https://APP.example/callback",
      "HTTPS://app.example/callback",
      "https://app.example/callback/",
      "https://app.example/callback?",
      "https://app.example/callback?a=b",
      "https://app.example/callback#",
      "https://app.example/callback#a",
      "https://user@app.example/callback",
      "https://app.example@evil.example/callback",
      "https://app.example/..;/callback",
      "https://app.example/./callback",
      "https://app.example/%63allback",
      "https://app.example:443/callback",
      "https://app.example:8443/callback",
      "http://app.example/callback",
      "https://app.example.evil.example/callback",
      "http://127.0.0.1:1/cb/",
      "http://localhost/cb",
      "http://127.0.0.2/cb",
      "http://user@127.0.0.1/cb",
      "https://127.0.0.1/cb",
      "http://127.0.0.1:1@evil.example/cb",
    ];
    for (const uri of wrong) {
      const { status, headers } = await authorize(id, uri);
      expect([uri, status, headers.get("location")]).toEqual([uri, 400, null]);
    }
  });

  it("OA-03 nothing that a client names is fetched, and what could run is refused", async () => {
    let asked = 0;
    const { register } = await open({ fetch: { resolve: async () => (asked++, [{ address: "127.0.0.1", family: 4 }]) } });
    const inside = "http://169.254.169.254/latest/meta-data";
    expect(
      await register({
        ...web,
        logo_uri: inside,
        client_uri: "http://10.0.0.1/",
        policy_uri: "https://a.example/",
        tos_uri: "https://a.example/",
      }),
    ).toMatchObject({ status: 201 });
    for (const uri of ["javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "https://a.example/\n", 7])
      expect(await register({ ...web, logo_uri: uri })).toMatchObject({ status: 400, body: { error: "invalid_client_metadata" } });
    expect(await register({ ...web, token_endpoint_auth_method: "private_key_jwt", jwks_uri: "http://a.example/jwks" })).toMatchObject({
      status: 400,
    });
    expect(await register({ ...web, token_endpoint_auth_method: "private_key_jwt", jwks_uri: "https://a.example/jwks" })).toMatchObject({
      status: 201,
    });
    expect(asked).toBe(0);
  });

  it("OA-04 a name is bounded, and holds nothing that hides or turns text around", async () => {
    const { register } = await open();
    const named = async (name: unknown) => register({ ...web, client_name: name });
    expect((await named("a\u202egnp.exe\u0000\u200b\u2066 <b>x</b>\n\n y")).body["client_name"]).toBe("agnp.exe <b>x</b> y");
    expect((await named("\u05e9\u05dc\u05d5\u05dd")).body["client_name"]).toBe("\u05e9\u05dc\u05d5\u05dd");
    for (const name of ["x".repeat(201), "x".repeat(10_240), "\u200b\u200b", 7, "\ud800", ["x"]])
      expect(await named(name)).toMatchObject({ status: 400, body: { error: "invalid_client_metadata" } });
    expect((await named("../../\u0000Reporter; DROP TABLE")).body["client_id"]).toMatch(/^reporter-drop-table-[0-9a-z]{8}$/);
    expect((await named("\u0441laude")).body["client_id"]).toMatch(/^laude-[0-9a-z]{8}$/);
  });

  it("OA-05 too many from one address are refused with 429, others are not; too many at all likewise", async () => {
    const { register, clients, audit, clock } = await open({ registration: { perHour: 3, clients: 5 } });
    for (let i = 0; i < 3; i++) expect((await register(web, { from: "192.0.2.7" })).status).toBe(201);
    const refused = await register(web, { from: "192.0.2.7" });
    expect(refused).toMatchObject({ status: 429, body: { error: "temporarily_unavailable" } });
    expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(1000);
    for (let i = 0; i < 40; i++) await register(web, { from: "192.0.2.7" });

    expect((await register(web, { from: "192.0.2.8" })).status).toBe(201);
    expect((await register(web, { from: "192.0.2.8" })).status).toBe(201);
    const full = await register(web, { from: "192.0.2.9" });
    expect(full).toMatchObject({ status: 429, body: { error: "temporarily_unavailable" } });
    expect(full.headers.get("retry-after")).toBe("3600");
    expect(await clients.list()).toHaveLength(5);
    // At once for the first of an address, in sums after it.
    const noise = (await audit()).filter(({ kind }) => kind === "registration.refused");
    expect(noise.length).toBeLessThan(6);
    expect(noise[0]).toMatchObject({ error: "temporarily_unavailable", count: 1, actor: { type: "client", ip: "192.0.2.7" } });

    clock.now += 3_600_000;
    await clients.prune();
    expect((await register(web, { from: "192.0.2.9" })).status).toBe(429);
    clock.now += 86_400_000;
    expect(await clients.prune()).toHaveLength(5);
    expect(await clients.list()).toEqual([]);
    expect((await register(web, { from: "192.0.2.7" })).status).toBe(201);
  });

  it("OA-05 ten thousand posts leave a bounded store", { timeout: 120_000 }, async () => {
    const { register, clients } = await open({ registration: { perHour: 20, clients: 100 } });
    const statuses = new Map<number, number>();
    for (let batch = 0; batch < 100; batch++) {
      const answers = await Promise.all(Array.from({ length: 100 }, (_, i) => register(web, { from: `198.51.100.${i % 50}` })));
      for (const { status } of answers) statuses.set(status, (statuses.get(status) ?? 0) + 1);
    }
    expect([...statuses]).toEqual(
      expect.arrayContaining([
        [201, 100],
        [429, 9_900],
      ]),
    );
    expect(await clients.list()).toHaveLength(100);
  });

  it("OA-06 RFC 7591 §2 members that are not for clients to set are ignored", async () => {
    const { register, agents, clients, call } = await open();
    const { status, body } = await register({
      ...web,
      scope: "admin openid",
      roles: ["admin"],
      client_id: "reporter",
      client_secret: "known",
      client_id_issued_at: 1,
      client_secret_expires_at: 1,
      registration_access_token: "known",
      grant_types: [
        "authorization_code",
        "refresh_token",
        "client_credentials",
        "implicit",
        "password",
        "urn:ietf:params:oauth:grant-type:jwt-bearer",
      ],
      response_types: ["code", "token"],
      application_type: "web",
      default_acr_values: ["x"],
      subject_type: "pairwise",
      sector_identifier_uri: "https://inside.example/",
      id_token_signed_response_alg: "none",
      require_auth_time: true,
      ["__proto__"]: { client_secret: "inherited" },
      constructor: { prototype: {} },
    });
    expect(status).toBe(201);
    expect(body["grant_types"]).toEqual(["authorization_code", "refresh_token"]);
    expect(body["response_types"]).toEqual(["code"]);
    expect(Object.keys(body).sort()).not.toContain("client_secret");
    for (const member of ["scope", "roles", "default_acr_values", "sector_identifier_uri"]) expect(body).not.toHaveProperty(member);
    expect(body["client_id"]).not.toBe("reporter");
    expect(body["registration_access_token"]).not.toBe("known");
    expect(await agents.find(String(body["client_id"]) as AgentName)).toMatchObject({ roles: [] });
    expect(JSON.stringify(await clients.metadata(String(body["client_id"])))).not.toMatch(/admin|known|inherited|pairwise/);
    expect(
      (await call(`${house?.issuer}/oauth/register`, { method: "POST", body: '{"__proto__":{"redirect_uris":["https://a.example/"]}}' }))
        .status,
    ).toBe(400);
  });

  it("OA-06 a grant by which nobody is asked needs somebody who vouches", async () => {
    const { register } = await open();
    const machine = { client_name: "robot", grant_types: ["client_credentials"], token_endpoint_auth_method: "client_secret_basic" };
    expect(await register(machine)).toMatchObject({ status: 400, body: { error: "invalid_client_metadata" } });
    expect(await register({ ...web, grant_types: ["refresh_token"] })).toMatchObject({
      status: 400,
      body: { error: "invalid_client_metadata" },
    });
    const device = "urn:ietf:params:oauth:grant-type:device_code";
    expect(await register({ client_name: "tv", grant_types: [device, "refresh_token"], token_endpoint_auth_method: "none" })).toMatchObject(
      {
        status: 201,
        body: { response_types: [], redirect_uris: [] },
      },
    );
  });

  it("keeps a secret sealed, and lets its client in with it", async () => {
    const { register, database, token, clients } = await open();
    const { body } = await register({ client_name: "web app", redirect_uris: web.redirect_uris });
    const secret = String(body["client_secret"]);
    expect(body).toMatchObject({ token_endpoint_auth_method: "client_secret_basic", client_secret_expires_at: 0 });
    const row = await database.read.selectFrom("clients").selectAll().executeTakeFirstOrThrow();
    expect(Buffer.from(row.sealed).includes(secret)).toBe(false);
    const basic = `Basic ${Buffer.from(`${row.id}:${secret}`).toString("base64")}`;
    expect(
      await token({ grant_type: "authorization_code", code: "none", redirect_uri: "https://app.example/callback" }, basic),
    ).toMatchObject({ status: 400, body: { error: "invalid_grant" } });
    await clients.remove(row.id, "operator", operator);
    expect(
      await token({ grant_type: "authorization_code", code: "none", redirect_uri: "https://app.example/callback" }, basic),
    ).toMatchObject({ status: 401, body: { error: "invalid_client" } });
  });

  it("answers what is no registration with an error", async () => {
    const { register, clients } = await open();
    for (const body of [
      "[]",
      "{",
      "null",
      '"x"',
      JSON.stringify({ ...web, client_uri: `https://a.example/${"x".repeat(3_000)}` }),
      JSON.stringify({ ...web, contacts: Array.from({ length: 11 }, () => "a@b.c") }),
      JSON.stringify({ ...web, token_endpoint_auth_method: "client_secret_jwt" }),
      JSON.stringify({ ...web, jwks: { keys: [{ kty: "oct", k: "x" }] } }),
      JSON.stringify({ ...web, software_id: "x".repeat(20_000) }),
    ])
      expect([body.slice(0, 60), (await register(body)).status]).toEqual([body.slice(0, 60), 400]);
    expect(await clients.list()).toEqual([]);
  });
});

describe("a client manages itself", () => {
  async function registered(h: RegistrationHouse) {
    const { body } = await h.register(web);
    return {
      id: String(body["client_id"]),
      uri: String(body["registration_client_uri"]),
      token: String(body["registration_access_token"]),
    };
  }

  it("RFC 7592 §2 reads, changes and removes itself; its token changes with every change", async () => {
    const h = await open();
    const { id, uri, token } = await registered(h);
    expect(uri).toBe(`${h.issuer}/oauth/register/${id}`);
    expect(await h.call(uri, { token })).toMatchObject({ status: 200, body: { client_id: id, client_name: "Some agent" } });

    const change = {
      client_id: id,
      client_name: "Other",
      redirect_uris: ["http://localhost/cb"],
      token_endpoint_auth_method: "none",
      grant_types: ["authorization_code", "client_credentials"],
      scope: "admin",
    };
    const changed = await h.call(uri, { token, method: "PUT", body: change });
    expect(changed).toMatchObject({
      status: 200,
      body: { client_name: "Other", grant_types: ["authorization_code"], application_type: "native" },
    });
    expect(await h.clients.find(id)).toMatchObject({ name: "Other" });
    const next = String(changed.body["registration_access_token"]);
    expect(next).not.toBe(token);
    expect((await h.call(uri, { token })).status).toBe(401);
    expect(await h.call(uri, { token: next, method: "PUT", body: { ...change, redirect_uris: ["javascript:x"] } })).toMatchObject({
      status: 400,
      body: { error: "invalid_redirect_uri" },
    });

    expect((await h.call(uri, { token: next, method: "DELETE" })).status).toBe(204);
    expect((await h.call(uri, { token: next })).status).toBe(401);
    expect(await h.clients.find(id)).toMatchObject({ removed: true });
    expect(await h.agents.find(id as AgentName)).toBeUndefined();
    expect(h.ended).toEqual([id]);
    const kinds = (await h.audit()).map(({ kind, why }) => [kind, why].flat());
    expect(kinds).toEqual(
      expect.arrayContaining([
        ["client.updated", undefined],
        ["client.removed", "itself"],
      ]),
    );
  });

  it("OA-06 RFC 7592 §2 the token of one client is of no use for another", async () => {
    const h = await open();
    const a = await registered(h);
    const b = await registered(h);
    for (const method of ["GET", "DELETE", "PUT"] as const) {
      const body = method === "PUT" ? { body: { ...web, client_id: b.id } } : {};
      expect((await h.call(b.uri, { token: a.token, method, ...body })).status).toBe(401);
    }
    expect((await h.call(b.uri, { token: b.token })).status).toBe(200);
  });

  it("RFC 7592 §2.2 cannot change who it is or what it was given", async () => {
    const h = await open();
    const { id, uri, token } = await registered(h);
    for (const more of [{ client_id: "reporter" }, { client_secret: "x" }, { registration_access_token: "x" }, { client_id_issued_at: 1 }])
      expect((await h.call(uri, { token, method: "PUT", body: { ...web, client_id: id, ...more } })).status).toBe(400);
  });

  it("RFC 7592 §2.1 one that was purged or frozen gets 401", async () => {
    const h = await open();
    const purged = await registered(h);
    h.clock.now += 25 * 3_600_000;
    expect((await h.clients.prune()).map(({ id }) => id)).toEqual([purged.id]);
    expect((await h.call(purged.uri, { token: purged.token })).status).toBe(401);
    expect((await h.token({ grant_type: "refresh_token", refresh_token: "x", client_id: purged.id })).status).toBe(401);
    expect(h.ended).toEqual([purged.id]);

    const frozen = await registered(h);
    expect(await h.clients.freeze(frozen.id, operator)).toBe("changed");
    expect((await h.token({ grant_type: "refresh_token", refresh_token: "x", client_id: frozen.id })).status).toBe(401);
    expect((await h.call(frozen.uri, { token: frozen.token })).status).toBe(401);
    expect(h.ended).toEqual([purged.id, frozen.id]);
  });
});

describe("an invitation", () => {
  const machine = { client_name: "robot", grant_types: ["client_credentials"], token_endpoint_auth_method: "client_secret_basic" };
  const order = { roles: ["ticket-automation"], uses: 1, ttlSeconds: 3600, createdBy: "test" };

  it("RFC 7591 §3 binds the client to its roles and nothing more, as often as it says", async () => {
    const h = await open({ registration: { open: false, perHour: 1, clients: 1 } });
    const { token, invitation } = await h.invitations.create(order, operator);
    expect(token).toMatch(/^iat_[A-Za-z0-9_-]{43}$/);
    const { status, body } = await h.register(machine, { token });
    expect(status).toBe(201);
    const id = String(body["client_id"]);
    expect(await h.agents.find(id as AgentName)).toMatchObject({ roles: ["ticket-automation"], registeredBy: "dcr" });
    expect(await h.audit()).toContainEqual(expect.objectContaining({ kind: "client.registered", client: id, invitation: invitation.id }));
    const basic = `Basic ${Buffer.from(`${id}:${String(body["client_secret"])}`).toString("base64")}`;
    expect((await h.token({ grant_type: "client_credentials" }, basic)).status).toBe(200);

    const again = await h.register(machine, { token });
    expect(again).toMatchObject({ status: 401, body: { error: "invalid_token" } });
    expect(again.headers.get("www-authenticate")).toContain('error="invalid_token"');
  });

  it("the last use goes to exactly one of many", async () => {
    const h = await open();
    const { token } = await h.invitations.create({ ...order, uses: 2, prefix: "ci" as AgentName }, operator);
    const answers = await Promise.all(Array.from({ length: 20 }, () => h.register(machine, { token })));
    expect(answers.map(({ status }) => status).sort((a, b) => a - b)).toEqual([201, 201, ...Array.from({ length: 18 }, () => 401)]);
    expect((await h.clients.list()).map(({ id }) => id)).toEqual([
      expect.stringMatching(/^ci-[0-9a-z]{8}$/),
      expect.stringMatching(/^ci-[0-9a-z]{8}$/),
    ]);
  });

  it("one that is wrong, revoked or expired never falls back to open registration", async () => {
    const h = await open();
    const expired = await h.invitations.create({ ...order, ttlSeconds: 10 }, operator);
    const revoked = await h.invitations.create(order, operator);
    expect(await h.invitations.revoke(revoked.invitation.id, operator)).toBe(true);
    expect(await h.invitations.revoke(revoked.invitation.id, operator)).toBe(false);
    h.clock.now += 10_000;
    for (const token of [expired.token, revoked.token, `iat_${"A".repeat(43)}`, "", "x y", `${revoked.token}=`])
      expect(await h.register(web, { token })).toMatchObject({ status: 401, body: { error: "invalid_token" } });
    expect(await h.clients.list()).toEqual([]);
    expect((await h.audit()).map(({ kind }) => kind)).toEqual(
      expect.arrayContaining(["invitation.created", "invitation.revoked", "registration.refused"]),
    );
  });

  it("only its digest is stored, and a registration that fails does not use it up", async () => {
    const h = await open();
    const { token } = await h.invitations.create(order, operator);
    const row = await h.database.read.selectFrom("invitations").selectAll().executeTakeFirstOrThrow();
    expect(JSON.stringify(row)).not.toContain(token.slice(4));
    expect(Buffer.from(row.digest).equals(Buffer.from(token.slice(4), "base64url"))).toBe(false);
    expect((await h.register({ ...web, redirect_uris: ["javascript:x"] }, { token })).status).toBe(400);
    expect(await h.invitations.list()).toMatchObject([{ usesLeft: 1 }]);
    expect((await h.register(web, { token })).status).toBe(201);
    expect(await h.invitations.list()).toMatchObject([{ usesLeft: 0 }]);
  });

  it("is what it takes where registration is closed", async () => {
    const h = await open({ registration: { open: false } });
    expect(await h.register(web)).toMatchObject({ status: 401, body: { error: "invalid_token" } });
    expect(await h.clients.list()).toEqual([]);
  });

  it("lets its clients have the grants of delegation, and others not", async () => {
    const exchange = "urn:ietf:params:oauth:grant-type:token-exchange";
    const h = await open({ extraGrants: [exchange] });
    const { token } = await h.invitations.create(order, operator);
    const invited = await h.register(machine, { token });
    const alone = await h.register(web);
    // Known to the provider only once a grant of that name is registered: what the adapter says is what counts.
    expect((await h.clients.find(String(invited.body["client_id"])))?.vouched).toBe(true);
    expect((await h.clients.find(String(alone.body["client_id"])))?.vouched).toBe(false);
  });
});

describe("a software statement", () => {
  async function issuer() {
    const { privateKey, publicKey } = await generateKeyPair("ES256", { extractable: true });
    const file = join(tmpdir(), `statement-keys-${process.pid}.json`);
    await writeFile(file, JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), alg: "ES256", kid: "1" }] }));
    const sign = (claims: Record<string, unknown>, exp: string | number = "1h", key = privateKey, alg = "ES256") =>
      new SignJWT(claims)
        .setProtectedHeader({ alg, kid: "1" })
        .setIssuer("https://vendor.example")
        .setIssuedAt()
        .setExpirationTime(exp)
        .sign(key);
    return {
      sign,
      options: { registration: { open: false, softwareStatements: [{ issuer: "https://vendor.example", jwks: file, roles: ["vendor"] }] } },
    };
  }

  it("RFC 7591 §2.3 gives the roles of its issuer, and its claims win, also later", async () => {
    const { sign, options } = await issuer();
    const h = await open(options);
    const statement = await sign({
      client_name: "Vendor tool",
      redirect_uris: ["https://vendor.example/cb"],
      software_id: "tool",
      roles: ["admin"],
      scope: "admin",
    });
    const { status, body } = await h.register({ ...web, software_statement: statement });
    expect(status).toBe(201);
    expect(body).toMatchObject({
      client_name: "Vendor tool",
      redirect_uris: ["https://vendor.example/cb"],
      software_id: "tool",
      software_statement: statement,
    });
    const id = String(body["client_id"]);
    expect(await h.agents.find(id as AgentName)).toMatchObject({ roles: ["vendor"] });
    const uri = String(body["registration_client_uri"]);
    const changed = await h.call(uri, { method: "PUT", token: String(body["registration_access_token"]), body: { ...web, client_id: id } });
    expect(changed).toMatchObject({
      status: 200,
      body: { client_name: "Vendor tool", redirect_uris: ["https://vendor.example/cb"], software_statement: statement },
    });
    const other = await sign({ redirect_uris: web.redirect_uris });
    const next = String(changed.body["registration_access_token"]);
    expect(await h.call(uri, { method: "PUT", token: next, body: { ...web, client_id: id, software_statement: other } })).toMatchObject({
      status: 400,
      body: { error: "invalid_software_statement" },
    });
  });

  it("OA-06 RFC 7591 §3.2.2 one that is forged, expired, for someone else or of a stranger is refused", async () => {
    const { sign, options } = await issuer();
    const h = await open(options);
    const stranger = await generateKeyPair("ES256");
    const claims = { redirect_uris: web.redirect_uris };
    const genuine = await sign(claims);
    const none = `${Buffer.from('{"alg":"none"}').toString("base64url")}.${genuine.split(".")[1]}.`;
    const forever = await new SignJWT(claims)
      .setProtectedHeader({ alg: "ES256", kid: "1" })
      .setIssuer("https://vendor.example")
      .sign((await generateKeyPair("ES256")).privateKey);
    const wrong = [
      await sign(claims, "1h", stranger.privateKey),
      await sign(claims, 1_000),
      await sign({ ...claims, aud: "https://other.example" }),
      `${genuine.slice(0, -4)}AAAA`,
      none,
      forever,
      "x.y.z",
      7,
    ];
    for (const statement of wrong)
      expect(await h.register({ ...web, software_statement: statement })).toMatchObject({
        status: 400,
        body: { error: "invalid_software_statement" },
      });
    const unknown = await new SignJWT(claims)
      .setProtectedHeader({ alg: "ES256" })
      .setIssuer("https://stranger.example")
      .setExpirationTime("1h")
      .sign(stranger.privateKey);
    expect(await h.register({ ...web, software_statement: unknown })).toMatchObject({
      status: 400,
      body: { error: "unapproved_software_statement" },
    });
    expect((await h.register({ ...web, software_statement: await sign({ ...claims, aud: [h.issuer] }) })).status).toBe(201);
    expect(await h.clients.list()).toHaveLength(1);
  });
});

describe("a client that names itself by a URL", () => {
  /** An https server for `app.example` on this machine, and the guard that lets us get there. */
  async function documents(
    answer: (request: IncomingMessage, response: ServerResponse, url: string) => void,
    more: Partial<HouseOptions> = {},
  ) {
    const { cert, key } = certificateFor(["app.example"]);
    let asked = 0;
    const server = createServer({ cert, key }, (request, response) => {
      asked++;
      answer(request, response, `https://app.example:${port}${request.url ?? ""}`);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    const resolve = async () => [{ address: "127.0.0.1", family: 4 }];
    const h = await open({
      ...more,
      fetch: { resolve, permits: createAddressRule(["127.0.0.1"]), ports: [port], ca: cert, ...more.fetch },
    });
    const end = () => new Promise((done) => server.close(done).closeAllConnections());
    return { h, url: `https://app.example:${port}/agent.json`, asked: () => asked, end };
  }

  const send = (response: ServerResponse, value: unknown) =>
    void response.setHeader("content-type", "application/json").end(JSON.stringify(value));
  const document = (url: string) => ({
    client_id: url,
    client_name: "App",
    redirect_uris: ["https://app.example/cb", "http://localhost/cb"],
    token_endpoint_auth_method: "none",
    grant_types: ["authorization_code", "refresh_token", "client_credentials"],
    scope: "admin",
  });

  it("becomes an agent without roles on first use, and its document is kept", async () => {
    const { h, url, asked, end } = await documents((_, response, at) => send(response, document(at)));
    const answers = await Promise.all(Array.from({ length: 8 }, () => h.authorize(url, "http://localhost:4711/cb")));
    expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 8 }, () => 303));
    expect(asked()).toBe(1);
    const client = await h.clients.find(url);
    expect(client).toMatchObject({ source: "cimd", name: "App", vouched: false });
    expect(client?.agent).toMatch(/^app\.example-[0-9a-z]{10}$/);
    expect(await h.agents.find(client?.agent as AgentName)).toMatchObject({ roles: [], registeredBy: "cimd" });
    expect((await h.authorize(url, "https://evil.example/cb")).status).toBe(400);

    await h.clients.remove(url, "operator", operator);
    const removed = await h.authorize(url, "https://app.example/cb");
    expect([removed.status, removed.headers.get("location")]).toEqual([400, null]);
    await end();
  });

  it("one that was removed or frozen is not even asked for its document", async () => {
    const { h, url, asked, end } = await documents((_, response, at) => send(response, document(at)));
    const frozen = url.replace("agent", "frozen");
    for (const [id, agent] of [
      [url, "one"],
      [frozen, "two"],
    ] as const)
      await h.clients.register({ id, agent: agent as AgentName, source: "cimd", metadata: {}, roles: [] }, operator);
    await h.clients.remove(url, "operator", operator);
    await h.clients.freeze(frozen, operator);
    for (const id of [url, frozen]) expect((await h.authorize(id, "https://app.example/cb")).status).toBe(400);
    expect(asked()).toBe(0);
    await end();
  });

  it("is the agent that the configuration says it is", async () => {
    const { h, url, end } = await documents((_, response, at) => send(response, document(at)));
    await h.close();
    house = undefined;
    await end();
    const again = await documents((_, response, at) => send(response, document(at)), {
      agents: [{ name: "partner" as AgentName, roles: ["r"], metadataDocument: url }],
    });
    expect(await again.h.clients.find(url)).toMatchObject({ agent: "partner", source: "cimd", vouched: true });
    await again.end();
  });

  it("OA-02 what the document says is judged like a registration", async () => {
    const wrong: Record<string, unknown>[] = [
      { redirect_uris: ["javascript:x"] },
      { client_id: "https://other.example/x" },
      { token_endpoint_auth_method: "client_secret_basic" },
      { client_secret: "x" },
      { client_name: "x".repeat(300) },
      { logo_uri: "javascript:x" },
      { jwks: { keys: [{ kty: "oct", k: "x" }] } },
      { grant_types: ["client_credentials"] },
    ];
    const { h, url, end } = await documents((request, response, at) =>
      send(response, { ...document(at), ...wrong[Number(request.url?.match(/\d+/)?.[0])] }),
    );
    for (const [index] of wrong.entries()) {
      const { status, headers } = await h.authorize(url.replace("agent.json", `${index}.json`), "https://app.example/cb");
      expect([index, status, headers.get("location")]).toEqual([index, 400, null]);
    }
    expect(await h.clients.list()).toEqual([]);
    await end();
  });

  it("OA-21 is never fetched from inside, and all refusals read the same", async () => {
    const { h, url, asked, end } = await documents((request, response, at) => {
      if (request.url === "/redirect") response.writeHead(302, { location: "https://127.0.0.1/" }).end();
      else if (request.url === "/large") send(response, { ...document(at), client_uri: "x".repeat(6_000) });
      else if (request.url === "/slow") setTimeout(() => send(response, document(at)), 4_000).unref();
      else if (request.url === "/missing") response.writeHead(404).end();
      else response.writeHead(200, { "content-encoding": "gzip" }).end("x");
    });
    const { origin } = new URL(url);
    const inside = [
      "127.0.0.2",
      "169.254.169.254",
      "[::ffff:7f00:2]",
      "2130706434",
      "0177.0.0.2",
      "0x7f000002",
      "0.0.0.0",
      "10.0.0.1",
      "[::1]",
      "[fe80::1]",
    ].map((host) => `https://${host}:${new URL(url).port}/agent.json`);
    const texts = new Set<unknown>();
    for (const one of [
      ...inside,
      `${origin}/redirect`,
      `${origin}/large`,
      `${origin}/slow`,
      `${origin}/missing`,
      `${origin}/encoded`,
      "https://app.example:8443/x",
      "https://app.example/x",
      "https://app.example",
      `${origin}/`,
    ]) {
      const { status, body } = await h.authorize(one, "https://app.example/cb");
      expect([one, status]).toEqual([one, 400]);
      texts.add(JSON.stringify(body));
    }
    expect(texts.size).toBe(1);
    expect([...texts][0]).toContain("client_id metadata document fetch failed");
    // Five of our own server, one of them twice: the provider counts the bytes of a document, and asks again for its error page.
    expect(asked()).toBe(6);
    expect(await h.clients.list()).toEqual([]);
    await end();
  });

  it("OA-21 nothing is read past its limit, and only https with a certificate that holds counts", async () => {
    const { cert, key } = certificateFor(["app.example"]);
    const server = createServer({ cert, key }, (request, response) => void response.end("x".repeat(Number(request.url?.slice(1)))));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    const resolve = async () => [{ address: "127.0.0.1", family: 4 }];
    const parts = { now: Date.now, resolve, permits: createAddressRule(["127.0.0.1"]), ports: [port] };
    const [guarded, strict] = [createGuardedFetch({ ...parts, ca: cert }), createGuardedFetch(parts)];
    expect(await (await guarded.fetch(`https://app.example:${port}/65536`)).text()).toHaveLength(65_536);
    await expect(guarded.fetch(`https://app.example:${port}/65537`)).rejects.toThrow("the document cannot be fetched");
    await expect(guarded.fetch(`https://other.example:${port}/1`)).rejects.toThrow("the document cannot be fetched");
    await expect(strict.fetch(`https://app.example:${port}/1`)).rejects.toThrow("the document cannot be fetched");
    await Promise.all([guarded.close(), strict.close()]);
    await new Promise((done) => server.close(done).closeAllConnections());
  });

  it("OA-21 a name that answers differently the second time is not followed inside", async () => {
    const answers = ["127.0.0.1", "10.0.0.1", "10.0.0.1"];
    const { h, url, end } = await documents((_, response, at) => send(response, document(at)), {
      fetch: { resolve: async () => [{ address: answers.shift() ?? "10.0.0.1", family: 4 }] },
    });
    expect((await h.authorize(url, "https://app.example/cb")).status).toBe(303);
    expect((await h.authorize(url.replace("agent", "other"), "https://app.example/cb")).status).toBe(303);
    await end();
  });

  it("OA-05 documents count as registrations do", async () => {
    const { h, url, end } = await documents((_, response, at) => send(response, document(at)), {
      registration: { perHour: 2, clients: 10 },
    });
    const statuses = [];
    for (const n of [1, 2, 3]) statuses.push((await h.authorize(url.replace("agent", String(n)), "https://app.example/cb")).status);
    expect(statuses).toEqual([303, 303, 400]);
    await end();
  });

  it("can be switched off", async () => {
    const { h, url, asked, end } = await documents((_, response, at) => send(response, document(at)), {
      registration: { metadataDocuments: false },
    });
    expect((await h.authorize(url, "https://app.example/cb")).status).toBe(400);
    expect(asked()).toBe(0);
    await end();
  });
});

describe("clients of the operator", () => {
  it("agents of the configuration are clients by their name, with their keys or redirect URIs", async () => {
    const { privateKey, publicKey } = await generateKeyPair("ES256", { extractable: true });
    const file = join(tmpdir(), `client-keys-${process.pid}.json`);
    await writeFile(file, JSON.stringify(await exportJWK(publicKey)));
    const h = await open({
      agents: [
        { name: "robot" as AgentName, roles: ["r"], jwks: file },
        { name: "desk" as AgentName, redirectUris: ["http://127.0.0.1/cb"] },
        { name: "plain" as AgentName },
      ],
    });
    const assertion = await new SignJWT({})
      .setProtectedHeader({ alg: "ES256" })
      .setIssuer("robot")
      .setSubject("robot")
      .setAudience(h.issuer)
      .setJti("1")
      .setIssuedAt()
      .setExpirationTime("1m")
      .sign(privateKey);
    const answer = await h.token({
      grant_type: "client_credentials",
      client_assertion: assertion,
      client_assertion_type: "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
    });
    expect([answer.status, answer.body["token_type"]]).toEqual([200, "Bearer"]);
    expect((await h.authorize("desk", "http://127.0.0.1:9999/cb")).status).toBe(303);
    expect((await h.authorize("plain", "http://127.0.0.1:9999/cb")).status).toBe(400);
    expect((await h.clients.list()).map(({ id, source }) => [id, source])).toEqual([
      ["desk", "operator"],
      ["robot", "operator"],
    ]);
    expect(await h.clients.remove("desk", "operator", operator)).toBe("configured");
  });
});
