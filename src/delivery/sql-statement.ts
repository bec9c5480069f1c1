import type * as PgQuery from "libpg-query";
import { Failure } from "../core/errors.ts";
import type { OperationFacts } from "../core/request.ts";

type SqlFacts = Extract<OperationFacts, { readonly kind: "sql" }>;
type Parse = (text: string) => unknown;

/** UTF-8 bytes. */
const longest = 64 * 1024;
/**
 * The parser recurses over operator chains, and is compiled code without a guard: from about 7,000 tokens of
 * `not not not …` its stack ends, and after some dozens of such ends it answers nonsense for good (measured).
 * Counted before it sees the text, the tokens keep a margin of three.
 */
const mostTokens = 2_000;

/** Reach outside of the query: they wait, write, signal, lock, read files, or run text as another query that nobody judged. */
const refusedFunctions = new RegExp(
  `^(?:${[
    "pg_sleep.*|set_config|pg_terminate_backend|pg_cancel_backend|pg_(?:try_)?advisory_.*|pg_notify|pg_reload_conf|pg_rotate_logfile.*",
    "lo_.*|loread|lowrite|pg_read_.*|pg_ls_.*|pg_stat_file|pg_file_.*|pg_log_.*|pg_current_logfile",
    "dblink.*|.*_to_xml.*|ts_stat|ts_rewrite|crosstab.*|xpath_table|connectby|cursor_to_.*|postgres_fdw_.*|http.*",
    "pg_logical_.*|pg_replication_.*|pg_sync_.*|pg_(?:create|drop|copy|import|export|set|clear|restore)_.*|pg_promote|pg_switch_.*",
    "pg_wal_replay_.*|pg_(?:start|stop)_backup|pg_backup_.*|pg_stat_reset.*|pg_stat_statements_reset|pg_prewarm|gin_clean_.*|brin_.*",
  ].join("|")})$`,
);

const explainOptions = new Set(["verbose", "costs", "settings", "format", "generic_plan", "summary", "memory"]);

/**
 * Judges one statement by its syntax tree: a single query that only reads. Answers with what it is and which
 * tables it names, as `schema.table`; an unqualified name stands for every schema of `searchPath` that it
 * could be found in. Throws `invalid_request` for what is not SQL, `operation_refused` for what is not reading.
 *
 * This keeps honest agents from surprises and gives policy facts; the boundary is what the leased role may do.
 */
export async function judge(statement: string, searchPath: readonly string[]): Promise<SqlFacts> {
  // Agents ask the same things again, and half of what a query costs us is its parsing.
  if (statement.length > longestKept) return judged(statement, searchPath);
  const key = JSON.stringify([statement, searchPath]);
  const facts = kept.get(key) ?? (await judged(statement, searchPath));
  kept.delete(key);
  kept.set(key, facts);
  const [oldest] = kept.keys();
  if (kept.size > mostKept && oldest !== undefined) kept.delete(oldest);
  return facts;
}

const kept = new Map<string, SqlFacts>();
const mostKept = 500;
const longestKept = 4096;

async function judged(statement: string, searchPath: readonly string[]): Promise<SqlFacts> {
  if (Buffer.byteLength(statement) > longest) throw invalid("The statement is longer than 64 KiB.");
  // The parser and the wire protocol end text at a NUL: they would disagree about what the statement is.
  if (statement.includes("\0") || !statement.isWellFormed()) throw invalid("The statement is not well-formed text.");
  if ((statement.match(/[\p{L}\p{N}_]+|[^\s]/gu)?.length ?? 0) > mostTokens) {
    throw invalid(`The statement has more than ${mostTokens} tokens. Pass long values as parameters.`);
  }
  if (statement.trim() === "") throw invalid("The statement is empty.");
  const [only, ...more] = list(field(await parsed(statement), "stmts"));
  if (only === undefined) throw invalid("The statement is empty.");
  if (more.length > 0) throw refused("Send one statement at a time.");
  const node = field(only, "stmt");
  const explain = field(node, "ExplainStmt");
  if (explain !== undefined) checkExplain(explain);
  const select = field(explain === undefined ? node : field(explain, "query"), "SelectStmt");
  if (select === undefined) throw refused("Only SELECT, VALUES, TABLE and EXPLAIN are performed.");
  const tables = [...tablesOf(select, searchPath)].sort();
  if (tables.length > mostTables) throw refused(`One statement names ${mostTables} tables at most.`);
  return { kind: "sql", verbs: [explain === undefined ? "select" : "explain"], tables };
}

/** Every one of them goes to policy and into the audit log. */
const mostTables = 200;

let parser: Promise<Parse> | undefined;
let generation = 0;

async function parsed(statement: string): Promise<unknown> {
  parser ??= loadParser();
  const parse = await parser;
  try {
    return parse(statement);
  } catch (problem) {
    if (problem instanceof Error && problem.name === "SqlError") throw invalid(`Not valid SQL: ${problem.message}.`);
    // Whatever this was, it left the parser in a state that nobody knows. The next statement gets a new one.
    parser = undefined;
    throw new Failure("invalid_request", { problem: "The statement is too complex." }, { cause: problem });
  }
}

async function loadParser(): Promise<Parse> {
  // A query string makes the module loader give a new instance, with a memory of its own.
  const fresh = generation === 0 ? "libpg-query" : `${import.meta.resolve("libpg-query")}?generation=${generation}`;
  generation += 1;
  const module = (await import(fresh)) as typeof PgQuery;
  await module.loadModule();
  return module.parseSync;
}

/** EXPLAIN ANALYZE runs the query, and options that imply it are not known here on purpose. */
function checkExplain(explain: unknown): void {
  for (const option of list(field(explain, "options"))) {
    const name = field(field(option, "DefElem"), "defname");
    if (typeof name !== "string" || !explainOptions.has(name)) throw refused(`EXPLAIN is performed without ${String(name).toUpperCase()}.`);
  }
}

type Scope = ReadonlySet<string>;

/** Walks the tree without recursion, so that no nesting can end our own stack. `Scope` is the WITH names in sight. */
function tablesOf(select: unknown, searchPath: readonly string[]): Set<string> {
  const tables = new Set<string>();
  const open: { readonly node: unknown; readonly scope: Scope }[] = [{ node: select, scope: new Set() }];
  for (let next = open.pop(); next; next = open.pop()) {
    const { node } = next;
    let { scope } = next;
    if (Array.isArray(node)) for (const item of node) open.push({ node: item, scope });
    if (Array.isArray(node) || typeof node !== "object" || node === null) continue;
    const withClause = field(node, "withClause");
    if (withClause !== undefined) {
      const outer = scope;
      const ctes = list(field(withClause, "ctes")).map((cte) => field(cte, "CommonTableExpr"));
      const names = ctes.map((cte) => text(field(cte, "ctename")));
      scope = new Set([...outer, ...names]);
      // Without RECURSIVE a WITH query sees those before it, and not itself: there, its name is a table.
      for (const [at, cte] of ctes.entries()) {
        open.push({ node: cte, scope: field(withClause, "recursive") === true ? scope : new Set([...outer, ...names.slice(0, at)]) });
      }
    }
    checkNode(node);
    if ("relname" in node) for (const table of tableNames(node, scope, searchPath)) tables.add(table);
    for (const [key, value] of Object.entries(node)) {
      if (key.endsWith("Stmt") && key !== "SelectStmt")
        throw refused(`Only reading is performed; this contains ${key.replace(/Stmt$/, "").toUpperCase()}.`);
      if (key !== "withClause") open.push({ node: value, scope });
    }
  }
  return tables;
}

function checkNode(node: object): void {
  if ("intoClause" in node) throw refused("SELECT INTO creates a table.");
  if ("lockingClause" in node) throw refused("FOR UPDATE and FOR SHARE lock rows.");
  if (!("funcname" in node)) return;
  const name = text(field(field(list(node.funcname).at(-1), "String"), "sval"));
  if (refusedFunctions.test(name)) throw refused(`The function ${name} is not performed.`);
}

function tableNames(node: object, scope: Scope, searchPath: readonly string[]): readonly string[] {
  const relation = text(field(node, "relname"));
  const schema = field(node, "schemaname");
  if (typeof schema === "string") return [`${canonical(schema)}.${canonical(relation)}`];
  if (scope.has(relation)) return [];
  // Looked up in pg_catalog before all else, so the fact would be a guess.
  if (relation.startsWith("pg_")) throw refused(`Write ${relation} with its schema, e.g. pg_catalog.${relation}.`);
  return searchPath.map((path) => `${canonical(path)}.${canonical(relation)}`);
}

/** As PostgreSQL writes it: quoted only when it has to be, so that a dot inside of a name cannot pass for the separator. */
function canonical(name: string): string {
  return /^[a-z_][a-z0-9_$]*$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`;
}

function field(node: unknown, key: string): unknown {
  return typeof node === "object" && node !== null && Object.hasOwn(node, key)
    ? (node as Readonly<Record<string, unknown>>)[key]
    : undefined;
}

function list(node: unknown): readonly unknown[] {
  return Array.isArray(node) ? node : [];
}

/** A name that is missing where the grammar demands one means that we misread the tree: nothing is performed then. */
function text(node: unknown): string {
  if (typeof node !== "string") throw refused("The statement has a form that is not understood.");
  return node;
}

function invalid(problem: string): Failure {
  return new Failure("invalid_request", { problem });
}

function refused(problem: string): Failure {
  return new Failure("operation_refused", { problem });
}
