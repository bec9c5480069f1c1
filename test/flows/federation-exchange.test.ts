import { decodeJwt, SignJWT } from "jose";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { AgentName } from "../../src/core/brand.ts";
import type { MintOrder } from "../../src/identity/access-token.ts";
import { createDpop } from "./federation-dpop.ts";
import type { Answer, FederationHouse } from "./federation-house.ts";
import { accessToken, jwtType, openFederationHouse, operator, secretOf, tokenExchange } from "./federation-house.ts";
import { startIssuer } from "./federation-issuer.ts";

let house: FederationHouse;

beforeEach(async () => {
  house = await openFederationHouse({});
  for (const name of ["planner", "coder", "tester"]) await house.addClient(name, ["debugging"]);
});
afterEach(() => house.close());

const name = (text: string): AgentName => text as AgentName;

/** A token of the planner, as its sign-in gave it one. */
const parentOf = (order: Partial<MintOrder> = {}) =>
  house.tokens.mint({ agent: name("planner"), client: "planner", ttlSeconds: 600, ...order });

const tokenOfCoder = (): string => house.tokens.mint({ agent: name("coder"), client: "coder" }).token;

type Parameters = Record<string, string | string[]>;
const exchange = (
  client: string | undefined,
  subject: string,
  more: Parameters = {},
  headers: Record<string, string> = {},
): Promise<Answer> =>
  house.token(
    {
      grant_type: tokenExchange,
      subject_token: subject,
      subject_token_type: accessToken,
      ...(client === undefined ? {} : { client_id: client, client_secret: secretOf(client) }),
      ...more,
    },
    headers,
  );
const credentials = (...names: string[]): string => JSON.stringify([{ type: "leasehold_credentials", credentials: names }]);
const tokenIn = (answer: Answer): string => String(answer.body["access_token"]);
const principalOf = (token: string) => house.tokens.principal(token, { transport: "http" });

/** What became of a request: what it was told, and what the log says of it. */
async function outcome(answer: Answer) {
  const { status, body } = answer;
  return { status, error: body["error"], token: body["access_token"], why: (await house.audit("token.refused")).at(-1)?.["why"] };
}
const refusal = (error: string, why?: RegExp) => ({
  status: 400,
  error,
  token: undefined,
  ...(why ? { why: expect.stringMatching(why) as string } : {}),
});

describe("an agent sends another one", () => {
  it("RFC 8693 §4.1 the token says who acts and for whom, and so does the log", async () => {
    const parent = parentOf();
    const answer = await exchange("coder", parent.token);
    expect(answer).toMatchObject({ status: 200, body: { token_type: "Bearer", issued_token_type: accessToken } });
    expect(answer.body["refresh_token"]).toBeUndefined();
    expect(decodeJwt(tokenIn(answer))).toMatchObject({
      sub: "planner",
      act: { sub: "coder" },
      client_id: "coder",
      sid: parent.tokenId,
      lin: [parent.tokenId],
    });
    expect(await principalOf(tokenIn(answer))).toMatchObject({
      agent: "coder",
      chain: ["planner"],
      client: "coder",
      session: parent.tokenId,
    });
    expect((await house.audit("token.minted"))[0]).toMatchObject({
      agent: "coder",
      chain: ["planner"],
      grant: tokenExchange,
      client: "coder",
      session: parent.tokenId,
      evidence: { issuer: house.issuer, subject: parent.tokenId },
    });
  });

  it("RFC 8693 §4.1 on behalf of the same person, down a chain, in the same session", async () => {
    const user = await house.users.add({ name: "ann", role: "member" }, operator);
    if (user === "taken") throw new Error("taken");
    const parent = parentOf({ account: user.account, session: "sign-in-1" });
    const child = tokenIn(await exchange("coder", parent.token));
    const grandchild = tokenIn(await exchange("tester", child));
    expect(decodeJwt(grandchild)).toMatchObject({
      sub: `user:${user.account}`,
      act: { sub: "tester", act: { sub: "coder", act: { sub: "planner" } } },
      sid: "sign-in-1",
    });
    expect(await principalOf(grandchild)).toMatchObject({
      chain: ["coder", "planner"],
      onBehalfOf: { account: user.account },
      session: "sign-in-1",
    });
    expect((await house.audit("token.minted")).at(-1)).toMatchObject({ user: user.account, session: "sign-in-1" });
  });

  it("PL-07 the child ends before its parent, at every length of life", async () => {
    for (const ttlSeconds of [2, 3, 59, 600, 3600]) {
      house.clock.now += 137;
      const parent = parentOf({ ttlSeconds });
      house.clock.now += 333;
      const child = house.tokens.verify(tokenIn(await exchange("coder", parent.token)));
      expect(child.expiresAt).toBeLessThanOrEqual(parent.expiresAt);
      expect(child.expiresAt - child.issuedAt).toBeLessThanOrEqual(600_000);
    }
    const dying = parentOf({ ttlSeconds: 1 });
    expect(await outcome(await exchange("coder", dying.token))).toMatchObject(refusal("invalid_request", /no time is left/));
    house.clock.now += 7_000;
    expect(await outcome(await exchange("coder", dying.token))).toMatchObject(refusal("invalid_request", /expired/));
  });

  describe("PL-07 the child dies at the next call", () => {
    const deaths: readonly (readonly [string, (ids: { parent: string; child: string; account: string }) => Promise<unknown>])[] = [
      ["with the parent's token", ({ parent }) => house.revocations.revoke(parent, house.clock.now + 3_600_000)],
      ["with the sign-in", () => house.revocations.revoke("sign-in-1", house.clock.now + 3_600_000)],
      ["with its own token, alone", ({ child }) => house.revocations.revoke(child, house.clock.now + 3_600_000)],
      ["when the parent is frozen", () => house.agents.change(name("planner"), "agent.frozen", operator)],
      ["when the parent is disabled", () => house.agents.change(name("planner"), "agent.disabled", operator)],
      ["when the parent's tokens are revoked", () => house.agents.change(name("planner"), "token.revoked", operator)],
      ["when the parent's client is frozen", () => house.clients.freeze("planner", operator)],
      ["when the parent's client is removed", () => house.clients.remove("planner", "operator", operator)],
      ["when its own client is removed", () => house.clients.remove("coder", "operator", operator)],
      ["when the person is frozen", ({ account }) => house.users.change(account, "user.frozen", operator)],
    ];
    it.each(deaths)("%s", async (what, kill) => {
      const user = await house.users.add({ name: "ann", role: "member" }, operator);
      if (user === "taken") throw new Error("taken");
      const parent = parentOf({ account: user.account, session: "sign-in-1" });
      const child = tokenIn(await exchange("coder", parent.token));
      const grandchild = tokenIn(await exchange("tester", child));
      await expect(principalOf(grandchild)).resolves.toMatchObject({ agent: "tester" });
      house.clock.now += 10;
      await kill({ parent: parent.tokenId, child: house.tokens.verify(child).tokenId, account: user.account });
      await expect(principalOf(child)).rejects.toThrow();
      await expect(principalOf(grandchild)).rejects.toThrow();
      if (what.endsWith("alone")) await expect(principalOf(parent.token)).resolves.toMatchObject({ agent: "planner" });
      // And has no more children, nor ever had.
      const minted = (await house.audit("token.minted")).length;
      expect(await outcome(await exchange("tester", child))).toMatchObject(refusal("invalid_request"));
      expect((await house.audit("token.minted")).length).toBe(minted);
    });
  });

  it("P-4 an agent that is frozen sends nobody", async () => {
    const parent = parentOf();
    await house.agents.change(name("planner"), "agent.frozen", operator);
    expect(await outcome(await exchange("coder", parent.token))).toMatchObject(refusal("invalid_request", /frozen/));
    expect(await house.audit("token.minted")).toEqual([]);
  });

  it("PL-07 a parent that is revoked while the child's token is written down gives nothing", async () => {
    const parent = parentOf();
    house.faults.after = () => house.revocations.revoke(parent.tokenId, house.clock.now + 3_600_000);
    expect(await outcome(await exchange("coder", parent.token))).toMatchObject(refusal("invalid_request", /revoked/));
    const other = parentOf();
    house.faults.after = async () => {
      house.clock.now += 5;
      await house.agents.change(name("planner"), "token.revoked", operator);
    };
    expect(await outcome(await exchange("coder", other.token))).toMatchObject(refusal("invalid_request", /revoked/));
  });

  it("PL-07 nor does one whose tokens are revoked before the child's token is made", async () => {
    const parent = parentOf();
    house.faults.finding = async (agent) => {
      if (agent !== "coder") return;
      delete house.faults.finding;
      house.clock.now += 5;
      await house.agents.change(name("planner"), "token.revoked", operator);
      house.clock.now += 5;
    };
    // By its time of issue, the child's token would be good.
    const refusing = exchange("coder", parent.token, { actor_token: tokenOfCoder(), actor_token_type: accessToken });
    expect(await outcome(await refusing)).toMatchObject(refusal("invalid_request", /revoked/));
  });

  it("RFC 8693 §2.1 a process that has a token of its own is the actor, and its narrowing counts as well", async () => {
    const actor = house.tokens.mint({ agent: name("coder"), client: "coder", ttlSeconds: 60, scopes: ["use:http", "leases:read"] });
    const parent = parentOf({ scopes: ["use"] });
    const actors = { actor_token: actor.token, actor_token_type: accessToken };
    const answer = await exchange("coder", parent.token, actors);
    expect(answer.body).toMatchObject({ scope: "use:http" });
    const child = house.tokens.verify(tokenIn(answer));
    expect(child).toMatchObject({ agent: "coder", chain: ["planner"], lineage: [parent.tokenId, actor.tokenId] });
    expect(child.expiresAt).toBeLessThanOrEqual(actor.expiresAt);
    expect(await outcome(await exchange("coder", parent.token, { ...actors, scope: "use:sql" }))).toMatchObject(refusal("invalid_scope"));
    // In the hands of another client, an actor token makes nobody its agent.
    expect(await outcome(await exchange("tester", parent.token, actors))).toMatchObject(
      refusal("invalid_request", /issued to another client/),
    );
    const sent = tokenIn(await exchange("coder", parentOf().token));
    expect(await outcome(await exchange("coder", parentOf().token, { ...actors, actor_token: sent }))).toMatchObject(
      refusal("invalid_request", /acts for somebody already/),
    );
    await house.revocations.revoke(actor.tokenId, actor.expiresAt);
    await expect(principalOf(tokenIn(answer))).rejects.toThrow();
    expect(await outcome(await exchange("coder", parent.token, actors))).toMatchObject(refusal("invalid_request", /revoked/));
  });

  it("at most eight agents stand behind one token, and one is exchanged two dozen times at most", async () => {
    for (let number = 0; number < 9; number += 1) await house.addClient(`a${number}`);
    let token = parentOf().token;
    for (let number = 0; number < 7; number += 1) token = tokenIn(await exchange(`a${number}`, token));
    const principal = await principalOf(token);
    expect(principal.chain).toHaveLength(7);
    expect(await outcome(await exchange("a8", token))).toMatchObject(refusal("invalid_request", /more than 8 agents/));
    const user = await house.users.add({ name: "ann", role: "member" }, operator);
    if (user === "taken") throw new Error("taken");
    token = parentOf({ account: user.account, session: "s" }).token;
    for (let number = 0; number < 7; number += 1) token = tokenIn(await exchange(`a${number}`, token));
    expect(await outcome(await exchange("a8", token))).toMatchObject(refusal("invalid_request", /more than 8 agents/));
    token = parentOf().token;
    let times = 0;
    for (; times < 40; times += 1) {
      const answer = await exchange("planner", token);
      if (answer.status !== 200) break;
      token = tokenIn(answer);
    }
    expect(times).toBe(24);
  });
});

describe("what comes out is good for less", () => {
  const narrowed = { scopes: ["use", "leases:read"], credentials: ["billing-db/*", "tickets/api"] } as const;

  it("RFC 8693 §2.1 for a process of its own: same agent, same chain", async () => {
    const parent = parentOf(narrowed);
    const answer = await exchange("planner", parent.token, { scope: "use:sql", authorization_details: credentials("billing-db/readonly") });
    expect(answer.body).toMatchObject({ scope: "use:sql", authorization_details: [{ credentials: ["billing-db/readonly"] }] });
    const principal = await principalOf(tokenIn(answer));
    expect(principal).toMatchObject({ agent: "planner", chain: [], scopes: ["use:sql"], credentials: ["billing-db/readonly"] });
    // What rules about chains count goes on counting: it is no new session.
    expect(principal.session).toBe(parent.tokenId);
  });

  it("without asking, for as much as the parent", async () => {
    const answer = await exchange("coder", parentOf(narrowed).token);
    expect(await principalOf(tokenIn(answer))).toMatchObject(narrowed);
  });

  it.each([
    [{ scope: "use:sql leases:write" }, "invalid_scope"],
    [{ scope: "credentials:read" }, "invalid_scope"],
    [{ scope: "everything" }, "invalid_scope"],
    [{ authorization_details: credentials("billing-db/readonly", "crm/readonly") }, "invalid_authorization_details"],
    [{ authorization_details: credentials("tickets/*") }, "invalid_authorization_details"],
    [{ authorization_details: credentials("billing-dbx/readonly") }, "invalid_authorization_details"],
    [{ authorization_details: credentials("*") }, "invalid_authorization_details"],
    [{ authorization_details: credentials("billing-db/readonly/../../crm") }, "invalid_authorization_details"],
  ])("OA-11 and never for more: %j is %s", async (asked, error) => {
    expect(await outcome(await exchange("coder", parentOf(narrowed).token, asked))).toMatchObject(refusal(error));
  });
});

describe("RFC 8693 §2.2.2 an exchange is refused", () => {
  const cases: readonly (readonly [string, Parameters, string])[] = [
    ["that wants a refresh token", { requested_token_type: "urn:ietf:params:oauth:token-type:refresh_token" }, "invalid_request"],
    ["that wants an ID token", { requested_token_type: "urn:ietf:params:oauth:token-type:id_token" }, "invalid_request"],
    ["of a type that we do not know", { subject_token_type: "urn:ietf:params:oauth:token-type:saml2" }, "invalid_request"],
    ["OA-17 for another resource", { resource: "https://other.example/mcp" }, "invalid_target"],
    ["OA-17 for another audience", { audience: "other" }, "invalid_target"],
    ["OA-17 for ours and another", { audience: ["https://broker.example/mcp", "other"] }, "invalid_target"],
    ["with a type and no actor", { actor_token_type: accessToken }, "invalid_request"],
    ["with an actor and no type", { actor_token: "x" }, "invalid_request"],
    ["with an actor of another type", { actor_token: "x", actor_token_type: jwtType }, "invalid_request"],
    ["without a subject", { subject_token: "" }, "invalid_request"],
    ["without its type", { subject_token_type: "" }, "invalid_request"],
    ["with two subjects", { subject_token: ["x", "y"] }, "invalid_request"],
    ["of nonsense", { subject_token: "nonsense" }, "invalid_request"],
  ];
  it.each(cases)("%s", async (_what, more, error) => {
    expect(await outcome(await exchange("coder", parentOf().token, more))).toMatchObject(refusal(error));
    expect(await house.audit("token.minted")).toEqual([]);
  });

  it("but for the type, audience and resource that there are, it is not", async () => {
    const more = { requested_token_type: accessToken, audience: house.resource, resource: `${house.resource}/` };
    expect(await exchange("coder", parentOf().token, more)).toMatchObject({ status: 200 });
  });

  it("OA-17 of a token that others issued, or that is for others", async () => {
    const others = await startIssuer();
    const foreign = await others.mint({ sub: "planner", client_id: "planner", aud: house.resource, iss: house.issuer }, { typ: "at+jwt" });
    expect(await outcome(await exchange("coder", foreign))).toMatchObject(refusal("invalid_request"));
    await others.close();
  });

  it("OA-18 that was tampered with", async () => {
    const [head = "", body = "", tail = ""] = parentOf().token.split(".");
    const claims = JSON.parse(Buffer.from(body, "base64url").toString("utf8")) as object;
    const forged = Buffer.from(JSON.stringify({ ...claims, sub: "tester" })).toString("base64url");
    expect(await outcome(await exchange("coder", `${head}.${forged}.${tail}`))).toMatchObject(refusal("invalid_request", /signature/));
  });

  it("by who names no client, but for the token of a workload", async () => {
    expect(await outcome(await exchange(undefined, parentOf().token))).toMatchObject(
      refusal("invalid_request", /nobody said who is to act/),
    );
    await house.agents.add(name("job"), { roles: [], registeredBy: "federation" }, operator);
    const own = house.tokens.mint({ agent: name("job"), client: "workload" });
    expect(await principalOf(tokenIn(await exchange(undefined, own.token, { scope: "use:sql" })))).toMatchObject({
      agent: "job",
      chain: [],
      scopes: ["use:sql"],
    });
    // The workload acts for the planner, whose token it was given, by a token of its own.
    const actors = { actor_token: own.token, actor_token_type: accessToken };
    const sent = await exchange(undefined, parentOf().token, actors);
    expect(await principalOf(tokenIn(sent))).toMatchObject({ agent: "job", chain: ["planner"], kind: "workload" });
  });

  it("by a client with the wrong secret, or that was removed", async () => {
    const answer = await exchange("coder", parentOf().token, { client_secret: secretOf("tester") });
    expect(answer).toMatchObject({ status: 401, body: { error: "invalid_client" } });
    await house.clients.freeze("coder", operator);
    expect(await outcome(await exchange("coder", parentOf().token))).toMatchObject(refusal("invalid_request", /client is frozen/));
  });

  it("OA-20 of a token that is bound to a key, without that key", async () => {
    const endpoint = `${house.issuer}/oauth/token`;
    const [key, other] = [await createDpop(endpoint), await createDpop(endpoint)];
    const bound = parentOf({ bound: { jkt: key.thumbprint } });
    expect(await outcome(await exchange("coder", bound.token))).toMatchObject(refusal("invalid_request", /bound to a key/));
    expect(await outcome(await exchange("coder", bound.token, {}, { dpop: await other.proof() }))).toMatchObject(
      refusal("invalid_request", /bound to a key/),
    );
    const answer = await exchange("planner", bound.token, {}, { dpop: await key.proof() });
    expect(answer).toMatchObject({ status: 200, body: { token_type: "DPoP" } });
    expect(house.tokens.verify(tokenIn(answer)).bound).toEqual({ jkt: key.thumbprint });
    // A child of a token that is not bound may bind itself.
    const free = await exchange("coder", parentOf().token, {}, { dpop: await other.proof() });
    expect(house.tokens.verify(tokenIn(free)).bound).toEqual({ jkt: other.thumbprint });
    const certified = parentOf({ bound: { "x5t#S256": "A".repeat(43) } });
    expect(await outcome(await exchange("planner", certified.token, {}, { dpop: await key.proof() }))).toMatchObject(
      refusal("invalid_request", /bound to a key/),
    );
  });

  it("RFC 8693 §4.4 of a token that names who may act with it, by another", async () => {
    const reserved = house.signed({ ...decodeJwt(parentOf().token), may_act: { sub: "coder" } });
    expect(await exchange("coder", reserved)).toMatchObject({ status: 200 });
    expect(await outcome(await exchange("tester", reserved))).toMatchObject(refusal("invalid_request", /may_act/));
    const odd = house.signed({ ...decodeJwt(parentOf().token), may_act: { sub: "coder", iss: "https://other.example" } });
    expect(await outcome(await exchange("coder", odd))).toMatchObject(refusal("invalid_request", /may_act/));
  });

  it("as an assertion: our own tokens are nobody's proof of who they are", async () => {
    const own = parentOf().token;
    expect(await outcome(await exchange(undefined, own, { subject_token_type: jwtType }))).toMatchObject(
      refusal("invalid_request", /at\+jwt/),
    );
    expect(await outcome(await exchange("coder", own, { subject_token_type: jwtType }))).toMatchObject(
      refusal("invalid_request", /registered client/),
    );
  });

  it("when the person behind it may not act any more", async () => {
    const user = await house.users.add({ name: "ann", role: "member" }, operator);
    if (user === "taken") throw new Error("taken");
    const parent = parentOf({ account: user.account });
    await house.users.change(user.account, "user.disabled", operator);
    expect(await outcome(await exchange("coder", parent.token))).toMatchObject(refusal("invalid_request", /disabled, frozen/));
  });

  it("when it is signed by a key that is not ours", async () => {
    const forged = await new SignJWT(decodeJwt(parentOf().token))
      .setProtectedHeader({ alg: "HS256", kid: "k1", typ: "at+jwt" })
      .sign(Buffer.alloc(32));
    expect(await outcome(await exchange("coder", forged))).toMatchObject(refusal("invalid_request", /unexpected token header/));
  });
});

describe("an agent whose tokens are bound", () => {
  it("OA-20 gets none that is not", async () => {
    const strict = await openFederationHouse({ mustBind: (agent) => agent === "planner" });
    await strict.addClient("planner");
    const key = await createDpop(`${strict.issuer}/oauth/token`);
    const loose = strict.tokens.mint({ agent: name("planner"), client: "planner" });
    const own = strict.tokens.mint({ agent: name("planner"), client: "planner", bound: { jkt: key.thumbprint } });
    const parameters = {
      grant_type: tokenExchange,
      subject_token: own.token,
      subject_token_type: accessToken,
      client_id: "planner",
      client_secret: secretOf("planner"),
    };
    for (const subject of [own.token, loose.token])
      expect(await strict.token({ ...parameters, subject_token: subject })).toMatchObject({ status: 400 });
    // One that should be bound and is not buys nothing, whoever proves a key beside it.
    expect(await strict.token({ ...parameters, subject_token: loose.token }, { dpop: await key.proof() })).toMatchObject({ status: 400 });
    expect(await strict.token(parameters, { dpop: await key.proof() })).toMatchObject({ status: 200, body: { token_type: "DPoP" } });
    await strict.close();
  });
});
