import { existsSync, readdirSync, readFileSync } from "node:fs";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { overHttp } from "../../src/demo/agent.ts";
import type { Database } from "../../src/demo/database.ts";
import { startDatabase } from "../../src/demo/database.ts";
import { fillDatabase } from "../../src/demo/world.ts";
import { tools } from "../../src/mcp/leasehold.ts";
import { requirements } from "../requirements.ts";
import type { Shell } from "./documents.ts";
import { blocksOf, freePort, openShell, root } from "./documents.ts";

const readme = readFileSync(join(root, "README.md"), "utf8");

describe("README.md", () => {
  let folder: string;
  let database: Database;
  let shell: Shell;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "leasehold-readme-"));
    database = await startDatabase();
    await fillDatabase(database);
    shell = openShell({
      folder,
      env: { EDITOR: join(folder, "editor"), PATH: `${dirname(process.execPath)}:${process.env["PATH"] ?? ""}` },
    });
  });
  afterAll(async () => {
    await shell?.close();
    await database?.stop();
    await rm(folder, { recursive: true, force: true });
  });

  it("starts with something to run, and names the command for tests", () => {
    const firstScreen = readme.split("\n").slice(0, 12).join("\n");
    expect(firstScreen).toContain("npm ci && npm run demo");
    expect(readme).toContain("npm ci && npm test");
    expect(readme.split("\n").length).toBeLessThanOrEqual(150);
  });

  it("lends from one's own database in five lines", { timeout: 60_000 }, async () => {
    const port = await freePort();
    // What a person does in an editor: where the database is, and one policy.
    await writeFile(
      join(folder, "editor"),
      `#!/bin/sh -e
sed -i.bak -e 's/7420/${port}/' -e 's/port: 5432, database: billing/port: ${database.port}, database: postgres/' "$1"
sed -i.bak -e '/^\\/\\/ @id/,/^\\/\\/ );/s/^\\/\\/ //' "$2"
`,
    );
    await chmod(join(folder, "editor"), 0o700);
    const alias = /`(alias leasehold=[^`]+)`/.exec(readme)?.[1] ?? "";
    await shell.run(`here=$PWD; cd '${root}'; ${alias}; cd "$here"`);

    const lines =
      blocksOf("README.md")
        .find(({ text }) => text.startsWith("leasehold init"))
        ?.text.split("\n") ?? [];
    expect(lines).toHaveLength(5);
    const [init = "", edit = "", secret = "", mint = "", serve = ""] = lines;
    await shell.run(init);
    await shell.run(edit);
    const { username, password } = database.superuser;
    expect(await shell.run(`printf '${username}\\n${password}\\n' | ${secret}`)).toContain("Stored billing-db/admin");
    const token = (await shell.run(`${mint} 2> /dev/null`)).trim();
    await shell.run(`${serve} > log 2>&1 & until curl -sf http://127.0.0.1:${port}/readyz > ready; do sleep 0.2; done`);

    const agent = await overHttp(`http://127.0.0.1:${port}`, token);
    const statement = "SELECT count(*)::int AS invoices FROM invoices";
    const answer = await agent.call("query_database", { credential: "billing-db/readonly", statement, purpose: "Does it work?" });
    await agent.close();
    expect(answer.output["result"]).toMatchObject({ rows: [[40]] });
  });

  it("quotes steps that the demo has", () => {
    const demo = readFileSync(join(root, "src/demo/demo.ts"), "utf8");
    const quoted = [...readme.matchAll(/^✓ (.+) \d+ ms$/gm)].map(([, title = ""]) => title);
    expect(quoted.length).toBeGreaterThan(3);
    expect(quoted.filter((title) => !demo.includes(`title: "${title}"`))).toEqual([]);
  });

  it("lists the tools that there are", () => {
    const table = readme.slice(readme.indexOf("## What agents see"), readme.indexOf("## What is promised"));
    const named = [...table.matchAll(/^\|([^|]+)\|/gm)].flatMap(([, cell = ""]) => [...cell.matchAll(/`(\w+)`/g)].map(([, name]) => name));
    expect(new Set(named)).toEqual(new Set(tools.map((tool) => tool.name)));
  });
});

describe("THREATS.md", () => {
  const rows = readFileSync(join(root, "THREATS.md"), "utf8")
    .split("\n")
    .filter((line) => /^\| [A-Z]{2}-\d\d \|/.test(line));

  it("names for each attack tests that cite it", () => {
    const said = rows.flatMap((row) =>
      [...row.matchAll(/\]\(((?:test|testing)\/[^)]+)\)/g)].map(([, file = ""]) => `${row.slice(2, 7)} ${file}`),
    );
    const cites = (one: string): boolean => readFileSync(join(root, one.slice(6)), "utf8").includes(one.slice(0, 5));
    expect(rows.length).toBeGreaterThan(25);
    expect(said.filter((one) => !existsSync(join(root, one.slice(6))) || !cites(one))).toEqual([]);
  });

  it("says why an attack that has no test has none", () => {
    const known = new Set(rows.map((row) => row.slice(2, 7)));
    const bare = Object.keys(requirements).filter(
      (id) => /^[A-Z]{2}-/.test(id) && requirements[id]?.notYet === undefined && !known.has(id),
    );
    expect(bare).toEqual([]);
  });
});

describe("every page", () => {
  const pages = readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(".md"))
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length))
    .filter((page) => !/(?:^|\/)(?:node_modules|dist|coverage|\.git)\//.test(page));
  const textOf = (page: string): string => readFileSync(join(root, page), "utf8").replaceAll(/^```[\s\S]*?^```/gm, "");

  it.each(pages)("%s links to what exists", (page) => {
    const links = [...textOf(page).matchAll(/\]\(([^)\s]+)\)/g)].map(([, link = ""]) => link).filter((link) => !/^[a-z]+:/.test(link));
    const broken = links.filter((link) => {
      const [path = "", heading] = link.split("#");
      const target = path === "" ? join(root, page) : join(root, dirname(page), path);
      if (!existsSync(target)) return true;
      return heading !== undefined && !headingsIn(readFileSync(target, "utf8")).has(heading);
    });
    expect(broken).toEqual([]);
  });

  it.each(pages)("%s names no machine, no path of one, and no ticket", (page) => {
    const text = readFileSync(join(root, page), "utf8");
    expect(text).not.toMatch(/(?:^|[^\w./~-])\/(?:work|farm|root|tmp)\//m);
    expect(text).not.toMatch(/(?<!spiffe-)\bhelper\b|\bissue #?\d+|registry\.[a-z]+\.org/i);
  });

  it("is reached from the index or the README", () => {
    const index = ["README.md", "docs/README.md"].map(textOf).join("\n");
    const lost = pages.filter((page) => page !== "README.md" && page !== "docs/README.md" && !index.includes(page.replace(/^docs\//, "")));
    expect(lost).toEqual([]);
  });

  /** The anchors that a page's headings get. */
  function headingsIn(text: string): ReadonlySet<string> {
    return new Set(
      [...text.matchAll(/^#+ (.+)$/gm)].map(([, title = ""]) =>
        title
          .toLowerCase()
          .replaceAll(/[^\w\s-]/g, "")
          .replaceAll(/\s/g, "-"),
      ),
    );
  }
});
