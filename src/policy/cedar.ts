import type { AgentName, CredentialName } from "../core/brand.ts";
import type { CatalogueEntry } from "../core/catalogue.ts";
import type { Decision, Question } from "../core/decision.ts";
import type { Authorizer } from "../core/ports.ts";
import { missingApprovals } from "./approvals.ts";
import type { Bundle, Policy } from "./bundle.ts";
import { createEvaluator } from "./evaluate.ts";
import type { Evaluated, Evaluator } from "./evaluate.ts";
import { unfit } from "./facts.ts";
import { mergeObligations } from "./obligations.ts";
import { createRecent } from "./recent.ts";
import { createSlices } from "./slices.ts";
import type { Slice, Slices } from "./slices.ts";
import { warmUp } from "./warm.ts";

export interface AuthorizerParts {
  readonly bundle: Bundle;
  /** Told whenever a decision could not be made properly, which denied it. This must reach a person. */
  readonly onError?: (error: PolicyError) => void;
  /** Decisions that are kept, where they depend on nothing of the single request. About 0.5 kB each. */
  readonly maxDecisions?: number;
  /** Policies that are kept parsed, counted in every slice they are part of. About 7 kB each. */
  readonly maxParsed?: number;
}

/** `cause` is for the broker's own log: it may quote what the agent wrote. */
export interface PolicyError {
  readonly policies: readonly string[];
  readonly agent: AgentName;
  readonly action: Question["action"];
  readonly credential: CredentialName;
  readonly cause: string;
}

export interface PolicyAuthorizer extends Authorizer {
  /** The bundle in force. */
  readonly policies: Bundle;
  /** Puts another bundle in force, whole and at once: the next decision is made by it. */
  reload(bundle: Bundle): void;
  /** The policies that `decide` weighs for this question. */
  slice(question: Question): readonly Policy[];
  /** What one policy makes of the question, by the same evaluation that `decide` runs. */
  weigh(policy: Policy, question: Question): Evaluated;
}

/** All that belongs to one bundle, so that a reload replaces it in one assignment. */
interface InForce {
  readonly bundle: Bundle;
  readonly byId: ReadonlyMap<string, Policy>;
  readonly slices: Slices;
  readonly evaluator: Evaluator;
}

/**
 * Decides by Cedar. Whatever goes wrong denies: a policy that fails at run time (Cedar would skip it, a
 * `forbid` too, and allow), facts of the wrong type, an exception.
 */
export function createAuthorizer(parts: AuthorizerParts): PolicyAuthorizer {
  const kept = createRecent<Decision>({ limit: parts.maxDecisions ?? 20_000 });
  const labels = new WeakMap<CatalogueEntry, string>();
  let inForce = putInForce(parts.bundle);
  warmUp(inForce.evaluator);

  function putInForce(bundle: Bundle): InForce {
    return {
      bundle,
      byId: new Map(bundle.policies.map((policy) => [policy.id, policy])),
      slices: createSlices(bundle),
      evaluator: createEvaluator(bundle, parts.maxParsed ?? 10_000),
    };
  }

  function decide(question: Question): Decision {
    const { agent } = question;
    if (agent.disabled) return { outcome: "deny", policies: [], reason: "disabled" };
    if (agent.frozen) return { outcome: "deny", policies: [], reason: "frozen" };
    const misfit = unfit(question);
    if (misfit) return fail(question, [], misfit);

    const key = keyOf(question);
    const known = kept.get(key);
    if (known) return known;

    const slice = inForce.slices.find(question);
    const decision = slice.policies.length === 0 ? nothingApplies : judge(question, slice);
    const lasting = !slice.policies.some((policy) => policy.readsContext) && !(decision.outcome === "deny" && decision.reason === "error");
    if (lasting) kept.set(key, decision);
    return decision;
  }

  function judge(question: Question, slice: Slice): Decision {
    const result = inForce.evaluator.evaluate(slice, question);
    if (!result.answered) return fail(question, [], result.failed);
    const [error] = result.errors;
    if (error) {
      const failed = result.errors.map((one) => one.policy).sort();
      return fail(question, failed, `${error.policy}: ${error.message}`);
    }
    if (!result.allowed) {
      if (result.policies.length > 0) return { outcome: "deny", policies: result.policies, reason: "forbid" };
      const groups = missingApprovals(question, slice);
      return groups ? { outcome: "needs-approval", policies: [], groups } : nothingApplies;
    }
    const permits = result.policies.flatMap((id) => inForce.byId.get(id) ?? []);
    return { outcome: "allow", policies: result.policies, obligations: mergeObligations(permits) };
  }

  function fail({ agent, action, entry }: Question, policies: readonly string[], cause: string): Decision {
    parts.onError?.({ policies, agent: agent.name, action, credential: entry.name, cause });
    return { outcome: "deny", policies, reason: "error" };
  }

  /** All that a policy can read without reading the context. */
  function keyOf({ principal, agent, action, entry, exposed }: Question): string {
    let labelled = labels.get(entry);
    if (labelled === undefined) labels.set(entry, (labelled = JSON.stringify(entry.labels)));
    const facts = [
      agent.name,
      agent.roles,
      principal.kind,
      agent.owner ?? null,
      agent.registeredBy,
      action,
      entry.name,
      entry.engine,
      labelled,
      exposed,
    ];
    return inForce.bundle.hash + JSON.stringify(facts);
  }

  return {
    get bundle() {
      return inForce.bundle.hash;
    },
    get policies() {
      return inForce.bundle;
    },

    async decide(question) {
      try {
        return decide(question);
      } catch (error) {
        return fail(question, [], error instanceof Error ? error.message : String(error));
      }
    },

    couldEver(agent, action, entry) {
      if (agent.disabled || agent.frozen) return false;
      const { policies } = inForce.slices.find({ agent, action, entry });
      return (
        policies.some((policy) => policy.effect === "permit") &&
        !policies.some((policy) => policy.effect === "forbid" && policy.unconditional)
      );
    },

    reload(bundle) {
      const replaced = inForce;
      inForce = putInForce(bundle);
      kept.clear();
      replaced.evaluator.clear();
    },

    slice: (question) => inForce.slices.find(question).policies,
    weigh: (policy, question) => inForce.evaluator.alone(policy, question),
  };
}

const nothingApplies: Decision = { outcome: "deny", policies: [], reason: "default" };
