import { randomUUID } from "node:crypto";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Client } from "pg";
import { pino } from "pino";
import { parseConfig } from "../../src/config/load.ts";
import { compose, configTables } from "../../src/compose.ts";
import type { House } from "../../src/compose.ts";
import type { AgentName, CorrelationId, CredentialName } from "../../src/core/brand.ts";
import type { Principal } from "../../src/core/principal.ts";
import type { AccessRequest } from "../../src/core/request.ts";
import { Secret } from "../../src/core/secret.ts";
import { createSealFile } from "../../src/crypto/key-file.ts";
import type { Database } from "../../src/demo/database.ts";

/** A broker put together by `compose`, in a folder of its own, over a real database. */
export interface TestHouse {
  readonly house: House;
  readonly folder: string;
  /** Everything that was logged. */
  log(): string;
  /** Ends it as an orderly stop does; the folder stays. */
  close(): Promise<void>;
}

export const readonly = "billing-db/readonly" as CredentialName;
export const ticketApi = "tickets/api" as CredentialName;

export const standardPolicies = `
@id("reporter-uses-billing")
permit (principal in Leasehold::Role::"data-retrieval", action in [Leasehold::Action::"use", Leasehold::Action::"inject"], resource == Leasehold::Credential::"billing-db/readonly");
@id("debugger-sees-billing")
permit (principal in Leasehold::Role::"debugging", action in [Leasehold::Action::"use", Leasehold::Action::"inject", Leasehold::Action::"reveal"], resource == Leasehold::Credential::"billing-db/readonly");
@id("tickets")
permit (principal in Leasehold::Role::"ticket-automation", action in [Leasehold::Action::"use", Leasehold::Action::"inject"], resource == Leasehold::Credential::"tickets/api");
`;

export interface HouseOptions {
  readonly database: Pick<Database, "superuser"> & { readonly port: number };
  readonly folder?: string;
  readonly policies?: string;
  /** Further lines of the configuration, at the top level. */
  readonly extra?: string;
  /** Further credentials, indented by two. */
  readonly credentials?: string;
  readonly ttl?: string;
  readonly apiUrl?: string;
}

export async function openHouse(options: HouseOptions): Promise<TestHouse> {
  const folder = options.folder ?? (await newFolder(options.policies ?? standardPolicies));
  const lines: string[] = [];
  const config = parseConfig(configuration(options), join(folder, "leasehold.yaml"), configTables);
  const house = await compose({ config, logger: pino({ level: "debug" }, { write: (line: string) => void lines.push(line) }) });
  await house.policies();
  await house.vaults["local"]?.write?.(
    "billing-db/admin",
    Secret.of(JSON.stringify(options.database.superuser)),
    AbortSignal.timeout(5_000),
  );
  return { house, folder, log: () => lines.join(""), close: () => house.close() };
}

export async function newFolder(policies: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "leasehold-test-"));
  await mkdir(join(folder, "policies"));
  await writeFile(join(folder, "policies", "test.cedar"), policies);
  await mkdir(join(folder, "data"), { mode: 0o700 });
  await createSealFile(join(folder, "data", "master.key"));
  return folder;
}

export const removeFolder = (folder: string): Promise<void> => rm(folder, { recursive: true, force: true });

function configuration({ database, ttl, apiUrl, extra, credentials }: HouseOptions): string {
  return `
credentials:
  billing-db/readonly:
    engine: postgres
    labels: { env: test, data: customer }
    ttl: { default: ${ttl ?? "1m"}, max: 5m }
    target: { host: 127.0.0.1, port: ${database.port}, database: postgres }
    admin: { vault: local, secret: billing-db/admin }
    grants: ["GRANT SELECT ON ALL TABLES IN SCHEMA public TO {{role}}"]
  tickets/api:
    engine: static
    labels: { env: test }
    maxLeases: 10000
    secret: { vault: local, secret: tickets/token }
    http:
      baseUrl: ${apiUrl ?? "https://tickets.example.com"}
      header: { name: Authorization, value: "Bearer {{secret}}" }
      privateNetwork: true
      allow: [{ method: GET, path: /** }, { method: POST, path: /tickets }]
${credentials ?? ""}
agents:
  reporter: { roles: [data-retrieval] }
  debugger: { roles: [debugging] }
  ticket-bot: { roles: [ticket-automation] }
  intern: {}
${extra ?? ""}`;
}

export function agent(name: string, session = `session-of-${name}`): Principal {
  return {
    agent: name as AgentName,
    kind: "local",
    chain: [],
    authenticated: { method: "local-peer", senderConstrained: false, at: Date.now() },
    session,
    transport: "stdio",
  };
}

export function request(credential: CredentialName, more: Partial<AccessRequest> = {}): AccessRequest {
  return { credential, delivery: "use", purpose: "a test", correlation: correlation(), ...more };
}

export const correlation = (): CorrelationId => randomUUID() as CorrelationId;

export async function rolesAt(database: Pick<Database, "connect">): Promise<readonly string[]> {
  const client: Client = await database.connect();
  try {
    const { rows } = await client.query<{ rolname: string }>("SELECT rolname FROM pg_roles WHERE rolname LIKE 'lh\\_%' ORDER BY 1");
    return rows.map((row) => row.rolname);
  } finally {
    await client.end();
  }
}

/** The events of the audit log, in order. */
export async function auditOf(house: House): Promise<readonly Record<string, unknown>[]> {
  const { size } = await house.log.head();
  const entries = await house.log.read(0, size);
  return entries.map(({ bytes }) => (JSON.parse(Buffer.from(bytes).toString("utf8")) as { event: Record<string, unknown> }).event);
}
