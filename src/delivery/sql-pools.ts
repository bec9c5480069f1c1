import type { Pool, PoolClient } from "pg";
import type { LeaseId } from "../core/brand.ts";
import type { Material } from "../core/ports.ts";
import { Secret } from "../core/secret.ts";

/** Connections of a lease, opened with the lease's own credential and with no other. */
export interface LeasePool {
  readonly pool: Pool;
  /** Names of types that are not built in, by number. */
  readonly typeNames: Map<number, string>;
  /** Whether the lease was let go of while this was in use. */
  readonly released: boolean;
  /** Connections in use, to be cut when the lease ends. */
  readonly busy: Set<PoolClient>;
}

export interface LeasePools {
  /** `options` come from `startupOptions`; with others than before, the sessions are new ones. */
  of(lease: LeaseId, material: Material, options: string): Promise<LeasePool>;
  release(lease: LeaseId): Promise<void>;
}

interface Held extends LeasePool {
  readonly options: string;
  readonly end: () => Promise<void>;
}

export interface PoolLimits {
  /** Connections per lease. Below the role's own limit, so that a second client still gets in. */
  readonly connections: number;
  /** Milliseconds. */
  readonly idle: number;
  /** Milliseconds. */
  readonly connect: number;
}

export function createLeasePools(limits: PoolLimits): LeasePools {
  const pools = new Map<LeaseId, Held>();

  return {
    async of(lease, material, options) {
      const known = pools.get(lease);
      if (known?.options === options) return known;
      const { Pool } = await import("pg");
      // Somebody may have been faster. From here to `pools.set` nothing is awaited, so nobody can be.
      const held = pools.get(lease);
      if (held?.options === options) return held;
      pools.delete(lease);
      void held?.end();
      const { username, host, port, database, sslmode, ca } = plain(material);
      // A copy of our own: the caller may destroy its material as soon as its call is over.
      const secret = material.fields["password"];
      const password = secret instanceof Secret ? secret.use((bytes) => Secret.of(bytes)) : Secret.of("");
      const pool = new Pool({
        user: username,
        host,
        port: Number(port),
        database,
        password: () => password.use((bytes) => bytes.toString("utf8")),
        ssl: sslmode === "verify-full" ? (ca ? { ca } : true) : false,
        application_name: "leasehold",
        options,
        max: limits.connections,
        idleTimeoutMillis: limits.idle,
        connectionTimeoutMillis: limits.connect,
        allowExitOnIdle: true,
      });
      // The server ends sessions when it likes, also ours while they are idle: unheard, that ends the process.
      pool.on("error", () => {});
      pool.on("connect", (client) => client.on("error", () => {}));
      let released = false;
      const opened: Held = {
        pool,
        options,
        typeNames: new Map<number, string>(),
        busy: new Set<PoolClient>(),
        get released() {
          return released;
        },
        async end(): Promise<void> {
          released = true;
          password.destroy();
          for (const client of opened.busy) client.release(true);
          opened.busy.clear();
          await pool.end();
        },
      };
      pools.set(lease, opened);
      return opened;
    },

    async release(lease) {
      const held = pools.get(lease);
      pools.delete(lease);
      await held?.end();
    },
  };
}

function plain(material: Material): Readonly<Record<string, string | undefined>> {
  return Object.fromEntries(Object.entries(material.fields).flatMap(([key, value]) => (typeof value === "string" ? [[key, value]] : [])));
}

/** Settings as part of the login (PostgreSQL manual, 54.2.1), where DISCARD ALL returns to and nothing else has to be sent. */
export function startupOptions(settings: Readonly<Record<string, string>>): string {
  return Object.entries(settings)
    .map(([name, value]) => `-c ${name}=${value.replaceAll(/[\\\s]/g, String.raw`\$&`)}`)
    .join(" ");
}
