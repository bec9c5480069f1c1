import type { Question } from "../core/decision.ts";
import type { Slice } from "./slices.ts";

/**
 * The groups whose approval would turn this denial into an allow, or `undefined` when no approval would.
 *
 * Approval is a condition in a policy (`context.approvals.contains("dba")`), so the answer is found by
 * asking Cedar again with more groups in `approvals`. Until requests for approval can be stored and
 * answered there is nobody to ask, and every denial is a plain one: this is the one place that changes.
 */
export function missingApprovals(_question: Question, _slice: Slice): readonly string[] | undefined {
  return undefined;
}
