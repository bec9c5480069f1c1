/** Appends to the audit log as fast as it can, sixteen at a time, and says which entries were acknowledged. Until it is killed. */
import { logFormat } from "../../src/audit/format.ts";
import type { AgentName } from "../../src/core/brand.ts";
import { createAuditLog } from "../../src/store/audit-log.ts";
import { createJournal } from "../../src/store/journal.ts";
import { openSqlite } from "../../src/store/sqlite.ts";

const database = await openSqlite(process.argv[2] ?? "", Date.now);
const audit = createAuditLog(createJournal(database, logFormat, Date.now));

async function writer(): Promise<never> {
  for (;;) {
    const { seq } = await audit.append({ kind: "agent.frozen", actor: { type: "operator", name: "test" }, agent: "reporter" as AgentName });
    process.stdout.write(`${seq}\n`);
  }
}
await Promise.all(Array.from({ length: 16 }, writer));
