import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { visit } from "./bridge-visitor.ts";

const beside = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
export const program = beside("../../bin/leasehold.js");

/** A person's machine: a home of its own, and an `xdg-open` that goes where it is sent. */
export function startMachine() {
  const home = mkdtempSync(join(tmpdir(), "leasehold-bridge-"));
  const opened = join(home, "opened.jsonl");
  writeFileSync(opened, "");
  script("xdg-open", `exec '${process.execPath}' '${beside("bridge-visitor.child.ts")}' '${opened}' "$@"`);

  function script(name: string, body: string): void {
    writeFileSync(join(home, name), `#!/bin/sh\n${body}\n`);
    chmodSync(join(home, name), 0o755);
  }

  return {
    home,
    script,
    logins: join(home, "config", "leasehold", "logins.json"),
    /** What `xdg-open` was started with, each time. */
    opened: () =>
      readFileSync(opened, "utf8")
        .split("\n")
        .filter((line) => line !== "")
        .map((line): { readonly args: readonly string[]; readonly env: readonly string[] } => JSON.parse(line)),
    // The folder of Node is not on it: what the desktop finds is what is put here.
    env: { PATH: `${home}:/usr/bin:/bin`, HOME: home, XDG_CONFIG_HOME: join(home, "config") },
  };
}

export type Machine = ReturnType<typeof startMachine>;

interface Reply {
  readonly id?: unknown;
  readonly method?: string;
  readonly result?: Record<string, unknown>;
  readonly error?: { readonly code: number; readonly message: string };
}

export interface RunOptions {
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Goes to the URL that stderr names, as a person without a desktop does. */
  readonly visits?: boolean;
}

export function startCommand(machine: Machine, command: string, server: string, { args = [], env = {}, visits = false }: RunOptions = {}) {
  const child = spawn(process.execPath, [program, command, "--server", server, ...args], {
    env: { ...machine.env, ...env },
    stdio: "pipe",
  });
  const lines: string[] = [];
  const said: string[] = [];
  const waiting = new Map<unknown, (reply: Reply) => void>();
  const exit = once(child, "close").then(([code]): unknown => code);
  createInterface(child.stdout).on("line", (line) => {
    lines.push(line);
    if (!line.startsWith("{")) return;
    const reply: Reply = JSON.parse(line);
    if (reply.method === undefined) waiting.get(reply.id)?.(reply);
  });
  createInterface(child.stderr).on("line", (line) => {
    said.push(line);
    const [, url, code] = /open (http\S+)(?: and enter the code (\S+))?/.exec(line) ?? [];
    if (visits && url !== undefined) void visit(url, code === undefined ? {} : { user_code: code }).catch(() => undefined);
  });
  let next = 1;

  const client = {
    child,
    lines,
    said,
    exit,
    write: (text: string | Buffer): boolean => child.stdin.write(text),
    notify: (method: string, params: object = {}): boolean => client.write(`${JSON.stringify({ jsonrpc: "2.0", method, params })}\n`),
    request(method: string, params: object = {}, id: string | number = next++): Promise<Reply> {
      const reply = client.replyTo(id);
      client.write(`${JSON.stringify({ jsonrpc: "2.0", id, method, params })}\n`);
      return reply;
    },
    replyTo: (id: unknown): Promise<Reply> => new Promise((resolve) => waiting.set(id, resolve)),
    async shakeHands(protocolVersion = "2025-11-25"): Promise<Reply> {
      const reply = await client.request(
        "initialize",
        { protocolVersion, capabilities: {}, clientInfo: { name: "test", version: "1" } },
        "hello",
      );
      client.notify("notifications/initialized");
      return reply;
    },
    echo: (text: string): Promise<Reply> => client.request("tools/call", { name: "echo", arguments: { text } }),
    async end(): Promise<unknown> {
      child.stdin.end();
      return exit;
    },
  };
  return client;
}

export const startBridge = (machine: Machine, server: string, options?: RunOptions) => startCommand(machine, "mcp", server, options);
