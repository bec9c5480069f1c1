import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { afterAll, beforeAll, expect, test } from "vitest";
import { perform, workbench } from "./script.ts";

/** The way of a one-time handle: an agent gets it over MCP, a process beside the agent redeems it. */
const bench = await workbench();
const program = join(bench.folder, "..", "bin", "leasehold");
let broker: ChildProcess;
let url = "";
let token = "";

beforeAll(async () => {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const address = probe.address();
  url = `http://127.0.0.1:${typeof address === "object" && address ? address.port : 0}`;
  await new Promise((resolve) => probe.close(resolve));

  await perform("leasehold init", bench.folder, {});
  await writeFile(
    join(bench.folder, "leasehold.yaml"),
    `server: { listen: "${url.slice("http://".length)}", publicUrl: "${url}" }
credentials: { tickets/api: { engine: static, secret: { vault: local, secret: tickets/token } } }
agents: { bot: { roles: [tickets] }, other: { roles: [] } }
`,
  );
  await writeFile(
    join(bench.folder, "policies", "bot.cedar"),
    `@id("bot")\npermit (principal in Leasehold::Role::"tickets", action == Leasehold::Action::"inject", resource);\n`,
  );
  await perform("printf token-canary | leasehold secret put tickets/token", bench.folder, {});
  broker = spawn(program, ["serve", "--json"], { cwd: bench.folder, stdio: ["ignore", "pipe", "inherit"] });
  if (broker.stdout) await once(broker.stdout, "data");
  token = (await perform("leasehold agent token bot 2>/dev/null", bench.folder, {})).output.join("");
}, 120_000);

afterAll(async () => {
  broker.kill("SIGTERM");
  const [code] = await once(broker, "exit");
  await bench.remove();
  // A broker that is told to stop has stopped well.
  if (code !== 0) throw new Error(`serve ended with ${String(code)}`);
}, 60_000);

async function handle(): Promise<string> {
  const client = new Client({ name: "test", version: "1" });
  await client.connect(
    new StreamableHTTPClientTransport(new URL(`${url}/mcp`), { requestInit: { headers: { authorization: `Bearer ${token}` } } }),
  );
  const result = await client.callTool({
    name: "request_lease",
    arguments: { credential: "tickets/api", delivery: "inject", purpose: "test" },
  });
  await client.close();
  const text = JSON.stringify(result.structuredContent);
  return /lhh_[A-Za-z0-9_-]+/.exec(text)?.[0] ?? text;
}

test("a handle becomes an environment variable of one process, once, and the lease ends with it (PL-15)", { timeout: 60_000 }, async () => {
  const line = `leasehold run --server ${url} --lease TOKEN=${await handle()} -- sh -c 'echo "got $TOKEN [$LEASEHOLD_TOKEN]"; exit 4'`;
  expect(await perform(line, bench.folder, { LEASEHOLD_TOKEN: token })).toEqual({ output: ["got token-canary []"], exit: 4 });
  expect(await perform(line, bench.folder, { LEASEHOLD_TOKEN: token })).toMatchObject({ output: ["error: No such handle."], exit: 5 });
  const leases = await perform("leasehold lease list", bench.folder, {});
  expect(leases.output).toEqual(["No leases."]);
});

test("someone else's handle, and no valid token, are refused (MT-04, MT-11)", { timeout: 60_000 }, async () => {
  const line = `leasehold run --server ${url} --lease TOKEN=${await handle()} --token-file token -- printenv TOKEN`;
  await perform("leasehold agent token other > token 2>/dev/null", bench.folder, {});
  expect(await perform(line, bench.folder, {})).toMatchObject({ output: ["error: No such handle."], exit: 5 });
  await writeFile(join(bench.folder, "token"), "not.a.token\n");
  expect(await perform(line, bench.folder, {})).toMatchObject({ exit: 4 });
  expect(await readFile(join(bench.folder, "token"), "utf8")).toBe("not.a.token\n");
});

test("mcp speaks nothing but the protocol on stdout", { timeout: 60_000 }, async () => {
  const child = spawn(program, ["mcp", "--agent", "bot", "--verbose"], { cwd: bench.folder, stdio: ["pipe", "pipe", "ignore"] });
  const chunks: Buffer[] = [];
  child.stdout.on("data", (chunk: Buffer) => chunks.push(chunk));
  const initialize = { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: { name: "test", version: "1" } };
  child.stdin.write(`${JSON.stringify({ jsonrpc: "2.0", id: 1, method: "initialize", params: initialize })}\n`);
  await once(child.stdout, "data");
  child.stdin.end();
  const [code] = await once(child, "exit");
  expect(code).toBe(0);
  const lines = Buffer.concat(chunks).toString().trim().split("\n");
  expect(lines.map((line) => JSON.parse(line))).toMatchObject([{ jsonrpc: "2.0", id: 1, result: { serverInfo: { name: "leasehold" } } }]);
});
