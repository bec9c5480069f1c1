import { createHash } from "node:crypto";

import { preparsePolicySet, preparseSchema, statefulIsAuthorized } from "@cedar-policy/cedar-wasm/nodejs";

import type { Question } from "../core/decision.ts";
import type { Bundle, Policy } from "./bundle.ts";
import { textsOf } from "./bundle.ts";
import { contextOf, entitiesOf, factsOf } from "./facts.ts";
import { sayCedar } from "./problem.ts";
import { createRecent } from "./recent.ts";
import { schemaText } from "./schema.ts";
import type { Slice } from "./slices.ts";

/** What Cedar made of it. `failed` beside `errors`: no answer at all, e.g. facts that do not fit the schema. */
export type Evaluated =
  | {
      readonly answered: true;
      readonly allowed: boolean;
      readonly policies: readonly string[];
      readonly errors: readonly { readonly policy: string; readonly message: string }[];
    }
  | { readonly answered: false; readonly failed: string };

/** Runs Cedar over slices of one bundle, and keeps those that were used last in parsed form. */
export interface Evaluator {
  evaluate(slice: Slice, question: Question): Evaluated;
  /** Each policy for itself: whether its conditions hold. */
  alone(policy: Policy, question: Question): Evaluated;
  /** Lets go of everything parsed. The evaluator may still be used. */
  clear(): void;
}

const schemaName = `leasehold/schema/${digest(schemaText)}`;
let schemaParsed = false;
let evaluators = 0;

/**
 * Parsed policy sets live in Cedar under names that the whole process shares and that are never freed,
 * only overwritten. A name therefore holds a number of our own, the bundle's hash and the slice's; one
 * that is dropped is overwritten with no policies, which denies, and so does a name that Cedar does not know.
 */
export function createEvaluator(bundle: Bundle, maxParsed: number): Evaluator {
  const prefix = `leasehold/${(evaluators += 1)}/${bundle.hash}/`;
  const parsed = createRecent<{ readonly name: string; readonly size: number }>({
    limit: maxParsed,
    weight: ({ size }) => size,
    onDrop: ({ name }) => void preparsePolicySet(name, { staticPolicies: {} }),
  });

  function nameOf(slice: Slice): string {
    const known = parsed.get(slice.key);
    if (known) return known.name;
    const name = prefix + digest(slice.key);
    prepare(name, slice.policies);
    parsed.set(slice.key, { name, size: slice.policies.length });
    return name;
  }

  return {
    evaluate: (slice, question) => ask(nameOf(slice), question),
    alone(policy, question) {
      const name = `${prefix}alone`;
      prepare(name, [policy]);
      try {
        return ask(name, question);
      } finally {
        preparsePolicySet(name, { staticPolicies: {} });
      }
    },
    clear: () => parsed.clear(),
  };
}

function prepare(name: string, policies: readonly Policy[]): void {
  if (!schemaParsed) {
    const answer = preparseSchema(schemaName, schemaText);
    if (answer.type === "failure") throw new Error(answer.errors.map(sayCedar).join("; "));
    schemaParsed = true;
  }
  // As text: Cedar's reader of JSON gives up at 128 levels, which a policy of a hundred operators has.
  const answer = preparsePolicySet(name, { staticPolicies: textsOf(policies) });
  if (answer.type === "failure") throw new Error(answer.errors.map(sayCedar).join("; "));
}

function ask(name: string, question: Question): Evaluated {
  const facts = factsOf(question);
  const answer = statefulIsAuthorized({
    principal: facts.principal,
    action: facts.action,
    resource: facts.resource,
    context: contextOf(question),
    entities: entitiesOf(question, facts),
    preparsedSchemaName: schemaName,
    preparsedPolicySetId: name,
    // Without it an attribute of the wrong type is accepted, and decided on.
    validateRequest: true,
  });
  if (answer.type === "failure") return { answered: false, failed: answer.errors.map(sayCedar).join("; ") };
  const { decision, diagnostics } = answer.response;
  return {
    answered: true,
    allowed: decision === "allow",
    policies: diagnostics.reason.toSorted(),
    errors: diagnostics.errors.map(({ policyId, error }) => ({ policy: policyId, message: sayCedar(error) })),
  };
}

function digest(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
