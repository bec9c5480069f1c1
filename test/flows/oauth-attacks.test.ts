import { randomBytes } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { AgentName } from "../../src/core/brand.ts";
import { openidCookie } from "../../src/oauth/people-visit.ts";
import type { Answer, Attacker, Fields } from "./attacker.ts";
import { answerOf, claims, createAttacker, exchangeGrant, freezeUser, redirect, tokenIn } from "./attacker.ts";
import type { OAuthHouse } from "./oauth-house.ts";
import { operator, serveOAuthHouse } from "./oauth-house.ts";
import type { Person } from "./person.ts";

/**
 * Attacks on what lies between the parts of the authorization server: each of them is tested by itself elsewhere. `it.fails` marks what is
 * confirmed and not closed yet: it turns red as soon as it is.
 */

let house: OAuthHouse;
let ada: Person;
let attacker: Attacker;
const assertionGrant = "urn:ietf:params:oauth:grant-type:jwt-bearer";

beforeAll(async () => {
  house = await serveOAuthHouse({
    agents: `
  bound: { roles: [ticket-automation], dpop: required }
  desk: { roles: [ticket-automation], redirectUris: [${redirect}] }
  phone: { roles: [ticket-automation], redirectUris: [${redirect}] }`,
    server: "  trustedProxies: [127.0.0.1]",
    extra: "oauth: { registration: { perHour: 1000 } }",
  });
  ada = await house.person("ada");
  attacker = createAttacker(house, ada);
}, 30_000);
afterEach(() => house.house.operator.unfreeze("desk" as AgentName, "test"));
afterAll(() => house.close());

const findings = async () => (await house.events()).filter(({ kind }) => kind === "token.replayed").length;
const isIn = (secret: string, bytes: Buffer): boolean => bytes.includes(secret) || bytes.includes(Buffer.from(secret).toString("base64"));
function filesIn(folder: string): readonly string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true }).flatMap((file) =>
    file.isFile() ? [join(file.parentPath, file.name)] : [],
  );
}

describe("one agent in the place of another", () => {
  it("MT-04 nobody becomes a client by its name alone: an exchange wants proof of who is to act", async () => {
    const phone = await attacker.signIn("phone");
    await attacker.lend(phone.access);
    const held = await attacker.leasesOf("phone");
    const app = await attacker.register();
    const mine = await attacker.signIn(String(app.body["client_id"]));
    const stolen = await attacker.exchange("phone", mine.access);
    expect(stolen).toMatchObject({ status: 400, body: { error: "invalid_request" } });
    expect(await attacker.leasesOf("phone")).toEqual(held);
  });

  it("OA-17 a token of one kind is nothing as another", async () => {
    const app = await attacker.register();
    const id = String(app.body["client_id"]);
    const session = await attacker.signIn(id, ada, { scope: "openid leases:read" });
    const others = {
      registration: String(app.body["registration_access_token"]),
      id: String(session.body["id_token"]),
      refresh: session.refresh,
    };
    for (const [kind, value] of Object.entries(others)) {
      expect(await attacker.call(value, "whoami"), kind).toBe(401);
      expect((await attacker.exchange("desk", value)).status, kind).toBe(400);
      expect(
        (await attacker.exchange("desk", value, { subject_token_type: "urn:ietf:params:oauth:token-type:id_token" })).status,
        kind,
      ).toBe(400);
    }
    for (const [kind, value] of Object.entries({ ...others, access: session.access })) {
      expect((await attacker.token({ grant_type: assertionGrant, assertion: value })).status, kind).toBe(400);
      expect((await attacker.register({ software_statement: value })).status, kind).toBe(400);
      expect((await attacker.register({}, { authorization: `Bearer ${value}` })).status, kind).toBe(401);
      if (kind !== "refresh") expect((await attacker.refresh(id, value)).status, kind).toBe(400);
      const registration = await fetch(`${house.url}/oauth/register/${id}`, { headers: { authorization: `Bearer ${value}` } });
      expect(registration.status, kind).toBe(kind === "registration" ? 200 : 401);
    }
  });

  it("OA-06 RFC 7592 a client that changes itself gets no other id, agent, grant, or scheme", async () => {
    const [app, other] = [await attacker.register(), await attacker.register()];
    const id = String(app.body["client_id"]);
    let own = String(app.body["registration_access_token"]);
    const change = async (of: string, metadata: object): Promise<Answer> => {
      const headers = { authorization: `Bearer ${own}`, "content-type": "application/json" };
      const body = JSON.stringify({ client_id: of, redirect_uris: [redirect], token_endpoint_auth_method: "none", ...metadata });
      const answer = await answerOf(await fetch(`${house.url}/oauth/register/${of}`, { method: "PUT", headers, body }));
      if (answer.status === 200) own = String(answer.body["registration_access_token"]);
      return answer;
    };
    for (const client_id of [String(other.body["client_id"]), "desk", "workload"])
      expect((await change(id, { client_id })).status).toBe(400);
    expect((await change(id, { redirect_uris: ["javascript:alert(1)"] })).status).toBe(400);
    const more = {
      grant_types: ["authorization_code", "client_credentials", exchangeGrant, assertionGrant],
      agent: "desk",
      roles: ["ticket-automation"],
    };
    expect(await change(id, more)).toMatchObject({ status: 200, body: { grant_types: ["authorization_code"] } });
    expect(await house.house.agents.find(id as AgentName)).toMatchObject({ roles: [], registeredBy: "dcr" });
    for (const name of [String(other.body["client_id"]), "desk", "workload"]) expect((await change(name, {})).status).toBe(401);
  });

  it("OA-12 consent was for where the browser was sent: a client that changes its address is asked about again", async () => {
    const app = await attacker.register();
    const id = String(app.body["client_id"]);
    await attacker.signIn(id);
    const elsewhere = "https://elsewhere.example/x";
    const body = JSON.stringify({ client_id: id, redirect_uris: [elsewhere], token_endpoint_auth_method: "none" });
    const headers = { authorization: `Bearer ${String(app.body["registration_access_token"])}`, "content-type": "application/json" };
    expect((await fetch(`${house.url}/oauth/register/${id}`, { method: "PUT", headers, body })).status).toBe(200);
    const pages = ada.read.length;
    await ada.authorize(attacker.authorizeUrl(id, { redirect_uri: elsewhere }));
    expect(ada.read.slice(pages)).not.toEqual([]);
  });

  it("OA-13 what says that a sign-in elsewhere began in this browser cannot be set by a sister of our host", () => {
    const cookie = openidCookie({ publicUrl: "https://broker.example", base: "" });
    expect(cookie.name).toMatch(/^__Host-/);
    expect(cookie.attributes.split("; ")).toEqual(expect.arrayContaining(["Path=/", "Secure", "HttpOnly"]));
  });
});

describe("what is left over", () => {
  it("RD-01 a frozen agent's leases end also where others took them for it", async () => {
    const desk = await attacker.signIn("desk");
    const child = tokenIn(await attacker.delegate("phone", desk.access));
    const before = await attacker.leasesOf("phone");
    await attacker.lend(child);
    expect(await attacker.leasesOf("phone")).toHaveLength(before.length + 1);
    await house.house.operator.freeze("desk" as AgentName, "test");
    expect(await attacker.leasesOf("phone")).toEqual(before);
    expect(await attacker.call(child, "whoami")).toBe(401);
    await house.house.operator.unfreeze("desk" as AgentName, "test");
  });

  it("RD-01 so do those that were taken for a client that is removed", async () => {
    const [parent, child] = [await attacker.invited(), await attacker.invited()];
    const access = await attacker.token({ grant_type: "client_credentials", client_id: parent.id, client_secret: parent.secret });
    await attacker.lend(tokenIn(await attacker.exchange(child.id, tokenIn(access), { client_secret: child.secret })));
    expect(await attacker.leasesOf(child.id)).toHaveLength(1);
    await house.house.clients.remove(parent.id, "operator", operator);
    expect(await attacker.leasesOf(child.id)).toEqual([]);
  });

  it("RD-01 so do those of a delegated token that is revoked by itself", async () => {
    const desk = await attacker.signIn("desk");
    const child = tokenIn(await attacker.delegate("phone", desk.access));
    const before = await attacker.leasesOf("phone");
    await attacker.lend(child);
    await attacker.post("/oauth/revoke", { client_id: "phone", token: child });
    expect(await attacker.call(child, "whoami")).toBe(401);
    expect(await attacker.leasesOf("phone")).toEqual(before);
  });

  it("PL-07 who was handed a narrowed token of the same agent cannot end the sign-in that it came from", async () => {
    const desk = await attacker.signIn("desk");
    const narrowed = tokenIn(await attacker.exchange("desk", desk.access, { scope: "leases:read" }));
    await attacker.post("/oauth/revoke", { client_id: "desk", token: narrowed });
    expect(await attacker.call(narrowed, "whoami")).toBe(401);
    expect(await attacker.call(desk.access, "whoami")).toMatchObject({ agent: "desk" });
  });

  it("RD-01 a sign-in whose id was revoked gets nothing by its refresh token, then or later", async () => {
    const desk = await attacker.signIn("desk");
    const session = String(claims(desk.access)["sid"]);
    await house.house.revocations.revoke(session, Date.now() + 60_000);
    expect(await attacker.call(desk.access, "whoami")).toBe(401);
    expect((await attacker.refresh("desk", desk.refresh)).status).toBe(400);
    expect((await attacker.refresh("desk", desk.refresh)).status).toBe(400);
  });

  it("OA-10 a refresh while the agent is frozen is refused, and is no theft: it works again afterwards", async () => {
    const desk = await attacker.signIn("desk");
    const before = await findings();
    await house.house.operator.freeze("desk" as AgentName, "test");
    expect((await attacker.refresh("desk", desk.refresh)).status).toBe(401);
    await house.house.operator.unfreeze("desk" as AgentName, "test");
    expect((await attacker.refresh("desk", desk.refresh)).status).toBe(200);
    expect(await findings()).toBe(before);
  });

  it("RD-01 a person who was frozen signs in anew: no browser from before is still theirs", async () => {
    const bob = await house.person("bob");
    await attacker.signIn("desk", bob);
    const open = async () => /<h1>(.*?)<\/h1>/.exec((await bob.open("/oauth/account")).text)?.[1];
    expect(await open()).toBe("Your account");
    const account = String((await house.house.users.byName("bob"))?.account);
    await freezeUser(house, "bob");
    expect(await open()).not.toBe("Your account");
    await house.house.users.change(account, "user.unfrozen", operator);
    expect(await open()).not.toBe("Your account");
  });

  it("OA-05 a client that only exchanges tokens is in use: it is not removed as unused", async () => {
    const { id, secret } = await attacker.invited();
    const desk = await attacker.signIn("desk");
    expect((await attacker.exchange(id, desk.access, { client_secret: secret })).status).toBe(200);
    expect(await house.house.clients.find(id)).toHaveProperty("lastUsedAt");
  });
});

describe("what is handed on", () => {
  const narrowing = (...credentials: readonly string[]): Fields => ({
    authorization_details: JSON.stringify([{ type: "leasehold_credentials", credentials }]),
  });

  it("PL-07 what was narrowed stays narrow, however often it is exchanged, and for whomever", async () => {
    const desk = await attacker.signIn("desk");
    for (const odd of ["*", "**", "../x", "Tickets/api", "tick*", "tickets/*/*"])
      expect((await attacker.exchange("desk", desk.access, narrowing(odd))).status).toBe(400);
    const small = tokenIn(await attacker.exchange("desk", desk.access, { scope: "use:http leases:read", ...narrowing("tickets/*") }));
    const wider: readonly Fields[] = [
      { scope: "use" },
      { scope: "leases:write" },
      { scope: "use:http use:sql" },
      narrowing("tickets/*", "x/y"),
      narrowing("x/*"),
    ];
    for (const client of ["desk", "phone"])
      for (const more of wider) expect((await attacker.exchange(client, small, more)).status, JSON.stringify(more)).toBe(400);
    const kept = claims(tokenIn(await attacker.exchange("desk", small, { scope: "" })));
    expect(kept["scope"]).toBe("use:http leases:read");
    expect(kept["authorization_details"]).toEqual([{ type: "leasehold_credentials", credentials: ["tickets/*"] }]);
    expect((await attacker.refresh("desk", desk.refresh, { scope: "leases:read admin" })).status).toBe(400);
  });

  it("OA-20 a token that has to be bound and is not opens nothing: it cannot be exchanged for one that need not be", async () => {
    const { token } = house.house.tokens.mint({ agent: "bound" as AgentName });
    expect(await attacker.call(token, "whoami")).toBe(401);
    expect((await attacker.exchange("desk", token)).status).toBe(400);
  });

  it("PL-07 two agents cannot send each other round and round", async () => {
    let { access } = await attacker.signIn("desk");
    const statuses: number[] = [];
    for (let turn = 0; turn < 12 && statuses.at(-1) !== 400; turn += 1) {
      const answer = await attacker.delegate(turn % 2 === 0 ? "phone" : "desk", access);
      statuses.push(answer.status);
      if (answer.status === 200) access = tokenIn(answer);
    }
    expect(statuses.at(-1)).toBe(400);
    expect(statuses.length).toBeLessThanOrEqual(8);
  });

  it("RD-01 the stream of an agent is closed when one that it acts for is frozen", async () => {
    const desk = await attacker.signIn("desk");
    const child = tokenIn(await attacker.delegate("phone", desk.access));
    const stream = await fetch(`${house.url}/sse`, { headers: { authorization: `Bearer ${child}`, accept: "text/event-stream" } });
    expect(stream.status).toBe(200);
    await house.house.operator.freeze("desk" as AgentName, "test");
    await expect(stream.text()).rejects.toThrow();
  });
});

describe("what is not meant to be asked", () => {
  it("OA-11 who asks for less than everything at the authorization endpoint gets less, or is refused", async () => {
    const details = JSON.stringify([{ type: "leasehold_credentials", credentials: ["other/*"] }]);
    const got = await attacker.signIn("desk", ada, { authorization_details: details }).catch(() => undefined);
    expect(got === undefined || "authorization_details" in claims(got.access)).toBe(true);
  });

  it("EX-06 a browser without a cookie, and paths in another spelling, are no defects of ours", async () => {
    const json = { "content-type": "application/json" };
    const odd = [
      attacker.post("/oauth/device", { user_code: "AAAA-BBBB" }),
      answerOf(await fetch(`${house.url}/oauth/device/abc`)),
      answerOf(
        await fetch(`${house.url}/oauth/Register`, { method: "POST", headers: json, body: JSON.stringify({ redirect_uris: [redirect] }) }),
      ),
    ];
    for (const answer of await Promise.all(odd)) {
      expect(answer.status).toBeGreaterThanOrEqual(400);
      expect(answer.status).toBeLessThan(500);
    }
  });

  it("OA-12 an address that nobody vouches for is not where a link to us leads, without a word", async () => {
    const app = await attacker.register({ redirect_uris: ["https://phish.example/"] });
    const link = attacker.authorizeUrl(String(app.body["client_id"]), { redirect_uri: "https://phish.example/", prompt: "none" });
    expect((await fetch(link, { redirect: "manual" })).headers.get("location")).toBeNull();
  });

  it("OA-05 one network of IPv6 addresses is one address: the rest of the world still registers", async () => {
    const statuses: number[] = [];
    const other = await serveOAuthHouse({
      server: "  trustedProxies: [127.0.0.1]",
      extra: "oauth: { registration: { clients: 50, perHour: 5 } }",
    });
    const from = async (ip: string): Promise<number> => {
      const headers = { "content-type": "application/json", "x-forwarded-for": ip };
      const body = JSON.stringify({ redirect_uris: [redirect], token_endpoint_auth_method: "none" });
      return (await fetch(`${other.url}/oauth/register`, { method: "POST", headers, body })).status;
    };
    for (let i = 1; i <= 60; i += 1) statuses.push(await from(`2001:db8::${i.toString(16)}`));
    expect(statuses.filter((status) => status === 201)).toHaveLength(5);
    expect(await from("2001:db8:0:1::1")).toBe(201);
    expect(await from("203.0.113.9")).toBe(201);
    await other.close();
  });

  it("OA-05 refused token requests of one address are a sum, not a line each", async () => {
    const before = (await house.events()).length;
    await Promise.all(
      Array.from({ length: 40 }, () => attacker.token({ grant_type: "authorization_code", client_id: "nobody", code: "x" })),
    );
    expect((await house.events()).length - before).toBeLessThan(5);
  });

  it("PL-04 an agent that registered itself has nothing by a policy that names no one", async () => {
    const other = await serveOAuthHouse({
      prepare: (folder) =>
        writeFile(join(folder, "policies", "everyone.cedar"), `@id("everyone")\npermit (principal, action, resource);\n`),
    });
    try {
      const stranger = createAttacker(other, await other.person("eve"));
      const app = await stranger.register();
      const { access } = await stranger.signIn(String(app.body["client_id"]));
      expect(await stranger.call(access, "whoami")).toMatchObject({ roles: [], visible_credentials: 0 });
      // It does not even have the tool.
      await expect(stranger.lend(access)).rejects.toThrow();
      await other.grant(String(app.body["client_id"]), "anything");
      expect(await stranger.lend(access)).toHaveProperty("lease_id");
    } finally {
      await other.close();
    }
  });
});

describe("what is written, and what cannot be", () => {
  let statuses: readonly number[] = [];

  it("EX-07 no code, token, secret or verifier rests in the store or the log, whether it was good or not", async () => {
    const app = await attacker.register({ token_endpoint_auth_method: "client_secret_post" });
    const [id, secret] = [String(app.body["client_id"]), String(app.body["client_secret"])];
    const { code, verifier } = await attacker.codeFor(id);
    const first = await attacker.token({
      grant_type: "authorization_code",
      client_id: id,
      client_secret: secret,
      code,
      code_verifier: verifier,
      redirect_uri: redirect,
    });
    const second = await attacker.refresh(id, String(first.body["refresh_token"]), { client_secret: secret });
    await attacker.refresh(id, String(first.body["refresh_token"]), { client_secret: secret });
    const wrong = randomBytes(16).toString("base64url");
    await attacker.refresh(id, wrong, { client_secret: wrong });
    const { token: invitation } = await house.house.invitations.create(
      { roles: ["x"], uses: 1, ttlSeconds: 60, createdBy: "test" },
      operator,
    );
    const refreshed = [first, second].flatMap(({ body }) => [String(body["access_token"]), String(body["refresh_token"])]);
    const secrets = [secret, code, verifier, wrong, invitation, String(app.body["registration_access_token"]), ...refreshed];
    expect(secrets.every((one) => one.length > 20 && one !== "undefined")).toBe(true);
    const places = [...filesIn(house.folder).map((file) => readFileSync(file)), Buffer.from(house.log())];
    expect(secrets.filter((one) => places.some((place) => isIn(one, place)))).toEqual([]);
  });

  it("AU-03 while the store cannot be written, nothing is issued, registered or used up", async () => {
    const { code, verifier } = await attacker.codeFor("desk");
    const desk = await attacker.signIn("desk");
    const redeem = () =>
      attacker.token({ grant_type: "authorization_code", client_id: "desk", code, code_verifier: verifier, redirect_uri: redirect });
    const lock = new DatabaseSync(filesIn(house.folder).find((file) => file.endsWith(".db")) ?? "");
    lock.exec("BEGIN IMMEDIATE");
    const answers = await Promise.all([
      redeem(),
      attacker.refresh("desk", desk.refresh),
      attacker.register(),
      attacker.exchange("desk", desk.access),
    ]);
    const revoked = await attacker.post("/oauth/revoke", { client_id: "desk", token: desk.access });
    lock.exec("ROLLBACK");
    lock.close();
    for (const { body } of answers) expect(body).not.toHaveProperty("access_token");
    expect((await redeem()).status).toBe(200);
    expect((await attacker.refresh("desk", desk.refresh)).status).toBe(200);
    statuses = [...answers, revoked].map(({ status }) => status);
  }, 30_000);

  it("AU-03 and it is said to pass, to registrations and revocations, too", () => {
    expect(statuses).toEqual([503, 503, 503, 503, 503]);
  });
});
