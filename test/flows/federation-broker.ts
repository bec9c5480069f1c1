import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { mkdir, mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { compose, configTables } from "../../src/compose.ts";
import { loadConfig } from "../../src/config/load.ts";
import { Secret } from "../../src/core/secret.ts";
import { createSealFile } from "../../src/crypto/key-file.ts";
import type { Database } from "../../src/demo/database.ts";
import { freePort, root } from "./documents.ts";
import type { MockIssuer } from "./federation-issuer.ts";
import { auditOf, removeFolder } from "./house.ts";

export const examples = join(root, "examples/ci");
export const published = "https://leasehold.example.com";
const platformOfCluster = "https://kubernetes.default.svc.cluster.local";

/**
 * The broker of `examples/ci/leasehold.yaml`, served as `leasehold serve` does it. What is not reachable from a test stands in
 * for what is named there: issuers, the database, the public URL. Rules, roles and policies are those of the example.
 */
export async function serveExample(platforms: ReadonlyMap<string, MockIssuer>, database: Pick<Database, "port" | "superuser">) {
  const folder = await mkdtemp(join(tmpdir(), "leasehold-ci-broker-"));
  cpSync(join(examples, "policies"), join(folder, "policies"), { recursive: true });
  await mkdir(join(folder, "data"), { mode: 0o700 });
  await createSealFile(join(folder, "data", "master.key"));
  writeFileSync(join(folder, "cluster-jwks.json"), JSON.stringify(platforms.get(platformOfCluster)?.jwks()));
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  let text = readFileSync(join(examples, "leasehold.yaml"), "utf8")
    .replaceAll(published, url)
    .replace("127.0.0.1:7420", `127.0.0.1:${port}`)
    .replace(
      "host: db.example.com, database: billing, tls: true",
      `host: 127.0.0.1, port: ${database.port}, database: postgres, tls: false`,
    );
  for (const [issuer, platform] of platforms) text = text.replaceAll(`issuer: ${issuer}`, `issuer: ${platform.url}`);
  writeFileSync(join(folder, "leasehold.yaml"), text);

  const config = await loadConfig(join(folder, "leasehold.yaml"), configTables);
  const lines: string[] = [];
  const house = await compose({ config, logger: pino({ level: "warn" }, { write: (line: string) => void lines.push(line) }) });
  await house.vaults["local"]?.write?.("billing-db/admin", Secret.of(JSON.stringify(database.superuser)), AbortSignal.timeout(5_000));
  const ending = new AbortController();
  const served = Promise.withResolvers<string>();
  const serving = house.serve(ending.signal, served.resolve);
  serving.catch(served.reject);
  await served.promise;

  return {
    url,
    folder,
    house,
    log: () => lines.join(""),
    events: async (kind: string) => (await auditOf(house)).filter((event) => event["kind"] === kind),
    async close(): Promise<void> {
      for (const lease of await house.leases.list({ live: true })) await house.operator.revoke(lease.id, "teardown");
      ending.abort();
      await serving;
      await house.close();
      await removeFolder(folder);
    },
  };
}
