import { eventsPage } from "../src/audit/reference.ts";
import { commandPage } from "../src/cli/reference.ts";
import { configTables } from "../src/compose.ts";
import { outlineOf } from "../src/config/outline.ts";
import { configurationPage } from "../src/config/reference.ts";
import { configSchema } from "../src/config/schema.ts";
import { toolsPage } from "../src/mcp/reference.ts";

/** Every page that is generated from the tables that the code runs on, by file name. */
export function referencePages(): Readonly<Record<string, string>> {
  const outline = outlineOf(configSchema(configTables));
  return {
    "audit-events.md": eventsPage(),
    "cli.md": commandPage(),
    "configuration.md": configurationPage(outline),
    "mcp-tools.md": toolsPage(),
    "leasehold.schema.json": `${JSON.stringify({ title: "Leasehold configuration", ...outline }, null, 2)}\n`,
  };
}
