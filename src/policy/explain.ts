import type { Decision, Question } from "../core/decision.ts";
import { unreachable } from "../core/unreachable.ts";
import type { Policy } from "./bundle.ts";
import type { PolicyAuthorizer } from "./cedar.ts";
import { factsOf } from "./facts.ts";
import { anything, keysFor } from "./scope.ts";
import { isMeantFor, speaksOf } from "./slices.ts";

/** A policy whose head fits the question. */
interface Weighed {
  readonly id: string;
  readonly effect: Policy["effect"];
  readonly file: string;
  readonly line: number;
  /** Whether its conditions held; `error`: they could not be evaluated, which denies. */
  readonly conditions: "hold" | "do not hold" | "error";
  readonly message?: string;
  readonly decided: boolean;
}

/** A permit whose head misses the question in one place only: usually the one that was meant to match. */
interface NearMiss {
  readonly id: string;
  readonly file: string;
  readonly line: number;
  readonly misses: "principal" | "action" | "resource";
}

export interface Explanation {
  readonly decision: Decision;
  /** Hash of the bundle that decided. */
  readonly bundle: string;
  readonly weighed: readonly Weighed[];
  /** Only when nothing permitted it, and at most ten. */
  readonly nearMisses: readonly NearMiss[];
  /** The outcome in plain words. */
  readonly sentence: string;
}

const maxNearMisses = 10;

/** Why a question is decided as it is. The decision is that of `decide` itself; the rest is read off the same slice. */
export async function explain(authorizer: PolicyAuthorizer, question: Question): Promise<Explanation> {
  const decision = await authorizer.decide(question);
  const weighed = authorizer.slice(question).map((policy) => weigh(authorizer, policy, question, decision.policies));
  const nearMisses = decision.outcome === "deny" && decision.reason === "default" ? findNearMisses(authorizer, question) : [];
  return { decision, bundle: authorizer.bundle, weighed, nearMisses, sentence: say(decision, question, weighed, nearMisses) };
}

function weigh(authorizer: PolicyAuthorizer, policy: Policy, question: Question, deciding: readonly string[]): Weighed {
  const { id, effect, file, line } = policy;
  const about = { id, effect, file, line, decided: deciding.includes(id) };
  try {
    const result = authorizer.weigh(policy, question);
    if (!result.answered) return { ...about, conditions: "error", message: result.failed };
    const [error] = result.errors;
    if (error) return { ...about, conditions: "error", message: error.message };
    return { ...about, conditions: result.policies.includes(id) ? "hold" : "do not hold" };
  } catch (error) {
    return { ...about, conditions: "error", message: error instanceof Error ? error.message : String(error) };
  }
}

function findNearMisses(authorizer: PolicyAuthorizer, question: Question): readonly NearMiss[] {
  const facts = factsOf(question);
  const principals = keysFor(facts.principal, facts.roles);
  const resources = keysFor(facts.resource, facts.folders);
  const near: NearMiss[] = [];
  for (const policy of authorizer.policies.policies) {
    if (policy.effect !== "permit") continue;
    const { id, file, line, scope } = policy;
    const named = scope.actions.includes(anything) || scope.actions.includes(question.action);
    const missed = [
      ...(principals.includes(scope.principal) && isMeantFor(policy, question.agent) ? [] : (["principal"] as const)),
      ...(named && speaksOf(policy, question.action) ? [] : (["action"] as const)),
      ...(resources.includes(scope.resource) ? [] : (["resource"] as const)),
    ];
    const [misses, another] = missed;
    if (misses && !another) near.push({ id, file, line, misses });
    if (near.length === maxNearMisses) break;
  }
  return near;
}

function say(decision: Decision, question: Question, weighed: readonly Weighed[], nearMisses: readonly NearMiss[]): string {
  const { agent, action, entry } = question;
  const what = `${action} ${entry.name}`;
  switch (decision.outcome) {
    case "allow":
      return `${agent.name} may ${what}: permitted by ${decision.policies.join(", ")}${sayObligations(decision.obligations)}.`;
    case "needs-approval":
      return `${agent.name} may ${what} once approved by ${decision.groups.join(", ")}.`;
    case "deny":
      return `${agent.name} may not ${what}: ${sayReason(decision, question, weighed, nearMisses)}.`;
    default:
      return unreachable(decision);
  }
}

function sayReason(
  decision: Extract<Decision, { outcome: "deny" }>,
  question: Question,
  weighed: readonly Weighed[],
  nearMisses: readonly NearMiss[],
): string {
  switch (decision.reason) {
    case "forbid":
      return `forbidden by ${decision.policies.join(", ")}, and a forbid always wins`;
    case "default": {
      const permits = weighed.filter((one) => one.effect === "permit");
      if (permits.length > 0) return `the conditions of ${permits.map((one) => one.id).join(", ")} do not hold`;
      const [nearest] = nearMisses;
      return nearest ? `no policy permits it; ${nearest.id} comes closest, but is for another ${nearest.misses}` : "no policy permits it";
    }
    case "error":
      return decision.policies.length > 0
        ? `${decision.policies.join(", ")} could not be evaluated, which denies`
        : "the question could not be judged, which denies";
    case "frozen":
    case "disabled":
      return `the agent is ${decision.reason}`;
    case "unknown-agent":
      return "there is no such agent";
    case "unknown-credential":
      return "there is no such credential";
    case "narrowed":
      return "the token is not good for this, whatever policy says";
    case "quota":
      return `${question.agent.name} holds as many leases as it may`;
    default:
      return unreachable(decision.reason);
  }
}

function sayObligations({ maxTtl, oneTime, notify }: Extract<Decision, { outcome: "allow" }>["obligations"]): string {
  const parts = [
    ...(maxTtl === undefined ? [] : [`for at most ${maxTtl} s`]),
    ...(oneTime ? ["once"] : []),
    ...(notify ? [`${notify.join(", ")} will be told`] : []),
  ];
  return parts.length > 0 ? `, ${parts.join(", ")}` : "";
}
