import { statefulIsAuthorized } from "@cedar-policy/cedar-wasm/nodejs";
import { describe, expect, it } from "vitest";

import type { Question } from "../../../src/core/decision.ts";
import { createEvaluator } from "../../../src/policy/evaluate.ts";
import { createRecent } from "../../../src/policy/recent.ts";
import { ask, bundleOf, rule } from "./sample.ts";

describe("an evaluation", () => {
  it.each<[string, Question]>([
    ["a number that is text", ask({ question: { ttl: "300" as unknown as number } })],
    ["a flag that is text", ask({ question: { exposed: "no" as unknown as boolean } })],
    ["a set that is none", ask({ question: { session: { ...ask().session, leases: true as unknown as number } } })],
  ])("is not made on facts that do not fit the schema: %s", async (_, question) => {
    const bundle = await bundleOf(rule("permit", "a"));
    const evaluator = createEvaluator(bundle, 100);
    const slice = { key: "0", policies: bundle.policies };
    expect(evaluator.evaluate(slice, ask())).toMatchObject({ answered: true, allowed: true });
    expect(evaluator.evaluate(slice, question)).toMatchObject({ answered: false });
  });

  it("has no answer under a name that Cedar does not know", () => {
    const uid = (type: string, id: string) => ({ type: `Leasehold::${type}`, id });
    const answer = statefulIsAuthorized({
      principal: uid("Agent", "a"),
      action: uid("Action", "use"),
      resource: uid("Credential", "c"),
      context: {},
      entities: [],
      preparsedPolicySetId: "leasehold/never-prepared",
    });
    expect(answer.type).toBe("failure");
  });
});

describe("what was used last", () => {
  it("is kept up to its weight, and what leaves is let go of", () => {
    const dropped: string[] = [];
    const kept = createRecent<string>({ limit: 4, weight: (text) => text.length, onDrop: (text) => dropped.push(text) });
    kept.set("a", "aa");
    kept.set("b", "bb");
    expect(kept.get("a")).toBe("aa");
    kept.set("c", "c");
    expect([kept.get("b"), dropped]).toEqual([undefined, ["bb"]]);
    kept.set("d", "larger than all");
    expect([kept.get("d"), dropped]).toEqual(["larger than all", ["bb", "aa", "c"]]);
    kept.clear();
    expect([kept.get("d"), dropped.at(-1)]).toEqual([undefined, "larger than all"]);
  });
});
