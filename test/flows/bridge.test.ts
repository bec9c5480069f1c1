import { generateKeyPairSync } from "node:crypto";
import { chmodSync, existsSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { once } from "node:events";
import { createServer } from "node:http";
import type { ServerResponse } from "node:http";
import { dirname, join } from "node:path";
import { PassThrough } from "node:stream";
import { Client } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { afterEach, describe, expect, it } from "vitest";
import { runBridge } from "../../src/bridge/bridge.ts";
import type { Machine } from "./bridge-client.ts";
import { program, startBridge, startCommand, startMachine } from "./bridge-client.ts";
import type { Mischief, Realm, RealmOptions } from "./bridge-realm.ts";
import { startRealm } from "./bridge-realm.ts";

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function place(options: RealmOptions = {}): Promise<{ readonly realm: Realm; readonly machine: Machine }> {
  const realm = await startRealm(options);
  const machine = startMachine();
  ends.push(() => rmSync(machine.home, { recursive: true, force: true }), realm.stop);
  return { realm, machine };
}

function bridge(...args: Parameters<typeof startBridge>): ReturnType<typeof startBridge> {
  const started = startBridge(...args);
  ends.push(() => started.child.kill("SIGKILL"));
  return started;
}

async function command(...args: Parameters<typeof startCommand>) {
  const started = startCommand(...args);
  ends.push(() => started.child.kill("SIGKILL"));
  started.child.stdin.end();
  return { code: await started.exit, out: started.lines.join("\n"), said: started.said.join("\n") };
}

const answers =
  (status: number, headers: Record<string, string> = {}, body = ""): Mischief =>
  (_, response) => {
    response.writeHead(status, headers).end(body);
    return true;
  };

const text = (reply: { readonly result?: Record<string, unknown> }): unknown => {
  const content: unknown = reply.result?.["content"];
  return Array.isArray(content) ? content[0]?.text : reply;
};
const asked = (realm: Realm, path: string) => realm.state.asked.filter((one) => one.path === path).map(({ form }) => form);
const stored = (machine: Machine): Record<string, Record<string, unknown>> => JSON.parse(readFileSync(machine.logins, "utf8")).logins;

describe("signing in", () => {
  it.each([
    ["2025-11-25", {}],
    ["2026-07-28", { versionNegotiation: { mode: "auto" } }],
  ] as const)("the SDK's client gets through without knowing of OAuth, revision %s", async (revision, options) => {
    const { realm, machine } = await place();
    const transport = new StdioClientTransport({
      command: process.execPath,
      args: [program, "mcp", "--server", realm.origin],
      env: machine.env,
      stderr: "ignore",
    });
    const client = new Client({ name: "test", version: "1.0.0" }, options);
    ends.push(() => client.close());
    await client.connect(transport);
    expect(client.getNegotiatedProtocolVersion()).toBe(revision);
    expect((await client.listTools()).tools.map(({ name }) => name)).toContain("echo");
    const result = await client.callTool({ name: "echo", arguments: { text: "grüße" } });
    expect(result.content).toEqual([{ type: "text", text: "grüße" }]);
    expect(new Set(realm.state.seen.map(({ scheme }) => scheme))).toEqual(new Set(["DPoP"]));
  });

  it("MT-14: the browser gets one https or loopback URL as one argument, without a shell, and nothing of our environment", async () => {
    const { realm, machine } = await place();
    const client = bridge(machine, realm.origin, { env: { LEASEHOLD_SOMETHING: "secret", ACTIONS_ID_TOKEN_REQUEST_TOKEN: "secret" } });
    await client.shakeHands();
    const [opened, ...more] = machine.opened();
    expect(more).toEqual([]);
    expect(opened?.args).toEqual([expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+\/auth\?[\x21-\x7e]+$/)]);
    expect(opened?.env.filter((name) => /LEASEHOLD|ACTIONS/.test(name))).toEqual([]);
  });

  it("MT-14: an authorization endpoint of another scheme, or http elsewhere, is refused before anything is opened", async () => {
    for (const odd of ["javascript:alert(1)//", "file:///etc/passwd", "http://broker.example/auth", "ms-settings:$(id)"]) {
      const { realm, machine } = await place({
        metadata: (path, document) => (path.includes("openid") ? { ...document, authorization_endpoint: odd } : document),
      });
      const client = bridge(machine, realm.origin);
      const reply = await client.shakeHands();
      expect(reply.error?.message).toMatch(/authorization_endpoint of the authorization server is not/);
      expect(machine.opened()).toEqual([]);
      expect(realm.state.registered).toBe(0);
    }
  });

  it("RFC 8252 §7.3, §8.3: the answer comes back to 127.0.0.1 at a port of the moment, which is closed afterwards", async () => {
    const { realm, machine } = await place();
    const client = bridge(machine, realm.origin);
    await client.shakeHands();
    const [pushed] = asked(realm, "/request");
    const back = new URL(String(pushed?.["redirect_uri"]));
    expect(back.hostname).toBe("127.0.0.1");
    expect(pushed).toMatchObject({ code_challenge_method: "S256", resource: realm.resource, scope: realm.state.wanted });
    await expect(fetch(back)).rejects.toThrow();
    expect(asked(realm, "/token")).toEqual([expect.objectContaining({ grant_type: "authorization_code", resource: realm.resource })]);
  });

  it("RFC 9207 §2.4: an answer by another issuer is refused, and its code goes nowhere", async () => {
    const { realm, machine } = await place({
      redirect: (url) => {
        url.searchParams.set("iss", "https://evil.example");
        return url;
      },
    });
    const client = bridge(machine, realm.origin);
    expect((await client.shakeHands()).error?.message).toMatch(/^Signing in did not work/);
    expect(asked(realm, "/token")).toEqual([]);
  });

  it("an answer with another state, a wrong Host or a wrong path ends nothing", async () => {
    const { realm, machine } = await place();
    const client = bridge(machine, realm.origin, { args: ["--no-browser"] });
    const hello = client.shakeHands();
    await expect.poll(() => client.said.length, { timeout: 10_000 }).toBe(1);
    const back = String(asked(realm, "/request")[0]?.["redirect_uri"]);
    expect((await fetch(`${back}?code=guess&state=guess`)).status).toBe(404);
    expect((await fetch(back.replace("/callback", "/"))).status).toBe(404);
    expect(machine.opened()).toEqual([]);
    const { visit } = await import("./bridge-visitor.ts");
    await visit(/open (\S+)/.exec(client.said[0] ?? "")?.[1] ?? "");
    expect((await hello).result).toBeDefined();
  });

  it("is done once: the next start renews by itself, and no token is ever in stdout, stderr, arguments or the file but the refresh token", async () => {
    const { realm, machine } = await place();
    const first = bridge(machine, realm.origin);
    await first.shakeHands();
    expect(await first.end()).toBe(0);
    const before = stored(machine)[realm.resource]?.["refreshToken"];
    const started = performance.now();
    const second = bridge(machine, realm.origin);
    expect((await second.shakeHands()).result).toBeDefined();
    const took = performance.now() - started;
    process.stderr.write(`first answer with a stored login after ${took.toFixed(0)} ms\n`);
    expect(machine.opened()).toHaveLength(1);
    expect(realm.state.registered).toBe(1);
    const after = stored(machine)[realm.resource]?.["refreshToken"];
    expect(after).not.toBe(before);
    const tokens = [...realm.state.seen.map(({ headers }) => headers.authorization?.split(" ")[1] ?? ""), String(before), String(after)];
    const shown = [...first.lines, ...first.said, ...second.lines, ...second.said, ...second.child.spawnargs].join("\n");
    expect(tokens.filter((token) => shown.includes(token))).toEqual([]);
    const file = readFileSync(machine.logins, "utf8");
    expect(tokens.filter((token) => file.includes(token))).toEqual([after]);
    expect(statSync(machine.logins).mode & 0o777).toBe(0o600);
    expect(statSync(dirname(machine.logins)).mode & 0o777).toBe(0o700);
  });

  it("by device code, where there is no browser", async () => {
    const { realm, machine } = await place();
    const client = bridge(machine, realm.origin, { args: ["--login", "device"], visits: true });
    expect((await client.shakeHands()).result).toBeDefined();
    expect(client.said[0]).toMatch(/^To sign in, open http:\S+ and enter the code \S+$/);
  });

  it("with an invitation from a file or the environment, which registers and is not passed on", async () => {
    const { realm, machine } = await place({ invitation: "an-invitation" });
    const without = bridge(machine, realm.origin);
    expect((await without.shakeHands()).error?.message).toMatch(/did not register.*invitation/);
    const file = join(machine.home, "invitation");
    writeFileSync(file, "an-invitation\n");
    expect((await bridge(machine, realm.origin, { args: ["--invitation-file", file] }).shakeHands()).result).toBeDefined();
    const other = { ...machine, env: { ...machine.env, XDG_CONFIG_HOME: join(machine.home, "other") } };
    expect((await bridge(other, realm.origin, { env: { LEASEHOLD_INVITATION: "an-invitation" } }).shakeHands()).result).toBeDefined();
    expect(realm.state.registered).toBe(2);
  });

  it("by bearer tokens where the server has no DPoP", async () => {
    const { realm, machine } = await place({ dpop: false });
    const client = bridge(machine, realm.origin);
    expect((await client.shakeHands()).result).toBeDefined();
    expect(realm.state.seen[0]?.scheme).toBe("Bearer");
  });

  it.each([
    [
      "the resource is another",
      /goes by another name/,
      (path: string, d: Record<string, unknown>) => (path.includes("resource") ? { ...d, resource: "https://other.example/mcp" } : d),
    ],
    [
      "the issuer is another (RFC 8414 §3.3)",
      /authorization server/,
      (path: string, d: Record<string, unknown>) => (path.includes("openid") ? { ...d, issuer: "https://other.example" } : d),
    ],
    [
      "the issuer is spelt otherwise, if only by a slash",
      /does not call itself/,
      (path: string, d: Record<string, unknown>) =>
        path.includes("resource") ? { ...d, authorization_servers: [`${new URL(String(d["resource"])).origin}/`] } : d,
    ],
    [
      "the issuer is not https",
      /not an https address/,
      (path: string, d: Record<string, unknown>) =>
        path.includes("resource") ? { ...d, authorization_servers: ["http://other.example"] } : d,
    ],
    [
      "there is no S256",
      /PKCE/,
      (path: string, d: Record<string, unknown>) => (path.includes("openid") ? { ...d, code_challenge_methods_supported: ["plain"] } : d),
    ],
  ])("goes no further when %s", async (_, expected, metadata) => {
    const { realm, machine } = await place({ metadata });
    const client = bridge(machine, realm.origin);
    expect((await client.shakeHands()).error?.message).toMatch(expected);
    expect(machine.opened()).toEqual([]);
    expect(asked(realm, "/token")).toEqual([]);
  });
});

describe("nobody signs in", () => {
  it("requests that wait get the command to run, and no second window opens at once", async () => {
    const { realm, machine } = await place();
    const said: string[] = [];
    const lines: string[] = [];
    const input = new PassThrough();
    const output = new PassThrough().setEncoding("utf8").on("data", (chunk: string) => lines.push(...chunk.trim().split("\n")));
    const ended = runBridge({
      server: new URL(realm.resource),
      how: { by: "browser" },
      browser: false,
      tell: (line) => void said.push(line),
      env: machine.env,
      now: Date.now,
      signal: new AbortController().signal,
      patience: 400,
      input,
      output,
    });
    input.write('{"jsonrpc":"2.0","id":1,"method":"tools/list"}\n{"jsonrpc":"2.0","id":2,"method":"tools/list"}\n');
    await expect.poll(() => lines.length, { timeout: 5_000 }).toBe(2);
    input.write('{"jsonrpc":"2.0","id":3,"method":"tools/list"}\n');
    await expect.poll(() => lines.length).toBe(3);
    for (const line of lines)
      expect(JSON.parse(line).error.message).toBe(`Nobody has signed in yet. Run: leasehold login --server ${realm.resource}`);
    expect(said).toHaveLength(1);
    input.end();
    await ended;
    // The registration was kept: the next try does not need another.
    expect((await bridge(machine, realm.origin).shakeHands()).result).toBeDefined();
    expect(realm.state.registered).toBe(1);
  });
});

describe("machines", () => {
  it("an agent proves itself by its key", async () => {
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const { realm, machine } = await place({
      clients: [
        {
          client_id: "reporter",
          token_endpoint_auth_method: "private_key_jwt",
          grant_types: ["client_credentials"],
          response_types: [],
          redirect_uris: [],
          jwks: { keys: [{ ...publicKey.export({ format: "jwk" }), kid: "a", alg: "ES256" }] },
        },
      ],
    });
    const jwk = join(machine.home, "key.json");
    writeFileSync(jwk, JSON.stringify({ ...privateKey.export({ format: "jwk" }), kid: "a" }));
    const pem = join(machine.home, "key.pem");
    writeFileSync(pem, privateKey.export({ format: "pem", type: "pkcs8" }));
    for (const file of [jwk, pem]) {
      const client = bridge(machine, realm.origin, { args: ["--client-id", "reporter", "--key", file] });
      expect((await client.shakeHands()).result).toBeDefined();
    }
    expect(existsSync(machine.logins)).toBe(false);
    expect(realm.state.seen.every(({ scheme }) => scheme === "DPoP")).toBe(true);
  });

  it("a workload shows the token of its platform, as it is at that moment", async () => {
    // Twenty seconds before its end a token is renewed: this one is good for one.
    const { realm, machine } = await place({ ttl: 21 });
    const file = join(machine.home, "token");
    writeFileSync(file, "first\n");
    const client = bridge(machine, realm.origin, { args: ["--workload-token-file", file] });
    expect((await client.shakeHands()).result).toBeDefined();
    writeFileSync(file, "second");
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    expect(text(await client.echo("again"))).toBe("again");
    expect(realm.state.assertions).toEqual(["first", "second"]);
    writeFileSync(file, "bad");
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    expect((await client.echo("again")).error?.message).toMatch(/did not accept what this machine proves itself with \(invalid_grant\)/);
  });

  it("a job of GitHub Actions asks for its token, for this broker", async () => {
    const { realm, machine } = await place();
    const seen: (string | undefined)[] = [];
    const github = createServer((request, response) => {
      seen.push(request.url, request.headers.authorization);
      response.end('{"value":"of-the-job"}');
    }).listen(0, "127.0.0.1");
    ends.push(() => github.close());
    await once(github, "listening");
    const address = github.address();
    const url = `http://127.0.0.1:${typeof address === "object" && address ? address.port : 0}/token?v=1`;
    const env = { ACTIONS_ID_TOKEN_REQUEST_URL: url, ACTIONS_ID_TOKEN_REQUEST_TOKEN: "of-the-runner" };
    const client = bridge(machine, realm.origin, { args: ["--login", "github"], env });
    expect((await client.shakeHands()).result).toBeDefined();
    expect(realm.state.assertions).toEqual(["of-the-job"]);
    expect(seen).toEqual([`/token?v=1&audience=${encodeURIComponent(realm.origin)}`, "Bearer of-the-runner"]);
  });
});

describe("tokens", () => {
  it("a token that is refused in mid-session is renewed, and the call done", async () => {
    const { realm, machine } = await place();
    const client = bridge(machine, realm.origin);
    await client.shakeHands();
    realm.state.revokedTokens.add(realm.state.seen[0]?.headers.authorization?.split(" ")[1] ?? "");
    const replies = await Promise.all(["a", "b", "c"].map((one) => client.echo(one)));
    expect(replies.map(text)).toEqual(["a", "b", "c"]);
    expect(asked(realm, "/token").map((form) => form["grant_type"])).toEqual(["authorization_code", "refresh_token"]);
    expect(machine.opened()).toHaveLength(1);
  });

  it("RFC 9449 §4, RFC 9449 §8: nonces of the token endpoint and of the broker come into the next proof", async () => {
    const { realm, machine } = await place();
    realm.state.nonces = true;
    realm.resourceState.nonces = true;
    const client = bridge(machine, realm.origin);
    expect((await client.shakeHands()).result).toBeDefined();
    expect(text(await client.echo("with a nonce"))).toBe("with a nonce");
    expect(realm.state.seen.every(({ headers }) => headers["dpop"] !== undefined)).toBe(true);
  });

  it("a token or a proof that is refused over and over is given up after one renewal", async () => {
    const { realm, machine } = await place();
    const client = bridge(machine, realm.origin);
    await client.shakeHands();
    // The stream is asked for after the handshake, and must not be what is refused.
    await expect.poll(() => realm.state.seen.filter(({ method }) => method === "GET").length).toBe(1);
    for (const [error, said] of [
      ["invalid_token", /refuses the token that it has just given/],
      ["invalid_dpop_proof", /clock/],
    ] as const) {
      const refused = answers(401, { "www-authenticate": `DPoP error="${error}"` });
      realm.state.mischief.push(refused, refused);
      expect((await client.echo("x")).error?.message).toMatch(said);
    }
    expect(machine.opened()).toHaveLength(1);
  });

  it("steps up once, with the scopes that are held and those that are wanted", async () => {
    const { realm, machine } = await place();
    const client = bridge(machine, realm.origin);
    await client.shakeHands();
    await expect.poll(() => realm.state.seen.filter(({ method }) => method === "GET").length).toBe(1);
    const insufficient = answers(403, { "www-authenticate": 'DPoP error="insufficient_scope", scope="use:http use:sql"' });
    realm.state.mischief.push(insufficient);
    expect(text(await client.echo("with more"))).toBe("with more");
    const wanted = asked(realm, "/request").map((form) => form["scope"]);
    expect(wanted).toEqual(["credentials:read leases:read", "credentials:read leases:read use:http use:sql"]);
    // The same once more is no matter of scopes: nobody is asked again.
    realm.state.mischief.push(insufficient);
    expect((await client.echo("x")).error?.message).toMatch(/has all the scopes/);
    expect(machine.opened()).toHaveLength(2);
  });

  it("a client that the broker forgot registers and signs in again; so does one whose login ended", async () => {
    const { realm, machine } = await place();
    await bridge(machine, realm.origin).shakeHands();
    const forgotten = String(stored(machine)[realm.resource]?.["clientId"]);
    await realm.forget(forgotten);
    expect((await bridge(machine, realm.origin).shakeHands()).result).toBeDefined();
    expect(realm.state.registered).toBe(2);
    const login = stored(machine)[realm.resource];
    expect(login?.["clientId"]).not.toBe(forgotten);

    writeFileSync(machine.logins, JSON.stringify({ version: 1, logins: { [realm.resource]: { ...login, refreshToken: "over" } } }));
    expect((await bridge(machine, realm.origin).shakeHands()).result).toBeDefined();
    expect(realm.state.registered).toBe(2);
    expect(machine.opened()).toHaveLength(3);

    // Without a refresh token, only the pushed request can tell that the client is gone.
    const { refreshToken: _, ...rest } = stored(machine)[realm.resource] ?? {};
    writeFileSync(machine.logins, JSON.stringify({ version: 1, logins: { [realm.resource]: rest } }));
    await realm.forget(String(rest["clientId"]));
    expect((await bridge(machine, realm.origin).shakeHands()).result).toBeDefined();
    expect(realm.state.registered).toBe(3);
  });

  it("bridges that start at once share one sign-in, and renew one after the other without burning the refresh token", async () => {
    const { realm, machine } = await place();
    const first = await Promise.all([1, 2, 3].map(() => bridge(machine, realm.origin).shakeHands()));
    expect(first.every(({ result }) => result !== undefined)).toBe(true);
    expect(machine.opened()).toHaveLength(1);
    expect(realm.state.registered).toBe(1);
    const second = await Promise.all([1, 2, 3].map(() => bridge(machine, realm.origin).shakeHands()));
    expect(second.every(({ result }) => result !== undefined)).toBe(true);
    expect(machine.opened()).toHaveLength(1);
  });

  it("a bridge that is killed while it waits for a person blocks nobody", async () => {
    const { realm, machine } = await place();
    const stuck = bridge(machine, realm.origin, { args: ["--no-browser"] });
    void stuck.shakeHands();
    await expect.poll(() => stuck.said.length, { timeout: 10_000 }).toBe(1);
    const waiting = bridge(machine, realm.origin);
    const hello = waiting.shakeHands();
    stuck.child.kill("SIGKILL");
    expect((await hello).result).toBeDefined();
  });

  it("a file of logins that others can read is refused, with what to do", async () => {
    const { realm, machine } = await place();
    await bridge(machine, realm.origin).shakeHands();
    chmodSync(machine.logins, 0o644);
    const reply = await bridge(machine, realm.origin).shakeHands();
    expect(reply.error?.message).toContain("logins.json: others can read it, or own it. Run `chmod 600");
    expect(machine.opened()).toHaveLength(1);
  });

  it("the keychain keeps the login where there is one, and gets it through stdin", async () => {
    const { realm, machine } = await place();
    machine.script(
      "secret-tool",
      `echo "$@" >> '${machine.home}/args'\ncase "$1" in store) cat > '${machine.home}/kept';; lookup) cat '${machine.home}/kept' 2>/dev/null;; clear) rm -f '${machine.home}/kept';; esac`,
    );
    const env = { DBUS_SESSION_BUS_ADDRESS: "unix:path=/nowhere" };
    expect((await bridge(machine, realm.origin, { env }).shakeHands()).result).toBeDefined();
    expect((await bridge(machine, realm.origin, { env }).shakeHands()).result).toBeDefined();
    expect(machine.opened()).toHaveLength(1);
    expect(existsSync(machine.logins)).toBe(false);
    const kept = readFileSync(join(machine.home, "kept"), "utf8");
    const { refreshToken } = JSON.parse(Buffer.from(kept, "base64").toString());
    const args = readFileSync(join(machine.home, "args"), "utf8");
    expect(args).toContain(`service leasehold account ${realm.resource}`);
    expect(args).not.toContain(kept.trim());
    expect(args).not.toContain(refreshToken);
    // One that breaks must not cost the login.
    machine.script("secret-tool", "exit 1");
    expect((await command(machine, "login", realm.origin, { env })).out).toContain(`The login is kept in ${machine.logins}`);
  });
});

describe("messages", () => {
  async function connected(options: RealmOptions = {}) {
    const { realm, machine } = await place(options);
    const client = bridge(machine, realm.origin);
    await client.shakeHands();
    await expect.poll(() => realm.state.seen.filter(({ method }) => method === "GET").length).toBe(1);
    return { realm, machine, client };
  }

  it("name their revision in headers once it was agreed, and repeat their body from 2026-07-28 on", async () => {
    const { realm, client } = await connected();
    await client.echo("old");
    const meta = {
      "io.modelcontextprotocol/protocolVersion": "2026-07-28",
      "io.modelcontextprotocol/clientCapabilities": {},
      "io.modelcontextprotocol/clientInfo": { name: "t", version: "1" },
    };
    const reply = await client.request("tools/call", { name: "echo", arguments: { text: "new" }, _meta: meta });
    expect(text(reply)).toBe("new");
    const [hello, old, fresh] = realm.state.seen.filter(({ body }) => /initialize"|tools\/call/.test(body)).map(({ headers }) => headers);
    expect(hello).not.toHaveProperty("mcp-protocol-version");
    expect(old).toMatchObject({ "mcp-protocol-version": "2025-11-25" });
    expect(old).not.toHaveProperty("mcp-method");
    expect(fresh).toMatchObject({ "mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": "echo" });
    expect(JSON.parse(realm.state.seen.at(-1)?.body ?? "").params["_meta"]).toEqual(meta);
  });

  it("carry the session that the server opened, until it is ended with the input", async () => {
    const { realm, machine } = await place();
    let open: (line: string) => void = () => undefined;
    realm.state.mischief.push(
      answers(
        200,
        { "content-type": "application/json", "mcp-session-id": "s-1" },
        '{"jsonrpc":"2.0","id":"hello","result":{"protocolVersion":"2025-06-18"}}',
      ),
      answers(202),
      (request, response) => {
        response.writeHead(200, { "content-type": "text/event-stream" });
        open = (line) => void response.write(line);
        open(": open\n\n");
        return request.method === "GET";
      },
      answers(202),
    );
    const client = bridge(machine, realm.origin);
    await client.shakeHands();
    await expect.poll(() => realm.state.seen.length).toBe(3);
    open('id: 7\ndata: {"jsonrpc":"2.0","method":"notifications/tools/list_changed"}\n\n');
    await expect.poll(() => client.lines.at(-1)).toBe('{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}');
    expect(await client.end()).toBe(0);
    const [hello, ...rest] = realm.state.seen;
    expect(hello?.headers).not.toHaveProperty("mcp-session-id");
    expect(rest.map(({ method, headers }) => [method, headers["mcp-session-id"], headers["mcp-protocol-version"]])).toEqual([
      ["POST", "s-1", "2025-06-18"],
      ["GET", "s-1", "2025-06-18"],
      ["DELETE", "s-1", "2025-06-18"],
    ]);
  });

  it("that are no messages get a JSON-RPC error, and the next one is answered", async () => {
    const { client } = await connected();
    client.write("not json\n");
    client.write("[]\n");
    client.write('{"jsonrpc":"2.0","id":9,"method":7}\n');
    client.write(Buffer.concat([Buffer.from('{"jsonrpc":"2.0","id":1,"method":"'), Buffer.from([0xff, 0xfe]), Buffer.from('"}\n')]));
    client.write(`{"jsonrpc":"2.0","id":1,"method":"${"x".repeat(5 * 1024 * 1024)}"}\n`);
    expect(text(await client.echo("alive"))).toBe("alive");
    const errors = client.lines.map((line) => JSON.parse(line)).filter(({ error }) => error !== undefined);
    expect(errors.map(({ id, error }) => [id, error.code])).toEqual([
      [null, -32700],
      [null, -32600],
      [9, -32600],
      [null, -32700],
      [null, -32700],
    ]);
    expect(errors.at(-1)?.error.message).toMatch(/too long/);
  });

  it("run side by side, and are given up when the client gives them up", async () => {
    const { realm, client } = await connected();
    const slow = client.request("tools/call", { name: "slow", arguments: { ms: 20_000 } }, "slow");
    expect(text(await client.echo("meanwhile"))).toBe("meanwhile");
    client.notify("notifications/cancelled", { requestId: "slow", reason: "no patience" });
    await expect.poll(() => realm.state.cancelled, { timeout: 5_000 }).toBe(1);
    expect(text(await client.echo("after"))).toBe("after");
    expect(client.lines.filter((line) => line.includes('"slow"'))).toEqual([]);
    void slow;
  });

  it.each([
    ["429", answers(429, { "retry-after": "7" }), "This was too much at once for the broker. Try again in 7 seconds."],
    ["500", answers(500, {}, "<h1>token abc</h1>"), "The broker answered with HTTP status 500."],
    [
      "a redirect",
      answers(307, { location: "https://evil.example/mcp" }),
      "The broker has moved. Ask its operator for the new URL, and give that with --server.",
    ],
    ["403", answers(403), "The broker refuses this call."],
    ["HTML", answers(200, { "content-type": "text/html" }, "<h1>hello</h1>"), "What answers at this address does not speak MCP."],
    [
      "a stream that is cut",
      (_: unknown, response: ServerResponse) => {
        response.writeHead(200, { "content-type": "text/event-stream" });
        response.write('data: {"jsonrpc":"2.0","met');
        setTimeout(() => response.destroy(), 20);
        return true;
      },
      "The connection to the broker was lost before it answered. What was asked for may have been done.",
    ],
    [
      "a stream that ends without the answer",
      answers(200, { "content-type": "text/event-stream" }, 'data: {"jsonrpc":"2.0","method":"notifications/message","params":{}}\n\n'),
      "The connection to the broker was lost before it answered. What was asked for may have been done.",
    ],
  ] as const)("say in one sentence what is wrong after %s, and the next call works", async (_, mischief, expected) => {
    const { realm, client } = await connected();
    const before = realm.state.seen.length;
    realm.state.mischief.push(mischief);
    expect((await client.echo("x")).error).toMatchObject({ code: -32000, message: expected });
    expect(realm.state.seen.length).toBe(before + 1);
    expect(text(await client.echo("y"))).toBe("y");
  });

  it("an error that the broker sends in JSON-RPC reaches the client with the id of its request", async () => {
    const { realm, client } = await connected();
    realm.state.mischief.push(
      answers(404, { "content-type": "application/json" }, '{"jsonrpc":"2.0","id":null,"error":{"code":-32601,"message":"no"}}'),
    );
    expect((await client.request("odd/method", {}, "odd")).error).toEqual({ code: -32601, message: "no" });
  });

  it("a broker that is down is said to be, and reached again with the next request", async () => {
    const { realm, machine, client } = await connected();
    await realm.stop();
    expect((await client.echo("x")).error?.message).toMatch(/^Http:\/\/127\.0\.0\.1:\d+ does not answer \(ECONN/i);
    const lonely = bridge(machine, realm.origin);
    expect((await lonely.shakeHands()).error?.message).toMatch(/does not answer/);
    const back = createServer((_, response) => response.writeHead(500).end()).listen(Number(new URL(realm.origin).port), "127.0.0.1");
    ends.push(() => back.close());
    expect((await client.echo("x")).error?.message).toBe("The broker answered with HTTP status 500.");
  });

  it("that run when the input ends are finished", async () => {
    const { client } = await connected();
    const slow = client.request("tools/call", { name: "slow", arguments: { ms: 500 } });
    const code = client.end();
    expect(text(await slow)).toBe("at last");
    expect(await code).toBe(0);
  });

  it("SIGTERM ends it at once", async () => {
    const { client } = await connected();
    void client.request("tools/call", { name: "slow", arguments: { ms: 20_000 } });
    client.child.kill("SIGTERM");
    const started = performance.now();
    expect(await client.exit).toBe(0);
    expect(performance.now() - started).toBeLessThan(2_000);
  });
});

describe("the commands", () => {
  it("login signs in ahead, logout ends it at the broker (RFC 7009) and forgets it", async () => {
    const { realm, machine } = await place();
    const login = await command(machine, "login", realm.origin);
    expect(login).toMatchObject({ code: 0, out: `Signed in to ${realm.resource}. The login is kept in ${machine.logins}.` });
    const { refreshToken } = stored(machine)[realm.resource] ?? {};
    expect((await bridge(machine, realm.origin).shakeHands()).result).toBeDefined();
    expect(machine.opened()).toHaveLength(1);
    const latest = stored(machine)[realm.resource]?.["refreshToken"];
    expect(latest).not.toBe(refreshToken);
    expect(await command(machine, "logout", realm.origin)).toMatchObject({ code: 0, out: `Signed out of ${realm.resource}.` });
    expect(asked(realm, "/token/revocation").map((form) => form["token"])).toEqual([latest]);
    expect(stored(machine)).toEqual({});
    expect(await command(machine, "logout", realm.origin)).toMatchObject({ code: 5 });
  });

  it.each([
    [["--server", "http://broker.example"], /expected a URL like https/],
    [["--server", "https://user:pass@broker.example"], /expected a URL like https/],
    [["--server", "https://broker.example", "--agent", "reporter"], /either --agent NAME.*or --server URL/],
    [["--server", "https://broker.example", "--key", "k"], /--client-id is missing/],
    [["--server", "https://broker.example", "--login", "workload"], /--workload-token-file is missing/],
    [["--server", "https://broker.example", "--login", "smoke-signals"], /expected one of: browser, device, github, workload/],
    [["--server", "https://broker.example", "--login", "device", "--workload-token-file", "f"], /does not go with/],
  ])("%j is a usage error", async (args, expected) => {
    const { machine } = await place();
    const { code, out, said } = await command(machine, "mcp", "https://unused.example", { args });
    expect([code, out]).toEqual([2, ""]);
    expect(said).toMatch(expected);
  });

  it("a machine has no use for login", async () => {
    const { machine } = await place();
    const { code, said } = await command(machine, "login", "https://unused.example", { args: ["--login", "github"] });
    expect(code).toBe(2);
    expect(said).toContain("needs no sign-in");
  });
});
