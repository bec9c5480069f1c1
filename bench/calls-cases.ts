import { join } from "node:path";
import { z } from "zod";
import { startDatabase } from "../src/demo/database.ts";
import type { Database } from "../src/demo/database.ts";
import type { Child } from "./ask.ts";
import { startChild } from "./ask.ts";
import type { Revision, ToolCall } from "./calls.ts";
import type { Case } from "./rounds.ts";
import { costed, inTurn, stretch } from "./rounds.ts";
import type { Screen } from "./result.ts";
import type { Result } from "./result.ts";
import type { Server } from "./servers.ts";
import { callOver, startBare, startBroker, startLoad } from "./servers.ts";
import type { World } from "./world.ts";
import { asked, createWorld, database, kept } from "./world.ts";

const statement = "SELECT id, customer, cents, due FROM invoices WHERE customer = $1 ORDER BY id LIMIT 10";
const parameters = ["customer-3"];
const purpose = "nightly report";

const whoami: ToolCall = { tool: "whoami", input: {} };
const query: ToolCall = { tool: "query_database", input: { credential: database, statement, parameters, purpose } };
const requestLease = (credential: string): ToolCall => ({ tool: "request_lease", input: { credential, purpose, ttl_seconds: 600 } });

/** Leases in one stretch, so that a quota of 10,000 holds for it and its warm-up. */
const leasesAtOnce = 6_000;
export const manyLeases = 100_000;

export interface CallsOptions {
  readonly rounds: number;
  readonly wanted: (name: string) => boolean;
  readonly revision: Revision;
  readonly profile?: string;
}

/** Whole calls, over real sockets, between processes. */
export async function measureCalls(screen: Screen, options: CallsOptions): Promise<readonly Result[]> {
  const names = ["bare", "whoami", "request_lease", "request_lease_asked", "request_lease_100k", "query_database", "pg"] as const;
  const levels = [1, 16, 64].filter((level) => names.some((name) => options.wanted(`${name}.c${level}`)));
  if (levels.length === 0) return [];

  await using stage = await setUp((name) => levels.some((level) => options.wanted(`${name}.c${level}`)), options);
  screen.heading("Calls, over HTTP between processes (pg: without HTTP)");
  for (const one of stage.cases) await warmUp(one);
  const results: Result[] = [];
  for (const connections of levels) {
    const cases = stage.cases.filter(({ name }) => options.wanted(`${name}.c${connections}`));
    const measured = await inTurn({ cases, connections, rounds: options.rounds });
    for (const result of measured) screen.result(result);
    results.push(...measured);
  }
  return results;
}

/** Code is compiled as it turns out to be needed: a server is at its speed after some thousands of calls, not before. */
async function warmUp(one: Case): Promise<void> {
  for (let calls = 0, until = performance.now() + 8_000; calls < 8_000 && performance.now() < until;)
    calls += (await one.stretch(16, 1_000)).latencies.length;
}

async function setUp(wants: (name: string) => boolean, { revision, profile }: CallsOptions) {
  const closers: (() => Promise<void>)[] = [];
  const onClose = (close: () => Promise<void>): void => void closers.unshift(close);
  const cases: Case[] = [];
  const load: Child = await startLoad();
  onClose(() => load.stop());

  async function world(options: Parameters<typeof createWorld>[0]): Promise<World> {
    const made = await createWorld(options);
    onClose(() => made.remove());
    return made;
  }

  async function broker(at: World, postgres?: Database): Promise<Server> {
    const server = await startBroker(at, postgres);
    onClose(() => server.child.stop());
    return server;
  }

  function add(name: string, server: Server, call: ToolCall, home?: World): void {
    const most = home ? { most: leasesAtOnce } : {};
    cases.push({
      name,
      ...(name === "bare" ? {} : { against: name === "query_database" ? "pg" : "bare" }),
      async stretch(connections, milliseconds) {
        const work = () => callOver(load, server, [call], { connections, milliseconds, revision, ...most });
        const got = await (profile ? profiled(server, join(profile, `${name}.c${connections}.cpuprofile`), work) : work());
        home?.reset();
        return got;
      },
    });
  }

  if (wants("bare")) {
    const bare = await startBare();
    onClose(() => bare.child.stop());
    add("bare", bare, whoami);
  }

  const postgres = wants("query_database") || wants("pg") ? await startDatabase() : undefined;
  if (postgres) {
    onClose(() => postgres.stop());
    await fill(postgres);
  }
  if (["whoami", "request_lease", "request_lease_asked", "query_database"].some(wants)) {
    const home = await world(postgres ? { databasePort: postgres.port } : {});
    const server = await broker(home, postgres);
    if (wants("whoami")) add("whoami", server, whoami);
    if (wants("request_lease")) add("request_lease", server, requestLease(kept), home);
    if (wants("request_lease_asked")) add("request_lease_asked", server, requestLease(asked), home);
    if (wants("query_database")) {
      // One lease for the session, taken before sixteen callers want one at once.
      await callOver(load, server, [query], { connections: 1, milliseconds: 1_000, most: 5, revision });
      add("query_database", server, query);
    }
  }
  if (wants("request_lease_100k")) {
    const home = await world({ leases: manyLeases });
    add("request_lease_100k", await broker(home), requestLease(kept), home);
  }
  if (postgres && wants("pg")) {
    const { username: user, password } = postgres.superuser;
    const child = await startChild("pg.child.ts", "measured", {
      host: postgres.host,
      port: postgres.port,
      user,
      password,
      statement,
      parameters,
    });
    onClose(() => child.stop());
    cases.push({
      name: "pg",
      stretch: (connections, milliseconds) => costed(child, () => child.ask("run", stretch, { connections, milliseconds })),
    });
  }
  return {
    cases,
    async [Symbol.asyncDispose]() {
      for (const close of closers) await close();
    },
  };
}

/** Sampling costs a tenth or so: figures of a profiled run are not to be quoted. The bare server has no profiler. */
async function profiled<T>({ child, token }: Server, file: string, work: () => Promise<T>): Promise<T> {
  if (token === undefined) return work();
  await child.ask("profile", z.unknown());
  try {
    return await work();
  } finally {
    await child.ask("profiled", z.unknown(), file);
  }
}

async function fill(postgres: Database): Promise<void> {
  const client = await postgres.connect();
  await client.query(`
    CREATE TABLE invoices (id int PRIMARY KEY, customer text NOT NULL, cents bigint NOT NULL, due date NOT NULL);
    INSERT INTO invoices SELECT n, 'customer-' || n % 100, n * 1999, date '2026-01-01' + n % 365 FROM generate_series(1, 10000) AS n;
    CREATE INDEX ON invoices (customer, id);
    ANALYZE invoices;
  `);
  await client.end();
}
