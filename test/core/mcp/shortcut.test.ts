import { describe, expect, it } from "vitest";
import { createMcpEndpoint } from "../../../src/mcp/endpoint.ts";
import { createLeaseholdServer } from "../../../src/mcp/leasehold.ts";
import { newCorrelation, principal, tinyHouse } from "./tiny-house.ts";

const house = tinyHouse({ bot: { "crm/api": ["use"] } });
const definition = createLeaseholdServer({
  broker: house.broker,
  called: () => undefined,
  refused: async () => undefined,
  newCorrelation,
  logger: { error: () => undefined },
  now: Date.now,
  version: "1.2.3",
});
const endpoint = createMcpEndpoint({ definition });
const bot = principal("bot");

const meta = {
  "io.modelcontextprotocol/protocolVersion": "2026-07-28",
  "io.modelcontextprotocol/clientInfo": { name: "test", version: "1" },
  "io.modelcontextprotocol/clientCapabilities": {},
};
const accept = { "content-type": "application/json", accept: "application/json, text/event-stream" };
const modern = { ...accept, "mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": "whoami" };

function call(params: object = {}, more: object = {}): unknown {
  return { jsonrpc: "2.0", id: 7, method: "tools/call", params: { name: "whoami", arguments: {}, ...params }, ...more };
}

async function short(headers: Record<string, string>, body: unknown): Promise<unknown> {
  const text = await endpoint.shortcut({ body, header: (name) => headers[name] }, bot, new AbortController().signal);
  return text === undefined ? undefined : JSON.parse(text);
}

async function long(headers: Record<string, string>, body: unknown): Promise<{ status: number; answer: unknown }> {
  const request = new Request("http://localhost/mcp", { method: "POST", headers });
  const response = await endpoint.fetch(request, bot, body);
  const text = await response.text();
  const json = response.headers.get("content-type")?.startsWith("text/event-stream") ? text.split("data: ")[1] : text;
  return { status: response.status, answer: json ? JSON.parse(json) : undefined };
}

describe("the shortcut for plain tool calls", () => {
  it.each<[string, Record<string, string>, unknown]>([
    ["2026-07-28", modern, call({ _meta: meta })],
    ["2026-07-28 with a text as id", modern, call({ _meta: meta }, { id: "seven" })],
    ["2026-07-28 with a progress token", modern, call({ _meta: { ...meta, progressToken: 3 } })],
    ["2026-07-28, refused arguments", modern, call({ _meta: meta, arguments: { no: 1 } })],
    ["2025-11-25", { ...accept, "mcp-protocol-version": "2025-11-25" }, call()],
    ["2025-06-18 with a progress token", { ...accept, "mcp-protocol-version": "2025-06-18" }, call({ _meta: { progressToken: "p" } })],
    ["2025-03-26", { ...accept, "mcp-protocol-version": "2025-03-26" }, call()],
    ["no version at all", accept, call({ arguments: undefined })],
    ["an unknown tool", accept, call({ name: "nope" })],
    ["an unlisted tool", accept, call({ name: "query_database" })],
    ["an unknown tool in 2026-07-28", { ...modern, "mcp-name": "nope" }, call({ name: "nope", _meta: meta })],
  ])("answers %s as the SDK would", async (_name, headers, body) => {
    const answer = await short(headers, body);
    expect(answer).toBeDefined();
    expect(withoutCorrelation(answer)).toEqual(withoutCorrelation((await long(headers, body)).answer));
  });

  it.each<[string, Record<string, string>, unknown, number]>([
    ["MT-10: another method in the header", { ...modern, "mcp-method": "tools/list" }, call({ _meta: meta }), 400],
    ["MT-10: another tool in the header", { ...modern, "mcp-name": "request_lease" }, call({ _meta: meta }), 400],
    ["MT-10: no method in the header", { ...modern, "mcp-method": "" }, call({ _meta: meta }), 400],
    ["MT-10: another version in the header", { ...modern, "mcp-protocol-version": "2025-11-25" }, call({ _meta: meta }), 400],
    ["a modern header without an envelope", modern, call(), 400],
    ["an envelope without capabilities", modern, call({ _meta: { "io.modelcontextprotocol/protocolVersion": "2026-07-28" } }), 400],
    ["an unknown version", { ...accept, "mcp-protocol-version": "1999-01-01" }, call(), 400],
    ["a client that takes no event stream", { ...accept, accept: "application/json" }, call(), 406],
    ["a call in a session", { ...accept, "mcp-session-id": "s" }, call(), 200],
    ["a list", accept, [call()], 200],
    ["another JSON-RPC version", accept, call({}, { jsonrpc: "1.0" }), 400],
    ["a broken id", accept, call({}, { id: null }), 400],
    ["a fraction as id", accept, call({}, { id: 1.5 }), 400],
    ["arguments that are a list", accept, call({ arguments: [] }), 200],
    ["a task", accept, call({ task: { ttl: 1 } }), 200],
    ["another method", accept, { jsonrpc: "2.0", id: 1, method: "tools/list", params: {} }, 200],
    ["a notification", accept, { jsonrpc: "2.0", method: "notifications/initialized" }, 202],
  ])("leaves %s to the SDK", async (_name, headers, body, status) => {
    const given = Object.fromEntries(Object.entries(headers).filter(([, value]) => value !== ""));
    expect(await short(given, body)).toBeUndefined();
    expect((await long(given, body)).status).toBe(status);
  });

  it("MT-07: is not confused by names from the prototype", async () => {
    const body: unknown = JSON.parse(
      '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"__proto__","arguments":{"__proto__":{"a":1}}}}',
    );
    expect(await short(accept, body)).toMatchObject({ error: { code: -32602 } });
    expect(({} as { a?: number }).a).toBeUndefined();
  });
});

/** The two ways are two calls, and differ in this only. */
function withoutCorrelation(answer: unknown): unknown {
  return JSON.parse(JSON.stringify(answer).replaceAll(/[0-9a-f]{8}-[0-9a-f-]{27}/g, "ID"));
}
