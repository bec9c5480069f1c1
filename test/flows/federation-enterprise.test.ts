import { decodeJwt } from "jose";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { AgentName } from "../../src/core/brand.ts";
import type { Answer, FederationHouse } from "./federation-house.ts";
import { jwtBearer, openFederationHouse, operator, secretOf } from "./federation-house.ts";
import type { MockIssuer } from "./federation-issuer.ts";
import { startIssuer } from "./federation-issuer.ts";

let idp: MockIssuer;
let house: FederationHouse;

beforeEach(async () => {
  idp = await startIssuer();
  house = await openFederationHouse({
    enterprise: [{ issuer: idp.url, teams: "groups" }],
    federation: [{ issuer: idp.url, claims: { sub: "ann*" }, agent: "confused" }],
  });
  for (const name of ["planner", "coder"]) await house.addClient(name);
});
afterEach(async () => {
  await house.close();
  await idp.close();
});

const typ = "oauth-id-jag+jwt";
const person = () => ({
  sub: "ann-1",
  email: "ann@acme.example",
  groups: ["finance"],
  aud: house.issuer,
  client_id: "planner",
  resource: house.resource,
});
const mint = (claims: Record<string, unknown> = {}, options: Parameters<MockIssuer["mint"]>[1] = { typ }) =>
  idp.mint({ ...person(), ...claims }, options);
const bring = (assertion: string, more: Record<string, string> = {}): Promise<Answer> =>
  house.token({ grant_type: jwtBearer, assertion, client_id: "planner", client_secret: secretOf("planner"), ...more });
const principalOf = (answer: Answer) => house.tokens.principal(String(answer.body["access_token"]), { transport: "http" });

describe("a managed client signs a person in with the company's identity provider", () => {
  it("and acts for that person, who has an account from then on", async () => {
    const answer = await bring(await mint());
    expect(answer).toMatchObject({ status: 200, body: { token_type: "Bearer", expires_in: 600 } });
    expect(answer.body["refresh_token"]).toBeUndefined();
    const principal = await principalOf(answer);
    expect(principal).toMatchObject({
      agent: "planner",
      client: "planner",
      kind: "oauth",
      chain: [],
      onBehalfOf: { issuer: idp.url, subject: "ann-1", email: "ann@acme.example", teams: ["finance"] },
    });
    expect((await house.audit("token.minted"))[0]).toMatchObject({
      agent: "planner",
      user: principal.onBehalfOf?.account,
      grant: jwtBearer,
      evidence: { issuer: idp.url, subject: "ann-1" },
    });
    expect((await principalOf(await bring(await mint()))).onBehalfOf?.account).toBe(principal.onBehalfOf?.account);
  });

  it.each([
    [{}, {}, undefined],
    [{ scope: "use leases:read" }, {}, ["use", "leases:read"]],
    [{ scope: "use leases:read" }, { scope: "use:sql leases:write" }, ["use:sql", "leases:read"]],
    [{}, { scope: "use:sql" }, ["use:sql"]],
    [{ scope: "openid use:sql" }, {}, ["use:sql"]],
  ])("%j, asking for %j, has %j", async (claims, asked, scopes) => {
    const { scopes: granted } = await principalOf(await bring(await mint(claims), asked));
    expect(new Set(granted)).toEqual(new Set(scopes));
  });

  it("OA-11 and gets nothing when it asks for none of what the assertion grants", async () => {
    for (const [claims, asked] of [
      [{ scope: "use:http" }, { scope: "use:sql" }],
      [{ scope: "openid" }, {}],
    ] as const)
      expect(await bring(await mint(claims), asked)).toMatchObject({ status: 400, body: { error: "invalid_scope" } });
  });

  it("once with one assertion, also at the same moment", async () => {
    const assertion = await mint();
    const answers = await Promise.all(Array.from({ length: 10 }, () => bring(assertion)));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    expect((await house.audit("token.refused"))[0]?.["why"]).toBe("it was used before");
    const twin = await mint({ jti: decodeJwt(assertion).jti, sub: "bob-1" });
    expect(await bring(twin)).toMatchObject({ status: 400, body: { error: "invalid_grant" } });
  });

  const cases: readonly (readonly [string, RegExp, () => Promise<string>])[] = [
    ["of another client", /another client/, () => mint({ client_id: "coder" })],
    ["of no client", /another client/, () => mint({ client_id: undefined })],
    ["for another resource", /another resource/, () => mint({ resource: "https://other.example/mcp" })],
    ["for no resource", /another resource/, () => mint({ resource: undefined })],
    ["for another server", /another authorization server/, () => mint({ aud: "https://other.example" })],
    ["for the resource instead of the server", /another authorization server/, () => mint({ aud: house.resource })],
    ["for two servers", /another authorization server/, () => mint({ aud: [house.issuer, "https://other.example"] })],
    ["without an id", /no usable jti/, () => mint({ jti: undefined })],
    ["without a person", /no usable sub/, () => mint({ sub: undefined })],
    ["without an instant of issue", /when it was issued/, () => mint({ iat: undefined })],
    ["that has expired", /expired/, () => mint({ exp: 1_700_000_000 })],
    ["whose scope is no text", /scope is no text/, () => mint({ scope: ["use"] })],
    ["of another type", /registered client/, () => mint({}, {})],
    ["of an access token's type", /registered client/, () => mint({}, { typ: "at+jwt" })],
    ["of nobody that we trust", /no identity provider/, () => mint({ iss: "https://other.example" })],
  ];
  it.each(cases)("RFC 7523 §3 but not with one %s", async (_what, why, make) => {
    expect(await bring(await make())).toMatchObject({ status: 400, body: { error: "invalid_grant" } });
    expect((await house.audit("token.refused"))[0]?.["why"]).toMatch(why);
    expect(await house.audit("user.added")).toEqual([]);
  });

  it("OA-09 nor as a client that it is not, nor as nobody, nor after it was frozen", async () => {
    const other = { client_id: "coder", client_secret: secretOf("coder") };
    expect(await bring(await mint(), other)).toMatchObject({ status: 400, body: { error: "invalid_grant" } });
    const nameless = await house.token({ grant_type: jwtBearer, assertion: await mint({ client_id: "workload" }) });
    expect(nameless).toMatchObject({ status: 400, body: { error: "invalid_grant" } });
    await house.clients.freeze("planner", operator);
    expect(await bring(await mint())).toMatchObject({ status: 400, body: { error: "invalid_grant" } });
  });

  it("nor for a person who was frozen", async () => {
    const { onBehalfOf } = await principalOf(await bring(await mint()));
    await house.users.change(onBehalfOf?.account ?? "", "user.frozen", operator);
    expect(await bring(await mint())).toMatchObject({ status: 400, body: { error: "invalid_grant" } });
    expect((await house.audit("token.minted")).length).toBe(1);
  });

  it("and an assertion for people makes no workload of its bearer", async () => {
    const answer = await house.token({ grant_type: jwtBearer, assertion: await mint() });
    expect(answer).toMatchObject({ status: 400, body: { error: "invalid_grant" } });
    expect(await house.agents.find("confused" as AgentName)).toBeUndefined();
  });
});
