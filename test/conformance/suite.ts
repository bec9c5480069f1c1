import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const suite = fileURLToPath(import.meta.resolve("@modelcontextprotocol/conformance/dist/index.js"));

export interface Outcome {
  readonly passed: boolean;
  readonly output: string;
}

interface Listener {
  /** Told of every line, when it is printed. */
  readonly said: (line: string) => void;
  /** Ends the run: it could wait for minutes. */
  readonly signal: AbortSignal;
}

/** Runs the official suite. */
export async function runSuite(args: readonly string[], listener?: Listener): Promise<Outcome> {
  const results = await mkdtemp(join(tmpdir(), "leasehold-conformance-"));
  const child = spawn(process.execPath, [suite, ...args, "--output-dir", results], { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  let rest = "";
  const read = (chunk: Buffer): void => {
    output += chunk.toString();
    const lines = (rest + chunk.toString()).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) listener?.said(line);
  };
  listener?.signal.addEventListener("abort", () => child.kill("SIGKILL"));
  for (const stream of [child.stdout, child.stderr]) stream.on("data", read);
  const code = await new Promise<number | null>((resolve) => {
    child.once("close", resolve);
  });
  await rm(results, { recursive: true, force: true });
  return { passed: code === 0, output };
}
