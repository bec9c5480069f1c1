import type { Obligations } from "../core/decision.ts";
import type { Policy } from "./bundle.ts";

/**
 * When several permits match, the agent gets the least strict of their limits: a permit that says nothing
 * of a limit sets none. Who is to be notified is told by each of them.
 */
export function mergeObligations(permits: readonly Policy[]): Obligations {
  const all = permits.map((permit) => permit.obligations);
  const ttls = all.map((one) => one.maxTtl ?? Infinity);
  const maxTtl = Math.max(...ttls);
  const notify = [...new Set(all.flatMap((one) => one.notify ?? []))].sort();
  return {
    ...(Number.isFinite(maxTtl) ? { maxTtl } : {}),
    ...(all.length > 0 && all.every((one) => one.oneTime) ? { oneTime: true } : {}),
    ...(notify.length > 0 ? { notify } : {}),
  };
}
