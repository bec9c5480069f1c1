import type { Client, QueryConfig } from "pg";
import type { PostgresSpec } from "./postgres-spec.ts";
import { fillGrant, identifier, milliseconds } from "./postgres-spec.ts";

/**
 * Rights on an object are one row of the catalogue, and PostgreSQL refuses whoever changes it second
 * ("tuple concurrently updated"): eight agents that ask at once would get one role and seven errors. So
 * mints and undos take turns, for the few milliseconds to the end of the transaction.
 */
export async function takeTurn(client: Client): Promise<void> {
  await client.query("SELECT pg_advisory_xact_lock(hashtextextended('leasehold: rights', 0))");
}

/** Gives an existing role what the entry lends. `quoted` is the role's name in double quotes. */
export async function createGrants(client: Client, quoted: string, spec: PostgresSpec): Promise<void> {
  if (spec.grants.length > 0) await takeTurn(client);
  for (const group of spec.inRole) await client.query(`GRANT ${identifier(group)} TO ${quoted}`);
  if (spec.statementTimeout) await client.query(`ALTER ROLE ${quoted} SET statement_timeout = ${milliseconds(spec.statementTimeout)}`);
  for (const grant of spec.grants) {
    // The extended protocol takes one statement at a time: a template cannot smuggle a second one.
    const statement: QueryConfig & { readonly queryMode: "extended" } = { text: fillGrant(grant, quoted), queryMode: "extended" };
    await client.query(statement);
  }
}
