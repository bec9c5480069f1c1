import { createServer } from "node:http";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from "node:zlib";
import { inspect } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { AgentName } from "../../src/core/brand.ts";
import { isAgentName, isCredentialName, isLeaseId } from "../../src/core/brand.ts";
import type { CatalogueEntry } from "../../src/core/catalogue.ts";
import type { JsonObject } from "../../src/core/json.ts";
import type { Lease } from "../../src/core/lease.ts";
import type { Vault } from "../../src/core/ports.ts";
import { Secret } from "../../src/core/secret.ts";
import type { Resolve } from "../../src/outbound/address.ts";
import { createHttpPerformer } from "../../src/delivery/http.ts";
import type { HttpPerformer } from "../../src/delivery/http.ts";
import { staticEngine, staticHttpTarget } from "../../src/engines/static.ts";
import { createScrubber } from "../../src/redact/stream.ts";

const token = 'Tk+9/x"q<z>&=sk_live_4fXc0Pq1ZzT7';

/** What the upstream does with the request, and how often anyone came. */
type Behaviour = (request: IncomingMessage & { text: string }, response: ServerResponse) => void;
const behaviours: Record<string, Behaviour> = {};
const seen: { method: string; url: string; headers: IncomingMessage["headers"]; raw: string[]; text: string }[] = [];
let upstream: Server;
let elsewhere: Server;
let visitsElsewhere = 0;
let port = 0;
let performer: HttpPerformer;

beforeAll(async () => {
  upstream = await listening((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const text = Buffer.concat(chunks).toString();
      seen.push({ method: request.method ?? "", url: request.url ?? "", headers: request.headers, raw: request.rawHeaders, text });
      const name = (request.url ?? "").split("?")[0]?.split("/").at(-1) ?? "";
      const behave = behaviours[name];
      if (behave) behave(Object.assign(request, { text }), response);
      else response.end("fine");
    });
  });
  elsewhere = await listening((_request, response) => {
    visitsElsewhere++;
    response.end("you came");
  });
  port = portOf(upstream);
  performer = performerWith();
});

afterAll(async () => {
  await performer.close();
  for (const server of [upstream, elsewhere]) {
    server.closeAllConnections();
    await new Promise((done) => server.close(done));
  }
});

async function listening(work: (request: IncomingMessage, response: ServerResponse) => void): Promise<Server> {
  const server = createServer(work);
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  return server;
}

function portOf(server: Server): number {
  const address: AddressInfo | string | null = server.address();
  if (address === null || typeof address === "string") throw new Error("not listening");
  return address.port;
}

function performerWith(resolve?: Resolve): HttpPerformer {
  return createHttpPerformer({ target: staticHttpTarget, scrubber: createScrubber, ...(resolve ? { resolve } : {}) });
}

function entryOf(http: JsonObject = {}): CatalogueEntry {
  const name = "tickets/api";
  if (!isCredentialName(name)) throw new Error("not a name");
  const spec: JsonObject = {
    secret: { vault: "local", secret: "tickets/token" },
    http: {
      baseUrl: `http://127.0.0.1:${port}`,
      header: { name: "Authorization", value: "Bearer {{secret}}" },
      allow: [
        { method: "GET", path: "/api/v1/**" },
        { method: "HEAD", path: "/api/v1/**" },
        { method: "POST", path: "/api/v1/tickets" },
        { method: "POST", path: "/api/v1/moved" },
      ],
      privateNetwork: true,
      ...http,
    },
  };
  return { name, engine: "static", description: "", labels: {}, ttl: { default: 300, max: 900 }, maxLeases: 10, spec };
}

function agentOf(name: string): AgentName {
  if (!isAgentName(name)) throw new Error("not a name");
  return name;
}

const id = "0".repeat(26);
if (!isLeaseId(id)) throw new Error("not a lease id");
const lease: Lease = {
  id,
  state: "active",
  version: 1,
  agent: agentOf("ticket-bot"),
  session: "s",
  credential: entryOf().name,
  engine: "static",
  delivery: "use",
  createdAt: 0,
  expiresAt: 1,
  maxExpiresAt: 1,
  handle: {},
  purpose: "",
  oneTime: false,
  instance: "",
  attempts: 0,
  dueAt: 0,
};

/** A vault with this one secret. */
function vaultOf(value: string | undefined): Vault {
  return {
    read: async () => (value === undefined ? undefined : { value: Secret.of(value), version: "1" }),
    list: async function* () {},
  };
}

interface Options {
  readonly http?: JsonObject;
  readonly value?: string;
  readonly by?: HttpPerformer;
  readonly signal?: AbortSignal;
}

interface Answer {
  readonly status: number;
  readonly headers: Record<string, string>;
  readonly body: string;
  readonly bodyEncoding: string;
  readonly truncated: boolean;
  readonly scrubbed: number;
  readonly note?: string;
}

/** The whole way: the value from a vault, through the engine, into a request and back. */
async function use(input: JsonObject, options: Options = {}): Promise<Answer> {
  const entry = entryOf(options.http);
  const engine = staticEngine.create({ vault: () => vaultOf(options.value ?? token) });
  const prepared = await (options.by ?? performer).prepare(entry, input);
  const order = { lease: lease.id, entry, agent: lease.agent, expiresAt: 1 };
  const signal = options.signal ?? AbortSignal.timeout(10_000);
  const material = await engine.mint(order, engine.plan(order), signal);
  const { output } = await prepared.perform(material, lease, signal);
  return output as unknown as Answer;
}

const get = (name: string, options: Options = {}) => use({ method: "GET", path: `/api/v1/${name}` }, options);

/** What an agent or a log could be shown of a failure. */
async function failure(work: Promise<unknown>): Promise<{ code: string; shown: string }> {
  const problem: unknown = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!(problem instanceof Error) || !("code" in problem)) throw new Error("expected a failure");
  return { code: String(problem.code), shown: inspect(problem, { depth: 10, showHidden: true }) };
}

describe("a request", () => {
  test("reaches the target with the credential, and the agent sees the answer without it", async () => {
    behaviours["tickets"] = (request, response) => {
      response.writeHead(201, { "content-type": "application/json", "set-cookie": "sid=1", "x-auth": request.headers.authorization ?? "" });
      response.end(JSON.stringify({ auth: request.headers.authorization, sent: request.text }));
    };
    const answer = await use({
      method: "POST",
      path: "/api/v1/tickets?draft=1",
      headers: { "X-Request-Id": "r1" },
      body: { title: "{{secret}}" },
    });
    const last = seen.at(-1);
    expect(last).toMatchObject({ method: "POST", url: "/api/v1/tickets?draft=1", text: '{"title":"{{secret}}"}' });
    expect(last?.headers).toMatchObject({
      authorization: `Bearer ${token}`,
      "accept-encoding": "identity",
      "content-type": "application/json",
      "x-request-id": "r1",
      "user-agent": "leasehold",
      host: `127.0.0.1:${port}`,
    });
    expect(answer).toMatchObject({ status: 201, bodyEncoding: "utf8", truncated: false, scrubbed: 2 });
    expect(JSON.parse(answer.body)).toEqual({ auth: "Bearer [redacted]", sent: '{"title":"{{secret}}"}' });
    expect(answer.headers).toMatchObject({ "content-type": "application/json", "x-auth": "Bearer [redacted]" });
    expect(answer.headers).not.toHaveProperty("set-cookie");
  });

  test("policy judges the path that goes out", async () => {
    const prepared = await performer.prepare(
      entryOf({ baseUrl: `http://127.0.0.1:${port}/api/`, allow: [{ method: "GET", path: "/v1/*" }] }),
      { path: "/v1/%74ickets?x=%41" },
    );
    expect(prepared.facts).toEqual({ kind: "http", method: "GET", host: `127.0.0.1:${port}`, path: "/api/v1/tickets" });
  });

  test("to a name goes to the address that was checked", async () => {
    const asked: string[] = [];
    const by = performerWith(async (host) => {
      asked.push(host);
      return [{ address: "127.0.0.1", family: 4 }];
    });
    const answer = await get("named", { by, http: { baseUrl: `http://tickets.example.com:${port}` } });
    expect(answer.status).toBe(200);
    expect(asked).toEqual(["tickets.example.com"]);
    expect(seen.at(-1)?.headers.host).toBe(`tickets.example.com:${port}`);
    await by.close();
  });

  test("bytes come back as base64, text cut in a character as text", async () => {
    behaviours["binary"] = (_request, response) => response.end(Buffer.from([0xff, 0xfe, 0x00]));
    expect(await get("binary")).toMatchObject({ body: "//4A", bodyEncoding: "base64" });
    behaviours["cut"] = (_request, response) => response.end("é".repeat(1_000));
    const cut = await get("cut", { http: { maxResponseBytes: 1_025 } });
    expect(cut).toMatchObject({ bodyEncoding: "utf8", truncated: true });
    expect(cut.body).toBe("é".repeat(512));
  });

  test("HEAD has no body", async () => {
    behaviours["head"] = (_request, response) => response.writeHead(200, { "content-length": "5", etag: '"1"' }).end();
    expect(await use({ method: "HEAD", path: "/api/v1/head" })).toMatchObject({ status: 200, body: "", headers: { etag: '"1"' } });
  });
});

describe("EX-05: an upstream that echoes the credential", () => {
  const forms: Readonly<Record<string, (value: string) => string>> = {
    plain: (value) => value,
    base64: (value) => Buffer.from(value).toString("base64"),
    "base64 of a login": (value) => Buffer.from(`user:${value}`).toString("base64"),
    base64url: (value) => Buffer.from(`ab${value}`).toString("base64url"),
    hex: (value) => Buffer.from(value).toString("hex"),
    HEX: (value) => Buffer.from(value).toString("hex").toUpperCase(),
    percent: encodeURIComponent,
    "percent, every byte": (value) => Buffer.from(value).toString("hex").replace(/../g, "%$&"),
    json: (value) => JSON.stringify({ value: JSON.stringify(value) }).replaceAll("/", "\\/"),
    "json, unicode": (value) => value.replace(/./g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`),
    html: (value) => value.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;"),
  };
  const piece = token.slice(-12);

  test.each(Object.keys(forms))("%s, in one piece and in many", async (name) => {
    const encode = forms[name] ?? String;
    behaviours["echo"] = (request, response) => {
      const value = encode((request.headers.authorization ?? "").replace("Bearer ", ""));
      response.setHeader("x-echo", encodeURIComponent(value));
      if (request.url?.endsWith("?whole")) return response.end(`<${value}>`);
      const bytes = Buffer.from(`<${value}>`);
      const next = (at: number): void => {
        if (at >= bytes.length) return void response.end();
        response.write(bytes.subarray(at, at + 7));
        setTimeout(next, 1, at + 7);
      };
      return next(0);
    };
    for (const query of ["?whole", "?parts"]) {
      const answer = await get(`echo${query}`);
      expect(answer.body).toContain("[redacted]");
      expect(answer.scrubbed).toBeGreaterThanOrEqual(2);
      const all = JSON.stringify(answer);
      for (const form of Object.values(forms)) expect(all).not.toContain(form(token));
      expect(all).not.toContain(piece);
      expect(all).not.toContain(Buffer.from(piece).toString("hex"));
    }
  });

  const encoders: Readonly<Record<string, (bytes: Buffer) => Buffer>> = {
    gzip: gzipSync,
    deflate: deflateSync,
    br: brotliCompressSync,
    zstd: zstdCompressSync,
  };
  test.each(Object.keys(encoders))("compressed with %s, although we asked for identity", async (encoding) => {
    behaviours["packed"] = (request, response) => {
      response.setHeader("content-encoding", encoding);
      response.end(encoders[encoding]?.(Buffer.from(`${"x".repeat(500)} ${request.headers.authorization}`)));
    };
    const answer = await get("packed");
    expect(answer.body).toBe(`${"x".repeat(500)} Bearer [redacted]`);
    expect(answer.headers).not.toHaveProperty("content-encoding");
  });

  test("encoded in a way that cannot be searched: refused", async () => {
    behaviours["odd"] = (_request, response) =>
      response.writeHead(200, { "content-encoding": "gzip, gzip" }).end(gzipSync(gzipSync(token)));
    expect((await failure(get("odd"))).code).toBe("target_refused");
    behaviours["broken"] = (_request, response) => response.writeHead(200, { "content-encoding": "gzip" }).end(token);
    const broken = await failure(get("broken"));
    expect(broken.code).toBe("target_unavailable");
    expect(broken.shown).not.toContain(piece);
  });

  test("in the name of a header, in two lines of one header, in an authentication header", async () => {
    behaviours["headers"] = (_request, response) => {
      const value = "sk_live_4fXc0Pq1ZzT7";
      response.writeHead(200, [
        `X-${value}`,
        "1",
        "X-Part",
        "sk_live_4f",
        "X-Part",
        "Xc0",
        "WWW-Authenticate",
        `Bearer realm="${value}"`,
        "Authorization",
        value,
      ]);
      response.end();
    };
    const answer = await get("headers", { value: "sk_live_4fXc0Pq1ZzT7" });
    expect(JSON.stringify(answer).toLowerCase()).not.toContain("sk_live_4fxc0pq1zzt7");
    expect(answer.headers).toHaveProperty("X-[redacted]");
    expect(answer.headers).not.toHaveProperty("www-authenticate");
    expect(answer.headers).not.toHaveProperty("authorization");
  });

  test("cut off in the middle of it: not even its first half comes back", async () => {
    behaviours["half"] = (request, response) => response.end(`${"y".repeat(1_010)}${request.headers.authorization}${"z".repeat(100)}`);
    const answer = await get("half", { http: { maxResponseBytes: 1_030 } });
    expect(answer.truncated).toBe(true);
    expect(answer.body).toBe(`${"y".repeat(1_010)}Bearer `);
  });
});

describe("a response that is too much", () => {
  test("is cut off, and the connection with it", async () => {
    let closed = false;
    behaviours["endless"] = (_request, response) => {
      response.on("close", () => (closed = true));
      const more = (): void => void (response.destroyed || response.write("x".repeat(65_536), () => setImmediate(more)));
      more();
    };
    const answer = await get("endless", { http: { maxResponseBytes: 100_000 } });
    expect(answer).toMatchObject({ truncated: true });
    expect(answer.body.length).toBeLessThanOrEqual(100_000);
    await expect.poll(() => closed).toBe(true);
  });

  test("also when it is small on the wire", async () => {
    const bomb = gzipSync(Buffer.alloc(300_000_000, 65));
    behaviours["bomb"] = (_request, response) => response.writeHead(200, { "content-encoding": "gzip" }).end(bomb);
    const before = process.memoryUsage().rss;
    const answer = await get("bomb", { http: { maxResponseBytes: 50_000 } });
    expect(answer).toMatchObject({ truncated: true });
    expect(answer.body.length).toBe(50_000);
    expect(process.memoryUsage().rss - before).toBeLessThan(100_000_000);
  });
});

describe("a target that fails", () => {
  test("slow: the entry's timeout ends it, before the first byte and after", async () => {
    behaviours["slow"] = () => undefined;
    expect((await failure(get("slow", { http: { timeout: "1s" } }))).code).toBe("target_unavailable");
    behaviours["drip"] = (_request, response) => void response.write("begins, and never ends");
    expect((await failure(get("drip", { http: { timeout: "1s" } }))).code).toBe("target_unavailable");
  });
  test("the caller gives up", async () => {
    const abort = new AbortController();
    setTimeout(() => abort.abort(), 50);
    expect((await failure(get("slow", { signal: abort.signal }))).code).toBe("target_unavailable");
  });
  test("EX-06: reset, garbage, refused: one and the same answer, and no byte of either side in it", async () => {
    behaviours["reset"] = (request) => request.socket.resetAndDestroy();
    behaviours["garbage"] = (request) => request.socket.end(`HTTP/1.1 200 OK\r\n${request.headers.authorization}\r\n\r\n`);
    const results = [
      await failure(get("reset")),
      await failure(get("garbage")),
      await failure(get("x", { http: { baseUrl: "http://127.0.0.1:1" } })),
      await failure(get("x", { http: { baseUrl: "http://tickets.invalid" } })),
    ];
    for (const { code, shown } of results) {
      expect(code).toBe("target_unavailable");
      expect(shown).not.toContain(token.slice(-12));
      expect(shown).not.toContain("/api/v1");
    }
  });
  test("after a failure the next request works", async () => {
    expect((await get("again")).status).toBe(200);
  });
});

describe("redirects", () => {
  const redirect =
    (location: string, status = 302): Behaviour =>
    (_request, response) =>
      response.writeHead(status, { location }).end("moved");

  test("to another host are not followed, and not shown", async () => {
    behaviours["away"] = redirect(`http://127.0.0.1:${portOf(elsewhere)}/?t=1`);
    for (const followRedirects of [0, 3]) {
      const answer = await get("away", { http: { followRedirects } });
      expect(answer).toMatchObject({ status: 302, note: expect.stringContaining("another host") });
      expect(answer.headers).not.toHaveProperty("location");
    }
    expect(visitsElsewhere).toBe(0);
  });
  test("within the host are shown, and followed where the entry says so and the allow list has them", async () => {
    behaviours["moved"] = redirect("/api/v1/target?from=moved");
    behaviours["login"] = redirect("/login");
    behaviours["loop"] = redirect("/api/v1/loop");
    expect(await get("moved")).toMatchObject({ status: 302, headers: { location: "/api/v1/target?from=moved" } });
    expect(await get("moved", { http: { followRedirects: 1 } })).toMatchObject({ status: 200, body: "fine" });
    expect(seen.at(-1)).toMatchObject({ url: "/api/v1/target?from=moved", headers: { authorization: `Bearer ${token}` } });
    expect(await get("login", { http: { followRedirects: 3 } })).toMatchObject({ status: 302, headers: { location: "/login" } });
    const before = seen.length;
    expect(await get("loop", { http: { followRedirects: 3 } })).toMatchObject({ status: 302 });
    expect(seen.length - before).toBe(4);
  });
  test("of a POST become a GET without its body, or stay where they are", async () => {
    behaviours["moved"] = redirect("/api/v1/target", 303);
    const post = () => use({ method: "POST", path: "/api/v1/moved", body: { a: 1 } }, { http: { followRedirects: 1 } });
    expect(await post()).toMatchObject({ status: 200 });
    expect(seen.at(-1)).toMatchObject({ method: "GET", text: "" });
    expect(seen.at(-1)?.headers).not.toHaveProperty("content-type");
    behaviours["moved"] = redirect("/api/v1/target", 307);
    expect(await post()).toMatchObject({ status: 307 });
  });
  test("that carry the credential are scrubbed", async () => {
    behaviours["carry"] = (_request, response) => response.writeHead(302, { location: `/api/v1/x?t=${encodeURIComponent(token)}` }).end();
    expect((await get("carry")).headers["location"]).toBe("/api/v1/x?t=[redacted]");
  });
});

describe("OA-21: addresses that are not for us", () => {
  const hosts = [
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0177.0.0.1",
    "0",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::]",
    "169.254.169.254",
    "[fe80::1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
    "10.0.0.1",
    "localhost",
  ];
  test.each(hosts)("%s is refused before anything connects, in the words of any other failure", async (host) => {
    const before = seen.length;
    const by = performerWith();
    const result = await failure(get("x", { by, http: { baseUrl: `https://${host}:${port}`, privateNetwork: false } }));
    expect(result.code).toBe("target_unavailable");
    expect(result.shown).toContain("ADDRESS_REFUSED");
    expect(seen.length).toBe(before);
    await by.close();
  });

  test("a name that answers with a public and a private address is refused", async () => {
    const by = performerWith(async () => [
      { address: "93.184.215.14", family: 4 },
      { address: "127.0.0.1", family: 4 },
    ]);
    const result = await failure(get("x", { by, http: { baseUrl: `https://api.example.com:${port}`, privateNetwork: false } }));
    expect(result.shown).toContain("ADDRESS_REFUSED");
    await by.close();
  });

  test("a name that answers differently the second time: what was checked is what is dialled", async () => {
    let answers = 0;
    const by = performerWith(async () => [{ address: answers++ === 0 ? "127.0.0.1" : "169.254.169.254", family: 4 }]);
    const http = { baseUrl: `http://rebind.example.com:${port}`, privateNetwork: ["127.0.0.0/8"] };
    behaviours["bye"] = (_request, response) => response.writeHead(200, { connection: "close" }).end("fine");
    expect((await get("bye", { by, http })).status).toBe(200);
    expect(answers).toBe(1);
    expect((await failure(get("bye", { by, http }))).shown).toContain("ADDRESS_REFUSED");
    await by.close();
  });

  test("a connection made for an entry with more rights does not serve one with fewer", async () => {
    const by = performerWith(async () => [{ address: "127.0.0.1", family: 4 }]);
    const baseUrl = `http://shared.example.com:${port}`;
    expect((await get("x", { by, http: { baseUrl } })).status).toBe(200);
    const strict = { baseUrl, privateNetwork: ["10.0.0.0/8"] };
    expect((await failure(get("x", { by, http: strict }))).shown).toContain("ADDRESS_REFUSED");
    await by.close();
  });

  test("a proxy in the environment is not asked", async () => {
    const address = `http://127.0.0.1:${portOf(elsewhere)}`;
    const before = { ...process.env };
    Object.assign(process.env, {
      HTTP_PROXY: address,
      http_proxy: address,
      HTTPS_PROXY: address,
      ALL_PROXY: address,
      NODE_USE_ENV_PROXY: "1",
    });
    try {
      const by = performerWith();
      expect((await get("direct", { by })).body).toBe("fine");
      await by.close();
    } finally {
      process.env = before;
    }
    expect(visitsElsewhere).toBe(0);
  });
});

describe("a value that cannot be used", () => {
  test.each(["line\nbreak-in-it", "x\r\nX-Evil: 1", "nul\0byte", ""])("%j never becomes a header", async (value) => {
    const before = seen.length;
    const result = await failure(get("x", { value }));
    expect(result.code).toBe("invalid_request");
    expect(seen.length).toBe(before);
    expect(result.shown).not.toContain(value === "" ? token : value.slice(-5));
  });

  test("one that looks like a replacement pattern goes out as it is", async () => {
    await get("x", { value: "a$&b$1c{{secret}}" });
    expect(seen.at(-1)?.headers.authorization).toBe("Bearer a$&b$1c{{secret}}");
  });
});
