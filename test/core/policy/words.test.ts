import { describe, expect, it } from "vitest";

import { warningsOf } from "../../../src/policy/bundle.ts";
import { bundleOf, rule } from "./sample.ts";

async function warns(when: string, more = ""): Promise<boolean> {
  const text = rule("permit", "a", { when }).replace(/;\n$/, `${more};\n`);
  return warningsOf(await bundleOf(text)).some(({ problem }) => problem.includes("content of purpose or ticket alone"));
}

describe("a permit that believes what the agent says", () => {
  it.each([
    'context.purpose == "backup"',
    'context.purpose like "*incident*"',
    'context has ticket && context.ticket like "INC-*"',
    '["a", "b"].contains(context.purpose)',
    '!(context.purpose == "")',
    'resource.engine == "postgres" || context.purpose == "backup"',
    'if context.purpose == "a" then true else resource.exposed',
    '!(context.purpose != "a" && resource.engine != "postgres")',
  ])("is reported: %s", async (when) => expect(await warns(when)).toBe(true));

  it.each([
    "context has ticket",
    'resource.engine == "postgres" && context.purpose like "*incident*"',
    'context.approvals.contains("dba") && context has ticket && context.ticket like "INC-*"',
    'principal.registeredBy == "operator"',
    'if context.purpose == "a" then resource.exposed else resource.engine == "postgres"',
  ])("is not reported when a fact has to hold too: %s", async (when) => expect(await warns(when)).toBe(false));

  it("is judged by all its conditions, and by an unless the other way round", async () => {
    expect(await warns('context.purpose == "a"', " when { resource.exposed }")).toBe(false);
    expect(await warns('context.purpose == "a"', ' unless { context.purpose == "b" }')).toBe(true);
    expect(await warns("context has ticket", ' unless { context.purpose == "b" || resource.exposed }')).toBe(false);
  });

  it("a forbid may use the agent's words: it only takes away", async () => {
    const bundle = await bundleOf(rule("forbid", "a", { when: 'context.purpose == ""' }));
    expect(warningsOf(bundle)).toEqual([]);
  });

  it("a permit of every action is reported, for it never reveals", async () => {
    const bundle = await bundleOf(rule("permit", "a", { action: "any" }));
    expect(warningsOf(bundle)).toEqual([
      { file: "test.cedar", line: 1, problem: expect.stringContaining("reveal is granted only where a permit names it") },
    ]);
  });
});
