import { setTimeout as pause } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { allScopes } from "../../src/core/scope.ts";
import { createHttpServer } from "../../src/http/server.ts";
import { publicUrl, startHttpHouse, toolCall } from "./http-house.ts";
import type { HttpHouse } from "./http-house.ts";

let http: HttpHouse;
beforeAll(async () => {
  http = await startHttpHouse();
});
afterAll(() => http.server.close(100));

const whoami = JSON.stringify(toolCall("whoami"));

function ping(more: string): string {
  return `{"jsonrpc":"2.0","id":1,"method":"ping",${more}}`;
}

function rawPost(headers: string, body: string | Buffer = whoami): Buffer {
  const bytes = Buffer.from(body);
  return Buffer.concat([
    Buffer.from(`POST /mcp HTTP/1.1\r\n${headers}content-length: ${bytes.length}\r\nconnection: close\r\n\r\n`),
    bytes,
  ]);
}

function head(host = `127.0.0.1:${http.port}`): string {
  const lines = Object.entries({ host, ...http.headers() }).map(([name, value]) => `${name}: ${value}\r\n`);
  return lines.join("");
}

describe("who comes in", () => {
  it("serves an agent with its token, uncached and unsniffed", async () => {
    const response = await http.post(whoami);
    expect(response.status).toBe(200);
    expect(response.headers.get("cache-control")).toContain("no-store");
    expect(response.headers.get("x-content-type-options")).toBe("nosniff");
    expect(await response.json()).toMatchObject({ result: { structuredContent: { agent: "bot", transport: "http" } } });
  });

  it.each([
    "/mcp",
    "/v1/handles/redeem",
    "/v1/leases/01000000000000000000000099/revoke",
    "/v1/anything",
    "/sse",
    "/messages",
    "/messages?sessionId=AAAAAAAAAAAAAAAAAAAAAA",
  ])(
    "MT-11: asks for a token at %s and says nothing else, in one challenge with everything to ask for (RFC 9728 §5.1, RFC 6750 §3)",
    async (path) => {
      for (const method of ["POST", "GET", "DELETE", "PUT"]) {
        const response = await fetch(http.url + path, { method });
        expect(response.status).toBe(401);
        // Each names metadata of its own resource, or of one above it: `/sse` is not below `/mcp`.
        const resource = path === "/sse" || path.startsWith("/messages") ? "" : "/mcp";
        expect(response.headers.get("www-authenticate")).toBe(
          `Bearer resource_metadata="${publicUrl}/.well-known/oauth-protected-resource${resource}", scope="${allScopes.join(" ")}", DPoP algs="ES256 EdDSA Ed25519"`,
        );
        expect(await response.text()).toBe('{"error":"invalid_token","error_description":"An access token is required."}');
      }
    },
  );

  it("OA-18: answers a bad, a foreign and a revoked token with 401 invalid_token (RFC 9068 §4)", async () => {
    const { token, tokenId } = http.token();
    http.revoked.add(tokenId);
    for (const bad of [`Bearer ${token}`, "Bearer x.y.z", "Bearer", "Basic Ym90OmJvdA==", `Bearer ${token} ${token}`]) {
      const response = await http.post(whoami, { authorization: bad });
      expect(response.status).toBe(401);
      expect(response.headers.get("www-authenticate")).toContain('error="invalid_token"');
    }
  });

  it("takes no token from a URL (RFC 6750 §2)", async () => {
    const { token } = http.token();
    expect((await fetch(`${http.url}/mcp?access_token=${token}`, { method: "POST" })).status).toBe(400);
    expect((await http.post(whoami, {}, `/mcp?access_token=${token}`)).status).toBe(400);
  });

  it.each(["/", "/metrics", "/admin/v1/agents", "/mcp/", "/mcp/..", "//mcp", "/MCP", "/.well-known/oauth-authorization-server"])(
    "knows nothing at %s",
    async (path) => expect((await http.raw(`GET ${path} HTTP/1.1\r\n${head()}connection: close\r\n\r\n`)).slice(9, 12)).toBe("404"),
  );

  it("publishes where tokens go (RFC 9728 §3), health and readiness", async () => {
    for (const path of ["", "/mcp"]) {
      const response = await fetch(`${http.url}/.well-known/oauth-protected-resource${path}`);
      expect(await response.json()).toEqual({
        resource: `${publicUrl}${path}`,
        scopes_supported: allScopes,
        bearer_methods_supported: ["header"],
        resource_name: "Leasehold",
        dpop_signing_alg_values_supported: ["ES256", "EdDSA", "Ed25519"],
      });
      expect(response.headers.get("access-control-allow-origin")).toBeNull();
    }
    expect((await fetch(`${http.url}/healthz`)).status).toBe(200);
    expect((await fetch(`${http.url}/readyz`)).status).toBe(200);
    const starting = await startHttpHouse({ ready: () => false });
    expect((await fetch(`${starting.url}/readyz`)).status).toBe(503);
    await starting.server.close();
  });
});

describe("the authorization server behind the same door", () => {
  const seen: string[] = [];
  let door: HttpHouse;
  beforeAll(async () => {
    door = await startHttpHouse({
      parts: {
        oauth: {
          handles: (path) => path.startsWith("/oauth/") || path === "/.well-known/oauth-authorization-server",
          async serve(request, response, ip) {
            let body = "";
            for await (const chunk of request) body += String(chunk);
            seen.push(`${request.method} ${request.url} ${body} from ${ip}`);
            response.writeHead(200, { "content-type": "text/plain" }).end("served");
          },
        },
      },
    });
  });
  afterAll(() => door.server.close(100));

  it("gets its requests as they came, without a token of ours", async () => {
    const form = { method: "POST", body: "grant_type=x", headers: { "content-type": "application/x-www-form-urlencoded" } };
    const authorize = "/oauth/authorize?client_id=a&id_token_hint=b&code_challenge=c&resource=https%3A%2F%2Fbroker.example%2Fmcp&token=d";
    expect(await (await fetch(door.url + authorize)).text()).toBe("served");
    const answer = await fetch(`${door.url}/oauth/token`, form);
    expect(answer.status).toBe(200);
    expect(answer.headers.get("strict-transport-security")).toBe("max-age=31536000");
    expect((await fetch(`${door.url}/.well-known/oauth-authorization-server`)).status).toBe(200);
    expect(seen).toContain(`GET ${authorize}  from 127.0.0.1`);
    expect(seen).toContain("POST /oauth/token grant_type=x from 127.0.0.1");
    expect((await fetch(`${door.url}/elsewhere`)).status).toBe(404);
  });

  it.each(["access_token", "refresh_token", "client_secret", "access%5Ftoken"])(
    "takes no %s in a URL (RFC 9700 section 4.3.2)",
    async (name) => {
      expect((await fetch(`${door.url}/oauth/authorize?${name}=x`)).status).toBe(400);
    },
  );

  it("is named in the metadata (RFC 9728 section 2), with offline_access nowhere", async () => {
    const text = await (await fetch(`${door.url}/.well-known/oauth-protected-resource/mcp`)).text();
    expect(JSON.parse(text)).toMatchObject({ resource: `${publicUrl}/mcp`, authorization_servers: [publicUrl] });
    expect(text).not.toContain("offline_access");
  });

  it.each<[string, Record<string, string>, number]>([
    ["our own page", { origin: publicUrl, "sec-fetch-site": "same-origin" }, 200],
    ["no browser", {}, 200],
    ["a sandboxed page", { origin: "null" }, 403],
    ["another site", { origin: "https://evil.example", "sec-fetch-site": "cross-site" }, 403],
    ["another site that hides its origin", { "sec-fetch-site": "cross-site" }, 403],
    ["another site that claims our origin", { origin: publicUrl, "sec-fetch-site": "cross-site" }, 403],
  ])("MT-02: takes or refuses a form from %s", async (_who, headers, status) => {
    const type = { "content-type": "application/x-www-form-urlencoded" };
    expect((await fetch(`${door.url}/oauth/consent`, { method: "POST", body: "a=b", headers: { ...type, ...headers } })).status).toBe(
      status,
    );
  });

  it("lets a link from another site in", async () => {
    expect((await fetch(`${door.url}/oauth/authorize`, { headers: { "sec-fetch-site": "cross-site" } })).status).toBe(200);
  });
});

describe("where from", () => {
  it.each(["evil.example", "127.0.0.1.evil.example", "127.0.0.1:1", "127.0.0.1", "broker.example.evil.example", "broker.example:8443", ""])(
    "MT-01: refuses Host %s",
    async (host) => expect((await http.raw(rawPost(head(host)))).slice(9, 12)).toMatch(/40[03]/),
  );

  it("accepts its own names", async () => {
    for (const host of [`127.0.0.1:${http.port}`, `localhost:${http.port}`, `[::1]:${http.port}`, "broker.example", "BROKER.example"])
      expect((await http.raw(rawPost(head(host)))).slice(9, 12)).toBe("200");
  });

  it.each([
    "https://evil.example",
    "null",
    "http://broker.example",
    "https://broker.example.evil.example",
    "http://localhost:1",
    "file://",
  ])("MT-01, MT-02: refuses Origin %s and reflects nothing", async (origin) => {
    const response = await http.post(whoami, { origin });
    expect(response.status).toBe(403);
    expect([...response.headers.keys()].filter((name) => name.startsWith("access-control"))).toEqual([]);
  });

  it("MT-02: gives no page of another origin a preflight", async () => {
    const response = await fetch(`${http.url}/mcp`, {
      method: "OPTIONS",
      headers: { origin: publicUrl, "access-control-request-method": "POST" },
    });
    expect(response.status).toBe(401);
    expect(response.headers.get("access-control-allow-origin")).toBeNull();
    expect((await http.post(whoami, { origin: publicUrl })).status).toBe(200);
  });

  it("believes X-Forwarded-For from trusted proxies only, and the last hop that is none", async () => {
    const behind = await startHttpHouse({ trustedProxies: ["127.0.0.0/8", "10.0.0.0/8"] });
    const ipOf = async (house: HttpHouse, forwarded: string) => {
      await house.post(toolCall("request_lease", { credential: "crm/api", purpose: "test" }), { "x-forwarded-for": forwarded });
      const { actor } = house.house.events.at(-1) ?? {};
      return actor?.type === "agent" ? actor.ip : undefined;
    };
    expect(await ipOf(http, "203.0.113.9")).toBe("127.0.0.1");
    expect(await ipOf(behind, "198.51.100.1, 203.0.113.9, 10.1.2.3")).toBe("203.0.113.9");
    expect(await ipOf(behind, "not an address")).toBe("127.0.0.1");
    await behind.server.close();
  });
});

describe("what they send", () => {
  it.each<[string, string | Buffer, number]>([
    ["no JSON", "{", 400],
    ["nothing", "", 400],
    ["deep nesting", `${"[".repeat(10_000)}${"]".repeat(10_000)}`, 400],
    ["deep nesting in a good message", ping(`"params":${'{"a":'.repeat(100)}1${"}".repeat(100)}`), 400],
    ["brackets in a text, which nest nothing", ping(`"params":{"a":${JSON.stringify('[{\\"'.repeat(100))}}`), 200],
    ["invalid UTF-8 in a good message", Buffer.from(ping('"params":{"a":"\xc3("}'), "latin1"), 400],
    ["a number", "7", 400],
    ["an empty batch", "[]", 400],
    ["a batch of rubbish", "[1,2,3]", 400],
    ["no method", '{"jsonrpc":"2.0","id":1}', 400],
    ["an id of 100 kB", `{"jsonrpc":"2.0","id":"${"i".repeat(100_000)}","method":"ping"}`, 200],
    ["duplicate keys", '{"jsonrpc":"2.0","id":1,"method":"ping","method":"nope"}', 200],
    [
      "a polluting key",
      '{"jsonrpc":"2.0","id":1,"method":"ping","__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}',
      400,
    ],
    [
      "a polluting argument",
      '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"whoami","arguments":{"__proto__":{"polluted":1}}}}',
      200,
    ],
  ])("MT-07: survives %s", async (_name, body, status) => {
    const answer = await http.raw(rawPost(head(), body));
    expect(answer.slice(9, 12)).toBe(String(status));
    expect(({} as { polluted?: number }).polluted).toBeUndefined();
    expect((await http.post(whoami)).status).toBe(200);
  });

  it.each([
    ["rubbish", "\x16\x03\x01\x02\x00 hello\r\n\r\n", "400"],
    ["a header of 100 kB", `GET /healthz HTTP/1.1\r\nhost: x\r\nx: ${"y".repeat(100_000)}\r\n\r\n`, "431"],
    ["two lengths", `POST /mcp HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n`, "400"],
    [
      "length and chunks (request smuggling)",
      `POST /mcp HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`,
      "400",
    ],
    ["no host", "GET /healthz HTTP/1.1\r\n\r\n", "400"],
  ])("MT-07: answers broken HTTP, %s, and goes on", async (_name, bytes, status) => {
    expect((await http.raw(bytes)).slice(9, 12)).toBe(status);
    expect((await fetch(`${http.url}/healthz`)).status).toBe(200);
  });

  it("MT-08: refuses large bodies, whether announced or not", async () => {
    expect((await http.raw(`POST /mcp HTTP/1.1\r\n${head()}content-length: 99999999\r\n\r\n`, { finish: false })).slice(9, 12)).toBe("413");
    const chunk = `10000\r\n${"x".repeat(0x10000)}\r\n`;
    const streamed = await http.raw(`POST /mcp HTTP/1.1\r\n${head()}transfer-encoding: chunked\r\n\r\n${chunk.repeat(20)}`, {
      finish: false,
    });
    expect(streamed.slice(9, 12)).toBe("413");
    expect((await http.post(`"${"x".repeat(2 << 20)}"`)).status).toBe(413);
  });

  it("MT-08: refuses compressed bodies and other types", async () => {
    expect((await http.post(whoami, { "content-encoding": "gzip" })).status).toBe(415);
    expect((await http.post(whoami, { "content-type": "text/plain" })).status).toBe(415);
    expect((await http.post(whoami, { "content-type": "application/json; charset=utf-8" })).status).toBe(200);
  });

  it("MT-08: cuts off who trickles, in the headers or in the body", async () => {
    const impatient = await startHttpHouse({ patience: 200 });
    const host = `host: 127.0.0.1:${impatient.port}\r\n`;
    const authorization = `authorization: ${impatient.headers().authorization}\r\n`;
    const trickles = [host, `${host}${authorization}content-type: application/json\r\ncontent-length: 100\r\n\r\n{`];
    for (const trickle of trickles)
      expect((await impatient.raw(`POST /mcp HTTP/1.1\r\n${trickle}`, { finish: false })).slice(9, 12)).toBe("408");
    await impatient.server.close();
  });
});

describe("how often", () => {
  it("limits one agent without touching another, also in batches", async () => {
    const small = await startHttpHouse({ callsPerMinute: 3, rights: { bot: {}, other: {} } });
    const statuses = [];
    for (let i = 0; i < 4; i++) statuses.push((await small.post(whoami)).status);
    expect(statuses).toEqual([200, 200, 200, 429]);
    const limited = await small.post(whoami);
    expect(Number(limited.headers.get("retry-after"))).toBeGreaterThan(0);
    expect((await small.post(whoami, small.headers("other"))).status).toBe(200);
    expect((await small.post([toolCall("whoami"), toolCall("whoami"), toolCall("whoami")], small.headers("other"))).status).toBe(429);
    await small.server.close();
  });

  it("slows down who guesses tokens, lets good tokens through, and reports in sums", async () => {
    const guessed = await startHttpHouse();
    const statuses = new Map<number, number>();
    for (let i = 0; i < 40; i++) {
      const { status } = await guessed.post(whoami, { authorization: "Bearer a.b.c" });
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
    }
    expect(statuses.get(401)).toBeGreaterThanOrEqual(20);
    expect(statuses.get(429)).toBeGreaterThan(10);
    expect((await guessed.post(whoami)).status).toBe(200);
    await pause(1_200);
    expect(guessed.refused.length).toBeLessThanOrEqual(3);
    expect(guessed.refused.reduce((sum, { count }) => sum + count, 0)).toBe(40);
    expect(guessed.refused[0]).toEqual({ why: expect.any(String), transport: "http", ip: "127.0.0.1", count: 1 });
    await guessed.server.close();
  });
});

describe("beside the agent", () => {
  it("trades a handle for the fields once, and ends the lease afterwards", async () => {
    const granted = await http.post(toolCall("request_lease", { credential: "crm/api", delivery: "inject", purpose: "test" }));
    const { result } = (await granted.json()) as { result: { structuredContent: { handle: string; lease_id: string } } };
    const { handle, lease_id: id } = result.structuredContent;
    const redeemed = await http.post({ handle }, {}, "/v1/handles/redeem");
    expect(redeemed.headers.get("cache-control")).toBe("no-store");
    expect(await redeemed.json()).toMatchObject({ lease_id: id, credential: "crm/api", fields: { username: "lh_tiny" } });
    expect((await http.post({ handle }, {}, "/v1/handles/redeem")).status).toBe(404);
    const revoked = await http.post({}, {}, `/v1/leases/${id}/revoke`);
    expect(await revoked.json()).toEqual({ lease_id: id, credential: "crm/api", state: "revoked" });
  });

  it("answers failures with a status, a code and a correlation id", async () => {
    const unknown = await http.post({}, {}, "/v1/leases/01000000000000000000000099/revoke");
    expect(unknown.status).toBe(404);
    expect(await unknown.json()).toEqual({
      error: "not_found",
      error_description: "No such lease.",
      correlation_id: expect.stringMatching(/^[0-9a-f-]{36}$/),
    });
    expect((await http.post({}, {}, "/v1/leases/nonsense/revoke")).status).toBe(404);
    expect((await http.post({ handle: 7 }, {}, "/v1/handles/redeem")).status).toBe(400);
    expect((await fetch(`${http.url}/v1/handles/redeem`, { headers: http.headers() })).status).toBe(404);
  });
});

describe("coming and going", () => {
  it("names the address that is taken", async () => {
    const second = createHttpServer({ ...http.parts, server: { ...http.parts.server, listen: { host: "127.0.0.1", port: http.port } } });
    await expect(second.listen()).rejects.toThrow(`127.0.0.1:${http.port} is already in use`);
  });

  it("lets running calls finish when it closes, and tells operations when their client has gone", async () => {
    const closing = await startHttpHouse();
    closing.house.perform = async () => {
      await pause(300);
      return { late: true };
    };
    const request = toolCall("http_request", { credential: "crm/api", purpose: "test", method: "GET", path: "/" });
    const running = closing.post(request);
    await pause(100);
    const before = Date.now();
    const closed = closing.server.close();
    expect(await (await running).json()).toMatchObject({ result: { structuredContent: { result: { late: true } } } });
    await closed;
    expect(Date.now() - before).toBeLessThan(3_000);
    await expect(fetch(`${closing.url}/healthz`)).rejects.toThrow("fetch failed");

    const aborted = Promise.withResolvers<void>();
    http.house.perform = (_input, signal) =>
      new Promise((resolve) => {
        signal.addEventListener("abort", () => {
          aborted.resolve();
          resolve({});
        });
      });
    const hangUp = new AbortController();
    const gone = fetch(`${http.url}/mcp`, {
      method: "POST",
      headers: http.headers(),
      body: JSON.stringify(request),
      signal: hangUp.signal,
    });
    await pause(100);
    hangUp.abort();
    await expect(gone).rejects.toThrow("aborted");
    await aborted.promise;
  });
});
