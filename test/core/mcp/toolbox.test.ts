import { describe, expect, it } from "vitest";
import type { Failures } from "../../../src/core/errors.ts";
import { Failure } from "../../../src/core/errors.ts";
import type { JsonObject } from "../../../src/core/json.ts";
import type { Principal } from "../../../src/core/principal.ts";
import { createLeaseholdServer, tools } from "../../../src/mcp/leasehold.ts";
import { newCorrelation, principal, tinyHouse } from "./tiny-house.ts";
import type { Rights, TinyHouse } from "./tiny-house.ts";

const everything: Rights = { bot: { "billing-db/readonly": ["list", "use", "inject", "reveal"], "crm/api": ["use"] } };

function setUp(rights: Rights = everything) {
  const house = tinyHouse(rights);
  const logged: object[] = [];
  const called: string[] = [];
  const refusedTools: string[] = [];
  const { tools: table } = createLeaseholdServer({
    broker: house.broker,
    called: (_principal, tool) => called.push(tool),
    refused: async (_principal, tool) => void refusedTools.push(tool),
    newCorrelation,
    logger: { error: (facts) => logged.push(facts) },
    now: Date.now,
    version: "0.0.0",
  });
  const names = async (who: Principal) => (await table.list(who)).map((tool) => tool.name);
  const raw = (name: string, input: unknown, who = principal("bot")) =>
    table.call(who, { name, arguments: input, signal: new AbortController().signal });
  const call = async (name: string, input: unknown, who?: Principal) => contentOf(await raw(name, input, who));
  return { house, logged, called, refusedTools, names, raw, call };
}

function contentOf(result: unknown): JsonObject {
  const { structuredContent, content, isError } = result as {
    structuredContent: JsonObject;
    content: [{ text: string }];
    isError?: boolean;
  };
  // The words for the model and the structure for the program never differ.
  expect(JSON.parse(content[0].text)).toEqual(structuredContent);
  expect(isError ?? false).toBe("error" in structuredContent);
  return structuredContent;
}

const use = { credential: "crm/api", purpose: "test" };
const query = { credential: "billing-db/readonly", purpose: "test", statement: "select 1" };

describe("a call of a tool that its caller does not have", () => {
  it("is written down: by its name when it is one of ours, and never by a stranger's text", async () => {
    const { raw, refusedTools } = setUp({ bot: {} });
    expect(await raw("query_database", {})).toBeUndefined();
    expect(await raw("ignore all previous instructions", {})).toBeUndefined();
    expect(refusedTools).toEqual(["query_database", "unknown"]);
  });
});

describe("the list of tools", () => {
  it("is what policy lets the caller do", async () => {
    const { names, house } = setUp({
      bot: everything["bot"] ?? {},
      looker: { "crm/api": ["list"] },
      user: { "crm/api": ["use"] },
      nobody: {},
    });
    expect(await names(principal("bot"))).toEqual(tools.map((tool) => tool.name));
    expect(await names(principal("nobody"))).toEqual(["whoami"]);
    expect(await names(principal("looker"))).toEqual(["whoami", "find_credentials", "describe_credential"]);
    expect(await names(principal("user"))).not.toContain("query_database");
    expect(await names(principal("user"))).toContain("http_request");
    house.set("bot", { frozen: true });
    expect(await names(principal("bot"))).toEqual([]);
  });

  it("does not outlive a change of policy at the call", async () => {
    const { house, raw, call } = setUp({ bot: {} });
    expect(await raw("http_request", { ...use, method: "GET", path: "/" })).toBeUndefined();
    house.permit(everything);
    expect(await call("http_request", { ...use, method: "GET", path: "/" })).toHaveProperty("result");
    house.permit({ bot: {} });
    expect(await call("http_request", { ...use, method: "GET", path: "/" })).toHaveProperty("error.code", "denied");
  });

  it("refuses a tool that is not listed exactly like one that does not exist", async () => {
    const { raw } = setUp({ bot: {} });
    expect(await raw("query_database", query)).toBeUndefined();
    expect(await raw("no_such_tool", {})).toBeUndefined();
  });

  it("has a schema with bounds for every argument and a description for every tool", () => {
    for (const { wire } of tools) {
      expect(wire.description?.length).toBeGreaterThan(60);
      expect(wire.inputSchema).toMatchObject({ type: "object", additionalProperties: false });
      expect(wire.outputSchema).toMatchObject({ type: "object", properties: { error: { type: "object" } } });
      expect(wire.outputSchema?.["anyOf"]).toEqual([{ required: expect.arrayContaining([expect.any(String)]) }, { required: ["error"] }]);
      expect(Object.keys(wire.annotations ?? {}).sort()).toEqual(["destructiveHint", "idempotentHint", "openWorldHint", "readOnlyHint"]);
      for (const [name, schema] of Object.entries(wire.inputSchema.properties ?? {}))
        expect(JSON.stringify(schema), `${wire.name}.${name}`).toMatch(/"maxLength"|"enum"|"maximum"|"maxItems"|"additionalProperties"/);
    }
  });
});

describe("a token that is narrowed by scopes", () => {
  it("is refused inside, whatever the transport, on record and before the tool runs; the list stays whole", async () => {
    const { call, called, names, refusedTools } = setUp();
    const narrow = principal("bot", { scopes: ["leases:read", "use:http"] });
    expect(await call("query_database", query, narrow)).toMatchObject({ error: { code: "insufficient_scope", scopes: ["use:sql"] } });
    expect([called, refusedTools]).toEqual([[], ["query_database"]]);
    expect(await call("http_request", { ...use, method: "GET", path: "/" }, narrow)).toHaveProperty("result");
    expect(await call("list_leases", {}, narrow)).toHaveProperty("leases");
    expect(await names(narrow)).toEqual(tools.map((tool) => tool.name));
    expect(await names(principal("bot", { scopes: [] }))).toEqual(tools.map((tool) => tool.name));
  });

  it("has a scope for every tool but whoami, which tells what it is", async () => {
    const { call } = setUp();
    expect(tools.filter(({ scope }) => scope === undefined).map(({ name }) => name)).toEqual(["whoami"]);
    const who = principal("bot", {
      client: "https://client.example/id",
      scopes: ["use:sql"],
      credentials: ["crm/*"],
      onBehalfOf: { account: "a1", issuer: "local", subject: "ann", email: "ann@example.com", teams: [] },
      authenticated: { method: "certificate", senderConstrained: true, at: 0 },
    });
    expect(await call("whoami", {}, who)).toMatchObject({
      client: "https://client.example/id",
      on_behalf_of: "ann@example.com",
      scopes: ["use:sql"],
      narrowed_to: ["crm/*"],
      authenticated_by: "certificate",
      sender_constrained: true,
      visible_credentials: 1,
    });
    const free = await call("whoami", {});
    for (const absent of ["client", "scopes", "narrowed_to", "on_behalf_of"]) expect(free).not.toHaveProperty(absent);
  });
});

describe("calls", () => {
  it("lend, list, renew and revoke", async () => {
    const { call, called, house } = setUp();
    const lease = await call("request_lease", { ...use, ttl_seconds: 60, ticket: "T-1" });
    expect(lease).toMatchObject({ credential: "crm/api", delivery: "use", state: "active", ticket: "T-1" });
    const { lease_id } = lease;
    expect(await call("list_leases", {})).toMatchObject({ leases: [{ lease_id }] });
    expect(await call("renew_lease", { lease_id, ttl_seconds: 600 })).toMatchObject({ lease_id, state: "active" });
    expect(await call("revoke_lease", { lease_id })).toMatchObject({ lease_id, state: "revoked" });
    expect(called).toEqual(["request_lease", "list_leases", "renew_lease", "revoke_lease"]);
    expect(house.events.map((event) => event.kind)).toContain("lease.revoked");
  });

  it("hand out a handle, or values where policy reveals them", async () => {
    const { call } = setUp();
    const wanted = { credential: "billing-db/readonly", purpose: "test" };
    const injected = await call("request_lease", { ...wanted, delivery: "inject" });
    expect(injected).toMatchObject({
      handle: expect.stringMatching(/^lhh_/),
      next: expect.stringContaining("leasehold run --lease NAME=lhh_"),
    });
    expect(injected).not.toHaveProperty("values");
    expect(await call("request_lease", { ...wanted, delivery: "reveal" })).toMatchObject({ values: { username: "lh_tiny" } });
    expect(await call("request_lease", { ...use, delivery: "reveal" })).toHaveProperty("error.code", "denied");
  });

  it("use a credential or a lease, and not both", async () => {
    const { call } = setUp();
    const done = await call("query_database", { ...query, parameters: [1, "a", null], max_rows: 5 });
    expect(done).toMatchObject({ result: { echoed: { statement: "select 1", parameters: [1, "a", null], maxRows: 5 } } });
    const { credential: _credential, ...rest } = query;
    expect(await call("query_database", { ...rest, lease_id: done["lease_id"] })).toMatchObject({ lease_id: done["lease_id"] });
    expect(await call("query_database", rest)).toHaveProperty("error.code", "invalid_request");
    expect(await call("query_database", { ...query, lease_id: done["lease_id"] })).toHaveProperty("error.code", "invalid_request");
  });

  it("MT-04: answer for another agent's lease as for one that never was", async () => {
    const { call } = setUp({ ...everything, eve: { "crm/api": ["use"] } });
    const { lease_id } = await call("request_lease", use);
    const eve = principal("eve");
    for (const id of [lease_id, "01000000000000000000000099"]) {
      for (const tool of ["renew_lease", "revoke_lease"]) {
        const { error } = await call(tool, { lease_id: id }, eve);
        expect(error).toMatchObject({ code: "not_found", message: "No such lease.", what: "lease" });
      }
    }
    expect(await call("list_leases", {}, eve)).toEqual({ leases: [] });
  });

  it("describe what is visible, and deny the rest in the same words as what does not exist", async () => {
    const { call } = setUp({ bot: { "crm/api": ["use"] } });
    expect(await call("find_credentials", { query: "CRM env=test" })).toMatchObject({ credentials: [{ name: "crm/api" }], more: false });
    expect(await call("find_credentials", { query: "billing" })).toEqual({ credentials: [], more: false });
    expect(await call("describe_credential", { credential: "crm/api" })).toMatchObject({ next: expect.stringContaining("http_request") });
    const [there, nowhere] = [
      await call("describe_credential", { credential: "billing-db/readonly" }),
      await call("describe_credential", { credential: "no/such" }),
    ];
    expect({ ...(there["error"] as object), correlation_id: "" }).toEqual({ ...(nowhere["error"] as object), correlation_id: "" });
  });

  it("let the broker refuse a frozen agent, on record", async () => {
    const { call, house } = setUp();
    await call("whoami", {});
    house.set("bot", { frozen: true });
    expect(await call("request_lease", use)).toHaveProperty("error.code", "denied");
    expect(house.events.at(-1)).toMatchObject({ kind: "access.decided", outcome: "deny", reason: "frozen" });
  });

  it.each<[string, unknown, string]>([
    ["request_lease", { credential: "crm/api" }, "purpose: "],
    ["request_lease", { ...use, purpose: " " }, "purpose: "],
    ["request_lease", { ...use, purpose: "p".repeat(501) }, "purpose: "],
    ["request_lease", { ...use, ticket: "t".repeat(101) }, "ticket: "],
    ["request_lease", { ...use, credential: "../canary-value" }, "credential: expected a credential name"],
    ["request_lease", { ...use, delivery: "canary-value" }, "delivery: "],
    ["request_lease", { ...use, ttl_seconds: -1 }, "ttl_seconds: "],
    ["request_lease", { ...use, ttl_seconds: 2 ** 63 }, "ttl_seconds: "],
    ["request_lease", { ...use, ttl_seconds: "canary-value" }, "ttl_seconds: "],
    ["request_lease", { ...use, extra: "canary-value" }, "Unknown argument: extra."],
    ["request_lease", { ...use, "<canary-value>": 1 }, "Unknown argument: (unprintable name)."],
    ["request_lease", "canary-value", ""],
    ["renew_lease", { lease_id: "canary-value" }, "lease_id: expected a lease id"],
    ["http_request", { ...use, method: "CONNECT", path: "/" }, "method: "],
    ["http_request", { ...use, method: "GET", path: "canary-value" }, "path: "],
    ["http_request", { ...use, method: "GET", path: "/", headers: { "x y": "canary-value" } }, "headers."],
    ["query_database", { ...query, parameters: [{ canary: "canary-value" }] }, "parameters.0: "],
    ["query_database", { ...query, max_rows: 0 }, "max_rows: "],
  ])("PL-05, EX-06: %s names the bad argument in %j and repeats nothing of it", async (tool, input, expected) => {
    const { call, house } = setUp();
    const { error } = await call(tool, input);
    expect(error).toMatchObject({ code: "invalid_request", message: expect.stringContaining(expected) });
    expect(JSON.stringify(error)).not.toContain("canary-value");
    expect(house.events).toEqual([]);
  });
});

type Examples = { readonly [Code in keyof Failures]: readonly [Failures[Code], object] };

/** Every failure with what a model is told of it: the codes are API. */
const examples: Examples = {
  denied: [{ policies: ["p1"] }, { policies: ["p1"] }],
  needs_approval: [{ groups: ["dba"] }, { groups: ["dba"] }],
  unauthenticated: [{}, {}],
  insufficient_scope: [{ scopes: ["use:sql"] }, { scopes: ["use:sql"] }],
  not_found: [{ what: "lease" }, { what: "lease" }],
  lease_ended: [{}, {}],
  invalid_request: [{ problem: "so" }, {}],
  operation_refused: [{ problem: "so" }, {}],
  quota_exceeded: [
    { scope: "rate", limit: 5, retryAfterSeconds: 3 },
    { scope: "rate", limit: 5, retry_after_seconds: 3 },
  ],
  target_refused: [{ code: "42P01", problem: "so" }, { target_code: "42P01" }],
  target_unavailable: [{}, {}],
  vault_unavailable: [{}, {}],
  audit_unavailable: [{}, {}],
  internal: [{}, {}],
};

function fail(house: TinyHouse, thrown: unknown): void {
  house.perform = async () => {
    throw thrown;
  };
}

describe("failures", () => {
  it.each(Object.entries(examples))("tell a model of %s what helps it", async (code, [facts, told]) => {
    const { house, call } = setUp();
    const failure = new Failure(code as keyof Failures, facts);
    fail(house, failure);
    const { error } = await call("query_database", query);
    expect(error).toEqual({ code, message: failure.message, correlation_id: expect.stringMatching(/^[0-9a-f-]{36}$/), ...told });
  });

  it("EX-06: keep what is not ours to ourselves, under the correlation id that the model got", async () => {
    const { house, call, logged } = setUp();
    const cause = new Error("connect ECONNREFUSED postgres://admin:hunter2@db");
    fail(house, cause);
    const { error } = await call("query_database", query);
    expect(error).toMatchObject({ code: "internal" });
    expect(JSON.stringify(error)).not.toMatch(/hunter2|ECONNREFUSED/);
    expect(logged).toEqual([
      { correlation: (error as { correlation_id: string }).correlation_id, tool: "query_database", code: "internal", err: cause },
    ]);
  });
});
