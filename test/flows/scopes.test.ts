import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { allScopes } from "../../src/core/scope.ts";
import type { Scope } from "../../src/core/scope.ts";
import { tools } from "../../src/mcp/leasehold.ts";
import { publicUrl, startHttpHouse, toolCall } from "./http-house.ts";
import type { HttpHouse } from "./http-house.ts";

let http: HttpHouse;
const refusedTools: string[] = [];
beforeAll(async () => {
  http = await startHttpHouse({
    rights: { bot: { "crm/api": ["use", "inject"], "billing-db/readonly": ["use"] } },
    refusedTool: (tool) => void refusedTools.push(tool),
  });
});
afterAll(() => http.server.close(100));

const metadata = `resource_metadata="${publicUrl}/.well-known/oauth-protected-resource/mcp"`;
const challengeOf = (response: Response): string | null => response.headers.get("www-authenticate");
const post = (scopes: readonly Scope[], body: unknown, path = "/mcp", more: Record<string, string> = {}) =>
  http.post(body, { ...http.headers("bot", { scopes }), ...more }, path);

const inputs: Readonly<Record<string, object>> = {
  describe_credential: { credential: "crm/api" },
  request_lease: { credential: "crm/api", purpose: "test" },
  renew_lease: { lease_id: "01000000000000000000000099" },
  revoke_lease: { lease_id: "01000000000000000000000099" },
  http_request: { credential: "crm/api", purpose: "test", method: "GET", path: "/" },
  query_database: { credential: "billing-db/readonly", purpose: "test", statement: "select 1" },
};

describe("a token that is narrowed by scopes", () => {
  it.each(tools.flatMap(({ name, scope }) => (scope ? [[name, scope] as const] : [])))(
    "RFC 6750 §3.1: %s without %s is 403 insufficient_scope, with all scopes in one challenge, before anything ran",
    async (name, scope) => {
      const others = allScopes.filter((one) => one !== scope && one !== "use" && !(scope === "leases:read" && one === "leases:write"));
      const before = http.house.events.length;
      const refused = await post(others, toolCall(name, inputs[name]));
      expect(refused.status).toBe(403);
      const wanted = allScopes.filter((one) => one === scope || others.includes(one)).join(" ");
      expect(challengeOf(refused)).toBe(`Bearer error="insufficient_scope", scope="${wanted}", ${metadata}`);
      expect(await refused.json()).toMatchObject({ error: "insufficient_scope" });
      expect(http.house.events.length).toBe(before);
      expect(refusedTools.at(-1)).toBe(name);

      const good = await post([scope], toolCall(name, inputs[name]));
      expect(good.status).toBe(200);
      expect(JSON.stringify(await good.json())).not.toContain("insufficient_scope");
    },
  );

  it("asks for what it has and what it needs, and no more", async () => {
    const refused = await post(["use:sql"], toolCall("request_lease", inputs["request_lease"]));
    expect(challengeOf(refused)).toContain('scope="leases:write use:sql"');
  });

  it("is refused for a whole batch, with the scopes of all its calls", async () => {
    const batch = [
      toolCall("whoami"),
      toolCall("http_request", inputs["http_request"]),
      toolCall("query_database", inputs["query_database"]),
    ];
    const before = http.house.events.length;
    const refused = await post(["use:http"], batch, "/mcp", { "mcp-protocol-version": "2025-03-26" });
    expect(refused.status).toBe(403);
    expect(challengeOf(refused)).toContain('scope="use:http use:sql"');
    expect(http.house.events.length).toBe(before);
  });

  it("is refused where the SDK would answer, too", async () => {
    const meta = { "io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {} };
    const call = { jsonrpc: "2.0", id: 1, method: "tools/call", params: { name: "list_leases", arguments: {}, _meta: meta } };
    const modern = { "mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": "list_leases" };
    expect((await post([], call, "/mcp", modern)).status).toBe(403);
    expect((await post(["leases:read"], call, "/mcp", modern)).status).toBe(200);
    expect((await post([], { ...call, id: null }, "/mcp", modern)).status).toBe(403);
    expect((await post([], toolCall("list_leases"), "/mcp", { "mcp-session-id": "s" })).status).toBe(403);
  });

  it("implies what is below it", async () => {
    expect((await post(["use"], toolCall("http_request", inputs["http_request"]))).status).toBe(200);
    expect((await post(["leases:write"], toolCall("list_leases"))).status).toBe(200);
    expect((await post(["leases:read"], toolCall("request_lease", inputs["request_lease"]))).status).toBe(403);
  });

  it("lists all tools that policy allows, so that a client can ask for more, and says what it is good for", async () => {
    const version = { "mcp-protocol-version": "2025-11-25" };
    const listed = await (await post([], { jsonrpc: "2.0", id: 2, method: "tools/list" }, "/mcp", version)).text();
    for (const { name } of tools) expect(listed).toContain(`"${name}"`);
    const { result } = (await (await post(["use:sql"], toolCall("whoami"))).json()) as { result: { structuredContent: object } };
    expect(result.structuredContent).toMatchObject({ client: "bot", scopes: ["use:sql"], sender_constrained: false });
    const narrowed = await http.post(toolCall("whoami"), http.headers("bot", { credentials: ["crm/*"] }));
    expect(await narrowed.json()).toMatchObject({ result: { structuredContent: { narrowed_to: ["crm/*"], visible_credentials: 1 } } });
  });

  it("is a stranger's business with tools that do not exist", async () => {
    expect(await (await post([], toolCall("no_such_tool"))).json()).toMatchObject({ error: { message: "Unknown tool" } });
  });

  it.each(["/v1/handles/redeem", "/v1/leases/01000000000000000000000099/revoke"])("needs leases:write at %s", async (path) => {
    const refused = await post(["use", "leases:read"], { handle: "lhh_x" }, path);
    expect(refused.status).toBe(403);
    expect(challengeOf(refused)).toBe(`Bearer error="insufficient_scope", scope="leases:read leases:write use", ${metadata}`);
    expect((await post(["leases:write"], { handle: "lhh_x" }, path)).status).toBe(404);
  });
});
