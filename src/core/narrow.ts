import type { CredentialName } from "./brand.ts";
import type { Decision, Obligations } from "./decision.ts";
import type { Lease } from "./lease.ts";
import type { Principal } from "./principal.ts";
import type { Delivery, OperationFacts } from "./request.ts";
import type { Scope } from "./scope.ts";
import { covers } from "./scope.ts";

/** Whether a list of credentials and folders (`billing-db/*`) has this one in it. Absent: everything has. */
export function within(credentials: readonly string[] | undefined, name: string): boolean {
  if (credentials === undefined) return true;
  return credentials.some((one) => one === name || (one.endsWith("/*") && name.startsWith(one.slice(0, -1))));
}

/** Whose lease it is: one that an agent took for one person is not its own when it acts for another. */
export function owns({ agent, onBehalfOf, credentials }: Principal, lease: Lease): boolean {
  return lease.agent === agent && lease.account === onBehalfOf?.account && within(credentials, lease.credential);
}

interface Act {
  readonly act: "list" | "grant" | "operate" | "renew";
  readonly credential: CredentialName;
  readonly delivery: Delivery;
  readonly operation?: OperationFacts;
}

/** The scope that an act takes. An operation that could not be parsed has none: it is not going to be performed. */
function scopeOf({ act, delivery, operation }: Act): Scope | undefined {
  if (act === "list") return "credentials:read";
  if (operation && act !== "renew") return `use:${operation.kind}`;
  return act === "operate" && delivery === "use" ? undefined : "leases:write";
}

/** Whether the caller's token is good for this at all. It narrows only: policy is asked all the same. */
export function isNarrowedFrom(principal: Principal, act: Act): boolean {
  const needed = scopeOf(act);
  return (needed !== undefined && !covers(principal.scopes, needed)) || !within(principal.credentials, act.credential);
}

/**
 * What several decisions on one request come to: allowed when all allow, with the obligations of all. A denial
 * counts more than a wish for approval, and the first one is told.
 */
export function combine(first: Decision, others: readonly Decision[]): Decision {
  const all = [first, ...others];
  const denied = all.find((one) => one.outcome === "deny");
  if (denied) return denied;
  const policies = unique(all.flatMap((one) => one.policies));
  const waiting = all.flatMap((one) => (one.outcome === "needs-approval" ? one.groups : []));
  if (waiting.length > 0) return { outcome: "needs-approval", policies, groups: unique(waiting) };
  return {
    outcome: "allow",
    policies,
    obligations: all.reduce((sum, one) => (one.outcome === "allow" ? both(sum, one.obligations) : sum), {}),
  };
}

function both(a: Obligations, b: Obligations): Obligations {
  const maxTtl = Math.min(a.maxTtl ?? Infinity, b.maxTtl ?? Infinity);
  const notify = unique([...(a.notify ?? []), ...(b.notify ?? [])]);
  return {
    ...(maxTtl === Infinity ? {} : { maxTtl }),
    ...(a.oneTime || b.oneTime ? { oneTime: true } : {}),
    ...(notify.length > 0 ? { notify } : {}),
  };
}

function unique<T>(items: readonly T[]): readonly T[] {
  return [...new Set(items)];
}
