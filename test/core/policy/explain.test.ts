import { describe, expect, it } from "vitest";

import { explain } from "../../../src/policy/explain.ts";
import { ask, authorizerOf, rule } from "./sample.ts";

const billing = 'resource == Leasehold::Credential::"billing-db/readonly"';
const retrieval = 'principal in Leasehold::Role::"data-retrieval"';

describe("explain", () => {
  const text = [
    rule("permit", "short", { who: retrieval, what: billing, when: "context.ttl <= 300", notes: '@max_ttl("5m")\n' }),
    rule("permit", "long", { who: retrieval, what: billing, when: 'context.ttl > 300 && principal.kind == "workload"' }),
    rule("forbid", "exposed", { when: "resource.exposed" }),
    rule("permit", "elsewhere", { who: retrieval, what: 'resource == Leasehold::Credential::"tickets/api"' }),
  ].join("\n");

  it("says what decided, and what each policy that could apply made of it", async () => {
    const { authorizer } = await authorizerOf(text);
    const question = ask();
    const { decision, weighed, sentence, bundle, nearMisses } = await explain(authorizer, question);
    expect(decision).toEqual(await authorizer.decide(question));
    expect(bundle).toBe(authorizer.bundle);
    expect(weighed.map(({ id, conditions, decided, line }) => [id, conditions, decided, line])).toEqual([
      ["exposed", "do not hold", false, 16],
      ["long", "do not hold", false, 9],
      ["short", "hold", true, 1],
    ]);
    expect(nearMisses).toEqual([]);
    expect(sentence).toBe("reporter may use billing-db/readonly: permitted by short, for at most 300 s.");
  });

  it.each([
    [{ question: { exposed: true } }, "reporter may not use billing-db/readonly: forbidden by exposed, and a forbid always wins."],
    [{ question: { ttl: 600 } }, "reporter may not use billing-db/readonly: the conditions of long, short do not hold."],
    [
      { question: { action: "reveal" as const } },
      "reporter may not reveal billing-db/readonly: no policy permits it; long comes closest, but is for another action.",
    ],
    [
      { agent: { roles: [] } },
      "reporter may not use billing-db/readonly: no policy permits it; long comes closest, but is for another principal.",
    ],
    [{ agent: { frozen: true } }, "reporter may not use billing-db/readonly: the agent is frozen."],
    [{ question: { ttl: NaN } }, "reporter may not use billing-db/readonly: the question could not be judged, which denies."],
  ])("says in plain words why not: %j", async (change, sentence) => {
    const { authorizer } = await authorizerOf(text);
    expect((await explain(authorizer, ask(change))).sentence).toBe(sentence);
  });

  it("names a policy that fails", async () => {
    const { authorizer } = await authorizerOf(rule("forbid", "broken", { when: "context.ttl * 9223372036854775807 > 0" }));
    const { weighed, sentence } = await explain(authorizer, ask());
    expect(weighed).toMatchObject([{ id: "broken", conditions: "error", message: expect.stringContaining("overflow") }]);
    expect(sentence).toContain("broken could not be evaluated, which denies");
  });
});
