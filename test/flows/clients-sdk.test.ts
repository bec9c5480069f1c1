import { Client, DpopSession, SSEClientTransport, StreamableHTTPClientTransport, UnauthorizedError } from "@modelcontextprotocol/client";
import { Client as ClientV1 } from "@modelcontextprotocol/sdk/client/index.js";
import { UnauthorizedError as UnauthorizedErrorV1 } from "@modelcontextprotocol/sdk/client/auth.js";
import { SSEClientTransport as SSEClientTransportV1 } from "@modelcontextprotocol/sdk/client/sse.js";
import { StreamableHTTPClientTransport as StreamableHTTPClientTransportV1 } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import type { OAuthClientInformationMixed, OAuthTokens } from "@modelcontextprotocol/sdk/shared/auth.js";
import { decodeJwt } from "jose";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { OAuthHouse } from "./oauth-house.ts";
import { operator, serveOAuthHouse, tickets } from "./oauth-house.ts";
import type { Person } from "./person.ts";

const info = { name: "somebody's editor", version: "1.0.0" };
const redirectUrl = "http://localhost:33418/callback";

let house: OAuthHouse;
let ada: Person;

beforeAll(async () => {
  house = await serveOAuthHouse();
  ada = await house.person();
});
afterAll(() => house?.close());

const ends: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0)) await end();
});

/** What a program keeps between two runs, and the person in front of it. Knows nothing of this broker. */
function memory(how: { readonly dpop?: DpopSession; readonly without?: () => readonly string[] } = {}) {
  let verifier = "";
  let expected = "";
  let discovered: unknown;
  const kept: { client?: OAuthClientInformationMixed; tokens?: OAuthTokens; answer: URLSearchParams; asked: URL[] } = {
    answer: new URLSearchParams(),
    asked: [],
  };
  const provider = {
    redirectUrl,
    clientMetadata: { client_name: "Somebody's editor", redirect_uris: [redirectUrl], token_endpoint_auth_method: "none" },
    state: () => (expected = crypto.randomUUID()),
    clientInformation: () => kept.client,
    saveClientInformation: (client: OAuthClientInformationMixed) => void (kept.client = client),
    tokens: () => kept.tokens,
    saveTokens: (tokens: OAuthTokens) => void (kept.tokens = tokens),
    saveCodeVerifier: (given: string) => void (verifier = given),
    codeVerifier: () => verifier,
    saveDiscoveryState: (found: unknown) => void (discovered = found),
    discoveryState: () => discovered as never,
    async redirectToAuthorization(url: URL) {
      kept.asked.push(url);
      const back = await ada.authorize(url, { without: how.without?.() ?? [] });
      expect(back.href.startsWith(`${redirectUrl}?`)).toBe(true);
      expect(back.searchParams.get("state")).toBe(expected);
      kept.answer = back.searchParams;
    },
    invalidateCredentials(what: string) {
      if (what === "all" || what === "client") delete kept.client;
      if (what === "all" || what === "tokens") delete kept.tokens;
    },
    ...(how.dpop ? { dpop: () => how.dpop } : {}),
  };
  return { kept, provider };
}

interface Program {
  connect(transport: unknown): Promise<void>;
  callTool(call: { name: string; arguments: Record<string, unknown> }): Promise<unknown>;
  close(): Promise<void>;
}

/** What the SDK's guides tell programs to do: connect, sign in when told to, connect again. */
async function signIn(
  client: Program,
  transport: () => { finishAuth(code: string, iss?: string): Promise<void> },
  { kept }: ReturnType<typeof memory>,
  unauthorized: new (...args: never[]) => Error,
): Promise<void> {
  const first = transport();
  await expect(client.connect(first)).rejects.toThrow(unauthorized);
  await first.finishAuth(kept.answer.get("code") ?? "", kept.answer.get("iss") ?? undefined);
  await client.close();
  await client.connect(transport());
  ends.push(() => client.close());
}

async function call(client: Program, name: string, input: Record<string, unknown> = {}): Promise<Record<string, unknown>> {
  const answer = await client.callTool({ name, arguments: input });
  return { ...(answer as { readonly structuredContent: object }).structuredContent };
}

/** Its client id, which is the name of the agent that it became. */
const agentOf = ({ kept }: ReturnType<typeof memory>): string => kept.client?.client_id ?? "";

describe("the MCP SDK, version 1", () => {
  const overHttp = (mind: ReturnType<typeof memory>) => () =>
    new StreamableHTTPClientTransportV1(new URL(house.mcp), { authProvider: mind.provider });

  it("registers itself, signs its person in and calls a tool; an operator gives it a role, and the next call works", async () => {
    const mind = memory();
    const client = new ClientV1(info) as Program;
    await signIn(client, overHttp(mind), mind, UnauthorizedErrorV1);
    expect(await call(client, "whoami")).toMatchObject({ agent: agentOf(mind), roles: [], transport: "http" });
    await expect(call(client, "http_request", tickets)).rejects.toThrow("Unknown tool");
    await house.grant(agentOf(mind), "ticket-automation");
    expect(await call(client, "http_request", tickets)).toMatchObject({ result: { status: 200 } });
  });

  it("RFC 9700 §2.2.2: refreshes when its token has ended, and gets another refresh token", async () => {
    const mind = memory();
    const client = new ClientV1(info) as Program;
    await signIn(client, overHttp(mind), mind, UnauthorizedErrorV1);
    const before = mind.kept.tokens;
    // Once the stream that it tries to open at first is answered: two refreshes at once would count as a replay.
    await call(client, "whoami");
    await house.expire();
    expect(await call(client, "whoami")).toMatchObject({ agent: agentOf(mind) });
    expect(mind.kept.tokens?.refresh_token).not.toBe(before?.refresh_token);
    expect(mind.kept.asked).toHaveLength(1);
  });

  it("over HTTP+SSE, with a sign-in of its own", async () => {
    const mind = memory();
    const client = new ClientV1(info) as Program;
    const transport = () => new SSEClientTransportV1(new URL(`${house.url}/sse`), { authProvider: mind.provider });
    await signIn(client, transport, mind, UnauthorizedErrorV1);
    expect(await call(client, "whoami")).toMatchObject({ agent: agentOf(mind), transport: "sse" });
    expect(decodeJwt(mind.kept.tokens?.access_token ?? "").aud).toBe(house.mcp);
  });
});

describe("the MCP SDK, version 2", () => {
  const overHttp = (mind: ReturnType<typeof memory>) => () =>
    new StreamableHTTPClientTransport(new URL(house.mcp), { authProvider: mind.provider });

  it.each([
    ["2025-11-25", {}],
    ["2026-07-28", { versionNegotiation: { mode: "auto" } }],
  ] as const)(
    "RFC 9207 §2: registers itself, checks who answers, signs its person in and calls a tool, revision %s",
    async (revision, options) => {
      const mind = memory();
      const client = new Client(info, options);
      await signIn(client, overHttp(mind), mind, UnauthorizedError);
      expect(client.getNegotiatedProtocolVersion()).toBe(revision);
      expect(mind.kept.answer.get("iss")).toBe(house.url);
      expect(await call(client as Program, "whoami")).toMatchObject({
        agent: agentOf(mind),
        on_behalf_of: expect.stringMatching(/^\w{26}$/),
      });
      await house.grant(agentOf(mind), "ticket-automation");
      expect(await call(client as Program, "http_request", tickets)).toMatchObject({ result: { status: 200 } });
    },
  );

  it("RFC 6750 §3.1: lacks a scope, is told which, asks its person for all that it then has, and repeats the call by itself", async () => {
    let without: readonly string[] = ["use", "use:http", "use:sql"];
    const mind = memory({ without: () => without });
    const client = new Client(info) as Program;
    await signIn(client, overHttp(mind), mind, UnauthorizedError);
    await house.grant(agentOf(mind), "ticket-automation");
    expect(await call(client, "whoami")).toMatchObject({ scopes: ["credentials:read", "leases:read", "leases:write"] });

    without = [];
    await expect(client.callTool({ name: "http_request", arguments: { ...tickets } })).rejects.toThrow(UnauthorizedError);
    const wanted = mind.kept.asked.at(-1)?.searchParams.get("scope")?.split(" ");
    expect(wanted).toEqual(expect.arrayContaining(["credentials:read", "leases:read", "leases:write", "use:http"]));
    const again = overHttp(mind)();
    await again.finishAuth(mind.kept.answer);
    await client.close();
    await client.connect(overHttp(mind)());
    ends.push(() => client.close());
    expect(await call(client, "http_request", tickets)).toMatchObject({ result: { status: 200 } });
    expect(mind.kept.asked).toHaveLength(2);
  });

  it("RFC 9449 §5: with a key of its own, its token is bound to it, and renewed with it", async () => {
    const mind = memory({ dpop: await DpopSession.create() });
    const client = new Client(info) as Program;
    await signIn(client, overHttp(mind), mind, UnauthorizedError);
    expect(await call(client, "whoami")).toMatchObject({ sender_constrained: true });
    expect(mind.kept.tokens?.token_type).toBe("DPoP");
    await house.expire();
    expect(await call(client, "whoami")).toMatchObject({ sender_constrained: true });
    expect(mind.kept.asked).toHaveLength(1);
  });

  it("RFC 6749 §5.2: registers anew when its registration was removed", async () => {
    const mind = memory();
    const client = new Client(info) as Program;
    await signIn(client, overHttp(mind), mind, UnauthorizedError);
    const before = agentOf(mind);
    await house.house.clients.remove(before, "operator", operator);
    await client.close();
    await signIn(client, overHttp(mind), mind, UnauthorizedError);
    expect(agentOf(mind)).not.toBe(before);
    expect(await call(client, "whoami")).toMatchObject({ agent: agentOf(mind) });
  });

  it("over HTTP+SSE, with a sign-in of its own", async () => {
    const mind = memory();
    const client = new Client(info) as Program;
    const transport = () => new SSEClientTransport(new URL(`${house.url}/sse`), { authProvider: mind.provider });
    await signIn(client, transport, mind, UnauthorizedError);
    expect(await call(client, "whoami")).toMatchObject({ agent: agentOf(mind), transport: "sse" });
  });
});
