import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Database } from "../../src/demo/database.ts";
import { startDatabase } from "../../src/demo/database.ts";
import type { Shell } from "./documents.ts";
import { blocksOf, freePort, openShell, root, steady } from "./documents.ts";

const page = "docs/tutorial/first-lease.md";
const password = "typed-by-the-reader";

let home: string;
let database: Database;
let shell: Shell;

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), "leasehold-tutorial-"));
  database = await startDatabase();
  const client = await database.connect();
  await client.query("CREATE DATABASE billing");
  await client.end();
  // A machine's own Node may be too old for the broker; the page calls the one of the clone for that.
  shell = openShell({ folder: root, env: { HOME: home, PATH: `${dirname(process.execPath)}:${process.env["PATH"] ?? ""}` } });
});

afterAll(async () => {
  await shell?.close();
  await database?.stop();
  await rm(home, { recursive: true, force: true });
});

it("the tutorial works as it is written, and prints what it says", { timeout: 120_000 }, async () => {
  const port = await freePort();
  // The reader's database and port stand in for the page's; the rest is typed as it is.
  const typed = (text: string): string => text.replaceAll("7420", String(port)).replaceAll("5432", String(database.port));
  const blocks = blocksOf(page);
  let output = "";
  for (const block of blocks) {
    if (block.language === "sql") await asSuperuser(block.text);
    if (block.language === "sh") output = await shell.run(answering(typed(block.text)));
    if (block.language === "text") {
      const seen = steady(output.replaceAll(home, "/home/ada"));
      const [said = ""] = steady(block.text).split("\n...");
      const whole = seen.startsWith(said) && block.text.endsWith("...") ? said : seen;
      expect(`${page}:${block.line}\n${whole}`).toBe(`${page}:${block.line}\n${said}`);
    }
  }
  expect(blocks.filter((block) => block.language === "sh").length).toBeGreaterThan(10);
});

/** Where the page has the reader type at a prompt, the lines are piped in. */
function answering(commands: string): string {
  return commands.replace(/^leasehold secret put .*$/m, (line) => `printf 'leasehold\\n${password}\\n' | ${line}`);
}

async function asSuperuser(statements: string): Promise<void> {
  const client = await database.connect({ database: "billing" });
  try {
    const result: unknown = await client.query(statements);
    if (statements.includes("CREATE ROLE leasehold")) await client.query(`ALTER ROLE leasehold PASSWORD '${password}'`);
    const rows: unknown = typeof result === "object" && result !== null && "rows" in result ? result.rows : undefined;
    if (statements.includes("AS gone")) expect(rows).toEqual([{ gone: true }]);
    else if (statements.startsWith("SELECT rolname")) expect(rows).toHaveLength(1);
  } finally {
    await client.end();
  }
}
