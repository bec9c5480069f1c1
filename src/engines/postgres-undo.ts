import { setTimeout as pause } from "node:timers/promises";
import type { Client } from "pg";
import { z } from "zod";
import type { Admins } from "./postgres-admin.ts";
import { placeSchema, sqlState } from "./postgres-admin.ts";
import { takeTurn } from "./postgres-grants.ts";
import { identifier } from "./postgres-spec.ts";

/** The recipe to undo, as it is stored in the lease. Later versions may add keys; none may be taken away. */
export const handleSchema = placeSchema.extend({
  engine: z.literal("postgres"),
  role: z.string().regex(/^lh_[0-9a-z]{26}$/),
  onEnd: z.enum(["drop", "reassign"]),
  owner: z.string().optional(),
});
export type PostgresHandle = z.output<typeof handleSchema>;

/** Milliseconds in which all sessions of a role must have ended. Terminating one takes well under one. */
const sessionDeadline = 8_000;

/**
 * One lock per role, shared by mint and undo: an undo waits for a mint that is still in flight, were its
 * broker dead, and so cannot find nothing and leave behind what that mint is about to commit.
 */
export const lockKey = "hashtextextended('leasehold:' || $1, 0)";

/**
 * Ends the role and everything of it, in the order in which nothing can slip through: no new logins
 * (committed first), no sessions, no prepared transactions, no objects, no role.
 */
export async function undoRole(admins: Admins, handle: PostgresHandle, signal: AbortSignal): Promise<void> {
  await admins.run(handle, signal, async (client) => {
    const { role } = handle;
    await client.query(`SELECT pg_advisory_lock(${lockKey})`, [role]);
    const found = await close(client, role);
    if (found) {
      await endSessions(client, found.oid, signal);
      await rollBackPrepared(admins, client, handle, signal);
      for (const database of await databasesOf(client, found.oid)) {
        if (database === handle.database) continue;
        await admins.also({ ...handle, database }, signal, (there) => release(there, handle, found, "keep the role"));
      }
      await release(client, handle, found, "drop the role");
      // A login that had passed the check for NOLOGIN just before it was committed shows up about now.
      await endSessions(client, found.oid, signal);
    }
    await client.query(`SELECT pg_advisory_unlock(${lockKey})`, [role]);
  });
}

interface Found {
  readonly oid: string;
}

/** Shuts the door: committed by itself, so that it stays shut whatever fails after it. */
async function close(client: Client, role: string): Promise<Found | undefined> {
  const { rows } = await client.query<{ oid: string; super: boolean; version: number }>(
    `SELECT r.oid::text AS oid, me.rolsuper AS super, current_setting('server_version_num')::int AS version
       FROM pg_roles r, pg_roles me WHERE r.rolname = $1 AND me.rolname = current_user`,
    [role],
  );
  const [row] = rows;
  if (!row) return undefined;
  await client.query(`ALTER ROLE ${identifier(role)} NOLOGIN CONNECTION LIMIT 0`);
  // Ending its sessions and dropping what it owns takes membership. Creating a role gives that from 16 on only in part.
  const options = row.version >= 160_000 ? " WITH INHERIT TRUE, SET TRUE" : "";
  if (!row.super) await client.query(`GRANT ${identifier(role)} TO CURRENT_USER${options}`);
  return { oid: row.oid };
}

/** By the role's number: its name is gone from the list of sessions once the role is dropped. */
async function endSessions(client: Client, oid: string, signal: AbortSignal): Promise<void> {
  const until = Date.now() + sessionDeadline;
  for (;;) {
    const { rowCount } = await client.query(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usesysid = $1 AND pid <> pg_backend_pid()",
      [oid],
    );
    if (!rowCount) return;
    if (Date.now() > until) throw new Error(`${rowCount} sessions of the role are still open`);
    await pause(5, undefined, { signal });
  }
}

/**
 * A prepared transaction outlives its session and its role, keeps its locks, and could be committed later.
 * Only its own role (or a superuser) may roll it back, and only in its own database.
 */
async function rollBackPrepared(admins: Admins, client: Client, handle: PostgresHandle, signal: AbortSignal): Promise<void> {
  const { rows } = await client.query<{ gid: string; database: string }>("SELECT gid, database FROM pg_prepared_xacts WHERE owner = $1", [
    handle.role,
  ]);
  for (const { gid, database } of rows) {
    const rollBack = async (there: Client): Promise<void> => {
      await there.query(`SET ROLE ${identifier(handle.role)}`);
      await there.query(`ROLLBACK PREPARED ${there.escapeLiteral(gid)}`).catch(ignoreGone);
      await there.query("RESET ROLE");
    };
    if (database === handle.database) await rollBack(client);
    else await admins.also({ ...handle, database }, signal, rollBack);
  }
}

/** Where the role owns something or was given rights. Roles are one for the whole server; these are per database. */
async function databasesOf(client: Client, oid: string): Promise<readonly string[]> {
  const { rows } = await client.query<{ datname: string }>(
    `SELECT DISTINCT d.datname FROM pg_shdepend s JOIN pg_database d ON d.oid = s.dbid
      WHERE s.refclassid = 'pg_authid'::regclass AND s.refobjid = $1`,
    [oid],
  );
  return rows.map((row) => row.datname);
}

/**
 * Gives up what the role owns and was granted in the database of `client`. Refuses (2BP01) when objects of
 * others depend on it: the login is dead already, and taking the work of others with it is not ours to decide.
 */
async function release(client: Client, handle: PostgresHandle, found: Found, then: "drop the role" | "keep the role"): Promise<void> {
  const role = identifier(handle.role);
  // Another undo may have finished between our looking and now; what is gone is as it should be.
  const { rowCount } = await client.query("SELECT FROM pg_roles WHERE oid = $1", [found.oid]);
  if (!rowCount) return;
  await client.query("BEGIN");
  await takeTurn(client);
  if (handle.onEnd === "reassign" && handle.owner) await client.query(`REASSIGN OWNED BY ${role} TO ${identifier(handle.owner)}`);
  await client.query(`DROP OWNED BY ${role}`);
  if (then === "drop the role") await client.query(`DROP ROLE ${role}`);
  await client.query("COMMIT");
}

function ignoreGone(problem: unknown): void {
  if (sqlState(problem) !== "42704") throw problem;
}
