import { inspect } from "node:util";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import type { AgentName, LeaseId } from "../../../src/core/brand.ts";
import { isAgentName, isCredentialName, isLeaseId } from "../../../src/core/brand.ts";
import type { CatalogueEntry } from "../../../src/core/catalogue.ts";
import type { JsonObject } from "../../../src/core/json.ts";
import type { Vault } from "../../../src/core/ports.ts";
import { Secret } from "../../../src/core/secret.ts";
import { revealMaterial } from "../../../src/delivery/reveal.ts";
import { staticEngine, staticHttpTarget } from "../../../src/engines/static.ts";

const http = {
  baseUrl: "https://tickets.example.com",
  header: { name: "Authorization", value: "Bearer {{secret}}" },
  allow: [{ method: "GET", path: "/api/v1/**" }],
};
const secret = { vault: "local", secret: "tickets/token" };

function named<T extends string>(text: string, is: (text: string) => text is T): T {
  if (!is(text)) throw new Error(`not a name: ${text}`);
  return text;
}
const lease: LeaseId = named("0".repeat(26), isLeaseId);
const agent: AgentName = named("ticket-bot", isAgentName);

function entryOf(spec: JsonObject): CatalogueEntry {
  const name = named("tickets/api", isCredentialName);
  return { name, engine: "static", description: "", labels: {}, ttl: { default: 300, max: 900 }, maxLeases: 10, spec };
}

function engineOver(read: Vault["read"]) {
  const asked: string[] = [];
  const vault: Vault = { read, list: async function* () {} };
  const engine = staticEngine.create({
    vault: (name) => {
      asked.push(name);
      return vault;
    },
  });
  return { engine, asked };
}
const holding = (value: string) => engineOver(async () => ({ value: Secret.of(value), version: "1" })).engine;
const signal = AbortSignal.timeout(60_000);

const problems = (spec: JsonObject): string =>
  (staticEngine.schema.safeParse(spec).error?.issues ?? []).map((issue) => `${issue.path.join(".")}: ${issue.message}`).join("\n");

describe("the keys of a static credential", () => {
  test("come out as plain JSON, with their defaults, and describe themselves to editors", () => {
    const parsed = staticEngine.schema.parse({ secret, http });
    expect(JSON.parse(JSON.stringify(parsed))).toEqual(parsed);
    expect(parsed.http).toMatchObject({ privateNetwork: false, maxResponseBytes: 1_048_576, timeout: "30s", followRedirects: 0 });
    expect(staticEngine.schema.parse(parsed)).toEqual(parsed);
    for (const io of ["input", "output"] as const) expect(z.toJSONSchema(staticEngine.schema, { io })).toMatchObject({ type: "object" });
  });

  const bad: readonly (readonly [part: JsonObject, said: RegExp])[] = [
    [{ baseUrl: "tickets.example.com" }, /expected a URL/],
    [{ baseUrl: "ftp://tickets.example.com" }, /expected a URL/],
    [{ baseUrl: "https://u:p@tickets.example.com" }, /login/],
    [{ baseUrl: "https://tickets.example.com?key={{secret}}" }, /without query/],
    [{ baseUrl: "https://tickets.example.com/%2e%2e" }, /plain path|expected/],
    [{ baseUrl: "http://tickets.example.com" }, /use https/],
    [{ header: { name: "Host", value: "{{secret}}" } }, /cannot be set/],
    [{ header: { name: "Content-Length", value: "{{secret}}" } }, /cannot be set/],
    [{ header: { name: "Proxy-Authorization", value: "{{secret}}" } }, /cannot be set/],
    [{ header: { name: "X Y", value: "{{secret}}" } }, /not a valid header/],
    [{ header: { name: "X-Key", value: "no placeholder" } }, /never be used/],
    [{ header: { name: "X-Key", value: "{{secret}} {{other}}" } }, /only placeholder/],
    [{ header: { name: "X-Key", value: "{{secret}}\r\nX: y" } }, /printable/],
    [{ headers: [{ name: "authorization", value: "x" }] }, /twice/],
    [{ allow: [] }, /allow/],
    [{ allow: [{ method: "TRACE", path: "/" }] }, /method/],
    [{ allow: [{ method: "GET", path: "api" }] }, /expected a path/],
    [{ allow: [{ method: "GET", path: "/**/x" }] }, /expected a path/],
    [{ allow: [{ method: "GET", path: "/a*" }] }, /expected a path/],
    [{ allow: [{ method: "GET", path: "/a/../b" }] }, /expected a path/],
    [{ allow: [{ method: "GET", path: "/a//b" }] }, /expected a path/],
    [{ allow: [{ method: "GET", path: "/a%2fb" }] }, /expected a path/],
    [{ privateNetwork: ["10.0.0.0/33"] }, /network/],
    [{ privateNetwork: [] }, /privateNetwork/],
    [{ timeout: "1h" }, /duration/],
    [{ timeout: "0s" }, /duration/],
    [{ followRedirects: 4 }, /followRedirects/],
    [{ query: { key: "{{secret}}" } }, /query/],
  ];
  test.each(bad)("%j", (part, said) => {
    expect(problems({ secret, http: { ...http, ...part } })).toMatch(said);
  });
});

describe("where requests go", () => {
  test("as the entry says, in one form", () => {
    expect(
      staticHttpTarget(entryOf({ secret, http: { ...http, baseUrl: "HTTPS://Tickets.Example.COM:443/api/", timeout: "2m" } })),
    ).toMatchObject({
      origin: "https://tickets.example.com",
      basePath: "/api",
      timeout: 120_000,
    });
  });
  test("OA-21: addresses in other notations are what they are", () => {
    for (const host of ["2130706433", "0x7f.1", "0177.1"])
      expect(staticHttpTarget(entryOf({ secret, http: { ...http, baseUrl: `https://${host}` } }))?.origin).toBe("https://127.0.0.1");
  });
  test("nowhere, without an HTTP part or for another engine", () => {
    expect(staticHttpTarget(entryOf({ secret }))).toBeUndefined();
    expect(staticHttpTarget({ ...entryOf({ secret, http }), engine: "postgres" })).toBeUndefined();
  });
});

describe("the engine", () => {
  test("lends what the vault holds, read anew each time", async () => {
    let version = 0;
    const { engine, asked } = engineOver(async (name) => ({ value: Secret.of(`${name}#${++version}`), version: String(version) }));
    const entry = entryOf({ secret, http });
    const order = { lease, entry, agent, expiresAt: 1 };
    expect(engine.plan(order)).toEqual(secret);
    expect(engine.operations(entry)).toEqual(["http"]);
    expect(engine.operations(entryOf({ secret }))).toEqual([]);
    expect(revealMaterial(await engine.mint(order, engine.plan(order), signal))).toEqual({ secret: "tickets/token#1" });
    expect(revealMaterial((await engine.read?.(entry, signal)) ?? { fields: {} })).toEqual({ secret: "tickets/token#2" });
    expect(asked).toEqual(["local", "local"]);
    await engine.undo(engine.plan(order), signal);
  });

  test("lends one member of a secret that is JSON", async () => {
    const engine = holding('{"user":"bot","key":"sk_live_4fXc"}');
    const read = (field: string) => engine.read?.(entryOf({ secret, field }), signal);
    expect(revealMaterial((await read("key")) ?? { fields: {} })).toEqual({ secret: "sk_live_4fXc" });
    for (const field of ["missing", "__proto__", "toString"])
      await expect(read(field)).rejects.toMatchObject({ code: "vault_unavailable" });
  });

  test("EX-06: what is missing, broken or not JSON is said to the operator, without a byte of it", async () => {
    const missing = engineOver(async () => undefined).engine;
    const down = engineOver(async () => Promise.reject(new Error("connection refused"))).engine;
    const failures = [
      await Promise.resolve(missing.read?.(entryOf({ secret }), signal)).catch((problem: unknown) => problem),
      await Promise.resolve(down.read?.(entryOf({ secret }), signal)).catch((problem: unknown) => problem),
      await Promise.resolve(holding("sk_live_4fXc").read?.(entryOf({ secret, field: "key" }), signal)).catch((problem: unknown) => problem),
      await Promise.resolve(holding('{"key":{"a":"sk_live_4fXc"}}').read?.(entryOf({ secret, field: "key" }), signal)).catch(
        (problem: unknown) => problem,
      ),
    ];
    for (const problem of failures) {
      expect(problem).toMatchObject({ code: "vault_unavailable", facts: {} });
      expect(inspect(problem, { depth: 9, showHidden: true })).not.toContain("sk_live");
    }
    expect(inspect(failures[0])).toContain("tickets/token");
    expect(failures[0] instanceof Error && failures[0].message).not.toContain("tickets");
  });
});

describe("reveal", () => {
  test("the one place where secrets become text", () => {
    const material = { fields: { username: "bot", password: Secret.of("é-pass"), key: Secret.of(Uint8Array.of(0xff, 0)) } };
    expect(revealMaterial(material)).toEqual({ username: "bot", password: "é-pass", key: "base64:/wA=" });
  });
});
