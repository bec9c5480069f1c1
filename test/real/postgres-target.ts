import type { CatalogueEntry } from "../../src/core/catalogue.ts";
import { isCredentialName } from "../../src/core/brand.ts";
import type { JsonObject } from "../../src/core/json.ts";
import type { Lease } from "../../src/core/lease.ts";
import type { Handle, Material, Order, Vault } from "../../src/core/ports.ts";
import { Secret } from "../../src/core/secret.ts";
import type { Database } from "../../src/demo/database.ts";
import { startDatabase } from "../../src/demo/database.ts";
import { postgresEngine } from "../../src/engines/postgres.ts";

/** A vault in memory: a real one is not what these tests are about. */
function memoryVault(secrets: Map<string, string>): Vault {
  return {
    async read(secret) {
      const value = secrets.get(secret);
      return value === undefined ? undefined : { value: Secret.of(value), version: "1" };
    },
    async *list() {
      for (const secret of secrets.keys()) yield { secret, version: "1" };
    },
  };
}

export interface Target {
  readonly database: Database;
  readonly secrets: Map<string, string>;
  readonly engine: ReturnType<typeof postgresEngine.create>;
  /** An entry that uses the admin secret of this name. */
  entry(admin: "super" | "limited", spec?: JsonObject): CatalogueEntry;
  /** Runs SQL as the superuser. */
  sql(text: string, database?: string): Promise<readonly Record<string, unknown>[]>;
  stop(): Promise<void>;
}

export const limitedPassword = "limited-canary-6f1d";

/**
 * A PostgreSQL with two databases, a group that may read and write, and a broker account that is no superuser:
 * CREATEROLE, admin option on the group, nothing else.
 */
export async function startTarget(): Promise<Target> {
  const database = await startDatabase({ logStatements: true, settings: { max_prepared_transactions: "4" } });
  const secrets = new Map<string, string>([
    ["super", JSON.stringify(database.superuser)],
    ["limited", JSON.stringify({ username: 'bro"ker', password: limitedPassword })],
  ]);
  const engine = postgresEngine.create({ vault: () => memoryVault(secrets) });

  async function sql(text: string, at = "shop"): Promise<readonly Record<string, unknown>[]> {
    const client = await database.connect({ database: at });
    try {
      const { rows } = await client.query<Record<string, unknown>>(text);
      return rows;
    } finally {
      await client.end();
    }
  }

  await sql("CREATE DATABASE shop", "postgres");
  await sql("CREATE DATABASE other", "postgres");
  await sql(`
    CREATE TABLE invoices (id int PRIMARY KEY, customer text, amount numeric(12,2), paid boolean);
    INSERT INTO invoices SELECT n, 'customer ' || n, n * 1.5, n % 2 = 0 FROM generate_series(1, 500) n;
    CREATE SEQUENCE counter; CREATE TYPE mood AS ENUM ('fine', 'poor');
    CREATE ROLE shop_rw NOLOGIN; GRANT SELECT, INSERT, UPDATE ON invoices TO shop_rw; GRANT CREATE ON SCHEMA public TO shop_rw;
    GRANT ALL ON SEQUENCE counter TO shop_rw;
    CREATE ROLE "bro""ker" LOGIN CREATEROLE PASSWORD '${limitedPassword}'; GRANT shop_rw TO "bro""ker" WITH ADMIN OPTION;
    GRANT pg_signal_backend TO "bro""ker"`);
  await sql("GRANT CREATE ON SCHEMA public TO shop_rw", "other");

  return {
    database,
    secrets,
    engine,
    sql,
    entry(admin, spec = {}) {
      const name = "shop/rw";
      if (!isCredentialName(name)) throw new TypeError("not a credential name");
      const target = { host: database.host, port: database.port, database: "shop" };
      return {
        name,
        engine: "postgres",
        description: "",
        labels: {},
        ttl: { default: 300, max: 900 },
        maxLeases: 10,
        spec: postgresEngine.schema.parse({
          target,
          admin: { vault: "local", secret: admin },
          grants: ["GRANT shop_rw TO {{role}}"],
          ...spec,
        }),
      };
    },
    async stop() {
      await engine.close();
      await database.stop();
    },
  };
}

/** Logs in with leased material, as whoever it was lent to would. */
export async function loginWith(target: Target, material: Material, database?: string) {
  const { username, password } = material.fields;
  if (typeof username !== "string" || !(password instanceof Secret)) throw new TypeError("not a PostgreSQL login");
  return target.database.connect({
    user: username,
    password: password.use((bytes) => bytes.toString("utf8")),
    database: database ?? String(material.fields["database"]),
  });
}

/** An active lease as the broker would have stored it. */
export function leaseFor(order: Order, handle: Handle): Lease {
  return {
    id: order.lease,
    state: "active",
    version: 1,
    agent: order.agent,
    session: "s",
    credential: order.entry.name,
    engine: "postgres",
    delivery: "use",
    createdAt: Date.now(),
    expiresAt: order.expiresAt,
    maxExpiresAt: order.expiresAt,
    handle,
    purpose: "test",
    oneTime: false,
    instance: "test",
    attempts: 0,
    dueAt: order.expiresAt,
  };
}
