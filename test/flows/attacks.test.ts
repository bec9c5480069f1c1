import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { connect, createServer as createTcpServer } from "node:net";
import { DatabaseSync } from "node:sqlite";
import { join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { setTimeout as pause } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { CredentialName, LeaseId } from "../../src/core/brand.ts";
import { Failure } from "../../src/core/errors.ts";
import { Secret } from "../../src/core/secret.ts";
import type { Database } from "../../src/demo/database.ts";
import { startDatabase } from "../../src/demo/database.ts";
import { createLeaseholdServer } from "../../src/mcp/leasehold.ts";
import { agent, auditOf, correlation, openHouse, readonly, removeFolder, request, rolesAt, ticketApi } from "./house.ts";
import type { HouseOptions, TestHouse } from "./house.ts";
import { startHttpHouse } from "./http-house.ts";

/** Attacks that were tried on the whole house, each with what must come of it. */

let database: Database;
let open: TestHouse;

const policies = `
@id("reporter-uses-billing")
permit (principal in Leasehold::Role::"data-retrieval", action in [Leasehold::Action::"use", Leasehold::Action::"inject"], resource == Leasehold::Credential::"billing-db/readonly");
@id("tickets")
permit (principal in Leasehold::Role::"ticket-automation", action in [Leasehold::Action::"use", Leasehold::Action::"inject"], resource == Leasehold::Credential::"tickets/api");
@id("nobody-sees-values")
forbid (principal, action == Leasehold::Action::"reveal", resource);
`;
const oneTime = `@id("once") @one_time("true") permit (principal, action == Leasehold::Action::"use", resource);`;

const reporter = agent("reporter");
const ticketBot = agent("ticket-bot");

beforeAll(async () => {
  database = await startDatabase();
  const client = await database.connect();
  await client.query(
    "CREATE TABLE invoices (id int PRIMARY KEY, cents int, note text); INSERT INTO invoices VALUES (1, 100, 'x'), (2, 250, 'y')",
  );
  await client.end();
});
afterAll(() => database.stop());

async function reopen(options: Partial<HouseOptions> = {}): Promise<void> {
  await open?.close();
  if (open) await removeFolder(open.folder);
  open = await openHouse({ database, policies, ...options });
}

beforeEach(() => reopen());
afterEach(async () => {
  for (const lease of await open.house.leases.list({ live: true, limit: 200 })) await open.house.operator.revoke(lease.id, "teardown");
  await open.close();
  await removeFolder(open.folder);
});

async function failureOf(work: Promise<unknown>): Promise<Failure> {
  const thrown: unknown = await work.then(
    () => undefined,
    (problem: unknown) => problem,
  );
  if (thrown instanceof Failure) return thrown;
  throw new Error(`expected a Failure, got ${String(thrown)}`);
}

function use(kind: "sql" | "http", on: { lease: LeaseId } | { credential: CredentialName }, input: Record<string, string>, who = reporter) {
  const signal = AbortSignal.timeout(20_000);
  return open.house.broker.use(who, { kind, ...on, input, purpose: "an attack", correlation: correlation(), signal });
}

const sql = (statement: string, on: { lease: LeaseId } | { credential: CredentialName } = { credential: readonly }, who = reporter) =>
  use("sql", on, { statement }, who);

/** Runs SQL on the broker's own store, behind its back. */
function behindItsBack(statement: string): void {
  const store = new DatabaseSync(join(open.folder, "data", "leasehold.db"), { timeout: 1_000 });
  store.exec(statement);
  store.close();
}

/** Network that goes quiet: what is sent is lost, and nobody says so. */
async function startSwamp(target: number) {
  const sockets = new Set<Socket>();
  let quiet = false;
  let swallowed = 0;
  const server = createTcpServer((client) => {
    sockets.add(client);
    client.on("error", () => undefined);
    if (quiet) {
      swallowed += 1;
      client.resume();
      return;
    }
    const upstream = connect(target, "127.0.0.1");
    sockets.add(upstream);
    upstream.on("error", () => undefined);
    client.on("data", (chunk: Buffer) => quiet || upstream.write(chunk)).on("close", () => upstream.destroy());
    upstream.on("data", (chunk: Buffer) => quiet || client.write(chunk)).on("close", () => client.destroy());
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const drop = (): void => {
    for (const socket of sockets) socket.destroy();
    sockets.clear();
  };
  return {
    port: (server.address() as AddressInfo).port,
    swallowed: () => swallowed,
    hush: () => void (quiet = true),
    wake() {
      quiet = false;
      drop();
    },
    async close() {
      drop();
      server.close();
      await once(server, "close");
    },
  };
}

const swampDb = "swamp-db/readonly" as CredentialName;
const withSwamp = (port: number): Partial<HouseOptions> => ({
  policies: `@id("all") permit (principal, action, resource);`,
  credentials: `
  swamp-db/readonly:
    engine: postgres
    ttl: { default: 1m, max: 5m }
    target: { host: 127.0.0.1, port: ${port}, database: postgres }
    admin: { vault: local, secret: billing-db/admin }
    grants: ["GRANT SELECT ON ALL TABLES IN SCHEMA public TO {{role}}"]
`,
});

describe("an agent that wants more than it was lent", () => {
  it("PL-03 a one-time lease is good for one operation, also when twenty come at once", async () => {
    await reopen({ policies: oneTime });
    const { lease } = await open.house.broker.grant(reporter, request(readonly));
    const tries = await Promise.allSettled(Array.from({ length: 20 }, () => sql("SELECT id FROM invoices", { lease: lease.id })));
    expect(tries.filter((one) => one.status === "fulfilled")).toHaveLength(1);
    expect((await open.house.leases.find(lease.id))?.state).toBe("revoked");
  });

  it("PL-03 a one-time lease is used up by an operation that fails: errors of the database carry data too", async () => {
    await reopen({ policies: oneTime });
    const { lease } = await open.house.broker.grant(reporter, request(readonly));
    expect((await failureOf(sql("SELECT note::int FROM invoices WHERE id = 1", { lease: lease.id }))).code).toBe("target_refused");
    expect((await failureOf(sql("SELECT note::int FROM invoices WHERE id = 2", { lease: lease.id }))).code).toBe("lease_ended");
    expect(await rolesAt(database)).toEqual([]);
  });

  it("operations at once under a one-time permit each get a lease of their own", async () => {
    await reopen({ policies: oneTime });
    const results = await Promise.all(Array.from({ length: 6 }, () => sql("SELECT id FROM invoices")));
    expect(new Set(results.map(({ lease }) => lease.id)).size).toBe(6);
    expect(await rolesAt(database)).toEqual([]);
  });

  it("an operation that a credential cannot do lends nothing, and is on record", async () => {
    const failure = await failureOf(use("http", { credential: readonly }, { method: "GET", path: "/" }));
    expect(failure.code).toBe("operation_refused");
    expect(await open.house.leases.list({ live: true })).toEqual([]);
    expect((await auditOf(open.house)).map((event) => event["kind"])).toContain("operation.refused");
    expect((await failureOf(use("http", { credential: readonly }, { method: "GET", path: "/" }, agent("intern")))).code).toBe("denied");
  });

  it("EX-06 the names of policies do not tell what exists from what does not", async () => {
    const intern = agent("intern");
    const { broker } = open.house;
    const existing = await failureOf(broker.grant(intern, request(readonly, { delivery: "reveal" })));
    const absent = await failureOf(broker.grant(intern, request("no/such" as CredentialName, { delivery: "reveal" })));
    expect([existing.code, existing.facts]).toEqual([absent.code, absent.facts]);
    // Who may know of the credential is told which policy stands in the way.
    expect((await failureOf(broker.grant(reporter, request(readonly, { delivery: "reveal" })))).facts).toEqual({
      policies: ["nobody-sees-values"],
    });
    const refused = (await auditOf(open.house)).find((event) => event["kind"] === "access.decided");
    expect(refused?.["policies"]).toEqual(["nobody-sees-values"]);
  });

  it("EX-07 what a database says in its errors stays out of the broker's log", async () => {
    const canary = "cnry-5up3r-s3cret-row";
    const client = await database.connect();
    await client.query(`INSERT INTO invoices VALUES (3, 1, '${canary}')`);
    await client.end();
    const tools = toolbox();
    const answer = await tools.call(reporter, {
      name: "query_database",
      arguments: { credential: readonly, statement: "SELECT note::int FROM invoices WHERE id = 3", purpose: "an attack" },
      signal: AbortSignal.timeout(5_000),
    });
    expect(JSON.stringify(answer)).toContain("target_refused");
    expect(open.log() + JSON.stringify(logged)).not.toContain(canary);
  });

  it.each([
    ["request_lease", { credential: readonly, purpose: "\ud800" }],
    ["request_lease", { credential: readonly, purpose: "x", ticket: "T-\udfff" }],
    ["query_database", { credential: readonly, purpose: "x", statement: "SELECT '\ud800'" }],
    ["query_database", { credential: readonly, purpose: "x", statement: "SELECT $1::text", parameters: ["\udc00"] }],
    ["http_request", { credential: ticketApi, purpose: "x", method: "POST", path: "/tickets", body: "\ud83d" }],
    ["http_request", { credential: ticketApi, purpose: "x", method: "GET", path: "/", headers: { accept: "\ud83d" } }],
  ])("MT-07 half a character in the arguments of %s is the caller's mistake, not a failure of the log", async (name, input) => {
    const before = (await open.house.log.head()).size;
    const answer = await toolbox().call(name === "http_request" ? ticketBot : reporter, {
      name,
      arguments: input,
      signal: AbortSignal.timeout(5_000),
    });
    expect(JSON.stringify(answer)).toContain('"code":"invalid_request"');
    expect(logged).toEqual([]);
    expect((await open.house.log.head()).size).toBe(before);
    expect(await open.house.leases.list({ live: true })).toEqual([]);
  });

  it("every refusal for a lease that has ended is on record", async () => {
    const { broker } = open.house;
    const { lease, delivered } = await broker.grant(reporter, request(readonly, { delivery: "inject" }));
    await broker.revoke(reporter, lease.id, correlation());
    if (delivered.by !== "inject") throw new Error("not injected");
    expect((await failureOf(sql("SELECT 1", { lease: lease.id }))).code).toBe("lease_ended");
    expect((await failureOf(broker.renew(reporter, lease.id, 60, correlation()))).code).toBe("lease_ended");
    expect((await failureOf(broker.redeem(reporter, delivered.handle, correlation()))).code).toBe("lease_ended");
    const refused = (await auditOf(open.house)).filter((event) => event["kind"] === "lease.refused");
    expect(refused.map((event) => event["why"])).toEqual(["ended", "ended", "ended"]);
  });

  it("PL-14 fifty requests at once open a handful of admin connections, not fifty", async () => {
    const watcher = await database.connect();
    let most = 0;
    const done = new AbortController();
    const watching = (async () => {
      while (!done.signal.aborted) {
        const { rows } = await watcher.query<{ n: number }>(
          "SELECT count(*)::int AS n FROM pg_stat_activity WHERE application_name = 'leasehold' AND usename = 'postgres'",
        );
        most = Math.max(most, rows[0]?.n ?? 0);
        await pause(2);
      }
    })();
    const grants = await Promise.allSettled(Array.from({ length: 50 }, () => open.house.broker.grant(reporter, request(readonly))));
    const report = await open.house.operator.freeze(reporter.agent, "test");
    done.abort();
    await watching;
    await watcher.end();
    expect(grants.filter((one) => one.status === "rejected")).toEqual([]);
    expect(report).toMatchObject({ revoked: 50, pending: [] });
    expect(most).toBeLessThanOrEqual(10);
  });
});

describe("work that is under way when the switch is thrown", () => {
  async function slowApi() {
    const arrived = Promise.withResolvers<void>();
    const released = Promise.withResolvers<void>();
    const api = createServer((_incoming, outgoing) => {
      arrived.resolve();
      void released.promise.then(() => outgoing.end("the customer's data"));
    }).listen(0, "127.0.0.1");
    await once(api, "listening");
    await reopen({ apiUrl: `http://127.0.0.1:${(api.address() as AddressInfo).port}` });
    await open.house.vaults["local"]?.write?.("tickets/token", Secret.of("a-token-of-some-length"), AbortSignal.timeout(5_000));
    return { api, arrived: arrived.promise, release: () => released.resolve() };
  }

  it("RD-01 a frozen agent does not get the answer to a request that it sent before", async () => {
    const { api, arrived, release } = await slowApi();
    const asking = failureOf(use("http", { credential: ticketApi }, { method: "GET", path: "/x" }, ticketBot));
    await arrived;
    await open.house.operator.freeze(ticketBot.agent, "test");
    release();
    expect((await asking).code).toBe("lease_ended");
    api.close();
  });

  it("AU-03 an operation that was performed but cannot be written down does not claim that nothing was done", async () => {
    const { api, arrived, release } = await slowApi();
    const asking = failureOf(use("http", { credential: ticketApi }, { method: "POST", path: "/tickets" }, ticketBot));
    await arrived;
    behindItsBack("ALTER TABLE audit_entries RENAME TO gone");
    release();
    const failure = await asking;
    behindItsBack("ALTER TABLE gone RENAME TO audit_entries");
    expect(failure.code).toBe("audit_unavailable");
    expect(failure.message).not.toMatch(/nothing was done/);
    expect(failure.facts).toEqual({ performed: true });
    api.close();
  });
});

describe("targets that do not answer", () => {
  it("PL-09 thirty credentials that cannot be taken back do not keep others from being taken back", async () => {
    const swamp = await startSwamp(database.port);
    await reopen(withSwamp(swamp.port));
    const { broker, reaper } = open.house;
    await Promise.all(Array.from({ length: 30 }, () => broker.grant(reporter, request(swampDb, { ttl: 2 }))));
    const { lease } = await broker.grant(reporter, request(readonly, { ttl: 2 }));
    swamp.hush();
    await pause(2_100);
    reaper.start();
    const started = Date.now();
    while ((await open.house.leases.find(lease.id))?.state !== "revoked" && Date.now() - started < 4_000) await pause(50);
    const state = (await open.house.leases.find(lease.id))?.state;
    swamp.wake();
    await reaper.stop();
    for (const one of await open.house.leases.list({ live: true, limit: 100 })) await open.house.operator.revoke(one.id, "test");
    expect(await rolesAt(database)).toEqual([]);
    await swamp.close();
    expect(state).toBe("revoked");
  });

  it("PL-08 a broker starts, and looks after the rest, while what an earlier one left cannot be undone; and stops at once", async () => {
    const swamp = await startSwamp(database.port);
    await reopen(withSwamp(swamp.port));
    const { broker, duties } = open.house;
    await Promise.all(Array.from({ length: 30 }, () => broker.grant(reporter, request(swampDb))));
    // Whoever held these is gone, in the middle of ending them.
    behindItsBack(
      "UPDATE leases SET state = 'expired', instance = (SELECT substr(instance, 1, instr(instance, '/')) FROM leases LIMIT 1) || '4194305/x'",
    );
    swamp.hush();
    const started = Date.now();
    await duties.start();
    const start = Date.now() - started;
    await pause(700);
    const stopping = duties.stop();
    await pause(200);
    const tried = swamp.swallowed();
    swamp.wake();
    await stopping;
    for (const one of await open.house.leases.list({ live: true, limit: 100 })) await open.house.operator.revoke(one.id, "test");
    await swamp.close();
    expect(start).toBeLessThan(2_000);
    expect(tried).toBeGreaterThan(0);
    expect(tried).toBeLessThanOrEqual(8);
  });

  it("one row of nonsense does not keep the reaper from the others", async () => {
    const { broker, reaper, leases, operator } = open.house;
    const poisoned = (await broker.grant(reporter, request(readonly, { ttl: 1 }))).lease;
    const healthy = (await broker.grant(reporter, request(readonly, { ttl: 1 }))).lease;
    const [row] = [poisoned.handle];
    behindItsBack(`UPDATE leases SET handle = '{"engine": "post' WHERE id = '${poisoned.id}'`);
    await pause(1_050);
    await reaper.round().catch(() => undefined);
    const after = await leases.find(healthy.id).catch(() => undefined);
    const state = await leases.find(poisoned.id).then(
      (one) => one?.state,
      () => "unreadable",
    );
    behindItsBack(`UPDATE leases SET handle = '${JSON.stringify(row)}' WHERE id = '${poisoned.id}'`);
    await operator.revoke(poisoned.id, "test");
    expect(after?.state).toBe("revoked");
    // Not forgotten: it is tried again, and alarms.
    expect(state).toBe("revoking");
    expect(open.log()).toContain(poisoned.id);
  });
});

describe("two headers where there may be one", () => {
  it.each(["Host: evil.example", "Authorization: Bearer of-someone-else"])(
    "MT-01 a second %s is refused, whichever comes first",
    async (second) => {
      const house = await startHttpHouse();
      const own = [`Host: 127.0.0.1:${house.port}`, `Authorization: Bearer ${house.token().token}`];
      const ask = (lines: readonly string[]) =>
        house.raw(["GET /v1/x HTTP/1.1", ...lines, "Connection: close", "", ""].join("\r\n"), { finish: false });
      expect(await ask(own)).toMatch(/^HTTP\/1\.1 404 /);
      expect(await ask([...own, second])).toMatch(/^HTTP\/1\.1 400 /);
      expect(await ask([second, ...own])).toMatch(/^HTTP\/1\.1 400 /);
      await house.server.close(0);
    },
  );
});

describe("a store that somebody else holds", () => {
  it("AU-03 calls fail closed or wait, the process goes on breathing, and recovers", async () => {
    const file = join(open.folder, "data", "leasehold.db");
    const code = `const { DatabaseSync } = require("node:sqlite"); const db = new DatabaseSync(process.argv[1]); db.exec("BEGIN IMMEDIATE"); process.stdout.write("held"); setTimeout(() => { db.exec("ROLLBACK"); db.close(); }, 7000);`;
    const holder = spawn(process.execPath, ["-e", code, file], { stdio: ["ignore", "pipe", "inherit"] });
    await once(holder.stdout, "data");
    const stalls = monitorEventLoopDelay({ resolution: 10 });
    stalls.enable();
    const outcomes = await Promise.all(Array.from({ length: 4 }, () => failureOf(open.house.broker.grant(reporter, request(readonly)))));
    stalls.disable();
    expect(new Set(outcomes.map((one) => one.code))).toEqual(new Set(["audit_unavailable"]));
    expect(stalls.max / 1e6).toBeLessThan(500);
    expect(await rolesAt(database)).toEqual([]);
    await once(holder, "close");
    await open.house.broker.grant(reporter, request(readonly));
  });
});

const logged: object[] = [];

/** The tools as agents get them, over the broker of this house. */
function toolbox() {
  logged.length = 0;
  const { broker } = open.house;
  return createLeaseholdServer({
    broker,
    called: () => undefined,
    refused: async () => undefined,
    newCorrelation: correlation,
    logger: { error: (facts: { err?: unknown }) => void logged.push({ ...facts, err: String(facts.err) + JSON.stringify(facts.err) }) },
    now: Date.now,
    version: "0",
  }).tools;
}
