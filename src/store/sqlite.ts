import { chmodSync, existsSync, mkdirSync } from "node:fs";
import { dirname } from "node:path";
import type { SQLInputValue, StatementSync } from "node:sqlite";
import { DatabaseSync } from "node:sqlite";
import type { SqliteDatabase } from "kysely";
import { Kysely, SqliteDialect } from "kysely";
import { SetupError } from "../core/setup-error.ts";
import { migrate } from "./migrations.ts";
import type { Tables } from "./schema.ts";

/**
 * Two connections to one file: `write` belongs to the journal alone, `read` sees what is committed
 * and nothing else. On one connection, a read between two awaits of a transaction would see the
 * middle of it.
 */
export interface Database {
  readonly write: Kysely<Tables>;
  readonly read: Kysely<Tables>;
  close(): Promise<void>;
}

/** Opens or creates the store. Durable when a commit returns: WAL with `synchronous=FULL`. */
export async function openSqlite(file: string, now: () => number): Promise<Database> {
  const fresh = !existsSync(file);
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  try {
    const writer = connect(file);
    // The file holds sealed secrets and the audit log: nobody else on the machine needs to read it.
    if (fresh) chmodSync(file, 0o600);
    const write = kysely(writer);
    await migrate(write, file, now);
    // From here on the journal does the waiting, because this stops the event loop.
    writer.exec("PRAGMA busy_timeout = 5");
    const reader = connect(file);
    reader.exec("PRAGMA query_only = ON");
    const read = kysely(reader);
    return {
      write,
      read,
      async close() {
        await read.destroy();
        await write.destroy();
      },
    };
  } catch (cause) {
    if (cause instanceof SetupError) throw cause;
    throw new SetupError({ what: `the store ${file} cannot be opened (${reasonOf(cause)})`, fix: fixFor(cause, file), cause });
  }
}

/** 32 MiB of pages in memory (SQLite's own choice is 2): with 100,000 leases, the indices of one commit are all over the file. */
const pageCache = -32_768;

function connect(file: string): DatabaseSync {
  const database = new DatabaseSync(file, { timeout: 5_000, enableForeignKeyConstraints: true });
  database.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY; PRAGMA cache_size = ${pageCache}`);
  return database;
}

/** Kysely's SQLite dialect over `node:sqlite`, with prepared statements kept: preparing costs more than running. */
function kysely(database: DatabaseSync): Kysely<Tables> {
  const prepared = new Map<string, ReturnType<SqliteDatabase["prepare"]>>();
  return new Kysely<Tables>({
    dialect: new SqliteDialect({
      database: {
        close: () => database.close(),
        prepare(text) {
          let statement = prepared.get(text);
          if (!statement) {
            statement = adapt(database.prepare(text));
            if (prepared.size >= 256) prepared.clear();
            prepared.set(text, statement);
          }
          return statement;
        },
      },
    }),
  });
}

function adapt(statement: StatementSync): ReturnType<SqliteDatabase["prepare"]> {
  return {
    reader: statement.columns().length > 0,
    all: (parameters) => statement.all(...parameters.map(bindable)),
    run: (parameters) => statement.run(...parameters.map(bindable)),
    iterate: (parameters) => statement.iterate(...parameters.map(bindable)),
  };
}

function bindable(value: unknown): SQLInputValue {
  if (value === null || typeof value === "string" || typeof value === "number" || typeof value === "bigint") return value;
  if (value instanceof Uint8Array) return value;
  throw new TypeError(`cannot store a ${typeof value}`);
}

/** SQLITE_BUSY: another connection is writing. */
export function isBusy(cause: unknown): boolean {
  return cause instanceof Error && "errcode" in cause && typeof cause.errcode === "number" && (cause.errcode & 0xff) === 5;
}

function reasonOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : "unknown reason";
}

function fixFor(cause: unknown, file: string): string {
  const reason = reasonOf(cause);
  if (/not a database|malformed|corrupt/i.test(reason))
    return `The file is damaged. Keep it, restore a backup of ${file} (with its -wal file), and check it with \`leasehold audit verify\`.`;
  if (/locked|busy/i.test(reason)) return "Another process holds it. Wait, or stop that process.";
  return "Check that the folder exists, is writable, and has space left.";
}
