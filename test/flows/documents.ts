import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("../..", import.meta.url));

/** A fenced block of a page. */
interface Block {
  readonly language: string;
  readonly text: string;
  /** Of the fence, counted from 1. */
  readonly line: number;
}

export function blocksOf(file: string): readonly Block[] {
  const blocks: Block[] = [];
  let open: { readonly language: string; readonly line: number; readonly lines: string[] } | undefined;
  for (const [index, line] of readFileSync(`${root}${file}`, "utf8").split("\n").entries()) {
    const fence = /^```(\w*)/.exec(line);
    if (!fence) open?.lines.push(line);
    else if (open) {
      blocks.push({ language: open.language, line: open.line, text: open.lines.join("\n") });
      open = undefined;
    } else open = { language: fence[1] ?? "", line: index + 1, lines: [] };
  }
  return blocks;
}

export interface Shell {
  /** Runs the commands as if they were typed, in the shell that ran those before. Throws when one of them fails. */
  run(commands: string): Promise<string>;
  close(): Promise<void>;
}

interface ShellOptions {
  readonly folder: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** One shell for a whole page, so that variables, functions and folders carry over, as on a terminal. */
export function openShell({ folder, env }: ShellOptions): Shell {
  const child = spawn("sh", ["-e"], { cwd: folder, env: { ...process.env, ...env }, stdio: "pipe", detached: true });
  const closed = once(child, "close");
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk: Buffer) => (output += chunk.toString()));
  child.stdin.write("exec 2>&1\n");
  let count = 0;

  return {
    async run(commands) {
      const end = `@@ ${(count += 1)} @@\n`;
      child.stdin.write(`${commands}\necho "${end.trim()}"\n`);
      while (!output.includes(end)) {
        const gone = await Promise.race([once(child.stdout, "data").then(() => false), closed.then(() => true)]);
        if (gone) throw new Error(`the shell ended at:\n${commands}\n\n${output}`);
      }
      const [before = "", after = ""] = output.split(end);
      output = after;
      return before;
    },
    async close() {
      // What it started in the background belongs to its group.
      if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, "SIGKILL");
      await closed;
    },
  };
}

/** What differs from run to run takes one form: ids, times, keys, hashes, and the blanks that align them. */
export function steady(text: string): string {
  return text
    .replaceAll(/\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b/g, "UUID")
    .replaceAll(/\b(?:lh_)?[0-9a-hjkmnp-tv-z]{26}\b/g, "LEASE")
    .replaceAll(/\d{4}-\d{2}-\d{2}T[\d:.]+Z/g, "TIME")
    .replaceAll(/expiresAt=\d+/g, "expiresAt=TIME")
    .replaceAll(/milliseconds=\d+/g, "milliseconds=N")
    .replaceAll(/hmac:[\w-]+/g, "hmac:DIGEST")
    .replaceAll(/\b[0-9a-f]{64}\b/g, "HASH")
    .replaceAll(/root [\w+/=]{44}/g, "root HASH")
    .replaceAll(/\+[0-9a-f]{8}\+[\w+/=]+/g, "+KEY")
    .replaceAll(/Wrote \d+ bytes/g, "Wrote N bytes")
    .replaceAll(/127\.0\.0\.1:\d+/g, "127.0.0.1:PORT")
    .replaceAll(/ttl=\d+/g, "ttl=N")
    .replaceAll(/\boperator \S+/g, "operator NAME")
    .trimEnd();
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  return typeof address === "object" && address ? address.port : 0;
}
