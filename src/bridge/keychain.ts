import { spawn } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { delimiter, isAbsolute, join } from "node:path";
import type { Env } from "./browser.ts";
import { desktopEnv } from "./browser.ts";
import type { LoginPlace } from "./login.ts";
import { isLogin } from "./login.ts";

export interface KeychainParts {
  readonly platform: NodeJS.Platform;
  readonly env: Env;
  readonly signal: AbortSignal;
}

/**
 * The operating system's keychain, through the tool that it has for it: `security` on macOS, `secret-tool` on Linux.
 * `undefined` where there is none. A login goes in through stdin: arguments are in every process list.
 */
export function createKeychain(parts: KeychainParts): LoginPlace | undefined {
  const tool = toolOf(parts);
  if (!tool) return undefined;
  const run = (args: readonly string[], input?: string): Promise<Ran> => execute(tool.command, args, input, parts);
  return {
    words: "the keychain",
    async read(name) {
      const { code, output } = await run(tool.read(name));
      const login = code === 0 ? decode(output) : undefined;
      return isLogin(login) ? login : undefined;
    },
    async write(name, login) {
      const value = Buffer.from(JSON.stringify(login)).toString("base64");
      const { args, input } = tool.write(name, value);
      const { code } = await run(args, input);
      // Tools report success in more than one way: what counts is that it can be read again.
      const kept = code === 0 ? await run(tool.read(name)) : undefined;
      if (kept?.output.trim() !== value) throw new Error("the keychain did not take it");
    },
    async remove(name) {
      await run(tool.remove(name));
    },
  };
}

interface Tool {
  readonly command: string;
  read(name: string): readonly string[];
  remove(name: string): readonly string[];
  write(name: string, value: string): { readonly args: readonly string[]; readonly input: string };
}

const service = "leasehold";

function toolOf({ platform, env }: KeychainParts): Tool | undefined {
  if (platform === "darwin") {
    const command = find("security", env);
    return command === undefined ? undefined : security(command);
  }
  // Without a session bus there is nobody behind the tool, and it would wait for a desktop that never comes.
  if (platform !== "linux" || env["DBUS_SESSION_BUS_ADDRESS"] === undefined) return undefined;
  const command = find("secret-tool", env);
  return command === undefined ? undefined : secretTool(command);
}

function secretTool(command: string): Tool {
  const attributes = (name: string): readonly string[] => ["service", service, "account", name];
  return {
    command,
    read: (name) => ["lookup", ...attributes(name)],
    remove: (name) => ["clear", ...attributes(name)],
    write: (name, value) => ({ args: ["store", `--label=Leasehold: ${name}`, ...attributes(name)], input: value }),
  };
}

function security(command: string): Tool {
  const item = (name: string): readonly string[] => ["-s", service, "-a", name];
  return {
    command,
    read: (name) => ["find-generic-password", ...item(name), "-w"],
    remove: (name) => ["delete-generic-password", ...item(name)],
    // `-i` reads commands from stdin, as words in quotes. A name is a URL and the value is Base64: neither holds a quote.
    write: (name, value) => ({ args: ["-i"], input: `add-generic-password -U -s ${service} -a "${name}" -w "${value}"\n` }),
  };
}

interface Ran {
  readonly code: number | null;
  readonly output: string;
}

/** A tool that asks the person and gets no answer is not waited for. */
const patience = 20_000;

function execute(command: string, args: readonly string[], input: string | undefined, { env, signal }: KeychainParts): Promise<Ran> {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      env: desktopEnv(env),
      shell: false,
      stdio: ["pipe", "pipe", "ignore"],
      timeout: patience,
      signal,
    });
    let output = "";
    child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
    child.once("error", () => resolve({ code: null, output: "" }));
    child.once("close", (code) => resolve({ code, output }));
    // One that leaves without reading has told us enough with its exit code.
    child.stdin.on("error", () => undefined).end(input);
  });
}

function decode(output: string): unknown {
  try {
    return JSON.parse(Buffer.from(output.trim(), "base64").toString());
  } catch {
    return undefined;
  }
}

/** By our own look at PATH, absolute entries only: not a program of that name in the folder where we happen to be. */
function find(command: string, env: Env): string | undefined {
  return (env["PATH"] ?? "")
    .split(delimiter)
    .filter(isAbsolute)
    .map((folder) => join(folder, command))
    .find((file) => {
      try {
        accessSync(file, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}
