import type { PoolClient } from "pg";
import { z } from "zod";
import { Failure } from "../core/errors.ts";
import type { JsonObject, JsonValue } from "../core/json.ts";
import type { Material, OperationResult, Performer } from "../core/ports.ts";
import { cancelSession } from "./sql-cancel.ts";
import type { LeasePool } from "./sql-pools.ts";
import { createLeasePools, startupOptions } from "./sql-pools.ts";
import type { Answer } from "./sql-query.ts";
import { AnswerTooLarge, readOnlyQuery } from "./sql-query.ts";
import { judge } from "./sql-statement.ts";
import { builtInName, formats, readCell } from "./sql-values.ts";

export interface SqlPerformerOptions {
  /** Connections per lease. */
  readonly connections?: number;
  /** Bytes of result. What does not fit is left out, row by row, and the result says so. */
  readonly maxBytes?: number;
  /** Bytes off the wire, after which a query is ended. */
  readonly maxWireBytes?: number;
}

const defaultRows = 200;
const lockTimeout = "3s";

const inputSchema = z.strictObject({
  statement: z.string(),
  parameters: z
    .array(z.union([z.string(), z.number(), z.boolean(), z.null()]))
    .max(1000)
    .default([]),
  maxRows: z.int().min(1).default(defaultRows),
});

/** What concerns us of the engine's part of the entry; the engine's schema filled in the rest. */
const specSchema = z.object({
  sql: z.object({ searchPath: z.array(z.string()).min(1), maxRows: z.int().min(1).max(1000), timeout: z.string() }),
});

/** Runs read-only queries with the lease's own role, so that the agent sees rows and never a credential. */
export function createSqlPerformer(options: SqlPerformerOptions = {}): Performer {
  const { connections = 3, maxBytes = 1024 * 1024, maxWireBytes = 32 * 1024 * 1024 } = options;
  const pools = createLeasePools({ connections, idle: 30_000, connect: 5_000 });

  return {
    kind: "sql",

    async prepare(entry, input) {
      const parsed = inputSchema.safeParse(input);
      if (!parsed.success) throw new Failure("invalid_request", { problem: z.prettifyError(parsed.error) });
      const rules = rulesOf(entry.spec);
      const { statement } = parsed.data;
      const facts = await judge(statement, rules.searchPath);
      const query = {
        statement,
        parameters: parsed.data.parameters.map((value) => (value === null ? null : String(value))),
        maxRows: Math.min(parsed.data.maxRows, rules.maxRows),
        maxWireBytes,
      };
      return {
        facts,
        async perform(material, lease, signal) {
          const held = await pools.of(lease.id, material, rules.options);
          try {
            return await withClient(held, material, signal, async (client) => {
              const { submittable, answer } = readOnlyQuery(query);
              client.query(submittable);
              const got = await answer;
              return toResult(got, await typeNames(client, held, got), maxBytes);
            });
          } catch (problem) {
            const failure = asOurs(problem, held, signal);
            if (failure.code === "lease_ended") await pools.release(lease.id);
            throw failure;
          }
        },
      };
    },

    release: (lease) => pools.release(lease),
  };
}

interface Rules {
  readonly searchPath: readonly string[];
  readonly maxRows: number;
  readonly options: string;
}

/** The same for every call, until the configuration is loaded anew. */
const rulesBySpec = new WeakMap<JsonObject, Rules>();

function rulesOf(spec: JsonObject): Rules {
  const before = rulesBySpec.get(spec);
  if (before) return before;
  const { sql } = specSchema.parse(spec);
  const options = startupOptions({
    // Last and by name, the session's own temporary tables cannot stand in for others.
    search_path: [...sql.searchPath.map((path) => `"${path.replaceAll('"', '""')}"`), "pg_temp"].join(","),
    statement_timeout: sql.timeout.replace(/m$/, "min"),
    lock_timeout: lockTimeout,
    idle_in_transaction_session_timeout: lockTimeout,
    default_transaction_read_only: "on",
    ...formats,
  });
  const made = { searchPath: sql.searchPath, maxRows: sql.maxRows, options };
  rulesBySpec.set(spec, made);
  return made;
}

/** A connection for one query. An abort cuts it, after telling the server to stop working. */
async function withClient<T>(
  held: LeasePool,
  material: Material,
  signal: AbortSignal,
  work: (client: PoolClient) => Promise<T>,
): Promise<T> {
  const client = await connected(held, signal);
  const letGo = (broken: boolean): void => {
    signal.removeEventListener("abort", stop);
    if (held.busy.delete(client)) client.release(broken);
  };
  const stop = (): void => {
    const { host, port } = material.fields;
    if (typeof host === "string" && typeof port === "string") cancelSession(client, host, Number(port));
    letGo(true);
  };
  held.busy.add(client);
  signal.addEventListener("abort", stop, { once: true });
  try {
    const result = await work(client);
    letGo(false);
    return result;
  } catch (problem) {
    // The caller need not wait for that, and a connection that cannot do it is not used again.
    client.query("ROLLBACK").then(
      () => letGo(false),
      () => letGo(true),
    );
    throw problem;
  }
}

/** A login that fails says more than the same code said later. */
class LoginFailed extends Error {
  override readonly name = "LoginFailed";
}

async function connected(held: LeasePool, signal: AbortSignal): Promise<PoolClient> {
  signal.throwIfAborted();
  const connecting = held.pool.connect();
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const stop = (): void => reject(signal.reason);
  signal.addEventListener("abort", stop, { once: true });
  try {
    return await Promise.race([connecting, aborted]);
  } catch (cause) {
    // Should it come after all, nobody is waiting for it any more.
    connecting.then(
      (client) => client.release(),
      () => {},
    );
    throw new LoginFailed("the login failed", { cause });
  } finally {
    signal.removeEventListener("abort", stop);
  }
}

/** Types that are not built in are looked up once per lease. */
async function typeNames(client: PoolClient, held: LeasePool, answer: Answer): Promise<readonly string[]> {
  const known = (oid: number): string | undefined => builtInName(oid) ?? held.typeNames.get(oid);
  const missing = answer.fields.map((field) => field.dataTypeID).filter((oid) => known(oid) === undefined);
  if (missing.length > 0) {
    const text = "SELECT oid::int8::text AS oid, typname FROM pg_catalog.pg_type WHERE oid = ANY ($1::oid[])";
    const { rows } = await client.query<{ oid: string; typname: string }>(text, [[...new Set(missing)]]);
    for (const { oid, typname } of rows) held.typeNames.set(Number(oid), typname);
  }
  return answer.fields.map((field) => known(field.dataTypeID) ?? "unknown");
}

function toResult(answer: Answer, types: readonly string[], maxBytes: number): OperationResult {
  const rows: JsonValue[][] = [];
  let bytes = 0;
  let clipped = 0;
  let full = false;
  for (const cells of answer.rows) {
    const row = cells.map((text, at) => readCell(answer.fields[at]?.dataTypeID ?? 0, text));
    const size = Buffer.byteLength(JSON.stringify(row.map((cell) => cell.value)));
    full = bytes + size > maxBytes;
    if (full) break;
    bytes += size;
    clipped += row.filter((cell) => cell.clipped).length;
    rows.push(row.map((cell) => cell.value));
  }
  const columns = answer.fields.map((field, at) => ({ name: field.name, type: types[at] ?? "unknown" }));
  const output: JsonObject = { columns, rows, rowCount: rows.length, truncated: answer.more || full, clippedCells: clipped };
  return { output, figures: { rows: rows.length, bytes } };
}

/** The server's message is for the agent; its detail, hint and context are not: they quote rows and definitions of others. */
function asOurs(problem: unknown, held: LeasePool, signal: AbortSignal): Failure {
  if (problem instanceof Failure) return problem;
  if (signal.aborted) return new Failure("target_unavailable", {}, { cause: problem });
  if (held.released) return new Failure("lease_ended", {}, { cause: problem });
  if (problem instanceof LoginFailed) {
    const code = sqlState(problem.cause);
    return new Failure(code?.startsWith("28") ? "lease_ended" : "target_unavailable", {}, { cause: problem.cause });
  }
  if (problem instanceof AnswerTooLarge) {
    return new Failure("operation_refused", { problem: "The result is too large. Ask for fewer rows, or for less of each." });
  }
  const code = sqlState(problem);
  if (code === "57P01") return new Failure("lease_ended", {}, { cause: problem });
  if (code === undefined || !(problem instanceof Error) || code.startsWith("57P") || code.startsWith("08")) {
    return new Failure("target_unavailable", {}, { cause: problem });
  }
  // Without a cause: it would be logged, and the server's words quote rows.
  return new Failure("target_refused", { code, problem: problem.message });
}

function sqlState(thrown: unknown): string | undefined {
  const code = thrown instanceof Error && "code" in thrown ? thrown.code : undefined;
  return typeof code === "string" && /^[0-9A-Z]{5}$/.test(code) ? code : undefined;
}
