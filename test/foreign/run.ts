import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { inspect as show } from "node:util";
import { Client } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import type { AgentName } from "../../src/core/brand.ts";
import { freePort } from "../flows/documents.ts";
import type { OAuthHouse } from "../flows/oauth-house.ts";
import { serveOAuthHouse, tickets } from "../flows/oauth-house.ts";
import type { Person } from "../flows/person.ts";
import type { Desk } from "./desk.ts";
import { setUpDesk } from "./desk.ts";

/** MCP clients as they are published, unmodified, against the whole broker: `node test/foreign/run.ts`. */

/** A package of its own: these are large, and nothing else needs them. */
const clients = join(import.meta.dirname, "clients");
const installed = (path: string): string => join(clients, "node_modules", path);
const remote = installed("mcp-remote/dist/proxy.js");
const inspector = installed("@modelcontextprotocol/inspector/clients/launcher/build/index.js");
const leasehold = fileURLToPath(new URL("../../bin/leasehold.js", import.meta.url));

interface Place {
  readonly house: OAuthHouse;
  readonly ada: Person;
  readonly desk: Desk;
}

interface Step {
  readonly title: string;
  run(place: Place): Promise<void>;
}

/** Starts mcp-remote as a desktop client does, and speaks MCP with it. `signIn`: somebody does, meanwhile. */
async function overRemote<T>(
  { house, ada, desk }: Place,
  how: { readonly args?: readonly string[]; readonly path?: string; readonly signIn?: boolean },
  use: (client: Client) => Promise<T>,
): Promise<T> {
  const { args = [], path = "/mcp", signIn = false } = how;
  const transport = new StdioClientTransport({
    command: process.execPath,
    args: [remote, `${house.url}${path}`, ...args],
    env: { ...desk.env },
    stderr: "pipe",
  });
  let said = "";
  transport.stderr?.on("data", (chunk: Buffer) => (said += chunk.toString()));
  const client = new Client({ name: "somebody's desktop", version: "1.0.0" });
  try {
    const ended = new AbortController();
    const connected = client.connect(transport).finally(() => ended.abort());
    if (signIn)
      assert.match(
        await Promise.race([desk.opened(ended.signal).then((url) => ada.deliver(url)), silent(connected)]),
        /Authorization successful/,
      );
    await connected;
    return await use(client);
  } catch (cause) {
    throw new Error(`it said:\n${said}`, { cause });
  } finally {
    await client.close();
  }
}

/** Only how it fails counts. */
async function silent(work: Promise<unknown>): Promise<never> {
  await work;
  return new Promise(() => undefined);
}

async function whoami(client: Client): Promise<Record<string, unknown>> {
  const { structuredContent } = await client.callTool({ name: "whoami", arguments: {} });
  return { ...(structuredContent as object) };
}

/** Has the Inspector ask who it is. */
async function inspect({ desk }: Place, args: readonly string[], meanwhile?: () => Promise<unknown>): Promise<Record<string, unknown>> {
  const call = ["--cli", "--format", "json", "--method", "tools/call", "--tool-name", "whoami"];
  const { code, stdout, stderr } = await desk.run(inspector, [...call, ...args], meanwhile);
  assert.equal(code, 0, stderr);
  const { result } = JSON.parse(stdout) as { readonly result: { readonly structuredContent: Record<string, unknown> } };
  return result.structuredContent;
}

const steps: readonly Step[] = [
  {
    title: "mcp-remote registers itself, its person signs in and consents, and it calls a tool",
    async run(place) {
      await overRemote(place, { signIn: true }, async (client) => {
        const before = await client.listTools();
        assert.deepEqual(
          before.tools.map(({ name }) => name),
          ["whoami"],
        );
        const me = await whoami(client);
        const agent = await place.house.newest();
        assert.match(agent, /^mcp-cli-proxy-/);
        assert.equal(me["agent"], agent);
        await place.house.grant(agent, "ticket-automation");
        const answer = await client.callTool({ name: "http_request", arguments: { ...tickets } });
        assert.notEqual(answer.isError, true, JSON.stringify(answer));
      });
    },
  },
  {
    title: "mcp-remote started again is signed in still: it refreshes its token, and no browser opens",
    async run(place) {
      await place.house.expire();
      const me = await overRemote(place, {}, whoami);
      assert.equal(me["agent"], await place.house.newest());
      assert.equal(await place.desk.unseen(), 0);
      const events = await place.house.events();
      const grants = events.filter(({ kind, client }) => kind === "token.minted" && client === me["client"]).map(({ grant }) => grant);
      assert.equal(grants.filter((grant) => grant === "authorization_code").length, 1);
      assert.ok(grants.includes("refresh_token"));
    },
  },
  {
    title: "mcp-remote over HTTP+SSE, with the same sign-in",
    async run(place) {
      const me = await overRemote(place, { args: ["--transport", "sse-only"], path: "/sse", signIn: true }, whoami);
      assert.equal(me["transport"], "sse");
    },
  },
  {
    title: "mcp-remote whose registration was removed is told so, registers anew, and works",
    async run(place) {
      const { house } = place;
      const before = (await house.house.clients.list()).filter(({ source, removed }) => source === "dcr" && !removed);
      for (const { id } of before) await house.house.clients.remove(id, "operator", { type: "operator", name: "test" });
      const me = await overRemote(place, { signIn: true }, whoami);
      assert.ok(!before.some(({ agent }) => agent === me["agent"]));
      assert.equal(me["agent"], await house.newest());
    },
  },
  {
    title: "mcp-remote in revision 2026-07-28",
    async run(place) {
      await place.house.expire();
      const me = await overRemote(place, { args: ["--protocol", "auto"] }, whoami);
      assert.equal(me["agent"], await place.house.newest());
    },
  },
  {
    title: "Inspector with a token in a header, over HTTP and over HTTP+SSE",
    async run(place) {
      const { token } = place.house.house.tokens.mint({ agent: "watcher" as AgentName });
      for (const [transport, url] of [
        ["http", place.house.mcp],
        ["sse", `${place.house.url}/sse`],
      ] as const) {
        const me = await inspect(place, [url, "--transport", transport, "--header", `Authorization: Bearer ${token}`]);
        assert.deepEqual([me["agent"], me["transport"]], ["watcher", transport]);
      }
    },
  },
  {
    title: "Inspector registers itself, and its person signs in and consents",
    async run(place) {
      const back = `http://127.0.0.1:${await freePort()}/oauth/callback`;
      const me = await inspect(place, [place.house.mcp, "--callback-url", back], async () => {
        assert.match(await place.ada.deliver(await place.desk.opened()), /OAuth complete/);
      });
      assert.equal(me["agent"], await place.house.newest());
    },
  },
  {
    title: "Inspector started again refreshes its token, in revision 2026-07-28 as well",
    async run(place) {
      for (const era of ["legacy", "modern"]) {
        await place.house.expire();
        const me = await inspect(place, [place.house.mcp, "--stored-auth-only", "--protocol-era", era]);
        assert.equal(me["agent"], await place.house.newest());
      }
      assert.equal(await place.desk.unseen(), 0);
    },
  },
  {
    title: "Inspector that is to log in anew does, as another agent",
    async run(place) {
      const before = await place.house.newest();
      const back = `http://127.0.0.1:${await freePort()}/oauth/callback`;
      const me = await inspect(place, [place.house.mcp, "--relogin", "--callback-url", back], async () => {
        await place.ada.deliver(await place.desk.opened());
      });
      assert.notEqual(me["agent"], before);
      assert.equal(me["agent"], await place.house.newest());
    },
  },
  {
    title: "Inspector over stdio, through `leasehold mcp --server`: the browser opens, and the call is answered",
    async run(place) {
      const variables = Object.entries(place.desk.env).flatMap(([name, value]) => ["-e", `${name}=${value}`]);
      const bridge = [process.execPath, leasehold, "mcp", "--server", place.house.url];
      const me = await inspect(place, ["--connect-timeout", "60000", ...variables, "--", ...bridge], async () => {
        await place.ada.deliver(await place.desk.opened());
      });
      assert.equal(me["agent"], await place.house.newest());
      assert.equal(me["sender_constrained"], true);
    },
  },
];

if (!existsSync(installed("mcp-remote")))
  execFileSync("npm", ["ci", "--prefix", clients, "--ignore-scripts", "--no-audit", "--no-fund"], { stdio: "inherit" });

const house = await serveOAuthHouse();
const desk = await setUpDesk();
let failed = 0;
try {
  const place: Place = { house, ada: await house.person(), desk };
  for (const { title, run } of steps) {
    const since = Date.now();
    const problem = await run(place).then(
      () => undefined,
      (thrown: unknown) => show(thrown),
    );
    if (problem !== undefined) failed += 1;
    process.stdout.write(problem === undefined ? `passed: ${title} (${Date.now() - since} ms)\n` : `FAILED: ${title}\n${problem}\n`);
  }
} finally {
  await desk.clear();
  await house.close();
}
process.stdout.write(`${steps.length - failed} passed, ${failed} failed\n`);
process.exitCode = failed === 0 ? 0 : 1;
