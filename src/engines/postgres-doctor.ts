import { randomBytes } from "node:crypto";
import type { Client } from "pg";
import { Failure } from "../core/errors.ts";
import type { Admins, Place } from "./postgres-admin.ts";
import { createGrants } from "./postgres-grants.ts";
import { identifier } from "./postgres-spec.ts";
import type { PostgresSpec } from "./postgres-spec.ts";

export interface Finding {
  readonly level: "ok" | "warning" | "problem";
  readonly message: string;
}

/** What would keep this entry from being lent or taken back, found out at the target without changing anything there. */
export async function examine(admins: Admins, place: Place, spec: PostgresSpec, signal: AbortSignal): Promise<readonly Finding[]> {
  try {
    return await admins.run(place, signal, async (client) => [
      ...transport(place, spec),
      ...(await server(client)),
      ...(await ending(client, spec)),
      await rehearsal(client, spec),
    ]);
  } catch (problem) {
    return [{ level: "problem", message: `The admin cannot connect to ${place.host}:${place.port}/${place.database}: ${reason(problem)}` }];
  }
}

function transport(place: Place, spec: PostgresSpec): readonly Finding[] {
  if (place.tls !== false || spec.target.tls === undefined || place.host.startsWith("127.")) return [];
  return [{ level: "warning", message: `Connections to ${place.host} are not encrypted (tls: false).` }];
}

async function server(client: Client): Promise<readonly Finding[]> {
  const { rows } = await client.query<{
    version: string;
    number: number;
    user: string;
    super: boolean;
    createrole: boolean;
    signal: boolean;
  }>(
    `SELECT current_setting('server_version') AS version, current_setting('server_version_num')::int AS number, current_user::text AS user,
            rolsuper AS super, rolcreaterole AS createrole, pg_has_role(current_user, 'pg_signal_backend', 'USAGE') AS signal
       FROM pg_roles WHERE rolname = current_user`,
  );
  const [me] = rows;
  if (!me) return [{ level: "problem", message: "The server does not know who the admin is." }];
  const findings: Finding[] = [{ level: "ok", message: `PostgreSQL ${me.version}, as ${me.user}.` }];
  if (me.number < 160_000) {
    const message = "Before PostgreSQL 16, CREATEROLE lets the admin join any group and reset any password but a superuser's. Upgrade.";
    findings.push({ level: "warning", message });
  }
  if (me.super)
    findings.push({ level: "warning", message: `${me.user} is a superuser. CREATEROLE and ADMIN OPTION on the lent groups are enough.` });
  else if (!me.createrole) findings.push({ level: "problem", message: `${me.user} lacks CREATEROLE.` });
  if (!me.super && !me.signal) {
    const message = `${me.user} lacks pg_signal_backend: sessions can be ended only through membership, which PostgreSQL gives it per role.`;
    findings.push({ level: "warning", message });
  }
  return findings;
}

async function ending(client: Client, spec: PostgresSpec): Promise<readonly Finding[]> {
  if (spec.owner === undefined) return [];
  const { rows } = await client.query<{ member: boolean }>(
    "SELECT pg_has_role(current_user, oid, 'MEMBER') AS member FROM pg_roles WHERE rolname = $1",
    [spec.owner],
  );
  if (!rows[0]) return [{ level: "problem", message: `There is no role ${spec.owner} to reassign objects to.` }];
  return rows[0].member
    ? []
    : [{ level: "problem", message: `The admin is not a member of ${spec.owner}, so it cannot reassign objects to it.` }];
}

/** Creates a role with the entry's grants, and takes it back in the same transaction. */
async function rehearsal(client: Client, spec: PostgresSpec): Promise<Finding> {
  const role = identifier(`lh_rehearsal_${randomBytes(6).toString("hex")}`);
  await client.query("BEGIN");
  try {
    await client.query(`CREATE ROLE ${role} NOLOGIN`);
    await createGrants(client, role, spec);
    return { level: "ok", message: "A role with these grants can be created." };
  } catch (problem) {
    return { level: "problem", message: `A role with these grants cannot be created: ${reason(problem)}` };
  } finally {
    await client.query("ROLLBACK");
  }
}

function reason(problem: unknown): string {
  const cause = problem instanceof Failure ? problem.cause : problem;
  return cause instanceof Error ? cause.message : "unknown";
}
