import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

/** The program as a person would start it. */
export const program = locate();

export interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CommandOptions {
  readonly folder: string;
  readonly input?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** Runs `leasehold …` to its end. Secrets go in through standard input, as they should. */
export async function leasehold(words: readonly string[], { folder, input, env }: CommandOptions): Promise<Outcome> {
  const child = spawn(process.execPath, [program, ...words], { cwd: folder, env: { ...process.env, ...env }, stdio: "pipe" });
  const stdout = collect(child.stdout);
  const stderr = collect(child.stderr);
  child.stdin.end(input ?? "");
  const [code] = (await once(child, "close")) as [number | null];
  return { code, stdout: stdout(), stderr: stderr() };
}

/** The same, where anything but success is the end of the story. */
export async function must(words: readonly string[], options: CommandOptions): Promise<string> {
  const { code, stdout, stderr } = await leasehold(words, options);
  if (code !== 0) throw new Error(`leasehold ${words.join(" ")} ended with ${code}: ${stderr.trim()}`);
  return stdout;
}

export interface Running {
  readonly url: string;
  /** Everything it logged so far. */
  log(): string;
  stop(): Promise<void>;
}

/** Starts `leasehold serve` and waits until it listens. */
export async function serve(folder: string): Promise<Running> {
  const child = spawn(process.execPath, [program, "serve", "--json"], { cwd: folder, stdio: ["ignore", "pipe", "pipe"] });
  const stdout = collect(child.stdout);
  const stderr = collect(child.stderr);
  const end = (): void => void child.kill("SIGKILL");
  process.once("exit", end);
  const closed = once(child, "close");
  const deadline = AbortSignal.timeout(15_000);
  while (!stdout().includes("\n")) {
    if (child.exitCode !== null) throw new Error(`leasehold serve ended: ${stderr().trim()}`);
    await once(child.stdout, "data", { signal: deadline }).catch(() => undefined);
    if (deadline.aborted) throw new Error(`leasehold serve does not answer: ${stderr().trim()}`);
  }
  const { listening } = JSON.parse(stdout()) as { listening: string };
  return {
    url: listening,
    log: () => stdout() + stderr(),
    async stop() {
      process.off("exit", end);
      child.kill("SIGTERM");
      await closed;
    },
  };
}

function collect(stream: NodeJS.ReadableStream): () => string {
  let text = "";
  stream.on("data", (chunk: Buffer) => (text += chunk.toString()));
  return () => text;
}

function locate(): string {
  const candidates = ["../../bin/leasehold.js", "../../../bin/leasehold.js"].map((path) => fileURLToPath(new URL(path, import.meta.url)));
  return candidates.find((path) => existsSync(path)) ?? "leasehold";
}
