import { warningsOf } from "./bundle.ts";
import { loadBundle } from "./directory.ts";
import type { Problem } from "./problem.ts";

export interface Checked {
  readonly ok: boolean;
  /** How many policies there are; 0 when there are problems. */
  readonly policies: number;
  /** Hash of the bundle, when it is sound. */
  readonly bundle?: string;
  readonly problems: readonly Problem[];
  /** Allowed, and worth a second look. */
  readonly warnings: readonly Problem[];
}

/** Checks a directory of policies by the code that loads it into a running broker. */
export async function checkPolicies(directory: string): Promise<Checked> {
  const parsed = await loadBundle(directory);
  if (!parsed.ok) return { ok: false, policies: 0, problems: parsed.problems, warnings: [] };
  const { bundle } = parsed;
  const empty: Problem = { file: directory, line: 1, problem: "no policies here, so everything is denied" };
  const warnings = bundle.policies.length === 0 ? [empty] : warningsOf(bundle);
  return { ok: true, policies: bundle.policies.length, bundle: bundle.hash, problems: [], warnings };
}
