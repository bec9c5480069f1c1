import { createHash } from "node:crypto";
import { decodeJwt, generateKeyPair, SignJWT } from "jose";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { AgentName } from "../../src/core/brand.ts";
import { isWrittenDown } from "../../src/oauth/grants-refusal.ts";
import { createDpop } from "./federation-dpop.ts";
import type { Answer, FederationHouse } from "./federation-house.ts";
import { accessToken, jwtBearer, jwtType, openFederationHouse, operator, tokenExchange } from "./federation-house.ts";
import type { MockIssuer } from "./federation-issuer.ts";
import { startIssuer } from "./federation-issuer.ts";

let platform: MockIssuer;
let house: FederationHouse;
const time = { now: Date.now() };

const main = { repository: "acme/shop", repository_owner: "acme", ref: "refs/heads/main", sub: "repo:acme/shop:ref:refs/heads/main" };

beforeEach(async () => {
  time.now = Date.now();
  platform = await startIssuer(() => time.now);
  house = await openFederationHouse({
    federation: [
      {
        issuer: platform.url,
        claims: { repository: "acme/*", ref: "refs/heads/main" },
        agent: "ci-{{repository}}",
        roles: ["deploying"],
        ttl: "15m",
      },
      {
        issuer: platform.url,
        claims: { "kubernetes.io/namespace": "ci", "kubernetes.io/serviceaccount/name": "deployer" },
        agent: "deployer",
        ttl: "1h",
      },
      { issuer: platform.url, claims: { sub: "spiffe://acme.example/ns/*/sa/*" }, agent: "w-{{sub}}" },
      { issuer: platform.url, claims: { project: "configured" }, agent: "configured-bot" },
      { issuer: platform.url, claims: { team: "*-team" }, agent: "t{{team}}" },
    ],
  });
});

afterEach(async () => {
  await house.close();
  await platform.close();
});

const mint = (claims: Record<string, unknown> = {}, options?: Parameters<MockIssuer["mint"]>[1]) =>
  platform.mint({ ...main, aud: house.issuer, ...claims }, options);

const bring = async (
  assertion: string,
  more: Record<string, string | string[]> = {},
  headers: Record<string, string> = {},
): Promise<Answer> => house.token({ grant_type: jwtBearer, assertion, ...more }, headers);

const claimsIn = ({ body }: Answer): Record<string, unknown> => decodeJwt(String(body["access_token"]));
const seconds = (): number => Math.floor(time.now / 1000);
/** Both clocks go on together. */
const pass = (milliseconds: number): void => void (house.clock.now = time.now += milliseconds);

describe("a workload brings a token of its platform", () => {
  it("RFC 7523 §2.1 gets a token of the agent that it is, without registering anything", async () => {
    const answer = await bring(await mint());
    expect(answer).toMatchObject({ status: 200, body: { token_type: "Bearer" } });
    expect(answer.headers.get("cache-control")).toBe("no-store");
    expect(Object.keys(answer.body).sort()).toEqual(["access_token", "expires_in", "token_type"]);
    const token = String(answer.body["access_token"]);
    const principal = await house.tokens.principal(token, { transport: "http" });
    expect(principal).toMatchObject({ kind: "workload", client: "workload", chain: [] });
    expect(principal.agent).toMatch(/^ci-acme-shop-[0-9a-v]{12}$/);
    expect(await house.agents.find(principal.agent)).toMatchObject({ roles: ["deploying"], registeredBy: "federation" });
    const [minted, ...more] = await house.audit("token.minted");
    expect(more).toEqual([]);
    expect(minted).toMatchObject({
      agent: principal.agent,
      grant: jwtBearer,
      client: "workload",
      token: claimsIn(answer)["jti"],
      evidence: { issuer: platform.url, subject: main.sub },
      actor: { type: "client", client: "workload", ip: "127.0.0.1" },
    });
  });

  it("RFC 8693 §2.2.1 gets the same by token exchange, and the answer says what was issued", async () => {
    for (const type of [jwtType, "urn:ietf:params:oauth:token-type:id_token"]) {
      const answer = await house.token({ grant_type: tokenExchange, subject_token: await mint(), subject_token_type: type });
      expect(answer).toMatchObject({ status: 200, body: { issued_token_type: accessToken, token_type: "Bearer" } });
    }
    expect((await house.audit("agent.added")).length).toBe(1);
  });

  it("gets one that ends before its own does, and no later than the rule says", async () => {
    const short = await bring(await mint({ exp: seconds() + 90 }));
    expect(claimsIn(short)["exp"]).toBeLessThanOrEqual(seconds() + 90);
    expect(short.body["expires_in"]).toBeGreaterThan(80);
    const long = await bring(await mint({ exp: seconds() + 3600 }));
    expect(long.body["expires_in"]).toBe(900);
  });

  it("of Kubernetes, by claims within claims, whose tokens may be older than an hour", async () => {
    const kubernetes = {
      "kubernetes.io": { namespace: "ci", serviceaccount: { name: "deployer", uid: "1" } },
      sub: "system:serviceaccount:ci:deployer",
    };
    const aged = { iat: seconds() - 7200, nbf: seconds() - 7200, exp: seconds() + 600 };
    const answer = await bring(await mint({ repository: undefined, aud: [house.issuer], ...kubernetes, ...aged }));
    expect(claimsIn(answer)).toMatchObject({ sub: "deployer", client_id: "workload" });
    const other = { "kubernetes.io": { namespace: "ci", serviceaccount: { name: "builder" } } };
    expect(await bring(await mint({ repository: undefined, ...other }))).toMatchObject({ status: 400 });
    const eternal = { iat: seconds() - 10, exp: seconds() + 90_000 };
    expect(await bring(await mint({ repository: undefined, ...kubernetes, ...eternal }))).toMatchObject({ status: 400 });
  });

  it("of SPIFFE, without iat and with typ JOSE", async () => {
    const svid = await mint(
      { repository: undefined, sub: "spiffe://acme.example/ns/ci/sa/job", iat: undefined, nbf: undefined },
      { typ: "JOSE" },
    );
    expect(claimsIn(await bring(svid))["sub"]).toMatch(/^w-spiffe---acme.example-ns-ci-sa-job-[0-9a-v]{12}$/);
    const lasting = await mint({
      repository: undefined,
      sub: "spiffe://acme.example/ns/ci/sa/job",
      iat: undefined,
      nbf: undefined,
      exp: seconds() + 4000,
    });
    expect(await bring(lasting)).toMatchObject({ status: 400 });
  });

  it("twice, as a job does that is run again", async () => {
    const assertion = await mint();
    const [first, second] = [await bring(assertion), await bring(assertion)];
    expect(claimsIn(second)["sub"]).toBe(claimsIn(first)["sub"]);
    expect(claimsIn(second)["jti"]).not.toBe(claimsIn(first)["jti"]);
  });

  it("for less than it may have: scopes and credentials", async () => {
    const details = JSON.stringify([{ type: "leasehold_credentials", credentials: ["billing-db/*"] }]);
    const answer = await bring(await mint(), { scope: "use:sql leases:read", authorization_details: details });
    expect(answer.body).toMatchObject({ scope: "use:sql leases:read", authorization_details: JSON.parse(details) as unknown });
    const principal = await house.tokens.principal(String(answer.body["access_token"]), { transport: "http" });
    expect(principal).toMatchObject({ scopes: ["use:sql", "leases:read"], credentials: ["billing-db/*"] });
    expect(await bring(await mint(), { scope: "admin" })).toMatchObject({ status: 400, body: { error: "invalid_scope" } });
    for (const odd of ["{}", "[]", "nonsense", '[{"type":"other"}]', '[{"type":"leasehold_credentials","credentials":["../x"]}]'])
      expect(await bring(await mint(), { authorization_details: odd })).toMatchObject({
        status: 400,
        body: { error: "invalid_authorization_details" },
      });
  });

  it("OA-11 for this resource only", async () => {
    for (const resource of [house.resource, `${house.resource}/`, house.issuer, `${house.issuer}/`])
      expect(await bring(await mint(), { resource })).toMatchObject({ status: 200 });
    for (const resource of [["https://other.example/mcp"], [house.resource, "https://other.example/mcp"]])
      expect(await bring(await mint(), { resource })).toMatchObject({ status: 400, body: { error: "invalid_target" } });
  });

  it("OA-20 bound to its key when it proves to hold one", async () => {
    const dpop = await createDpop(`${house.issuer}/oauth/token`);
    const proof = await dpop.proof();
    const answer = await bring(await mint(), {}, { dpop: proof });
    expect(answer).toMatchObject({ status: 200, body: { token_type: "DPoP" } });
    expect(claimsIn(answer)["cnf"]).toEqual({ jkt: dpop.thumbprint });
    expect(await bring(await mint(), {}, { dpop: proof })).toMatchObject({ status: 400 });
    const elsewhere = await createDpop("https://other.example/oauth/token");
    expect(await bring(await mint(), {}, { dpop: await elsewhere.proof() })).toMatchObject({
      status: 400,
      body: { error: "invalid_dpop_proof" },
    });
  });
});

describe("a token is not accepted", () => {
  const sentence = "The token that was brought is not accepted. The operator finds the reason in the audit log.";

  const cases: readonly (readonly [string, RegExp, (s: () => number) => Promise<string>])[] = [
    ["of another repository", /no rule is about it: .*evil/, () => mint({ repository: "evil/shop", sub: "repo:evil/shop" })],
    ["of another branch", /no rule/, () => mint({ ref: "refs/heads/main/x" })],
    ["without a claim that the rule names", /no rule/, () => mint({ ref: undefined })],
    ["whose claim is a list", /no rule/, () => mint({ ref: ["refs/heads/main"] })],
    ["for somebody else", /no rule/, () => mint({ aud: "https://other.example" })],
    ["for somebody else as well", /no rule/, () => mint({ aud: [house.issuer, "https://other.example"] })],
    ["for us with a slash", /no rule/, () => mint({ aud: `${house.issuer}/` })],
    ["for nobody", /no rule/, () => mint({ aud: undefined })],
    ["that has expired", /expired/, (s) => mint({ iat: s() - 400, exp: s() - 31 })],
    ["that has no time left", /no time is left/, (s) => mint({ exp: s() - 5 })],
    ["that never expires", /never expires/, () => mint({ exp: undefined })],
    ["whose expiry is no time", /exp is no time/, () => mint({ exp: "2099" })],
    ["of the future", /not valid yet/, (s) => mint({ nbf: s() + 40 })],
    ["that was issued in the future", /not valid yet/, (s) => mint({ iat: s() + 40 })],
    ["that is old", /older than an hour/, (s) => mint({ iat: s() - 3700, exp: s() + 600 })],
    ["of an issuer that is not trusted", /no rule trusts its issuer/, () => mint({ iss: "https://other.example" })],
    ["of an issuer with a slash", /no rule trusts its issuer/, () => mint({ iss: `${platform.url}/` })],
    ["without a subject", /no usable sub/, () => mint({ sub: undefined })],
    ["that is an access token", /type at\+jwt/, () => mint({}, { typ: "at+jwt" })],
    ["that is an ID-JAG, without a client", /for a client came without one/, () => mint({}, { typ: "oauth-id-jag+jwt" })],
    ["that others may act with", /may_act/, () => mint({ may_act: { sub: "somebody" } })],
    ["that is too long", /16 KiB/, () => mint({ padding: "x".repeat(16 * 1024) })],
    ["that is none", /not a JWT/, async () => "nonsense"],
    ["that is ours", /type at\+jwt/, async () => house.tokens.mint({ agent: "deployer" as AgentName }).token],
    ["signed by somebody else", /signature/, async () => mint({}, { key: (await generateKeyPair("RS256")).privateKey })],
    ["OA-18 without a signature", /signature/, async () => unsigned(await mint())],
    ["OA-18 with a key of its own", /signature/, async () => withHeader(await mint(), { alg: "RS256", jwk: platform.jwks().keys[0] })],
    [
      "OA-18 signed with the public key as a secret",
      /signature/,
      async () =>
        new SignJWT({ ...main, iss: platform.url, aud: house.issuer, exp: seconds() + 60 })
          .setProtectedHeader({ alg: "HS256", kid: platform.jwks().keys[0]?.kid ?? "" })
          .sign(createHash("sha256").update(JSON.stringify(platform.jwks().keys[0])).digest()),
    ],
  ];

  it.each(cases)("RFC 7523 §3: %s", async (_what, why, make) => {
    const assertion = await make(seconds);
    const answer = await bring(assertion);
    expect(answer).toMatchObject({ status: 400, body: { error: "invalid_grant", error_description: sentence } });
    const [refused, ...more] = await house.audit("token.refused");
    expect(more).toEqual([]);
    expect(refused).toMatchObject({ error: "invalid_grant", grant: jwtBearer, client: "workload" });
    expect(refused?.["why"]).toMatch(why);
    expect(JSON.stringify(await house.audit())).not.toContain(assertion.slice(-40));
    expect(await house.audit("token.minted")).toEqual([]);
    expect(house.thrown.map(isWrittenDown)).toEqual([true]);
    // By exchange it is another error, as RFC 8693 section 2.2.2 wants it.
    const exchanged = await house.token({ grant_type: tokenExchange, subject_token: assertion, subject_token_type: jwtType });
    expect(exchanged).toMatchObject({ status: 400, body: { error: "invalid_request" } });
  });

  it("by a client that is registered", async () => {
    await house.addClient("planner");
    const client = { client_id: "planner", client_secret: "planner-secret-0123456789-0123456789-0123456789" };
    expect(await bring(await mint(), client)).toMatchObject({ status: 400, body: { error: "invalid_grant" } });
  });

  it("whose agent was frozen, or is somebody else's", async () => {
    await house.agents.add("ta-team" as AgentName, { roles: ["admin"] }, operator);
    expect(await bring(await mint({ repository: undefined, team: "a-team" }))).toMatchObject({ status: 400 });
    expect((await house.audit("token.refused"))[0]?.["why"]).toMatch(/ta-team exists, and was not made for workloads/);
    await house.agents.add("deployer" as AgentName, { roles: [], registeredBy: "dcr" }, operator);
    const kubernetes = { repository: undefined, "kubernetes.io": { namespace: "ci", serviceaccount: { name: "deployer" } } };
    expect(await bring(await mint(kubernetes))).toMatchObject({ status: 400 });

    const fine = await bring(await mint());
    await house.agents.change(String(claimsIn(fine)["sub"]) as AgentName, "agent.frozen", operator);
    expect(await bring(await mint())).toMatchObject({ status: 400, body: { error: "invalid_grant" } });
  });

  it("though an agent of the configuration may be named, and keeps its own roles", async () => {
    const answer = await bring(await mint({ repository: undefined, project: "configured" }));
    expect(claimsIn(answer)["sub"]).toBe("configured-bot");
    expect(await house.agents.find("configured-bot" as AgentName)).toMatchObject({ roles: ["reporting"], registeredBy: "operator" });
  });

  it("P-1 without its line in the audit log, no token leaves", async () => {
    house.faults.fail = "token.minted";
    const answer = await bring(await mint());
    expect(answer).toMatchObject({ status: 503, body: { error: "temporarily_unavailable" } });
    expect(answer.body["access_token"]).toBeUndefined();
    house.faults.fail = "token.refused";
    expect(await bring("nonsense")).toMatchObject({ status: 503, body: { error: "temporarily_unavailable" } });
  });

  it("when the agent is frozen between the line in the log and the answer", async () => {
    const { sub } = claimsIn(await bring(await mint()));
    house.faults.after = () => house.agents.change(String(sub) as AgentName, "token.revoked", operator).then(() => pass(1));
    pass(1);
    const answer = await bring(await mint());
    expect(answer.body["access_token"]).toBeUndefined();
  });

  it("by thousands: the log gets their number, and not a line for each", async () => {
    for (let count = 0; count < 130; count += 1) await bring("nonsense");
    expect((await house.audit("token.refused")).length).toBe(120);
    pass(60_000);
    await bring("nonsense");
    expect((await house.audit("token.refused")).at(-1)?.["why"]).toMatch(/and 10 more/);
  });
});

describe("keys of an issuer", () => {
  const keysAsked = (): number => platform.asked.filter((path) => path.startsWith("/keys")).length;

  it("are found by OpenID discovery, or by RFC 8414 where the path comes last", async () => {
    expect(await bring(await mint())).toMatchObject({ status: 200 });
    expect(platform.asked).toEqual(["/.well-known/openid-configuration", "/keys"]);
    const tenant = await startIssuer(() => time.now, "/tenant/1");
    tenant.mode = "plain-oauth";
    const other = await openFederationHouse({ federation: [{ issuer: tenant.url, claims: { sub: "job" }, agent: "job" }] });
    const assertion = await tenant.mint({ sub: "job", aud: other.issuer });
    expect(await other.token({ grant_type: jwtBearer, assertion })).toMatchObject({ status: 200 });
    expect(tenant.asked).toEqual([
      "/tenant/1/.well-known/openid-configuration",
      "/.well-known/oauth-authorization-server/tenant/1",
      "/keys",
    ]);
    await other.close();
    await tenant.close();
  });

  it("are asked for once, also by many at the same time, and again after ten minutes", async () => {
    const assertions = await Promise.all(Array.from({ length: 10 }, () => mint({ exp: seconds() + 3600 })));
    await Promise.all(assertions.map((one) => bring(one)));
    expect(keysAsked()).toBe(1);
    pass(601_000);
    expect(await bring(assertions[0] ?? "")).toMatchObject({ status: 200 });
    expect(keysAsked()).toBe(2);
  });

  it("that are new are found when a token names one, at most once a minute", async () => {
    await bring(await mint());
    await platform.rotate({ alg: "ES256" });
    expect(await bring(await mint())).toMatchObject({ status: 400 });
    expect(keysAsked()).toBe(1);
    pass(61_000);
    expect(await bring(await mint())).toMatchObject({ status: 200 });
    expect(keysAsked()).toBe(2);
    for (let count = 0; count < 5; count += 1)
      expect(await bring(await mint({}, { kid: `made-up-${count}` }))).toMatchObject({ status: 400 });
    expect(keysAsked()).toBe(2);
    for (const alg of ["PS256", "ES384", "EdDSA"]) {
      pass(61_000);
      await platform.rotate({ alg });
      expect(await bring(await mint())).toMatchObject({ status: 200 });
    }
  });

  it("that were withdrawn sign nothing after ten minutes", async () => {
    const assertion = await mint({ exp: seconds() + 3600 });
    await bring(assertion);
    await platform.rotate({ withdraw: true });
    pass(601_000);
    expect(await bring(assertion)).toMatchObject({ status: 400, body: { error: "invalid_grant" } });
  });

  it("are not guessed: without a kid, one key of several is none", async () => {
    await platform.rotate();
    expect(await bring(await mint({}, { kid: undefined }))).toMatchObject({ status: 400, body: { error: "invalid_grant" } });
  });

  it.each(["broken", "huge", "redirecting", "impostor", "html", "no-keys", "slow"] as const)(
    "P-7 of an issuer that is %s let nobody in, until it has recovered",
    async (mode) => {
      platform.mode = mode;
      const assertion = await mint();
      const refused = await bring(assertion);
      expect(refused).toMatchObject({ status: 503, body: { error: "temporarily_unavailable" } });
      expect((await house.audit("token.refused"))[0]).toMatchObject({ error: "temporarily_unavailable" });
      expect(platform.asked).not.toContain("/keys-elsewhere");
      // Who is down is not asked by every request.
      const asked = platform.asked.length;
      await bring(assertion);
      expect(platform.asked.length).toBe(asked);
      platform.mode = "none";
      pass(6_000);
      expect(await bring(await mint())).toMatchObject({ status: 200 });
    },
  );
});

function unsigned(token: string): string {
  const [, payload] = token.split(".");
  return `${Buffer.from(JSON.stringify({ alg: "none" })).toString("base64url")}.${payload}.`;
}

function withHeader(token: string, header: object): string {
  const [, payload, signature] = token.split(".");
  return `${Buffer.from(JSON.stringify(header)).toString("base64url")}.${payload}.${signature}`;
}
