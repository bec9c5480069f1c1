import { spawn } from "node:child_process";
import { chmod, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";

/** One `$ …` of a script: what is typed, and what has to come of it. */
export interface Step {
  readonly line: number;
  readonly command: string;
  readonly expected: readonly string[];
  readonly exit: number;
}

/**
 * A script is what a terminal shows: `$ command`, more lines of it behind `> `, then its output (stdout and
 * stderr, as they come), then `? 3` for an exit code that is not 0. `[..]` stands for anything within a
 * line, a line `[...]` for any lines, `[DIR]` for the folder it runs in. `# ` starts a remark.
 */
export function parseScript(text: string): readonly Step[] {
  const steps: { line: number; command: string; expected: string[]; exit: number }[] = [];
  for (const [index, line] of text.split("\n").entries()) {
    const step = steps.at(-1);
    if (line.startsWith("$ ")) steps.push({ line: index + 1, command: line.slice(2), expected: [], exit: 0 });
    else if (line.startsWith("# ") || !step) continue;
    else if (line.startsWith("> ") && step.expected.length === 0) step.command += `\n${line.slice(2)}`;
    else if (/^\? \d+$/.test(line)) step.exit = Number(line.slice(2));
    else step.expected.push(line);
  }
  return steps.map((step) => ({ ...step, expected: withoutBlankEnd(step.expected) }));
}

export interface Outcome {
  readonly output: readonly string[];
  readonly exit: number | null;
}

/** Of compiled code: shared, since a hundred commands that each compile everything anew would take twice the time. */
const cache = process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache");

/** Runs a command line in a folder, with `leasehold` on the PATH and nothing of ours in the environment. */
export async function perform(command: string, folder: string, env: Readonly<Record<string, string>>): Promise<Outcome> {
  const { PATH = "" } = process.env;
  const child = spawn("/bin/sh", ["-c", `exec 2>&1\n${command}`], {
    cwd: folder,
    env: { PATH: `${join(folder, "..", "bin")}${delimiter}${PATH}`, HOME: folder, XDG_CACHE_HOME: cache, NO_COLOR: "1", ...env },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const chunks: Buffer[] = [];
  child.stdout.on("data", (chunk: Buffer) => chunks.push(chunk));
  const exit = await new Promise<number | null>((resolve) => child.once("close", resolve));
  return { output: withoutBlankEnd(Buffer.concat(chunks).toString().replaceAll(folder, "[DIR]").split("\n")), exit };
}

/** Whether the output is what is expected; lines with `[...]` may stand for none. */
export function fits(expected: readonly string[], output: readonly string[]): boolean {
  const [first, ...rest] = expected;
  if (first === undefined) return output.length === 0;
  if (first === "[...]") return output.some((_, skipped) => fits(rest, output.slice(skipped))) || fits(rest, []);
  const [line, ...others] = output;
  return line !== undefined && lineFits(first, line) && fits(rest, others);
}

function lineFits(expected: string, line: string): boolean {
  const pattern = expected
    .split("[..]")
    .map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`))
    .join(".*");
  return new RegExp(`^${pattern}$`).test(line.trimEnd());
}

/** A folder to run in, with the real program beside it as a command. */
export async function workbench(): Promise<{ readonly folder: string; remove(): Promise<void> }> {
  const root = await mkdtemp(join(tmpdir(), "leasehold-cli-"));
  const bin = fileURLToPath(new URL("../../bin/leasehold.js", import.meta.url));
  await mkdir(join(root, "bin"));
  await mkdir(join(root, "work"));
  await writeFile(join(root, "bin", "leasehold"), `#!/bin/sh\nexec "${process.execPath}" "${bin}" "$@"\n`);
  await chmod(join(root, "bin", "leasehold"), 0o755);
  return { folder: join(root, "work"), remove: () => rm(root, { recursive: true, force: true }) };
}

function withoutBlankEnd(lines: readonly string[]): readonly string[] {
  const last = lines.findLastIndex((line) => line.trim() !== "");
  return lines.slice(0, last + 1);
}
