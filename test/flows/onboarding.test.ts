import { chmod, mkdtemp, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse } from "yaml";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import type { Desk } from "../foreign/desk.ts";
import { setUpDesk } from "../foreign/desk.ts";
import type { DesktopClient } from "./desktop-client.ts";
import { createDesktopClient } from "./desktop-client.ts";
import type { Shell } from "./documents.ts";
import { freePort, openShell, root } from "./documents.ts";
import { removeFolder } from "./house.ts";
import type { Person } from "./person.ts";
import { createPerson, newPassword } from "./person.ts";

/** What a client sends when it registers, and where it wants its person sent back to. */
interface Guide {
  readonly page: string;
  readonly name: string;
  readonly redirectUris: readonly string[];
  readonly back: string;
}

const guides: readonly Guide[] = [
  {
    page: "onboard-claude.md",
    name: "Claude Code",
    redirectUris: ["http://localhost:52331/callback"],
    back: "http://localhost:52331/callback",
  },
  {
    page: "onboard-chatgpt.md",
    name: "ChatGPT",
    redirectUris: ["https://chatgpt.com/connector_platform_oauth_redirect"],
    back: "https://chatgpt.com/connector_platform_oauth_redirect",
  },
  {
    page: "onboard-vs-code.md",
    name: "Visual Studio Code",
    redirectUris: ["http://127.0.0.1/", "http://127.0.0.1:33418/", "https://vscode.dev/redirect"],
    back: "http://127.0.0.1:50123/",
  },
  {
    page: "onboard-cursor.md",
    name: "Cursor",
    redirectUris: [
      "cursor://anysphere.cursor-mcp/oauth/callback",
      "https://www.cursor.com/agents/mcp/oauth/callback",
      "http://localhost:8787/callback",
    ],
    back: "cursor://anysphere.cursor-mcp/oauth/callback",
  },
  {
    page: "onboard-codex.md",
    name: "Codex",
    redirectUris: ["http://127.0.0.1:50124/callback/kq3x"],
    back: "http://127.0.0.1:50124/callback/kq3x",
  },
];

/** Programs of others that the pages start. Here, each writes down what it was told. */
const others = ["claude", "codex", "code"];
const calls = new RegExp(`^(?:${others.join("|")}) `, "gm");
/** As the pages call the broker, and an agent that registered itself. */
const publicUrl = "https://leasehold.example.com";
const sample = /[a-z-]+-5kq2x9wz/g;

/** Compiled code, so that not every page waits for it anew. */
let cache: string;
beforeAll(async () => {
  cache = await mkdtemp(join(tmpdir(), "leasehold-cache-"));
});
afterAll(() => removeFolder(cache));

let desk: Desk | undefined;
let shell: Shell | undefined;
let broker: number | undefined;
afterEach(async () => {
  // By itself as well: a shell that a failed command has ended takes nothing along.
  if (broker !== undefined) process.kill(broker, "SIGKILL");
  broker = undefined;
  await shell?.close();
  await desk?.clear();
});

it.each(guides)("docs/how-to/$page works as it is written", { timeout: 120_000 }, async ({ page, name, redirectUris, back }) => {
  const blocks = blocksIn(await readFile(join(root, "docs/how-to", page), "utf8"));
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  desk = await setUpDesk();
  const { env } = desk;
  const home = env["HOME"] ?? "";
  await program(home, "leasehold", `exec '${process.execPath}' '${root}bin/leasehold.js' "$@"`);
  for (const other of others) await program(home, other, `printf '%s\\n' "$*" >> '${join(home, "told")}'`);
  shell = openShell({ folder: home, env: { ...env, XDG_CACHE_HOME: cache } });
  await shell.run(`leasehold init . && sed -i 's/7420/${port}/' leasehold.yaml`);
  await enterAgents(
    join(home, "leasehold.yaml"),
    blocks.filter(({ language }) => language === "yaml").map(({ text }) => text),
  );
  broker = Number(await shell.run("leasehold serve > log 2>&1 & echo $!"));
  await shell.run(`until curl -sf ${url}/readyz > ready; do sleep 0.1; done`);

  let person: Person | undefined;
  let client: DesktopClient | undefined;
  let agent = "";
  for (const { language, text } of blocks) {
    if (language === "json" || language === "toml") expect(urlIn(text)).toBe(`${publicUrl}/mcp`);
    if (language !== "sh") continue;
    if (client && agent === "" && (text.search(sample) >= 0 || text.includes("client list")))
      agent = await client.registered({ client_name: name, redirect_uris: redirectUris });
    const commands = text
      .replaceAll(publicUrl, url)
      .replaceAll(sample, agent)
      .replaceAll(/audit search --agent \S+/g, `audit search --agent ${agent}`);
    const opening = commands.includes("leasehold login") && person ? desk.opened().then((opened) => person?.deliver(opened)) : undefined;
    const output = await shell.run(commands);
    await opening;

    const link = /http\S+\/oauth\/enroll\/\S+/.exec(output)?.[0];
    if (link !== undefined) {
      person = createPerson({ home: url, name: "ada", password: newPassword() });
      await person.enrol(link);
      client = createDesktopClient(url, person);
    }
    if (!client) continue;
    const added = /^leasehold agent add (\S+) --role (\S+)/m.exec(commands);
    if (added) {
      const [, id = "", role] = added;
      const token = await client.signIn(id, id === agent ? back : (/--redirect-uri (\S+)/.exec(commands)?.[1] ?? ""), {
        resource: `${url}/mcp`,
      });
      expect(await client.whoami(token)).toMatchObject({ agent: id, roles: [role] });
    }
    if (commands.includes("client list")) expect(output).toContain(agent);
    if (commands.includes("audit search"))
      for (const kind of ["client.registered", "consent.given", "token.minted"]) expect(output).toContain(kind);
    if (commands.startsWith("curl")) expect(output).toContain(`"${url}/mcp"`);
    if (commands.includes("leasehold login")) expect(output).toContain("Signed in to");
  }
  expect(agent).not.toBe("");
  const told = (await readFile(join(home, "told"), "utf8").catch(() => "")).split("\n").filter((line) => line !== "");
  expect(told).toHaveLength(blocks.flatMap(({ language, text }) => (language === "sh" ? (text.match(calls) ?? []) : [])).length);
  for (const line of told) expect(line).toMatch(/^(?:--add-mcp|mcp (?:add|login)) .*leasehold/);
  for (const entered of agentsIn(blocks)) expect(await shell.run("leasehold client list")).toContain(entered);
});

async function program(home: string, name: string, body: string): Promise<void> {
  const file = join(home, "bin", name);
  await writeFile(file, `#!/bin/sh\n${body}\n`);
  await chmod(file, 0o755);
}

/** What a reader does in an editor: the page's agents go beside those that are there. */
async function enterAgents(file: string, texts: readonly string[]): Promise<void> {
  const config = await readFile(file, "utf8");
  const lines = texts.map((text) => text.replace(/^agents:\n/, "")).join("\n");
  await writeFile(file, config.replace(/^agents:\n/m, `agents:\n${lines}\n`));
}

interface Block {
  readonly language: string;
  readonly text: string;
}

/** Fenced blocks, those within the steps of a list too. */
function blocksIn(page: string): readonly Block[] {
  return [...page.matchAll(/^( *)```(\w+)\n([\s\S]*?)^\1```$/gm)].map(([, indent = "", language = "", text = ""]) => ({
    language,
    text: text.replaceAll(new RegExp(`^${indent}`, "gm"), ""),
  }));
}

function agentsIn(blocks: readonly Block[]): readonly string[] {
  return blocks
    .filter(({ language }) => language === "yaml")
    .flatMap(({ text }) => Object.keys((parse(text) as { readonly agents: object }).agents));
}

function urlIn(text: string): string | undefined {
  return /url"?\s*[:=]\s*"([^"]+)"/.exec(text)?.[1];
}
