import { mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { must } from "./broker.ts";
import type { Database } from "./database.ts";

/** A folder with a configuration of its own, as `leasehold init` makes one, and a database to lend. */
export interface World {
  readonly folder: string;
  readonly port: number;
  readonly adminPassword: string;
  close(): Promise<void>;
}

export async function createWorld(database: Database): Promise<World> {
  const folder = await mkdtemp(join(tmpdir(), "leasehold-demo-"));
  const port = await freePort();
  await must(["init", folder], { folder });
  await writeFile(join(folder, "leasehold.yaml"), configuration(port, database.port));
  await writeFile(join(folder, "policies", "demo.cedar"), policies);
  return { folder, port, adminPassword: database.superuser.password, close: () => rm(folder, { recursive: true, force: true }) };
}

/** Invoices to query, and nothing that the demo does not need. */
export async function fillDatabase(database: Database): Promise<void> {
  const client = await database.connect();
  await client.query(`
    CREATE TABLE invoices (id int PRIMARY KEY, customer text NOT NULL, cents bigint NOT NULL, due date NOT NULL);
    INSERT INTO invoices SELECT n, 'customer-' || n % 7, n * 1999, date '2026-01-01' + n FROM generate_series(1, 40) AS n;
  `);
  await client.end();
}

/** Every file below the folder whose bytes contain the text. */
export async function filesWith(folder: string, text: string): Promise<readonly string[]> {
  const found: string[] = [];
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    if ((await readFile(path)).includes(text)) found.push(path);
  }
  return found;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  return typeof address === "object" && address ? address.port : 0;
}

function configuration(port: number, databasePort: number): string {
  return `server:
  listen: 127.0.0.1:${port}

credentials:
  billing-db/readonly:
    engine: postgres
    description: Read-only access to the billing database
    labels: { env: demo, data: customer }
    ttl: { default: 1m, max: 5m }
    target: { host: 127.0.0.1, port: ${databasePort}, database: postgres }
    admin: { vault: local, secret: billing-db/admin }
    grants:
      - GRANT SELECT ON ALL TABLES IN SCHEMA public TO {{role}}

agents:
  reporter: { roles: [data-retrieval] }
  intern: { roles: [] }

audit:
  sinks:
    - { type: file, path: ./data/audit.jsonl }
`;
}

const policies = `// Agents in the data-retrieval role may query billing, one minute at a time by default.
@id("reporter-uses-billing")
permit (
  principal in Leasehold::Role::"data-retrieval",
  action in [Leasehold::Action::"use", Leasehold::Action::"inject"],
  resource == Leasehold::Credential::"billing-db/readonly"
);
`;
