import { describe, expect, it } from "vitest";
import { judge } from "../../../src/delivery/sql-statement.ts";

const tables = async (statement: string, searchPath: readonly string[] = ["public"]) => (await judge(statement, searchPath)).tables;
const verdict = (statement: string) =>
  judge(statement, ["public"]).then(
    () => "performed",
    (problem: { code?: string }) => problem.code,
  );

describe("what a SQL statement is, for policy", () => {
  it.each([
    ["SELECT * FROM invoices", ["public.invoices"]],
    ["TABLE invoices", ["public.invoices"]],
    ["VALUES (1), (2)", []],
    ["SELECT 1;", []],
    ["SELECT * FROM Invoices, billing.Payments p JOIN public.invoices USING (id)", ["billing.payments", "public.invoices"]],
    [`SELECT * FROM "Odd.Name", "a""b".c`, [`"a""b".c`, `public."Odd.Name"`]],
    [
      "SELECT (SELECT max(id) FROM a) FROM b WHERE EXISTS (SELECT FROM c) ORDER BY (SELECT 1 FROM d)",
      ["public.a", "public.b", "public.c", "public.d"],
    ],
    ["SELECT 1 FROM a UNION SELECT 2 FROM b EXCEPT (SELECT 3 FROM c)", ["public.a", "public.b", "public.c"]],
    [
      "SELECT * FROM only_a TABLESAMPLE system (1), LATERAL (SELECT * FROM b) x, ROWS FROM (generate_series(1, 2)) g",
      ["public.b", "public.only_a"],
    ],
    [
      "SELECT 'x'::text, current_date, count(*) FILTER (WHERE a IN (SELECT id FROM z)) OVER w FROM t WINDOW w AS (ORDER BY id)",
      ["public.t", "public.z"],
    ],
  ])("%s names %j", async (statement, expected) => {
    expect(await judge(statement, ["public"])).toEqual({ kind: "sql", verbs: ["select"], tables: expected });
  });

  it.each([
    ["WITH t AS (SELECT * FROM secrets) SELECT * FROM t", ["public.secrets"]],
    ["WITH secrets AS (SELECT * FROM secrets) SELECT * FROM secrets", ["public.secrets"]],
    ["SELECT * FROM (WITH secrets AS (SELECT 1) SELECT * FROM secrets) x, secrets", ["public.secrets"]],
    ["WITH a AS (SELECT * FROM b), b AS (SELECT 1) SELECT * FROM a, b", ["public.b"]],
    ["WITH RECURSIVE a AS (SELECT * FROM b UNION SELECT * FROM a), b AS (SELECT 1) SELECT * FROM a", []],
    ["WITH a AS (SELECT 1) SELECT * FROM (WITH c AS (SELECT * FROM a, d) SELECT * FROM c) x", ["public.d"]],
    ["WITH a AS (SELECT 1) SELECT * FROM public.a", ["public.a"]],
    ["WITH a AS (SELECT 1) SELECT 1 FROM a UNION SELECT 2 FROM a, b", ["public.b"]],
  ])("sees through WITH: %s names %j", async (statement, expected) => {
    expect(await tables(statement)).toEqual(expected);
  });

  it("names every table that an unqualified name could stand for", async () => {
    expect(await tables("SELECT * FROM x, b.y", ["a", "public"])).toEqual(["a.x", "b.y", "public.x"]);
  });

  it("knows EXPLAIN, and what would run", async () => {
    expect(await judge("EXPLAIN (VERBOSE, FORMAT json) SELECT * FROM a", ["public"])).toEqual({
      kind: "sql",
      verbs: ["explain"],
      tables: ["public.a"],
    });
    expect(await verdict("EXPLAIN ANALYZE SELECT 1")).toBe("operation_refused");
    expect(await verdict("EXPLAIN (analyze false) SELECT 1")).toBe("operation_refused");
    expect(await verdict("EXPLAIN DELETE FROM a")).toBe("operation_refused");
  });

  it.each([
    "INSERT INTO a VALUES (1)",
    "WITH w AS (INSERT INTO a VALUES (1) RETURNING *) SELECT * FROM w",
    "SELECT * FROM (WITH w AS (DELETE FROM a RETURNING *) SELECT * FROM w) x",
    "SELECT 1; SELECT 2",
    "SELECT * INTO b FROM a",
    "SELECT * FROM a FOR UPDATE",
    "SELECT * FROM (SELECT * FROM a FOR KEY SHARE) x",
    "COPY a TO STDOUT",
    "COPY (SELECT 1) TO PROGRAM 'sh'",
    "DO $$ BEGIN END $$",
    "CALL p()",
    "SET TRANSACTION READ WRITE",
    "BEGIN",
    "COMMIT",
    "SHOW ALL",
    "PREPARE p AS SELECT 1",
    "EXECUTE p",
    "DECLARE c CURSOR FOR SELECT 1",
    "LISTEN x",
    "LOCK TABLE a",
    "CREATE TABLE b AS SELECT 1",
    "REFRESH MATERIALIZED VIEW v",
    "MERGE INTO a USING b ON true WHEN MATCHED THEN DELETE",
    "SELECT * FROM pg_user",
    ...[
      "pg_sleep(1)",
      "pg_catalog.pg_sleep_for('1s')",
      "set_config('a.b', 'c', false)",
      "pg_terminate_backend(1)",
      "pg_cancel_backend(1)",
    ].map(asCall),
    ...[
      "pg_advisory_lock(1)",
      "pg_try_advisory_xact_lock(1)",
      "lo_import('/etc/passwd')",
      "loread(1, 2)",
      "dblink('x', 'y')",
      "dblink_exec('x')",
    ].map(asCall),
    ...[
      "pg_read_file('x')",
      "pg_ls_dir('.')",
      "pg_stat_file('x')",
      "query_to_xml('x', true, true, '')",
      "database_to_xml(true, true, '')",
    ].map(asCall),
    ...[
      "table_to_xmlschema('x', true, true, '')",
      "pg_reload_conf()",
      "ts_stat('SELECT secret FROM x')",
      "ts_rewrite('a'::tsquery, 'SELECT x')",
    ].map(asCall),
    ...["pg_notify('a', 'b')", "pg_logical_emit_message(true, 'a', 'b')", "pg_export_snapshot()", "pg_switch_wal()", "pg_promote()"].map(
      asCall,
    ),
  ])("refuses %s", async (statement) => {
    expect(await verdict(statement)).toBe("operation_refused");
  });

  it("refuses a function wherever it hides", async () => {
    for (const place of [
      "SELECT 1 WHERE f()",
      "SELECT 1 ORDER BY f()",
      "VALUES (f())",
      "SELECT * FROM f()",
      "SELECT 1 LIMIT f()",
      "SELECT CASE WHEN f() THEN 1 END",
    ]) {
      expect(await verdict(place.replace("f()", "pg_sleep(1)::bool"))).toMatch(/operation_refused|invalid_request/);
      expect(await verdict(place.replace("f()", "pg_sleep(1)"))).toBe("operation_refused");
    }
  });

  it.each([
    "",
    "  ",
    "-- nothing",
    ";",
    "SELEC 1",
    "SELECT 'unfinished",
    "SELECT 1\0; DROP TABLE a",
    "SELECT '\ud800'",
    `SELECT '${"x".repeat(70_000)}'`,
  ])("calls %j invalid", async (statement) => {
    expect(await verdict(statement)).toBe("invalid_request");
  });

  it("says what the parser said", async () => {
    await expect(judge("SELECT 1 FRM a b", ["public"])).rejects.toMatchObject({
      facts: { problem: `Not valid SQL: syntax error at or near "a".` },
    });
  });

  it("stays sound under nesting that would end the parser's stack (MT-07, MT-13)", async () => {
    const bombs = [
      `SELECT ${"NOT ".repeat(16_000)}true`,
      `SELECT 1${"+1".repeat(30_000)}`,
      `SELECT a${" IS NULL".repeat(8_000)}`,
      `SELECT ${"(".repeat(30_000)}`,
      Array.from({ length: 7_000 }, () => "SELECT 1").join(" UNION "),
    ];
    for (let round = 0; round < 40; round += 1) {
      for (const bomb of bombs) expect(await verdict(bomb)).toBe("invalid_request");
      expect(await tables("SELECT * FROM a")).toEqual(["public.a"]);
    }
    // The deepest that is let through is well within what the parser and our own walk can take.
    for (const deep of [`SELECT ${"NOT ".repeat(1_990)}true`, `SELECT 1${"+1".repeat(990)}`, `SELECT a${" IS NULL".repeat(990)}`]) {
      expect(await verdict(deep)).toBe("performed");
    }
  });
});

function asCall(call: string): string {
  return `SELECT ${call}`;
}
