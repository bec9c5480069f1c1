import { hash } from "node:crypto";
import type { Kysely } from "kysely";
import { sql } from "kysely";
import { SetupError } from "../core/setup-error.ts";
import type { Tables } from "./schema.ts";

interface Migration {
  readonly name: string;
  readonly statements: readonly string[];
}

/**
 * Ordered and forward only. A migration that has landed is never edited: its digest is kept in the
 * database, and a store whose history differs from ours is refused rather than guessed at.
 * The statements keep to what SQLite and PostgreSQL both take, but for the type name `BLOB`.
 */
const migrations: readonly Migration[] = [
  {
    name: "first",
    statements: [
      `CREATE TABLE leases (
        id TEXT PRIMARY KEY, state TEXT NOT NULL, version INTEGER NOT NULL DEFAULT 0,
        agent TEXT NOT NULL, session TEXT NOT NULL, credential TEXT NOT NULL, engine TEXT NOT NULL, delivery TEXT NOT NULL,
        created_at BIGINT NOT NULL, expires_at BIGINT NOT NULL, max_expires_at BIGINT NOT NULL,
        handle TEXT NOT NULL, purpose TEXT NOT NULL, ticket TEXT, one_time INTEGER NOT NULL, instance TEXT NOT NULL,
        end_reason TEXT, attempts INTEGER NOT NULL, due_at BIGINT, material BLOB
      )`,
      `CREATE INDEX leases_due ON leases (due_at) WHERE due_at IS NOT NULL`,
      // One index for all look-ups by agent: a quota bounds how many live leases one has. Each further index is a page more in every commit.
      `CREATE INDEX leases_live ON leases (agent, credential, id) WHERE due_at IS NOT NULL`,
      `CREATE TABLE lease_counts (subject TEXT PRIMARY KEY, live INTEGER NOT NULL)`,
      `CREATE TABLE handles (digest BLOB PRIMARY KEY, lease TEXT NOT NULL, expires_at BIGINT NOT NULL, redeemed_at BIGINT)`,
      `CREATE TABLE exposures (credential TEXT PRIMARY KEY, lease TEXT NOT NULL, at BIGINT NOT NULL)`,
      `CREATE TABLE audit_entries (seq INTEGER PRIMARY KEY, bytes BLOB NOT NULL, hash BLOB NOT NULL)`,
      `CREATE TABLE audit_head (id INTEGER PRIMARY KEY, head BLOB NOT NULL)`,
      `CREATE TABLE audit_checkpoints (size BIGINT PRIMARY KEY, note TEXT NOT NULL)`,
      `CREATE TABLE sink_positions (sink TEXT PRIMARY KEY, position BIGINT NOT NULL)`,
      `CREATE TABLE agents (
        name TEXT PRIMARY KEY, roles TEXT, owner TEXT, added_at BIGINT, frozen_at BIGINT, disabled_at BIGINT,
        tokens_valid_from BIGINT NOT NULL DEFAULT 0
      )`,
      `CREATE TABLE revoked_tokens (jti TEXT PRIMARY KEY, expires_at BIGINT NOT NULL)`,
      `CREATE TABLE secrets (
        vault TEXT NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL, sealed BLOB NOT NULL, updated_at BIGINT NOT NULL,
        PRIMARY KEY (vault, name, version)
      )`,
      `CREATE TABLE data_keys (id TEXT PRIMARY KEY, kek TEXT NOT NULL, wrapped BLOB NOT NULL, created_at BIGINT NOT NULL, retired_at BIGINT, records BIGINT NOT NULL)`,
      `CREATE TABLE signing_keys (name TEXT PRIMARY KEY, kind TEXT NOT NULL, sealed BLOB NOT NULL, public_key BLOB)`,
    ],
  },
  {
    name: "oauth",
    statements: [
      `ALTER TABLE leases ADD COLUMN account TEXT`,
      `ALTER TABLE leases ADD COLUMN token TEXT`,
      `ALTER TABLE leases ADD COLUMN chain TEXT`,
      `ALTER TABLE agents ADD COLUMN source TEXT`,
      `ALTER TABLE signing_keys ADD COLUMN created_at BIGINT NOT NULL DEFAULT 0`,
      // Codes, refresh tokens, grants, sessions: by the digest of their id, which is a secret, and sealed.
      `CREATE TABLE oauth_records (
        model TEXT NOT NULL, digest BLOB NOT NULL, sealed BLOB NOT NULL, grant_id TEXT, lookup BLOB, client TEXT, account TEXT,
        consumed_at BIGINT, expires_at BIGINT, PRIMARY KEY (model, digest)
      )`,
      `CREATE INDEX oauth_records_grant ON oauth_records (grant_id) WHERE grant_id IS NOT NULL`,
      `CREATE INDEX oauth_records_lookup ON oauth_records (model, lookup) WHERE lookup IS NOT NULL`,
      `CREATE INDEX oauth_records_expiry ON oauth_records (expires_at) WHERE expires_at IS NOT NULL`,
      `CREATE TABLE clients (
        id TEXT PRIMARY KEY, agent TEXT NOT NULL, source TEXT NOT NULL, name TEXT, sealed BLOB NOT NULL, invitation TEXT, voucher TEXT,
        created_at BIGINT NOT NULL, last_used_at BIGINT, frozen_at BIGINT, removed_at BIGINT
      )`,
      `CREATE INDEX clients_agent ON clients (agent)`,
      `CREATE TABLE invitations (
        id TEXT PRIMARY KEY, digest BLOB NOT NULL UNIQUE, roles TEXT NOT NULL, prefix TEXT, uses_left INTEGER NOT NULL, created_by TEXT NOT NULL,
        created_at BIGINT NOT NULL, expires_at BIGINT NOT NULL, revoked_at BIGINT
      )`,
      `CREATE TABLE users (
        id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, issuer TEXT NOT NULL, subject TEXT NOT NULL, email TEXT, role TEXT NOT NULL, teams TEXT NOT NULL,
        password TEXT, totp BLOB, totp_step BIGINT, created_at BIGINT NOT NULL, disabled_at BIGINT, frozen_at BIGINT,
        valid_from BIGINT NOT NULL DEFAULT 0, UNIQUE (issuer, subject)
      )`,
      `CREATE TABLE passkeys (
        id BLOB PRIMARY KEY, account TEXT NOT NULL, public_key BLOB NOT NULL, algorithm INTEGER NOT NULL, counter BIGINT NOT NULL, name TEXT NOT NULL,
        created_at BIGINT NOT NULL, used_at BIGINT
      )`,
      `CREATE INDEX passkeys_account ON passkeys (account)`,
      `CREATE TABLE enrolments (digest BLOB PRIMARY KEY, account TEXT NOT NULL, expires_at BIGINT NOT NULL, used_at BIGINT)`,
    ],
  },
];

/** Brings a store up to date, each migration in a transaction of its own. Two processes may do so at once. */
export async function migrate(db: Kysely<Tables>, file: string, now: () => number): Promise<void> {
  await db.connection().execute(async (connection) => {
    await sql`CREATE TABLE IF NOT EXISTS migrations (id INTEGER PRIMARY KEY, name TEXT NOT NULL, digest TEXT NOT NULL, applied_at BIGINT NOT NULL)`.execute(
      connection,
    );
    for (const [id, migration] of migrations.entries()) {
      await sql`BEGIN IMMEDIATE`.execute(connection);
      try {
        await apply(connection, id, migration, file, now());
        await sql`COMMIT`.execute(connection);
      } catch (cause) {
        await sql`ROLLBACK`.execute(connection);
        throw cause;
      }
    }
    const newest = await connection
      .selectFrom("migrations")
      .select(({ fn }) => fn.max("id").as("id"))
      .executeTakeFirst();
    if ((newest?.id ?? 0) >= migrations.length)
      throw new SetupError({
        what: `${file} was written by a newer Leasehold`,
        fix: "Run that version or a later one; a store never goes back.",
      });
  });
}

async function apply(connection: Kysely<Tables>, id: number, migration: Migration, file: string, at: number): Promise<void> {
  const digest = hash("sha256", migration.statements.join(";\n"));
  const applied = await connection.selectFrom("migrations").selectAll().where("id", "=", id).executeTakeFirst();
  if (applied) {
    if (applied.digest === digest) return;
    throw new SetupError({
      what: `${file} has a different history (migration ${migration.name})`,
      fix: "It was made by an unreleased version. Keep it aside and start with a new store.",
    });
  }
  for (const statement of migration.statements) await sql.raw(statement).execute(connection);
  await connection.insertInto("migrations").values({ id, name: migration.name, digest, applied_at: at }).execute();
}
