import { once } from "node:events";
import { spawn } from "node:child_process";
import { copyFile, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { AgentClient, Called } from "./agent.ts";
import { overHttp, overStdio } from "./agent.ts";
import type { Running } from "./broker.ts";
import { leasehold, must, program, serve } from "./broker.ts";
import type { Database } from "./database.ts";
import { startDatabase } from "./database.ts";
import type { Step } from "./story.ts";
import { expect, tellStory } from "./story.ts";
import type { World } from "./world.ts";
import { createWorld, fillDatabase, filesWith } from "./world.ts";

const credential = "billing-db/readonly";
const purpose = "Weekly revenue report";
const statement = "SELECT customer, sum(cents)::int8 AS cents FROM invoices GROUP BY customer ORDER BY customer";

/** The whole story on embedded parts, against a real PostgreSQL and through a real MCP client. Answers with the exit code. */
export async function runDemo({ json }: { readonly json: boolean }): Promise<number> {
  const cleanups: (() => Promise<unknown>)[] = [];
  try {
    return (await tellStory(story(cleanups), { json, out: process.stdout })) ? 0 : 1;
  } finally {
    for (const cleanup of cleanups.toReversed()) await cleanup().catch(() => undefined);
  }
}

/** Steps share what the ones before them set up. */
function story(cleanups: (() => Promise<unknown>)[]): readonly Step[] {
  let database: Database;
  let world: World;
  let broker: Running;
  let reporter: AgentClient;
  let intern: AgentClient;
  let lease: string;
  let beside: Beside;

  const roles = async (): Promise<readonly string[]> => {
    const client = await database.connect();
    const { rows } = await client.query<{ rolname: string }>("SELECT rolname FROM pg_roles WHERE rolname LIKE 'lh\\_%' ORDER BY 1");
    await client.end();
    return rows.map((row) => row.rolname);
  };
  const query = (agent: AgentClient, sql = statement): Promise<Called> =>
    agent.call("query_database", { credential, statement: sql, purpose });
  const tokenFor = async (agent: string): Promise<string> =>
    (await must(["agent", "token", agent, "--ttl", "10m"], { folder: world.folder })).trim();

  return [
    {
      name: "database",
      title: "A PostgreSQL starts, with forty invoices in it",
      async tell() {
        database = await startDatabase({ logStatements: true });
        cleanups.push(() => database.stop());
        await fillDatabase(database);
        return [`it listens on 127.0.0.1:${database.port}; its admin password is known to nobody yet`];
      },
    },
    {
      name: "init",
      title: "leasehold init, and the admin's password goes into the vault",
      async tell() {
        world = await createWorld(database);
        cleanups.push(() => world.close());
        const admin = JSON.stringify(database.superuser);
        await must(["secret", "put", "billing-db/admin"], { folder: world.folder, input: admin });
        const found = await filesWith(world.folder, world.adminPassword);
        expect(found.length === 0, `the password is in clear in ${found.join(", ")}`);
        return ["it went in through standard input, and no file holds it in clear"];
      },
    },
    {
      name: "serve",
      title: "leasehold serve",
      async tell() {
        broker = await serve(world.folder);
        cleanups.push(() => broker.stop());
        const answer = await fetch(`${broker.url}/mcp`, { method: "POST", body: "{}" });
        expect(answer.status === 401, `without a token it answered ${answer.status}`);
        return [`MCP at ${broker.url}/mcp; without a token: 401`];
      },
    },
    {
      name: "connect",
      title: "Two agents connect over Streamable HTTP, each with a token of ten minutes",
      async tell() {
        reporter = await overHttp(broker.url, await tokenFor("reporter"));
        cleanups.push(() => reporter.close());
        intern = await overHttp(broker.url, await tokenFor("intern"));
        cleanups.push(() => intern.close());
        const tools = await reporter.tools();
        const fewer = await intern.tools();
        expect(tools.includes("query_database"), "reporter does not see query_database");
        expect(!fewer.includes("query_database"), "intern sees query_database");
        return [`reporter sees ${tools.length} tools, ${tools.join(", ")}`, `intern sees ${fewer.length}: ${fewer.join(", ")}`];
      },
    },
    {
      name: "use",
      title: "reporter asks for revenue by customer, and gets the result instead of a password",
      async tell() {
        expect((await roles()).length === 0, "there are leased roles before the first request");
        const result = await query(reporter);
        const { rows } = (result.output["result"] ?? {}) as { rows?: readonly unknown[] };
        expect(!result.failed && rows?.length === 7, `the query answered ${result.text}`);
        const [role] = await roles();
        expect(role !== undefined, "no role was made for the lease");
        return [`7 rows, read as ${role}: a role made for this lease, which ends in a minute`];
      },
    },
    {
      name: "read-only",
      title: "reporter tries to write, and to smuggle a second statement",
      async tell() {
        const write = await query(reporter, "DELETE FROM invoices");
        const smuggle = await query(reporter, "SELECT 1; DROP TABLE invoices");
        expect(write.failed && smuggle.failed, "a write went through");
        return [`refused: ${errorOf(write)}`, `refused: ${errorOf(smuggle)}`];
      },
    },
    {
      name: "deny",
      title: "What policy does not allow is refused, in the same words as what does not exist",
      async tell() {
        const reveal = await reporter.call("request_lease", { credential, delivery: "reveal", purpose });
        const missing = await reporter.call("request_lease", { credential: "no/such-thing", purpose });
        const stranger = await query(intern);
        expect(reveal.failed && missing.failed && stranger.failed, "something was allowed");
        expect(messageOf(reveal) === messageOf(missing), "the two refusals can be told apart");
        return [
          `reporter, to see the password: ${errorOf(reveal)}`,
          `reporter, a credential that does not exist: the same`,
          `intern, the same query: ${errorOf(stranger)}`,
        ];
      },
    },
    {
      name: "inject",
      title: "A process beside the agent needs a real login: it gets a one-time handle redeemed by leasehold run",
      async tell() {
        const granted = await reporter.call("request_lease", { credential, delivery: "inject", purpose });
        const { lease_id: id, handle } = granted.output as { lease_id?: string; handle?: string };
        expect(!granted.failed && id !== undefined && handle !== undefined, `no handle: ${granted.text}`);
        lease = id;
        beside = startBeside({ folder: world.folder, url: broker.url, handle, token: await tokenFor("reporter") });
        cleanups.push(async () => beside.kill());
        const opened = await beside.line();
        expect(opened.startsWith("open lh_"), `the session did not open: ${opened} ${beside.problem()}`);
        const again = await leasehold(["run", "--server", broker.url, "--lease", `X=${handle}:url`, "--", process.execPath, "-e", "0"], {
          folder: world.folder,
          env: { LEASEHOLD_TOKEN: await tokenFor("reporter") },
        });
        expect(again.code !== 0, "the handle worked twice");
        return [`its session is open as ${opened.split(" ")[1]}; the agent saw only the handle`, "the same handle again: refused"];
      },
    },
    {
      name: "revoke",
      title: "reporter revokes that lease",
      async tell() {
        const revoked = await reporter.call("revoke_lease", { lease_id: lease });
        expect(!revoked.failed, `revoke answered ${revoked.text}`);
        const ended = await beside.line();
        const login = await beside.line();
        expect(ended.startsWith("session-ended"), `the open session lives on: ${ended}`);
        expect(login.startsWith("login-refused"), `the login still works: ${login}`);
        expect(!(await roles()).includes(`lh_${lease}`), "the role still exists");
        return [`the open session is dead (${ended.split(" ")[1]}), the login is refused (${login.split(" ")[1]}), the role is gone`];
      },
    },
    {
      name: "freeze",
      title: "leasehold freeze reporter, while it holds another lease",
      async tell() {
        await query(reporter);
        expect((await roles()).length > 0, "it holds no lease to lose");
        await must(["freeze", "reporter"], { folder: world.folder });
        const denied = await query(reporter);
        expect(denied.failed, "a frozen agent was served");
        const left = await roles();
        expect(left.length === 0, `roles are left at the database: ${left.join(", ")}`);
        await must(["unfreeze", "reporter"], { folder: world.folder });
        return [`its next call: ${errorOf(denied)}`, "no leased role is left at the database"];
      },
    },
    {
      name: "stdio",
      title: "The same over stdio: leasehold mcp --agent reporter",
      async tell() {
        const local = await overStdio(world.folder, "reporter");
        const result = await query(local);
        await local.close();
        const { rows } = (result.output["result"] ?? {}) as { rows?: readonly unknown[] };
        expect(!result.failed && rows?.length === 7, `the query answered ${result.text}`);
        const report = JSON.parse(await must(["sweep", "--json"], { folder: world.folder })) as readonly { orphans: readonly string[] }[];
        expect(
          report.every((one) => one.orphans.length === 0),
          "a role without a lease exists at the database",
        );
        return ["7 rows; and a sweep of the database finds no role without a lease"];
      },
    },
    {
      name: "audit",
      title: "The audit log proves all of it, without us: an exported file, a checkpoint, a key",
      async tell() {
        const { folder } = world;
        const checkpoint = JSON.parse(await must(["audit", "checkpoint", "--json"], { folder })) as { checkpoint: string; key: string };
        await writeFile(join(folder, "checkpoint.txt"), checkpoint.checkpoint);
        await must(["audit", "export", "--output", "log.jsonl"], { folder });
        const proof = ["--checkpoint", "checkpoint.txt", "--key", checkpoint.key];
        const { size } = JSON.parse(await must(["audit", "verify", "log.jsonl", ...proof, "--json"], { folder })) as { size: number };
        await forge(folder);
        const forged = await leasehold(["audit", "verify", "forged.jsonl", ...proof], { folder });
        expect(forged.code === 7, `a forged log was accepted (${forged.code})`);
        return [`${size} entries verified`, `one "deny" turned into "allow": ${forged.stderr.trim().split("\n")[0]}`];
      },
    },
    {
      name: "canary",
      title: "Nobody ever wrote a password down",
      async tell() {
        const files = await filesWith(world.folder, world.adminPassword);
        expect(files.length === 0, `the admin's password is in clear in ${files.join(", ")}`);
        expect(!broker.log().includes(world.adminPassword), "the admin's password is in the broker's log");
        const plain = database.log().match(/PASSWORD '(?!SCRAM-SHA-256\$)/i);
        expect(plain === null, "a password reached the database's log of statements");
        return ["not the store, not the audit log, not our log, not the database's log of every statement"];
      },
    },
  ];
}

interface Beside {
  line(): Promise<string>;
  problem(): string;
  kill(): void;
}

/** `leasehold run -- node session.ts`, with the handle that the agent was given. */
function startBeside(options: { readonly folder: string; readonly url: string; readonly handle: string; readonly token: string }): Beside {
  const script = fileURLToPath(new URL(import.meta.url.endsWith(".ts") ? "./session.ts" : "./session.js", import.meta.url));
  const words = ["run", "--server", options.url, "--lease", `DATABASE_URL=${options.handle}:url`, "--", process.execPath, script];
  const env = { ...process.env, LEASEHOLD_TOKEN: options.token };
  const child = spawn(process.execPath, [program, ...words], { cwd: options.folder, env, stdio: ["ignore", "pipe", "pipe"] });
  const lines: string[] = [];
  let rest = "";
  let problem = "";
  child.stdout.on("data", (chunk: Buffer) => {
    const parts = (rest + chunk.toString()).split("\n");
    rest = parts.pop() ?? "";
    lines.push(...parts);
  });
  child.stderr.on("data", (chunk: Buffer) => (problem += chunk.toString()));
  const closed = once(child, "close");

  return {
    async line() {
      const deadline = AbortSignal.timeout(10_000);
      while (lines.length === 0 && child.exitCode === null && !deadline.aborted)
        await Promise.race([once(child.stdout, "data", { signal: deadline }), closed]).catch(() => undefined);
      return lines.shift() ?? "nothing";
    },
    problem: () => problem,
    kill: () => void child.kill("SIGKILL"),
  };
}

/** What someone with the file could try: a refusal that becomes a permission. */
async function forge(folder: string): Promise<void> {
  await copyFile(join(folder, "log.jsonl"), join(folder, "forged.jsonl"));
  const text = await readFile(join(folder, "forged.jsonl"), "utf8");
  await writeFile(join(folder, "forged.jsonl"), text.replace('"outcome":"deny"', '"outcome":"allow"'));
}

function messageOf({ output }: Called): string {
  const { error } = output as { error?: { message?: string } };
  return error?.message ?? "";
}

function errorOf({ output }: Called): string {
  const { error } = output as { error?: { code?: string; message?: string } };
  return `${error?.code}: ${error?.message}`;
}
