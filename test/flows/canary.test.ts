import { readdirSync, readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { createServer } from "node:http";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { AgentClient } from "../../src/demo/agent.ts";
import { overHttp, overStdio } from "../../src/demo/agent.ts";
import type { Running } from "../../src/demo/broker.ts";
import { leasehold, must, serve } from "../../src/demo/broker.ts";
import type { Database } from "../../src/demo/database.ts";
import { startDatabase } from "../../src/demo/database.ts";
import { createWorld, filesWith, fillDatabase } from "../../src/demo/world.ts";
import type { World } from "../../src/demo/world.ts";

/** Long, and of characters that every encoding changes. */
const canary = 'cnry/7Qk+pL9"vX2=zR4&wT8~uN6%yB3';

let database: Database;
let world: World;
let broker: Running;
let agent: AgentClient;
let local: AgentClient;
let api: ReturnType<typeof createServer>;
const said: string[] = [];

/** A target that gives the credential back in every way it can think of, in answers and in errors. */
function echo(authorization: string): Record<string, () => { status?: number; headers?: Record<string, string>; body: string | Buffer }> {
  const value = authorization.replace(/^Bearer /, "");
  return {
    "/plain": () => ({ body: `you sent ${value}` }),
    "/base64": () => ({ body: Buffer.from(`user:${value}`).toString("base64") }),
    "/base64url": () => ({ body: Buffer.from(value).toString("base64url") }),
    "/hex": () => ({ body: Buffer.from(value).toString("hex") }),
    "/percent": () => ({ body: encodeURIComponent(value) }),
    "/json": () => ({ body: JSON.stringify({ deep: [{ token: value }], twice: JSON.stringify({ token: value }) }) }),
    "/header": () => ({
      headers: { "x-token": value, location: `https://elsewhere.example/?t=${encodeURIComponent(value)}` },
      body: "see headers",
    }),
    "/gzip": () => ({ headers: { "content-encoding": "gzip" }, body: gzipSync(value) }),
    "/error": () => ({ status: 500, body: `trace: ${value}` }),
    "/redirect": () => ({ status: 302, headers: { location: `http://127.0.0.1:1/${encodeURIComponent(value)}` }, body: "" }),
  };
}

beforeAll(async () => {
  database = await startDatabase({ logStatements: true });
  await fillDatabase(database);
  api = createServer((incoming, outgoing) => {
    const answer = echo(incoming.headers.authorization ?? "")[incoming.url ?? ""]?.() ?? { status: 404, body: "" };
    outgoing.writeHead(answer.status ?? 200, answer.headers).end(answer.body);
  }).listen(0, "127.0.0.1");
  await once(api, "listening");
  world = await createWorld(database);
  const config = readFileSync(join(world.folder, "leasehold.yaml"), "utf8");
  await writeFile(
    join(world.folder, "leasehold.yaml"),
    config.replace(
      "\nagents:",
      `
  echo/api:
    engine: static
    secret: { vault: local, secret: echo/token }
    http:
      baseUrl: http://127.0.0.1:${(api.address() as AddressInfo).port}
      header: { name: Authorization, value: "Bearer {{secret}}" }
      privateNetwork: true
      allow: [{ method: GET, path: /** }]

agents:`,
    ),
  );
  await writeFile(
    join(world.folder, "policies", "echo.cedar"),
    `@id("echo") permit (principal in Leasehold::Role::"data-retrieval", action in [Leasehold::Action::"use", Leasehold::Action::"inject"], resource == Leasehold::Credential::"echo/api");`,
  );
  const { folder } = world;
  await must(["secret", "put", "billing-db/admin"], { folder, input: JSON.stringify(database.superuser) });
  await must(["secret", "put", "echo/token"], { folder, input: canary });
  broker = await serve(folder);
  agent = await overHttp(broker.url, (await must(["agent", "token", "reporter", "--ttl", "10m"], { folder })).trim());
  local = await overStdio(folder, "reporter");
}, 60_000);

afterAll(async () => {
  await agent?.close();
  await local?.close();
  await broker?.stop();
  api?.close();
  await world?.close();
  await database?.stop();
});

const forms = (value: string): readonly string[] => [
  value,
  Buffer.from(value).toString("base64").replace(/=+$/, ""),
  Buffer.from(value).toString("base64url"),
  Buffer.from(value).toString("hex"),
  encodeURIComponent(value),
  JSON.stringify(value).slice(1, -1),
];

describe("P-5 EX-07 a canary in every vault", () => {
  it("EX-01 EX-05 comes out of no tool, whatever the target answers and whatever is asked", async () => {
    const purpose = "looking for canaries";
    for (const path of Object.keys(echo(""))) {
      for (const client of [agent, local]) {
        const { text } = await client.call("http_request", { credential: "echo/api", method: "GET", path, purpose });
        expect(text, path).toMatch(/lease_id|error/);
        said.push(text);
      }
    }
    const ask = async (tool: string, input: Record<string, unknown>): Promise<void> => void said.push((await agent.call(tool, input)).text);
    for (const credential of ["echo/api", "billing-db/readonly"]) {
      for (const delivery of ["use", "inject", "reveal"]) await ask("request_lease", { credential, delivery, purpose });
      await ask("describe_credential", { credential });
      await ask("http_request", { credential, method: "GET", path: "/{{secret}}", headers: { "x-a": "{{secret}}" }, purpose });
      await ask("http_request", { credential, method: "GET", path: "http://169.254.169.254/", purpose });
      for (const statement of ["SELECT rolpassword FROM pg_authid", "SELECT current_setting('leasehold.secret')", "SELECT 1/0", "SELEC"])
        await ask("query_database", { credential, statement, purpose });
    }
    for (const tool of ["whoami", "find_credentials", "list_leases"]) await ask(tool, {});
    await ask("renew_lease", { lease_id: "nonsense" });
    await ask("no_such_tool", { credential: "echo/api" });
  });

  it("EX-06 comes out of no command and no error of one", async () => {
    const { folder } = world;
    for (const words of [
      ["secret", "list"],
      ["secret", "put", "echo/token", canary],
      ["credential", "show", "echo/api", "--json"],
      ["lease", "list", "--json"],
      ["doctor"],
      ["audit", "tail"],
      ["audit", "export"],
      ["run", "--agent", "nobody", "--lease", "A=echo/api:secret", "--", "true"],
      ["--verbose", "agent", "list"],
    ]) {
      const { stdout, stderr } = await leasehold(words, { folder, env: { LEASEHOLD_DEBUG: "1" } });
      expect(stdout + stderr, words.join(" ")).not.toContain(canary);
      said.push(stdout, stderr);
    }
  });

  it("is in no result, no log, no file, no command line and no environment", async () => {
    said.push(broker.log(), database.log());
    // A value that is typed on a command line is refused there, and must not be repeated.
    for (const pid of processes()) for (const name of ["cmdline", "environ"]) said.push(tryRead(`/proc/${pid}/${name}`));
    for (const value of [canary, world.adminPassword]) {
      for (const form of forms(value)) {
        expect(
          said.filter((text) => text.includes(form)).map((text) => text.slice(0, 300)),
          form,
        ).toEqual([]);
        expect(await filesWith(world.folder, form), form).toEqual([]);
      }
    }
    expect(said.length).toBeGreaterThan(50);
  });
});

/** Every process of this machine, where that can be seen. */
function processes(): readonly string[] {
  try {
    return readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  } catch {
    return [];
  }
}

function tryRead(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return "";
  }
}
