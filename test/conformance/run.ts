import { join } from "node:path";
import { conformAuthorization } from "./authorization.ts";
import { startFixtureServer } from "./server.ts";
import type { Outcome } from "./suite.ts";
import { runSuite } from "./suite.ts";

/** A run of the official suite. */
interface Run {
  readonly name: string;
  conform(): Promise<Outcome>;
}

interface ServerRun {
  readonly requirements: "2026-07-28" | "2025-11-25";
  readonly sessions: boolean;
  /** Scenarios in which the server asks the client back, which needs a session. The suite fails when one of them passes. */
  readonly baseline?: string;
}

const runs: readonly Run[] = [
  { name: "2026-07-28", conform: () => conformServer({ requirements: "2026-07-28", sessions: false }) },
  { name: "2025-11-25", conform: () => conformServer({ requirements: "2025-11-25", sessions: true }) },
  {
    name: "2025-11-25, as the product serves it: without sessions",
    conform: () => conformServer({ requirements: "2025-11-25", sessions: false, baseline: join(import.meta.dirname, "sessionless.yaml") }),
  },
  { name: "authorization server", conform: conformAuthorization },
];

/** One requirement set against one way of serving it. */
async function conformServer({ requirements, sessions, baseline }: ServerRun): Promise<Outcome> {
  const server = await startFixtureServer({ sessions });
  const expected = baseline === undefined ? [] : ["--expected-failures", baseline];
  try {
    return await runSuite(["server", "--url", server.url, "--requirements", requirements, ...expected]);
  } finally {
    server.close();
  }
}

const outcomes = await Promise.all(runs.map(({ conform }) => conform()));
for (const [index, { passed, output }] of outcomes.entries()) {
  // Scenarios that a revision does not require run too and say that they failed; only the verdict counts.
  const verdict = output.split("\n").filter((line) => /^(?:Total|Not scored|Baseline|All )/.test(line));
  process.stdout.write(`${passed ? "passed" : "FAILED"}: ${runs[index]?.name}\n${passed ? verdict.join("\n") : output}\n`);
}
const failures = outcomes.filter(({ passed }) => !passed).length;
process.stdout.write(`${runs.length - failures} passed, ${failures} failed\n`);
process.exitCode = failures === 0 ? 0 : 1;
