import { createHmac, generateKeyPairSync, sign } from "node:crypto";
import { describe, expect, it } from "vitest";
import type { AgentName } from "../../../src/core/brand.ts";
import type { Agent } from "../../../src/core/principal.ts";
import { createAccessTokens } from "../../../src/identity/access-token.ts";
import type { Account, Client } from "../../../src/identity/directory.ts";
import { localPeer } from "../../../src/identity/local-peer.ts";

const audience = "https://broker.example/mcp";
const issuer = "https://broker.example";
const keys = generateKeyPairSync("ec", { namedCurve: "P-256" });
const agent = "reporter" as AgentName;
const start = 1_800_000_000_250;

function setUp() {
  const state = {
    time: start,
    revoked: new Set<string>(),
    validFrom: 0,
    asked: 0,
    known: true,
    frozenAgents: new Set<string>(),
    clients: new Map<string, Client>(),
    users: new Map<string, Account>(),
    keys: new Map([["k1", keys.publicKey]]),
    refreshed: 0,
  };
  const record = (name: AgentName): Agent => ({
    name,
    roles: [],
    registeredBy: "operator",
    frozen: state.frozenAgents.has(name),
    disabled: false,
    tokensValidFrom: state.validFrom,
  });
  const tokens = createAccessTokens({
    keys: {
      current: () => ({ kid: "k1", privateKey: keys.privateKey }),
      find: (kid) => state.keys.get(kid),
      refresh: async () => void state.refreshed++,
    },
    issuer,
    audience,
    now: () => state.time,
    remembered: 100,
    agents: { find: async (name) => (state.known ? record(name) : undefined) },
    users: { find: async (id) => state.users.get(id) },
    clients: { find: async (id) => state.clients.get(id) },
    revocations: {
      isRevoked: async (id) => {
        state.asked++;
        return state.revoked.has(id);
      },
    },
  });
  return { state, tokens };
}

const good = { alg: "ES256", kid: "k1", typ: "at+jwt" };
const claims = { iss: issuer, sub: agent, client_id: agent, aud: audience, iat: start / 1000, exp: start / 1000 + 600, jti: "t1" };

function encode(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}

function forge(header: object, payload: object, key = keys.privateKey): string {
  const signed = `${encode(header)}.${encode(payload)}`;
  return `${signed}.${sign("sha256", Buffer.from(signed), { key, dsaEncoding: "ieee-p1363" }).toString("base64url")}`;
}

function withSignature(token: string, change: (signature: string) => string): string {
  const at = token.lastIndexOf(".") + 1;
  return token.slice(0, at) + change(token.slice(at));
}

const valid = forge(good, claims);
const hs256 = (() => {
  const signed = `${encode({ ...good, alg: "HS256" })}.${encode(claims)}`;
  const pem = keys.publicKey.export({ type: "spki", format: "pem" });
  return `${signed}.${createHmac("sha256", pem).update(signed).digest("base64url")}`;
})();

describe("access tokens", () => {
  it("accepts the token that the forgeries below differ from in one thing", () => {
    expect(setUp().tokens.verify(valid)).toMatchObject({ agent, tokenId: "t1" });
  });

  it.each([
    ["alg none", `${encode({ ...good, alg: "none" })}.${encode(claims)}.`],
    ["alg none with a signature", forge({ ...good, alg: "none" }, claims)],
    ["HS256 keyed with the public key", hs256],
    ["alg in lower case", forge({ ...good, alg: "es256" }, claims)],
    ["ES384 claimed", forge({ ...good, alg: "ES384" }, claims)],
    ["kid that climbs", forge({ ...good, kid: "../../k1" }, claims)],
    ["kid with SQL", forge({ ...good, kid: "k1' OR '1'='1" }, claims)],
    ["no kid", forge({ alg: "ES256", typ: "at+jwt" }, claims)],
    ["jku", forge({ ...good, jku: "https://evil.example/jwks" }, claims)],
    ["x5u", forge({ ...good, x5u: "https://evil.example/x" }, claims)],
    [
      "jwk of its own",
      forge({ ...good, jwk: generateKeyPairSync("ec", { namedCurve: "P-256" }).publicKey.export({ format: "jwk" }) }, claims),
    ],
    ["crit", forge({ ...good, crit: ["exp"] }, claims)],
    ["b64 false", forge({ ...good, b64: false, crit: ["b64"] }, claims)],
    ["wrong typ", forge({ ...good, typ: "JWT" }, claims)],
    ["typ of an ID-JAG", forge({ ...good, typ: "oauth-id-jag+jwt" }, claims)],
    ["signed by another key", forge(good, claims, generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey)],
    ["r = s = 0", withSignature(valid, () => Buffer.alloc(64).toString("base64url"))],
    ["no signature", withSignature(valid, () => "")],
    ["signature cut short", withSignature(valid, (s) => s.slice(0, 40))],
    ["DER signature", withSignature(valid, () => sign("sha256", Buffer.from("x"), keys.privateKey).toString("base64url"))],
    ["padded base64", withSignature(valid, (s) => `${s}==`)],
    ["stray bits after the last byte", withSignature(valid, (s) => s.slice(0, -1) + String.fromCharCode(s.charCodeAt(s.length - 1) + 1))],
    ["more than 8 KiB, however well signed", forge(good, { ...claims, padding: "x".repeat(9_000) })],
    ["line break in it", `${valid.slice(0, 20)}\n${valid.slice(20)}`],
    ["four parts", `${valid}.x`],
    ["expired", forge(good, { ...claims, iat: start / 1000 - 700, exp: start / 1000 - 6 })],
    ["not yet valid", forge(good, { ...claims, nbf: start / 1000 + 6 })],
    ["issued in the future", forge(good, { ...claims, iat: start / 1000 + 60, exp: start / 1000 + 120 })],
    ["a lifetime of a day", forge(good, { ...claims, exp: start / 1000 + 86_400 })],
    ["exp as a text", forge(good, { ...claims, exp: String(claims.exp) })],
    ["exp absent", forge(good, { ...claims, exp: undefined })],
    ["payload a list", `${encode(good)}.${encode([])}.AAAA`],
    ["sub that is no agent name", forge(good, { ...claims, sub: "../root", client_id: "../root" })],
    ["no jti", forge(good, { ...claims, jti: undefined })],
  ])("OA-18: refuses %s", (_name, token) => {
    expect(() => setUp().tokens.verify(token)).toThrow(expect.objectContaining({ code: "unauthenticated" }));
  });

  it.each([
    ["another issuer", { iss: "https://evil.example" }],
    ["another audience", { aud: "https://other.example/mcp" }],
    ["a sibling resource", { aud: "https://broker.example/mcp2" }],
    ["the resource with a trailing slash", { aud: `${audience}/` }],
    ["a list of audiences", { aud: [audience, "https://other.example"] }],
    ["no audience", { aud: undefined }],
  ])("OA-17: refuses a token for %s", (_name, change) => {
    expect(() => setUp().tokens.verify(forge(good, { ...claims, ...change }))).toThrow(
      expect.objectContaining({ code: "unauthenticated" }),
    );
  });

  it("says why in its own words, never in those of the token", () => {
    const token = `${encode(good)}.${Buffer.from("{canary-value").toString("base64url")}`;
    const signature = sign("sha256", Buffer.from(token), { key: keys.privateKey, dsaEncoding: "ieee-p1363" }).toString("base64url");
    expect(() => setUp().tokens.verify(`${token}.${signature}`)).toThrow(
      expect.objectContaining({ cause: expect.objectContaining({ message: "not JSON" }) }),
    );
  });

  it("OA-18: refuses 10 MB in under 50 ms", () => {
    const { tokens } = setUp();
    const before = performance.now();
    expect(() => tokens.verify(`${valid}${"A".repeat(10_000_000)}`)).toThrow(expect.objectContaining({ code: "unauthenticated" }));
    expect(performance.now() - before).toBeLessThan(50);
  });

  it("mints what it verifies, for one hour at most and for its own resource only", async () => {
    const { tokens } = setUp();
    const { token, tokenId, expiresAt } = tokens.mint({ agent, resource: `${audience}/` });
    expect(expiresAt).toBe(start + 600_000);
    expect(tokens.verify(token)).toEqual({
      agent,
      client: agent,
      chain: [],
      lineage: [],
      tokenId,
      issuedAt: start,
      notBefore: start,
      expiresAt,
    });
    expect(await tokens.principal(token, { transport: "http", sourceIp: "192.0.2.1" })).toEqual({
      agent,
      client: agent,
      kind: "oauth",
      chain: [],
      authenticated: { method: "access-token", senderConstrained: false, at: start, tokenId },
      session: tokenId,
      transport: "http",
      sourceIp: "192.0.2.1",
    });
    for (const order of [{ ttlSeconds: 3601 }, { ttlSeconds: 0 }, { ttlSeconds: Number.NaN }, { resource: "https://broker.example/" }])
      expect(() => tokens.mint({ agent, ...order })).toThrow(expect.objectContaining({ code: "invalid_request" }));
  });

  it("judges a remembered token by the clock again", () => {
    const { state, tokens } = setUp();
    const { token } = tokens.mint({ agent, ttlSeconds: 60 });
    tokens.verify(token);
    state.time += 64_999;
    tokens.verify(token);
    state.time += 1;
    expect(() => tokens.verify(token)).toThrow(expect.objectContaining({ code: "unauthenticated" }));
  });

  it("asks for revocation on every call, also of a remembered token", async () => {
    const { state, tokens } = setUp();
    const from = { transport: "http" } as const;
    const { token, tokenId } = tokens.mint({ agent });
    await tokens.principal(token, from);
    await tokens.principal(token, from);
    expect(state.asked).toBe(2);
    state.revoked.add(tokenId);
    await expect(tokens.principal(token, from)).rejects.toMatchObject({ code: "unauthenticated" });
    state.revoked.clear();
    state.validFrom = start;
    await tokens.principal(token, from);
    state.validFrom = start + 1;
    await expect(tokens.principal(token, from)).rejects.toMatchObject({ code: "unauthenticated" });
    state.validFrom = 0;
    state.known = false;
    await expect(tokens.principal(token, from)).rejects.toMatchObject({ code: "unauthenticated" });
  });

  it("stays correct when more tokens come than are remembered", () => {
    const { tokens } = setUp();
    const minted = Array.from({ length: 150 }, () => tokens.mint({ agent }));
    for (const { token, tokenId } of [...minted, ...minted]) expect(tokens.verify(token).tokenId).toBe(tokenId);
  });
});

describe("a token on behalf of others", () => {
  const from = { transport: "http" } as const;
  const [child, parent] = ["child", "parent"] as AgentName[] as [AgentName, AgentName];
  const account: Account = {
    account: "01u",
    issuer,
    subject: "01u",
    name: "ada",
    email: "ada@example.com",
    teams: ["sre"],
    role: "member",
    disabled: false,
    frozen: false,
    validFrom: 0,
  };
  const client: Client = { id: "c1", agent: child, source: "dcr", createdAt: 0, frozen: false, removed: false };

  function delegated() {
    const { state, tokens } = setUp();
    state.users.set("01u", account);
    state.clients.set("c1", client);
    const order = { agent: child, client: "c1", account: "01u", chain: [parent], session: "s1", lineage: ["t-parent"] };
    const narrowed = { scopes: ["use:sql"] as const, credentials: ["billing-db/*"] };
    const { token } = tokens.mint({ ...order, ...narrowed });
    return { state, tokens, token, order: { ...order, ...narrowed } };
  }

  it("says so in sub and act, and reads back as it was minted (RFC 8693 §4.1, RFC 9068 §2.2)", async () => {
    const { tokens, token, order } = delegated();
    const payload = JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString()) as object;
    expect(payload).toMatchObject({ iss: issuer, aud: audience, sub: "user:01u", client_id: "c1", scope: "use:sql", sid: "s1" });
    expect(payload).toMatchObject({ act: { sub: child, act: { sub: parent } } });
    expect(tokens.verify(token)).toMatchObject(order);
    const { onBehalfOf, ...principal } = await tokens.principal(token, from);
    expect(onBehalfOf).toEqual({ account: "01u", issuer, subject: "01u", email: "ada@example.com", teams: ["sre"] });
    expect(principal).toMatchObject({ agent: child, chain: [parent], session: "s1", scopes: ["use:sql"], credentials: ["billing-db/*"] });
  });

  it("without a user, the first agent is the subject", () => {
    const { tokens } = setUp();
    const { token } = tokens.mint({ agent: child, chain: [agent, parent] });
    const payload = JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString()) as object;
    expect(payload).toMatchObject({ sub: parent, act: { sub: child, act: { sub: agent } } });
    expect(tokens.verify(token)).toMatchObject({ agent: child, chain: [agent, parent] });
  });

  it("PL-07: dies at the next call with its parent, its session, its user, its client, and any agent it acts for", async () => {
    const ways: readonly ((state: ReturnType<typeof setUp>["state"]) => unknown)[] = [
      (state) => state.revoked.add("t-parent"),
      (state) => state.revoked.add("s1"),
      (state) => state.users.delete("01u"),
      (state) => state.users.set("01u", { ...account, frozen: true }),
      (state) => state.users.set("01u", { ...account, disabled: true }),
      (state) => state.users.set("01u", { ...account, validFrom: start + 1 }),
      (state) => state.clients.delete("c1"),
      (state) => state.clients.set("c1", { ...client, frozen: true }),
      (state) => state.clients.set("c1", { ...client, removed: true }),
      (state) => state.clients.set("c1", { ...client, agent: parent }),
      (state) => state.frozenAgents.add(parent),
    ];
    for (const way of ways) {
      const { state, tokens, token } = delegated();
      await tokens.principal(token, from);
      way(state);
      await expect(tokens.principal(token, from), String(way)).rejects.toMatchObject({ code: "unauthenticated" });
    }
  });

  it("OA-20: is refused without the key or certificate that it is bound to", async () => {
    for (const bound of [{ jkt: "thumb" }, { "x5t#S256": "thumb" }] as const) {
      const { tokens } = setUp();
      const { token } = tokens.mint({ agent, bound });
      await expect(tokens.principal(token, from)).rejects.toMatchObject({ code: "unauthenticated" });
      await expect(tokens.principal(token, { ...from, proved: { jkt: "other", "x5t#S256": "other" } })).rejects.toMatchObject({});
      const crossed = "jkt" in bound ? { "x5t#S256": "thumb" } : { jkt: "thumb" };
      await expect(tokens.principal(token, { ...from, proved: crossed })).rejects.toMatchObject({ code: "unauthenticated" });
      const { authenticated } = await tokens.principal(token, { ...from, proved: bound });
      expect(authenticated.senderConstrained).toBe(true);
    }
  });

  it("whose claims make no sense is refused", () => {
    const odd: readonly object[] = [
      { act: { sub: "Not An Agent" } },
      { act: "child" },
      { act: [] },
      { sub: "user:01u" },
      { sub: 7 },
      { scope: ["use"] },
      { sid: "" },
      { lin: "t" },
      { cnf: { jkt: "a", "x5t#S256": "b" } },
      { cnf: { jwk: {} } },
      { cnf: {} },
      { authorization_details: [{ type: "other" }] },
      { authorization_details: {} },
      { client_id: undefined },
      { act: Array.from({ length: 9 }).reduce<object | undefined>((act) => ({ sub: "a", ...(act ? { act } : {}) }), undefined) },
    ];
    for (const change of odd)
      expect(() => setUp().tokens.verify(forge(good, { ...claims, ...change })), JSON.stringify(change)).toThrow(
        expect.objectContaining({ code: "unauthenticated" }),
      );
  });
});

describe("keys that rotate", () => {
  it("a token is good as long as its key is kept, and a key of another process is looked for once", async () => {
    const { state, tokens } = setUp();
    const other = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const token = forge({ ...good, kid: "k2" }, claims, other.privateKey);
    await expect(tokens.principal(token, { transport: "http" })).rejects.toMatchObject({ code: "unauthenticated" });
    expect(state.refreshed).toBe(1);
    state.keys.set("k2", other.publicKey);
    expect(await tokens.principal(token, { transport: "http" })).toMatchObject({ agent });
    await expect(tokens.principal(`${token}x`, { transport: "http" })).rejects.toMatchObject({ code: "unauthenticated" });
    expect(state.refreshed).toBe(1);
    state.keys.delete("k2");
    await expect(tokens.principal(token, { transport: "http" })).rejects.toMatchObject({ code: "unauthenticated" });
  });
});

describe("a local peer", () => {
  it("is the agent it was started for, in a session of its own", () => {
    const one = localPeer({ agent, transport: "stdio", now: () => start });
    expect(one).toMatchObject({ agent, kind: "local", transport: "stdio", authenticated: { method: "local-peer", at: start } });
    expect(localPeer({ agent, transport: "stdio", now: () => start }).session).not.toBe(one.session);
  });
});
