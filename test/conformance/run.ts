import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { startFixtureServer } from "./server.ts";

/** A run of the official suite: one requirement set against one way of serving it. */
interface Run {
  readonly name: string;
  readonly requirements: "2026-07-28" | "2025-11-25";
  readonly sessions: boolean;
  /** Scenarios in which the server asks the client back, which needs a session. The suite fails when one of them passes. */
  readonly baseline?: string;
}

const runs: readonly Run[] = [
  { name: "2026-07-28", requirements: "2026-07-28", sessions: false },
  { name: "2025-11-25", requirements: "2025-11-25", sessions: true },
  {
    name: "2025-11-25, as the product serves it: without sessions",
    requirements: "2025-11-25",
    sessions: false,
    baseline: join(import.meta.dirname, "sessionless.yaml"),
  },
];

const suite = fileURLToPath(import.meta.resolve("@modelcontextprotocol/conformance/dist/index.js"));

async function conform({ requirements, sessions, baseline }: Run): Promise<{ readonly passed: boolean; readonly output: string }> {
  const results = await mkdtemp(join(tmpdir(), "leasehold-conformance-"));
  const server = await startFixtureServer({ sessions });
  const options = ["--url", server.url, "--requirements", requirements, "--output-dir", results];
  if (baseline) options.push("--expected-failures", baseline);
  const child = spawn(process.execPath, [suite, "server", ...options], { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk: Buffer) => (output += chunk.toString()));
  const code = await new Promise<number | null>((resolve) => {
    child.once("close", resolve);
  });
  server.close();
  await rm(results, { recursive: true, force: true });
  return { passed: code === 0, output };
}

const outcomes = await Promise.all(runs.map(conform));
for (const [index, { passed, output }] of outcomes.entries()) {
  // Scenarios that a revision does not require run too and say that they failed; only the verdict counts.
  const verdict = output.split("\n").filter((line) => /^(?:Total|Not scored|Baseline|All )/.test(line));
  process.stdout.write(`${passed ? "passed" : "FAILED"}: ${runs[index]?.name}\n${passed ? verdict.join("\n") : output}\n`);
}
const failures = outcomes.filter(({ passed }) => !passed).length;
process.stdout.write(`${runs.length - failures} passed, ${failures} failed\n`);
process.exitCode = failures === 0 ? 0 : 1;
