import { PassThrough } from "node:stream";
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import type { VersionNegotiationMode } from "@modelcontextprotocol/client";
import { StdioServerTransport } from "@modelcontextprotocol/server/stdio";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { tools } from "../../src/mcp/leasehold.ts";
import { serveMcpOverStdio } from "../../src/mcp/stdio.ts";
import { principal } from "../core/mcp/tiny-house.ts";
import { startHttpHouse, toolCall } from "./http-house.ts";
import type { HttpHouse } from "./http-house.ts";

let http: HttpHouse;
beforeAll(async () => {
  http = await startHttpHouse({
    rights: { bot: { "crm/api": ["use", "inject"], "billing-db/readonly": ["use"] }, looker: { "crm/api": ["list"] } },
  });
});
afterAll(() => http.server.close(100));

async function connect(mode: VersionNegotiationMode, agent = "bot"): Promise<Client> {
  const client = new Client({ name: "test", version: "1" }, { versionNegotiation: { mode } });
  const { authorization } = http.headers(agent);
  const requestInit = { headers: { authorization } };
  await client.connect(new StreamableHTTPClientTransport(new URL(`${http.url}/mcp`), { requestInit }));
  return client;
}

const use = { credential: "crm/api", purpose: "test" };

describe.each<[string, VersionNegotiationMode]>([
  ["2026-07-28", { pin: "2026-07-28" }],
  ["2025-11-25", "legacy"],
])("the SDK's client over HTTP, revision %s", (revision, mode) => {
  it("finds its way from the list to a lease and back", async () => {
    const client = await connect(mode);
    expect(client.getNegotiatedProtocolVersion()).toBe(revision);
    expect(client.getServerVersion()).toMatchObject({ name: "leasehold", version: "1.2.3" });
    expect(client.getInstructions()).toContain("find_credentials");
    const listed = await client.listTools();
    expect(listed.tools.map((tool) => tool.name)).toEqual(tools.map((tool) => tool.name));

    // The client holds every structured result against the tool's output schema, errors too in older versions.
    const lease = await client.callTool({ name: "request_lease", arguments: use });
    expect(lease.structuredContent).toMatchObject({ credential: "crm/api", state: "active" });
    const { lease_id } = lease.structuredContent as { lease_id: string };
    const done = await client.callTool({ name: "http_request", arguments: { lease_id, purpose: "test", method: "GET", path: "/" } });
    expect(done.structuredContent).toMatchObject({ lease_id, result: { echoed: { method: "GET", path: "/" } } });
    const query = { credential: "billing-db/readonly", purpose: "test", statement: "select 1" };
    expect((await client.callTool({ name: "query_database", arguments: query })).isError).toBeFalsy();
    for (const name of ["whoami", "find_credentials", "list_leases"]) expect((await client.callTool({ name })).isError).toBeFalsy();
    expect((await client.callTool({ name: "describe_credential", arguments: { credential: "crm/api" } })).isError).toBeFalsy();
    expect((await client.callTool({ name: "renew_lease", arguments: { lease_id } })).isError).toBeFalsy();
    const revoked = await client.callTool({ name: "revoke_lease", arguments: { lease_id } });
    expect(revoked.structuredContent).toMatchObject({ state: "revoked" });
    const refused = await client.callTool({ name: "request_lease", arguments: { ...use, delivery: "reveal" } });
    expect(refused).toMatchObject({ isError: true, structuredContent: { error: { code: "denied" } } });
    await client.close();
  });

  it("shows each caller its own tools, and answers a hidden one like an unknown one", async () => {
    const looker = await connect(mode, "looker");
    expect((await looker.listTools()).tools.map((tool) => tool.name)).toEqual(["whoami", "find_credentials", "describe_credential"]);
    const problem = (name: string) => looker.callTool({ name, arguments: {} }).then(() => undefined, String);
    expect(await problem("request_lease")).toContain("Unknown tool");
    expect(await problem("request_lease")).toBe(await problem("no_such_tool"));
    await looker.close();
  });
});

describe("every revision", () => {
  it.each(["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"])("%s: initialize, list, call", async (protocolVersion) => {
    const params = { protocolVersion, capabilities: {}, clientInfo: { name: "test", version: "1" } };
    const initialized = await answerOf(await http.post({ jsonrpc: "2.0", id: 1, method: "initialize", params }));
    expect(initialized).toMatchObject({ result: { protocolVersion, serverInfo: { name: "leasehold" } } });
    const version = { "mcp-protocol-version": protocolVersion };
    expect((await http.post({ jsonrpc: "2.0", method: "notifications/initialized" }, version)).status).toBe(202);
    const listed = await http.post({ jsonrpc: "2.0", id: 2, method: "tools/list" }, version);
    expect(listed.headers.get("cache-control")).toContain("no-store");
    expect(await answerOf(listed)).toMatchObject({ result: { tools: [{ name: "whoami" }, {}, {}, {}, {}, {}, {}, {}, {}] } });
    expect(await answerOf(await http.post(toolCall("whoami"), version))).toMatchObject({ result: { structuredContent: { agent: "bot" } } });
    expect(await answerOf(await http.post({ jsonrpc: "2.0", id: 3, method: "ping" }, version))).toMatchObject({ result: {} });
  });

  it("2025-03-26: a batch is answered call by call", async () => {
    const batch = [toolCall("whoami"), { ...toolCall("list_leases"), id: 2 }];
    const text = await (await http.post(batch, { "mcp-protocol-version": "2025-03-26" })).text();
    expect(text.match(/"id":[12]/g)?.sort()).toEqual(['"id":1', '"id":2']);
  });

  it("2026-07-28: lists are private and short-lived, streams that nothing can come from end at once", async () => {
    const meta = {
      "io.modelcontextprotocol/protocolVersion": "2026-07-28",
      "io.modelcontextprotocol/clientCapabilities": {},
    };
    const ask = (method: string, params: object = {}) =>
      http.post(
        { jsonrpc: "2.0", id: 1, method, params: { ...params, _meta: meta } },
        { "mcp-protocol-version": "2026-07-28", "mcp-method": method },
      );
    expect(await answerOf(await ask("tools/list"))).toMatchObject({ result: { cacheScope: "private", ttlMs: 5_000 } });
    const listening = await (await ask("subscriptions/listen", { notifications: { toolsListChanged: true } })).text();
    expect(listening).toContain("notifications/subscriptions/acknowledged");
    expect((await ask("initialize")).status).toBe(404);
  });

  it("MT-10: headers that do not match the body are refused", async () => {
    const meta = { "io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {} };
    const call = { jsonrpc: "2.0", id: 1, method: "tools/call", params: { name: "request_lease", arguments: use, _meta: meta } };
    const right = { "mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": "request_lease" };
    expect((await http.post(call, right)).status).toBe(200);
    for (const wrong of [{ "mcp-name": "whoami" }, { "mcp-method": "tools/list" }, { "mcp-protocol-version": "2025-11-25" }]) {
      const response = await http.post(call, { ...right, ...wrong });
      expect(response.status).toBe(400);
      expect(await response.json()).toMatchObject({ error: { code: -32020 } });
    }
    const future = { ...call, params: { ...call.params, _meta: { ...meta, "io.modelcontextprotocol/protocolVersion": "2099-01-01" } } };
    const unsupported = await http.post(future, { ...right, "mcp-protocol-version": "2099-01-01" });
    expect(await unsupported.json()).toMatchObject({ error: { code: -32022 } });
  });

  it("there is no session to take over", async () => {
    const response = await http.post(toolCall("whoami"), { "mcp-session-id": "guessed" });
    expect(await answerOf(response)).toMatchObject({ result: { structuredContent: { agent: "bot" } } });
    expect(response.headers.get("mcp-session-id")).toBeNull();
    for (const method of ["GET", "DELETE"]) expect((await fetch(`${http.url}/mcp`, { method, headers: http.headers() })).status).toBe(405);
  });

  it("never mixes up callers that come at the same time", async () => {
    const calls = Array.from({ length: 60 }, async (_, i) => {
      const agent = i % 2 === 0 ? "bot" : "looker";
      const body = i % 3 === 0 ? { jsonrpc: "2.0", id: i, method: "tools/list" } : { ...toolCall("whoami"), id: i };
      const answer = JSON.stringify(await answerOf(await http.post(body, http.headers(agent))));
      expect(answer).toContain(`"id":${i}`);
      const own = agent === "bot" ? "request_lease" : "describe_credential";
      expect(answer).toContain(i % 3 === 0 ? own : `"agent":"${agent}"`);
      expect(answer.includes("request_lease")).toBe(i % 3 === 0 && agent === "bot");
    });
    await Promise.all(calls);
  });
});

describe("stdio", () => {
  it("serves the one agent that the process stands for", async () => {
    const [stdin, stdout] = [new PassThrough(), new PassThrough()];
    const caller = principal("looker", { kind: "local", transport: "stdio" });
    const session = serveMcpOverStdio({ definition: http.definition, caller, transport: new StdioServerTransport(stdin, stdout) });
    const answers = stdout[Symbol.asyncIterator]();
    const ask = async (message: object): Promise<unknown> => {
      stdin.write(`${JSON.stringify({ jsonrpc: "2.0", id: 1, ...message })}\n`);
      return JSON.parse(String((await answers.next()).value));
    };
    const params = { protocolVersion: "2025-06-18", capabilities: {}, clientInfo: { name: "looker?", version: "1" } };
    expect(await ask({ method: "initialize", params })).toMatchObject({ result: { protocolVersion: "2025-06-18" } });
    expect(await ask({ method: "tools/list" })).toMatchObject({ result: { tools: [{ name: "whoami" }, {}, {}] } });
    expect(await ask({ method: "tools/call", params: { name: "whoami" } })).toMatchObject({
      result: { structuredContent: { agent: "looker", transport: "stdio" } },
    });
    await session.close();
  });
});

async function answerOf(response: Response): Promise<unknown> {
  const text = await response.text();
  return JSON.parse(response.headers.get("content-type")?.startsWith("text/event-stream") ? (text.split("data: ")[1] ?? "") : text);
}
