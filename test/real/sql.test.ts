import { setTimeout as pause } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { JsonObject } from "../../src/core/json.ts";
import type { Lease } from "../../src/core/lease.ts";
import type { Handle, Material, Performer } from "../../src/core/ports.ts";
import { createSqlPerformer } from "../../src/delivery/sql.ts";
import { orderFor } from "../../testing/engine-contract.ts";
import type { Target } from "./postgres-target.ts";
import { leaseFor, startTarget } from "./postgres-target.ts";

describe("brokered SQL", () => {
  let target: Target;
  let performer: Performer;
  let lent: Lent;
  beforeAll(async () => {
    target = await startTarget();
    performer = createSqlPerformer();
    lent = await lend(target);
  });
  afterAll(async () => {
    await performer.release?.(lent.lease.id);
    await target.stop();
  });

  async function run(
    input: JsonObject,
    options: { spec?: JsonObject; lent?: Lent; signal?: AbortSignal; by?: Performer } = {},
  ): Promise<Output> {
    const { by = performer, signal = AbortSignal.timeout(20_000) } = options;
    const one = options.lent ?? lent;
    const prepared = await by.prepare(target.entry("limited", options.spec), input);
    const result = await prepared.perform(one.material, one.lease, signal);
    return { ...(result.output as unknown as Output), figures: result.figures };
  }
  const failure = (input: JsonObject, options?: Parameters<typeof run>[1]) =>
    run(input, options).then(
      () => "it succeeded",
      (problem: unknown) => problem,
    );

  it("answers with typed columns and rows, parameters bound and never pasted", async () => {
    const result = await run({
      statement: "SELECT id, customer, amount, paid FROM invoices WHERE customer = $1 OR id = $2 ORDER BY id",
      parameters: ["customer 7", 9],
    });
    expect(result).toMatchObject({
      columns: [
        { name: "id", type: "int4" },
        { name: "customer", type: "text" },
        { name: "amount", type: "numeric" },
        { name: "paid", type: "bool" },
      ],
      rows: [
        [7, "customer 7", "10.50", false],
        [9, "customer 9", "13.50", false],
      ],
      rowCount: 2,
      truncated: false,
      figures: { rows: 2 },
    });
    const hostile = await run({
      statement: "SELECT $1 AS x, $2::bool AS y, $3::int AS z",
      parameters: ["'; DROP TABLE invoices; --", true, null],
    });
    expect(hostile.rows).toEqual([["'; DROP TABLE invoices; --", true, null]]);
  });

  it.each<[string, unknown, string]>([
    ["9007199254740993::int8", "9007199254740993", "int8"],
    ["1.10::numeric", "1.10", "numeric"],
    ["'NaN'::float8", "NaN", "float8"],
    ["1.5::float4", 1.5, "float4"],
    [String.raw`'\x00ff10'::bytea`, "AP8Q", "bytea"],
    ["'2026-11-22 10:00:00.25+02'::timestamptz", "2026-11-22T08:00:00.25Z", "timestamptz"],
    ["'2026-11-22 10:00'::timestamp", "2026-11-22T10:00:00", "timestamp"],
    ["'infinity'::timestamptz", "infinity", "timestamptz"],
    ["'2026-11-22'::date", "2026-11-22", "date"],
    ["'1 day 2 hours'::interval", "P1DT2H", "interval"],
    [`'{"a": [1, null]}'::jsonb`, { a: [1, null] }, "jsonb"],
    ["'fine'::mood", "fine", "mood"],
    ["ARRAY[1,2]", "{1,2}", "_int4"],
    ["NULL::int", null, "int4"],
    ["'c0a80101-0000-4000-8000-000000000000'::uuid", "c0a80101-0000-4000-8000-000000000000", "uuid"],
  ])("gives %s as JSON %j of type %s", async (expression, value, type) => {
    const result = await run({ statement: `SELECT ${expression} AS v` });
    expect(result).toMatchObject({ columns: [{ name: "v", type }], rows: [[value]] });
  });

  it.each([
    ["nextval", "SELECT nextval('counter')", "25006"],
    ["a table that the role may not read", "SELECT * FROM pg_catalog.pg_authid", "42501"],
    ["a function that writes", "SELECT naughty()", "25006"],
    ["what does not exist", "SELECT nothing FROM invoices", "42703"],
    ["a value of the wrong type", "SELECT 'x'::int", "22P02"],
  ])("passes on that the server refused %s", async (_, statement, code) => {
    await target.sql("CREATE OR REPLACE FUNCTION naughty() RETURNS int LANGUAGE sql AS 'INSERT INTO invoices VALUES (-1) RETURNING id'");
    expect(await failure({ statement })).toMatchObject({ code: "target_refused", facts: { code } });
    expect(await target.sql("SELECT count(*)::int AS n FROM invoices")).toEqual([{ n: 500 }]);
  });

  it("reads only, also where the judge of statements is not asked: the transaction and the protocol hold by themselves", async () => {
    const { readOnlyQuery } = await import("../../src/delivery/sql-query.ts");
    const { loginWith } = await import("./postgres-target.ts");
    const attacks = [
      ["INSERT INTO invoices VALUES (9999)", "25006"],
      ["WITH w AS (INSERT INTO invoices VALUES (9999) RETURNING *) SELECT * FROM w", "25006"],
      ["UPDATE invoices SET paid = true", "25006"],
      ["CREATE TABLE t (id int)", "25006"],
      ["SELECT 1; INSERT INTO invoices VALUES (9999)", "42601"],
      ["COMMIT; INSERT INTO invoices VALUES (9999)", "42601"],
      ["SET TRANSACTION READ WRITE", "25001"],
      ["DO $$ BEGIN SET TRANSACTION READ WRITE; INSERT INTO invoices VALUES (9999); END $$", "25001"],
      ["SELECT set_config('transaction_read_only', 'off', true)", "25001"],
      ["COPY invoices TO PROGRAM 'true'", "42501"],
      ["COPY invoices FROM STDIN", "25006"],
    ] as const;
    for (const [statement, code] of attacks) {
      const client = await loginWith(target, lent.material);
      const { submittable, answer } = readOnlyQuery({
        statement,
        parameters: [],
        maxRows: 5,
        maxWireBytes: 1e6,
      });
      client.query(submittable);
      const problem = await answer.catch((thrown: unknown) => thrown);
      await client.end();
      expect({ statement, problem }).toMatchObject({ problem: { code } });
    }
    expect(await target.sql("SELECT count(*)::int AS n FROM invoices")).toEqual([{ n: 500 }]);
  });

  it("uses the lease's own role, in a session that remembers nothing", async () => {
    const one = await run({
      statement: "SELECT current_user::text, current_setting('search_path'), current_setting('transaction_read_only')",
    });
    expect(one.rows).toEqual([[lent.username, `"public",pg_temp`, "on"]]);
    const open = `SELECT FROM pg_stat_activity WHERE usename = '${lent.username}' AND state = 'idle in transaction'`;
    expect(await target.sql(open)).toEqual([]);

    // What a function of the database's own leaves in the session is gone before the next query.
    await target.sql("CREATE FUNCTION keep() RETURNS void LANGUAGE sql AS 'SELECT pg_advisory_lock(42)'");
    const single = createSqlPerformer({ connections: 1 });
    await run({ statement: "SELECT keep()" }, { by: single });
    const held = { statement: "SELECT count(*)::int FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()" };
    expect((await run(held, { by: single })).rows).toEqual([[0]]);
    await single.release?.(lent.lease.id);
  });

  it("stops a query that takes too long, and goes on with the next", async () => {
    const started = Date.now();
    const spec = { sql: { timeout: "300ms" } };
    const slow = { statement: "SELECT count(*) FROM generate_series(1, 1000000000)" };
    expect(await failure(slow, { spec })).toMatchObject({ code: "target_refused", facts: { code: "57014" } });
    expect(Date.now() - started).toBeLessThan(3_000);
    expect((await run({ statement: "SELECT 1" }, { spec })).rows).toEqual([[1]]);
  });

  it("does not wait for a lock for long", async () => {
    const holder = await target.database.connect({ database: "shop" });
    await holder.query("BEGIN; LOCK TABLE invoices");
    expect(await failure({ statement: "SELECT * FROM invoices" })).toMatchObject({ code: "target_refused", facts: { code: "55P03" } });
    await holder.query("ROLLBACK");
    await holder.end();
  });

  it("ends the query at the server when the call is aborted", async () => {
    const abort = new AbortController();
    const running = failure({ statement: "SELECT count(*) FROM generate_series(1, 1000000000)" }, { signal: abort.signal });
    await pause(150);
    const busy = () => target.sql(`SELECT FROM pg_stat_activity WHERE usename = '${lent.username}' AND state = 'active'`);
    expect(await busy()).toHaveLength(1);
    abort.abort();
    expect(await running).toMatchObject({ code: "target_unavailable" });
    for (let n = 0; n < 20 && (await busy()).length > 0; n += 1) await pause(25);
    expect(await busy()).toEqual([]);
    expect((await run({ statement: "SELECT 2" })).rows).toEqual([[2]]);
  });

  it("gives no more rows and bytes than it may, and says so (MT-08)", async () => {
    const all = { statement: "SELECT id FROM invoices ORDER BY id" };
    expect(await run(all)).toMatchObject({ rowCount: 200, truncated: true });
    expect(await run({ ...all, maxRows: 3 })).toMatchObject({ rows: [[1], [2], [3]], truncated: true });
    expect(await run({ ...all, maxRows: 500 })).toMatchObject({ rowCount: 500, truncated: false });
    expect(await run({ ...all, maxRows: 99_999 }, { spec: { sql: { maxRows: 10 } } })).toMatchObject({ rowCount: 10, truncated: true });
    const wide = await run({ statement: "SELECT repeat('x', 50000) FROM invoices" });
    expect(wide).toMatchObject({ rowCount: 20, truncated: true });
    expect(wide.figures["bytes"]).toBeLessThanOrEqual(1024 * 1024);
    const cell = await run({ statement: "SELECT repeat('x', 200000) AS x" });
    expect(cell).toMatchObject({ rowCount: 1, clippedCells: 1 });
    expect(String(cell.rows[0]?.[0])).toHaveLength(64 * 1024 + 1);
    expect(await failure({ statement: "SELECT repeat('x', 200000000)" })).toMatchObject({ code: "operation_refused" });
    expect((await run({ statement: "SELECT 3" })).rows).toEqual([[3]]);
  });

  it("explains without running", async () => {
    const result = await run({ statement: "EXPLAIN (costs off) SELECT * FROM invoices WHERE id = 1" });
    expect(result.columns).toEqual([{ name: "QUERY PLAN", type: "text" }]);
    expect(result.rowCount).toBeGreaterThan(0);
  });

  it("serves many callers of one lease with a few connections", async () => {
    const own = createSqlPerformer({ connections: 2 });
    const one = await lend(target);
    const calls = Array.from({ length: 30 }, (_, n) => run({ statement: "SELECT $1::int", parameters: [n] }, { lent: one, by: own }));
    const answers = await Promise.all(calls);
    expect(answers.map((answer) => answer.rows[0]?.[0])).toEqual(Array.from({ length: 30 }, (_, n) => n));
    expect(await target.sql(`SELECT FROM pg_stat_activity WHERE usename = '${one.username}'`)).toHaveLength(2);
    await own.release?.(one.lease.id);
    await target.engine.undo(one.handle, AbortSignal.timeout(15_000));
  });

  it("says that the lease has ended once its role is gone, before and after its connections are let go of (PL-11)", async () => {
    const own = createSqlPerformer();
    const one = await lend(target);
    expect((await run({ statement: "SELECT 4" }, { lent: one, by: own })).rows).toEqual([[4]]);
    const running = failure({ statement: "SELECT count(*) FROM generate_series(1, 1000000000)" }, { lent: one, by: own });
    await pause(100);
    await target.engine.undo(one.handle, AbortSignal.timeout(15_000));
    expect(await running).toMatchObject({ code: "lease_ended" });
    expect(await failure({ statement: "SELECT 5" }, { lent: one, by: own })).toMatchObject({ code: "lease_ended" });
    await own.release?.(one.lease.id);

    const two = await lend(target);
    const cut = failure({ statement: "SELECT count(*) FROM generate_series(1, 1000000000)" }, { lent: two, by: own });
    await pause(150);
    await own.release?.(two.lease.id);
    expect(await cut).toMatchObject({ code: "lease_ended" });
    await target.engine.undo(two.handle, AbortSignal.timeout(15_000));
  });

  it("survives that the server ends its idle sessions", async () => {
    await run({ statement: "SELECT 6" });
    await pause(30);
    await target.sql(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '${lent.username}'`);
    await pause(50);
    expect((await run({ statement: "SELECT 7" })).rows).toEqual([[7]]);
  });

  it("says that the target is unavailable when nothing listens", async () => {
    const nowhere = { ...lent, material: { fields: { ...lent.material.fields, port: "1" } } };
    expect(await failure({ statement: "SELECT 1" }, { lent: nowhere, by: createSqlPerformer() })).toMatchObject({
      code: "target_unavailable",
    });
  });
});

interface Output {
  readonly columns: readonly JsonObject[];
  readonly rows: readonly (readonly unknown[])[];
  readonly rowCount: number;
  readonly truncated: boolean;
  readonly figures: Readonly<Record<string, number>>;
}

interface Lent {
  readonly lease: Lease;
  readonly handle: Handle;
  readonly material: Material;
  readonly username: string;
}

async function lend(target: Target): Promise<Lent> {
  const order = orderFor(target.entry("limited"));
  const handle = target.engine.plan(order);
  const material = await target.engine.mint(order, handle, AbortSignal.timeout(15_000));
  const lease = leaseFor(order, handle);
  return { lease, handle, material, username: String(material.fields["username"]) };
}
