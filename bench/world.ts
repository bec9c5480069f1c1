import { generateKeyPairSync, randomBytes } from "node:crypto";
import type { KeyObject } from "node:crypto";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { createSealFile } from "../src/crypto/key-file.ts";
import { newLeaseId } from "../src/lease/identifier.ts";
import { openSqlite } from "../src/store/sqlite.ts";

/** A folder with everything that a broker starts from, made for being called a lot. */
export interface World {
  readonly folder: string;
  readonly configFile: string;
  /** Private key of the measured agent, for `private_key_jwt`. */
  readonly key: KeyObject;
  /** Takes away the leases that were lent since, but for those of `billing-db`: a quota of 10,000 lasts some seconds. */
  reset(): void;
  remove(): Promise<void>;
}

export const agent = "worker";
/** A static credential whose policies read no context: a decision about it is made once and kept. */
export const kept = "tickets/api";
/** A static credential whose policies read the context: Cedar is asked on every call. */
export const asked = "tickets/asked";
export const database = "billing-db/readonly";

export interface WorldOptions {
  readonly databasePort?: number;
  /** Live leases in the store from the beginning. */
  readonly leases?: number;
}

export async function createWorld(options: WorldOptions = {}): Promise<World> {
  const folder = await mkdtemp(join(tmpdir(), "leasehold-bench-"));
  const configFile = join(folder, "leasehold.yaml");
  const store = join(folder, "data", "leasehold.db");
  await mkdir(join(folder, "policies"));
  await mkdir(join(folder, "data"), { mode: 0o700 });
  await createSealFile(join(folder, "data", "master.key"));
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  await writeFile(join(folder, "worker.jwks"), JSON.stringify({ keys: [{ ...publicKey.export({ format: "jwk" }), alg: "ES256" }] }));
  await writeFile(configFile, configuration(options.databasePort));
  await writeFile(join(folder, "policies", "bench.cedar"), policies());
  await (await openSqlite(store, Date.now)).close();
  if (options.leases) plant(store, options.leases);
  return {
    folder,
    configFile,
    key: privateKey,
    reset: () => withStore(store, reset),
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}

function configuration(databasePort: number | undefined): string {
  const api = `
    engine: static
    labels: { env: prod, team: support }
    ttl: { default: 15m, max: 1h }
    maxLeases: 10000
    secret: { vault: local, secret: tickets/token }`;
  const postgres = `
  ${database}:
    engine: postgres
    labels: { env: prod, data: customer }
    ttl: { default: 1h, max: 2h }
    target: { host: 127.0.0.1, port: ${databasePort}, database: postgres }
    admin: { vault: local, secret: billing-db/admin }
    grants: ["GRANT SELECT ON ALL TABLES IN SCHEMA public TO {{role}}"]`;
  return `
server: { listen: "127.0.0.1:0" }
limits: { leasesPerAgent: 10000, callsPerMinute: 1000000 }
oauth: { requestsPerMinute: 1000000 }
credentials:
  ${kept}:${api}
  ${asked}:${api}${databasePort === undefined ? "" : postgres}
agents:
  ${agent}: { roles: [support], owner: owner@example.com, jwks: worker.jwks }
`;
}

/** Twenty-five policies, as a small company has them; the last four are those that the measured calls meet. */
function policies(): string {
  const others = Array.from({ length: 21 }, (_, i) => permit(`other-${i}`, `team-${i}`, `other-${i}/api`));
  const inHours = "when { context.ttl <= 3600 && context.session.ageSeconds < 86400 }";
  const ours = [
    permit("support-uses-tickets", "support", kept),
    permit("support-uses-asked", "support", asked, inHours),
    permit("support-reads-billing", "support", database),
    `@id("nobody-sees-customer-data") forbid (principal, action == Leasehold::Action::"reveal", resource) when { resource.hasTag("data") && resource.getTag("data") == "customer" };`,
  ];
  return [...others, ...ours].join("\n");
}

function permit(id: string, role: string, credential: string, condition = ""): string {
  return `@id("${id}") permit (principal in Leasehold::Role::"${role}", action in [Leasehold::Action::"use", Leasehold::Action::"inject"], resource == Leasehold::Credential::"${credential}") ${condition};`;
}

function withStore(file: string, work: (store: DatabaseSync) => void): void {
  const store = new DatabaseSync(file, { timeout: 10_000 });
  try {
    work(store);
  } finally {
    store.close();
  }
}

function reset(store: DatabaseSync): void {
  store.exec("BEGIN IMMEDIATE");
  store.exec("DELETE FROM leases WHERE session <> 'planted' AND credential LIKE 'tickets/%'");
  recount(store);
  store.exec("COMMIT");
  store.exec("PRAGMA wal_checkpoint(PASSIVE)");
}

function recount(store: DatabaseSync): void {
  store.exec("DELETE FROM lease_counts");
  for (const column of ["agent", "credential"])
    store.exec(
      `INSERT INTO lease_counts SELECT '${column}:' || ${column}, count(*) FROM leases WHERE due_at IS NOT NULL GROUP BY ${column}`,
    );
}

/** Live leases of fifty agents on fifty credentials; two in a hundred are the measured agent's, on the credential it asks for. */
function plant(file: string, count: number): void {
  withStore(file, (store) => {
    const insert = store.prepare(
      `INSERT INTO leases (id, state, version, agent, session, credential, engine, delivery, created_at, expires_at, max_expires_at, handle,
        purpose, ticket, one_time, instance, end_reason, attempts, due_at, material)
       VALUES (?, 'active', 1, ?, 'planted', ?, 'static', 'use', ?, ?, ?, '{"vault":"local","secret":"tickets/token"}', 'bench', NULL, 0, 'bench/0/0', NULL, 0, ?, NULL)`,
    );
    const now = Date.now();
    store.exec("BEGIN IMMEDIATE");
    for (let i = 0; i < count; i += 1) {
      const created = now - (count - i);
      const ends = now + 3_600_000 + i * 10;
      const other = i % 49;
      const [who, what] = i % 50 === 0 ? [agent, kept] : [`other-${other}`, `other-${(i * 7) % 49}/api`];
      insert.run(newLeaseId(created, randomBytes(10)), who, what, created, ends, ends, ends);
    }
    recount(store);
    store.exec("COMMIT");
    store.exec("PRAGMA wal_checkpoint(PASSIVE)");
  });
}
