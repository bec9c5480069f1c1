import { setTimeout as pause } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { AgentName } from "../../src/core/brand.ts";
import type { AuthorizationHouse, Tokens } from "./authorization-house.ts";
import { basic, claimsIn, openAuthorizationHouse, redirect, tokensOf } from "./authorization-house.ts";
import { operator } from "./oauth-house.ts";
import type { Person } from "./person.ts";

const app = "app" as AgentName;
let house: AuthorizationHouse;
let people = 0;
beforeAll(async () => {
  house = await openAuthorizationHouse();
});
afterAll(() => house.close());

/** Milliseconds until this stream is closed by the broker; `undefined`: still open after `patience`. */
async function openStream(token: string, kind: "sse" | "listen") {
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json", accept: "application/json, text/event-stream" };
  const meta = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": { name: "test", version: "1" },
    "io.modelcontextprotocol/clientCapabilities": {},
  };
  const body = JSON.stringify({
    jsonrpc: "2.0",
    id: 1,
    method: "subscriptions/listen",
    params: { _meta: meta, notifications: { toolsListChanged: true } },
  });
  const response =
    kind === "sse"
      ? await fetch(`${house.url}/sse`, { headers })
      : await fetch(house.mcp, {
          method: "POST",
          headers: { ...headers, "mcp-protocol-version": "2026-07-28", "mcp-method": "subscriptions/listen" },
          body,
        });
  expect([kind, response.status, response.headers.get("content-type")]).toEqual([kind, 200, expect.stringMatching(/^text\/event-stream/)]);
  const reader = response.body?.getReader();
  const ended = (async () => {
    for (;;) {
      const chunk = await reader?.read().catch(() => undefined);
      if (!chunk || chunk.done) return performance.now();
    }
  })();
  return {
    async closedWithin(patience: number): Promise<number | undefined> {
      const from = performance.now();
      const at = await Promise.race([ended, pause(patience, undefined)]);
      return at === undefined ? undefined : at - from;
    },
  };
}

interface Held {
  readonly person: Person;
  readonly account: string;
  readonly tokens: Tokens;
  /** Of another sign-in of the same client, for somebody else. */
  readonly bystander: Tokens;
}

async function newPerson(): Promise<{ readonly person: Person; readonly account: string }> {
  const person = await house.person(`person-${(people += 1)}`);
  return { person, account: (await house.house.users.byName(person.name))?.account ?? "" };
}

const session = ({ access_token: token }: Tokens): string => String(claimsIn(token)["sid"]);

/** As the command line does it: src/cli/commands/{freeze,client,user,token,agent}.ts. */
const ways: Readonly<Record<string, { readonly whole: boolean; end(held: Held): Promise<unknown>; again?(held: Held): Promise<unknown> }>> =
  {
    "freeze AGENT": {
      whole: true,
      end: () => house.house.operator.freeze(app, "test"),
      again: () => house.house.operator.unfreeze(app, "test"),
    },
    "agent revoke-tokens AGENT": {
      whole: true,
      async end() {
        await house.house.agents.change(app, "token.revoked", operator);
        await house.house.signIns.endAllOf({ client: "app" }, operator);
        await house.house.operator.end({ agent: app }, operator);
      },
    },
    "freeze --user USER": {
      whole: false,
      async end({ account }) {
        await house.house.users.change(account, "user.frozen", operator);
        await house.house.signIns.endAllOf({ account }, operator);
        await house.house.operator.end({ account }, operator);
      },
      again: ({ account }) => house.house.users.change(account, "user.unfrozen", operator),
    },
    "user sign-out USER": {
      whole: false,
      async end({ account }) {
        await house.house.users.change(account, "user.sessions-ended", operator);
        await house.house.signIns.endAllOf({ account }, operator);
        await house.house.operator.end({ account }, operator);
      },
    },
    "token revoke SESSION": {
      whole: false,
      async end({ tokens }) {
        await house.house.revocations.revoke(session(tokens), Date.now() + 3_600_000);
        await house.house.operator.end({ session: session(tokens) }, operator);
      },
    },
    "the client's own /oauth/revoke": {
      whole: false,
      end: ({ tokens }) => house.send("/oauth/revoke", { token: tokens.access_token, client_id: "app" }),
    },
    "a replayed refresh token": {
      whole: false,
      async end({ tokens }) {
        await house.refresh(tokens.refresh_token);
        await house.refresh(tokens.refresh_token);
      },
    },
  };

describe.each(Object.entries(ways))("%s", (_way, { whole, end, again }) => {
  it("ends access tokens at the next call, refresh tokens, open streams and leases, and only those", async () => {
    const [{ person, account }, { person: other }] = [await newPerson(), await newPerson()];
    const held: Held = { person, account, tokens: await house.signIn(person), bystander: await house.signIn(other) };
    const { tokens, bystander } = held;
    const [lease, others] = [await house.borrow(tokens.access_token), await house.borrow(bystander.access_token)];
    expect([await house.stateOf(lease), await house.stateOf(others)]).toEqual(["active", "active"]);
    const [sse, listen] = [await openStream(tokens.access_token, "sse"), await openStream(tokens.access_token, "listen")];
    const still = await openStream(bystander.access_token, "sse");
    expect((await house.call(tokens.access_token)).status).toBe(200);

    await end(held);
    const refused = await house.call(tokens.access_token);
    // The token of a frozen agent is no worse than before: it is the broker that refuses, and writes it down.
    if (refused.status !== 401) expect(refused.text).toContain('"code":"denied"');
    expect((await house.refresh(tokens.refresh_token)).status).toBeGreaterThanOrEqual(400);
    expect(await house.stateOf(lease)).toBe("revoked");
    const closed = [await sse.closedWithin(2_500), await listen.closedWithin(2_500)];
    expect(closed).toEqual([expect.any(Number), expect.any(Number)]);

    if (!whole) {
      expect((await house.call(bystander.access_token)).status).toBe(200);
      expect(await house.stateOf(others)).toBe("active");
      expect(await still.closedWithin(1_200)).toBeUndefined();
      expect((await house.refresh(bystander.refresh_token)).status).toBe(200);
    } else expect(await house.stateOf(others)).toBe("revoked");

    await again?.(held);
    // What ended stays ended, and a new sign-in works at once.
    const fresh = await house.signIn(person);
    expect((await house.call(fresh.access_token)).status).toBe(200);
    expect((await house.refresh(fresh.refresh_token)).status).toBe(200);
    await house.house.operator.end({ agent: app }, operator);
  });
});

describe("clients", () => {
  async function newClient(name: string) {
    const answer = await fetch(`${house.url}/oauth/register`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ client_name: name, redirect_uris: [redirect], token_endpoint_auth_method: "none" }),
    });
    const body = (await answer.json()) as Record<string, unknown>;
    const id = String(body["client_id"]);
    await house.grant(id, "ticket-automation");
    return { id, management: String(body["registration_access_token"]), uri: String(body["registration_client_uri"]) };
  }

  it.each(["client revoke", "freeze --client", "its own management"])(
    "RFC 7592 §2.3 %s ends its tokens, streams and leases at once",
    async (way) => {
      const { person } = await newPerson();
      const { id, management, uri } = await newClient(`for ${way}`);
      const tokens = await house.signIn(person, id);
      const lease = await house.borrow(tokens.access_token);
      const stream = await openStream(tokens.access_token, "sse");
      const given = await house.codeFor(person, id);

      if (way === "client revoke") await house.house.clients.remove(id, "operator", operator);
      else if (way === "freeze --client") await house.house.clients.freeze(id, operator);
      else expect((await fetch(uri, { method: "DELETE", headers: { authorization: `Bearer ${management}` } })).status).toBe(204);

      expect((await house.call(tokens.access_token)).status).toBe(401);
      const refused = await house.refresh(tokens.refresh_token, {}, id);
      expect([refused.status, refused.body["error"]]).toEqual([401, "invalid_client"]);
      expect((await house.redeem(given, { client_id: id })).body["error"]).toBe("invalid_client");
      expect(await house.stateOf(lease)).toBe("revoked");
      expect(await stream.closedWithin(2_500)).toEqual(expect.any(Number));
      const page = await person.open(house.asking(id).url.href.slice(house.url.length));
      expect(page.status).toBe(400);
      if (way === "freeze --client") {
        await house.house.clients.unfreeze(id, operator);
        expect((await house.refresh(tokens.refresh_token, {}, id)).body["error"]).toBe("invalid_grant");
        expect((await house.call((await house.signIn(person, id)).access_token)).status).toBe(200);
      }
    },
  );

  it("a token of a client for itself ends with its agent, too, and a new one is good at once", async () => {
    const svc = "svc" as AgentName;
    for (let turn = 0; turn < 5; turn++) {
      const { access_token: token } = tokensOf((await house.credentials()).body);
      const lease = await house.borrow(token);
      await house.house.agents.change(svc, "token.revoked", operator);
      const { access_token: next } = tokensOf((await house.credentials()).body);
      expect([(await house.call(token)).status, (await house.call(next)).status]).toEqual([401, 200]);
      await house.house.operator.end({ agent: svc }, operator);
      expect(await house.stateOf(lease)).toBe("revoked");
    }
    const { access_token: last } = tokensOf((await house.credentials()).body);
    await house.send("/oauth/revoke", { token: last }, { authorization: basic("svc") });
    expect((await house.call(last)).status).toBe(401);
  });

  it("one token that is revoked leaves its sign-in alone", async () => {
    const { person } = await newPerson();
    const tokens = await house.signIn(person);
    await house.house.revocations.revoke(String(claimsIn(tokens.access_token)["jti"]), Date.now() + 3_600_000);
    expect((await house.call(tokens.access_token)).status).toBe(401);
    const next = await house.refresh(tokens.refresh_token);
    expect((await house.call(tokensOf(next.body).access_token)).status).toBe(200);
  });
});

describe("a child that a token was exchanged for", () => {
  it("ends with its parent, and takes no part of the sign-in with it when it is revoked alone", async () => {
    const { person } = await newPerson();
    const exchange = async (token: string) => {
      const { body } = await house.token(
        {
          grant_type: "urn:ietf:params:oauth:grant-type:token-exchange",
          subject_token: token,
          subject_token_type: "urn:ietf:params:oauth:token-type:access_token",
        },
        { authorization: basic("svc") },
      );
      return tokensOf(body).access_token;
    };
    const tokens = await house.signIn(person);
    const [one, two] = [await exchange(tokens.access_token), await exchange(tokens.access_token)];
    expect([(await house.call(one)).status, (await house.call(two)).status]).toEqual([200, 200]);
    await house.send("/oauth/revoke", { token: one }, { authorization: basic("svc") });
    expect([(await house.call(one)).status, (await house.call(two)).status, (await house.call(tokens.access_token)).status]).toEqual([
      401, 200, 200,
    ]);
    await house.send("/oauth/revoke", { token: tokens.refresh_token, client_id: "app" });
    expect((await house.call(two)).status).toBe(401);
  });
});
