import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { SSEClientTransport } from "@modelcontextprotocol/sdk/client/sse.js";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { createLegacySse } from "../../src/http/legacy-sse.ts";
import { createStreams } from "../../src/http/streams.ts";
import type { MintOrder } from "../../src/identity/access-token.ts";
import { startHttpHouse, toolCall } from "./http-house.ts";
import type { HttpHouse } from "./http-house.ts";

let http: HttpHouse;
const hangUps: AbortController[] = [];
beforeAll(async () => {
  http = await startHttpHouse({
    rights: { bot: { "crm/api": ["use", "inject"] }, eve: { "crm/api": ["use"] } },
    parts: { streams: { perCaller: 3, inAll: 5 } },
  });
});
afterEach(async () => {
  for (const one of hangUps.splice(0)) one.abort();
  await pause(50);
});
afterAll(() => http.server.close(100));

const session = { session: "grant-1" };

/** Opens a stream by hand. `next` is its next event. */
async function open(agent = "bot", order: Partial<MintOrder> = session, house = http) {
  const hangUp = new AbortController();
  hangUps.push(hangUp);
  const { authorization } = house.headers(agent, order);
  const response = await fetch(`${house.url}/sse`, { headers: { authorization, accept: "text/event-stream" }, signal: hangUp.signal });
  if (response.status !== 200 || !response.body) return { response, endpoint: "", next: async () => "" };
  const events = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  const next = async (): Promise<string> => {
    for (;;) {
      const end = text.indexOf("\n\n");
      if (end >= 0) {
        const event = text.slice(0, end);
        text = text.slice(end + 2);
        return event;
      }
      const { value, done } = await events.read();
      if (done) throw new Error("the stream has ended");
      text += value;
    }
  };
  const [event, data] = (await next()).split("\n");
  expect(event).toBe("event: endpoint");
  return { response, endpoint: data?.slice("data: ".length) ?? "", next };
}

const send = (endpoint: string, body: unknown, agent = "bot", order: Partial<MintOrder> = session) =>
  http.post(body, http.headers(agent, order), endpoint);
const messageIn = (event: string): unknown => JSON.parse(event.split("data: ")[1] ?? "");

describe("HTTP+SSE of 2024-11-05", () => {
  it("serves the SDK's client from the list of tools to a lease and back", async () => {
    const client = new Client({ name: "old", version: "1" });
    const headers = { authorization: http.headers("bot", session).authorization };
    await client.connect(
      new SSEClientTransport(new URL(`${http.url}/sse`), {
        requestInit: { headers },
        eventSourceInit: { fetch: (url, init) => fetch(url, { ...init, headers: { ...headers, accept: "text/event-stream" } }) },
      }),
    );
    expect(client.getServerVersion()).toMatchObject({ name: "leasehold" });
    expect((await client.listTools()).tools.map((tool) => tool.name)).toContain("request_lease");
    const lease = await client.callTool({ name: "request_lease", arguments: { credential: "crm/api", purpose: "test" } });
    const { lease_id } = lease.structuredContent as { lease_id: string };
    const done = await client.callTool({ name: "http_request", arguments: { lease_id, purpose: "test", method: "GET", path: "/" } });
    expect(done.structuredContent).toMatchObject({ lease_id, result: { echoed: { method: "GET" } } });
    const whoami = await client.callTool({ name: "whoami", arguments: {} });
    expect(whoami.structuredContent).toMatchObject({ agent: "bot", transport: "sse" });
    await client.close();
  });

  it("answers 202 at once, and on the stream", async () => {
    const { response, endpoint, next } = await open();
    expect(response.headers.get("content-type")).toBe("text/event-stream");
    expect(response.headers.get("cache-control")).toBe("no-store, no-transform");
    expect(endpoint).toMatch(/^\/messages\?sessionId=[A-Za-z0-9_-]{22}$/);
    const accepted = await send(endpoint, toolCall("whoami"));
    expect([accepted.status, await accepted.text()]).toEqual([202, ""]);
    expect(messageIn(await next())).toMatchObject({ id: 1, result: { structuredContent: { agent: "bot", transport: "sse" } } });
  });

  it("judges each message by the token that it came with, not by that of the stream", async () => {
    const { endpoint, next } = await open("bot", { ...session, scopes: ["leases:read"] });
    expect((await send(endpoint, toolCall("list_leases"), "bot", { ...session, scopes: [] })).status).toBe(403);
    const both = [
      send(endpoint, { ...toolCall("whoami"), id: 7 }, "bot", { ...session, scopes: ["use:sql"] }),
      send(endpoint, { ...toolCall("whoami"), id: 8 }, "bot", { ...session, scopes: ["use:http"] }),
    ];
    expect((await Promise.all(both)).map(({ status }) => status)).toEqual([202, 202]);
    const answers = [messageIn(await next()), messageIn(await next())] as {
      id: number;
      result: { structuredContent: { scopes: string[] } };
    }[];
    expect(Object.fromEntries(answers.map(({ id, result }) => [id, result.structuredContent.scopes]))).toEqual({
      7: ["use:sql"],
      8: ["use:http"],
    });
  });

  it("MT-03, MT-06: the session id is nobody's identity", async () => {
    const { endpoint } = await open();
    const body = toolCall("whoami");
    expect((await fetch(http.url + endpoint, { method: "POST" })).status).toBe(401);
    expect((await http.post(body, { authorization: "Bearer x.y.z" }, endpoint)).status).toBe(401);
    const theirs = await send(endpoint, body, "eve");
    const never = await send("/messages?sessionId=AAAAAAAAAAAAAAAAAAAAAA", body);
    expect([theirs.status, never.status]).toEqual([404, 404]);
    expect(await theirs.text()).toBe(await never.text());
    expect((await send(endpoint, body, "bot", { session: "grant-2" })).status).toBe(404);
    expect((await send(endpoint, body, "bot", {})).status).toBe(404);
    for (const none of ["/messages", "/messages?sessionId="]) expect((await send(none, body)).status).toBe(404);
    expect((await send(endpoint, body)).status).toBe(202);
  });

  it("MT-03: it is the same agent for the same person only", async () => {
    const person = (account: string) => ({
      account,
      name: account,
      issuer: "x",
      subject: account,
      teams: [],
      role: "member" as const,
      disabled: false,
      frozen: false,
      validFrom: 0,
    });
    for (const account of ["ann", "bob"]) http.accounts.set(account, person(account));
    const { endpoint } = await open("bot", { ...session, account: "ann" });
    expect((await send(endpoint, toolCall("whoami"), "bot", { ...session, account: "bob" })).status).toBe(404);
    expect((await send(endpoint, toolCall("whoami"))).status).toBe(404);
    expect((await send(endpoint, toolCall("whoami"), "bot", { ...session, account: "ann" })).status).toBe(202);
  });

  it("MT-03: is gone when its stream is", async () => {
    const { endpoint } = await open();
    hangUps.pop()?.abort();
    await pause(100);
    expect((await send(endpoint, toolCall("whoami"))).status).toBe(404);
  });

  it.each([
    ["a batch", [toolCall("whoami")]],
    ["a number", 7],
    ["no JSON-RPC", { hello: 1 }],
  ])("MT-07: refuses %s", async (_what, body) => {
    const { endpoint } = await open();
    expect((await send(endpoint, body)).status).toBe(400);
    expect((await send(endpoint, toolCall("whoami"))).status).toBe(202);
  });

  it("takes GET and POST where they belong", async () => {
    expect((await http.post({}, {}, "/sse")).status).toBe(405);
    expect((await fetch(`${http.url}/messages?sessionId=x`, { headers: http.headers() })).status).toBe(405);
  });

  it("MT-08: keeps a bounded number of streams open, of one caller and in all", async () => {
    for (let i = 0; i < 3; i++) expect((await open()).response.status).toBe(200);
    const fourth = await open();
    expect(fourth.response.status).toBe(429);
    expect(Number(fourth.response.headers.get("retry-after"))).toBeGreaterThan(0);
    for (let i = 0; i < 2; i++) expect((await open("eve")).response.status).toBe(200);
    expect((await open("eve")).response.status).toBe(429);
    hangUps.shift()?.abort();
    await pause(100);
    expect((await open()).response.status).toBe(200);
  });

  it("lets go of its streams when it closes", async () => {
    const closing = await startHttpHouse();
    const { next } = await open("bot", session, closing);
    const before = Date.now();
    const ended = next().catch(() => "ended");
    await closing.server.close(5_000);
    expect(await ended).toBe("ended");
    expect(Date.now() - before).toBeLessThan(2_000);
  });
});

describe("a stream over which nothing happens", () => {
  async function serve({ idle, heartbeat }: { readonly idle: number; readonly heartbeat: number }) {
    const state = { closed: 0, send: (_text: string): void => undefined };
    const streams = createStreams<string>({ now: Date.now, keyOf: (caller) => caller });
    const sse = createLegacySse<string>({
      async converse(_caller, { send: next }) {
        state.send = next;
        return { receive: () => true, close: async () => void state.closed++ };
      },
      isSame: () => true,
      streams,
      publicUrl: "https://broker.example/below/",
      idle,
      heartbeat,
    });
    const server = createServer((request, response) => {
      if (request.method === "GET") void sse.open(response, { caller: "x" });
      else sse.receive(request.url ?? "", response, { caller: "x" }, {});
    });
    await new Promise<void>((resolve) => {
      server.listen(0, "127.0.0.1", resolve);
    });
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const stop = (): void => {
      streams.close();
      server.close();
      server.closeAllConnections();
    };
    return { state, url, stop };
  }

  it("shows signs of life, is put off by messages, and is ended after a while", async () => {
    const { state, url, stop } = await serve({ idle: 400, heartbeat: 50 });
    const response = await fetch(url);
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    const ended = (async () => {
      for (let chunk = await reader?.read(); chunk && !chunk.done; chunk = await reader?.read()) text += chunk.value;
    })().catch(() => undefined);
    await pause(250);
    expect(text).toMatch(/^event: endpoint\ndata: \/below\/messages\?sessionId=\S+\n\n(: still here\n\n)+/);
    const endpoint = /data: \/below(\S+)/.exec(text)?.[1] ?? "";
    expect((await fetch(url + endpoint, { method: "POST" })).status).toBe(202);
    await pause(250);
    expect(state.closed).toBe(0);
    await ended;
    await expect.poll(() => state.closed).toBe(1);
    stop();
  });

  it("MT-08: does not hold what its client never reads", async () => {
    const { state, url, stop } = await serve({ idle: 60_000, heartbeat: 60_000 });
    const response = await fetch(url);
    expect(response.status).toBe(200);
    for (let i = 0; i < 64; i++) state.send("x".repeat(1 << 20));
    await expect.poll(() => state.closed).toBe(1);
    await response.body?.cancel().catch(() => undefined);
    stop();
  });
});
