import type { Client } from "pg";
import type { CatalogueEntry } from "../core/catalogue.ts";
import { Failure } from "../core/errors.ts";
import type { CredentialEngine, Handle, Material, Order, Vault } from "../core/ports.ts";
import { Secret } from "../core/secret.ts";
import type { Place } from "./postgres-admin.ts";
import { createAdmins } from "./postgres-admin.ts";
import type { Finding } from "./postgres-doctor.ts";
import { examine } from "./postgres-doctor.ts";
import { createGrants } from "./postgres-grants.ts";
import type { Random } from "./postgres-password.ts";
import { newPassword, scramVerifier } from "./postgres-password.ts";
import type { PostgresSpec } from "./postgres-spec.ts";
import { identifier, postgresSchema, tlsFor } from "./postgres-spec.ts";
import type { PostgresHandle } from "./postgres-undo.ts";
import { handleSchema, lockKey, undoRole } from "./postgres-undo.ts";

interface PostgresEngineParts {
  readonly vault: (name: string) => Vault;
  readonly random?: Random;
}

interface PostgresEngine extends CredentialEngine {
  readonly extend: (handle: Handle, until: number, signal: AbortSignal) => Promise<void>;
  readonly survey: (entry: CatalogueEntry, signal: AbortSignal) => Promise<readonly string[]>;
  readonly nameOf: (handle: Handle) => string;
  /** Examines an entry at its target, changing nothing there. Findings are for operators, and may name the target. */
  diagnose(entry: CatalogueEntry, signal: AbortSignal): Promise<readonly Finding[]>;
  /** Ends idle connections to targets. */
  close(): Promise<void>;
}

/** Lends a PostgreSQL role that lives as long as its lease. */
export const postgresEngine = { kind: "postgres", schema: postgresSchema, create: createPostgresEngine } as const;

function createPostgresEngine(parts: PostgresEngineParts): PostgresEngine {
  const { random } = parts;
  const admins = createAdmins({ vault: parts.vault });

  return {
    operations: () => ["sql"],

    plan(order) {
      const spec = specOf(order.entry);
      return {
        engine: "postgres",
        role: `lh_${order.lease}`,
        ...placeOf(spec),
        onEnd: spec.onEnd,
        ...(spec.owner === undefined ? {} : { owner: spec.owner }),
      };
    },

    nameOf: (handle) => handleSchema.parse(handle).role,

    async mint(order, handle, signal) {
      const place = handleSchema.parse(handle);
      const spec = specOf(order.entry);
      const password = newPassword(random);
      const verifier = await scramVerifier(password, random);
      await admins.run(place, signal, (client) => createRole(client, place.role, verifier, spec, order));
      return materialFor(place, password);
    },

    undo: async (handle, signal) => undoRole(admins, handleSchema.parse(handle), signal),

    async extend(handle, until, signal) {
      const { role, ...place } = handleSchema.parse(handle);
      const statement = `ALTER ROLE ${identifier(role)} VALID UNTIL '${iso(until)}'`;
      const found = await admins.run(place, signal, async (client) => {
        const { rowCount } = await client.query("SELECT FROM pg_roles WHERE rolname = $1", [role]);
        if (rowCount) await client.query(statement);
        return Boolean(rowCount);
      });
      if (!found) throw new Failure("lease_ended", {});
    },

    async survey(entry, signal) {
      const query = "SELECT rolname FROM pg_roles WHERE rolname ~ '^lh_[0-9a-z]{26}$' ORDER BY rolname";
      return admins.run(placeOf(specOf(entry)), signal, async (client) => {
        const { rows } = await client.query<{ rolname: string }>(query);
        return rows.map((row) => row.rolname);
      });
    },

    async diagnose(entry, signal) {
      const spec = specOf(entry);
      return examine(admins, placeOf(spec), spec, signal);
    },

    close: () => admins.close(),
  };
}

function specOf(entry: CatalogueEntry): PostgresSpec {
  return postgresSchema.parse(entry.spec);
}

function placeOf(spec: PostgresSpec): Place {
  const { host, port, database } = spec.target;
  return { host, port, database, tls: tlsFor(spec.target), admin: spec.admin };
}

/**
 * One transaction: a role without its rights, or rights without a limit, is never seen. The lock is taken in
 * a round trip of its own, before anything is sent that could be committed: should we die, either we hold
 * the lock and an undo waits for the outcome, or nothing of ours is left to arrive.
 */
async function createRole(client: Client, role: string, verifier: string, spec: PostgresSpec, order: Order): Promise<void> {
  const quoted = identifier(role);
  await client.query("BEGIN");
  await client.query(`SELECT pg_advisory_xact_lock(${lockKey})`, [role]);
  await client.query(
    `CREATE ROLE ${quoted} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS
       CONNECTION LIMIT ${spec.connectionLimit} PASSWORD '${verifier}' VALID UNTIL '${iso(order.expiresAt)}'`,
  );
  await createGrants(client, quoted, spec);
  await client.query("COMMIT");
}

function materialFor(place: PostgresHandle, password: string): Material {
  const { host, port, database, tls, role } = place;
  const sslmode = tls === false ? "disable" : "verify-full";
  const at = host.startsWith("/") ? encodeURIComponent(host) : host.includes(":") ? `[${host}]` : host;
  const url = `postgres://${role}:${password}@${at}:${port}/${encodeURIComponent(database)}?sslmode=${sslmode}`;
  return {
    fields: {
      username: role,
      password: Secret.of(password),
      host,
      port: String(port),
      database,
      url: Secret.of(url),
      sslmode,
      ...(typeof tls === "object" ? { ca: tls.ca } : {}),
    },
  };
}

/** Whole seconds, rounded up: PostgreSQL judges the login, the broker ends the lease to the millisecond. */
function iso(instant: number): string {
  return new Date(Math.ceil(instant / 1000) * 1000).toISOString();
}
