import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isAgentName } from "../../../src/core/brand.ts";
import { agentOf, mayMeet, parseTemplate } from "../../../src/oauth/federation-agent.ts";

const named = (text: string, claims: Record<string, unknown>) => agentOf(parseTemplate(text), claims);

describe("the agent that claims name", () => {
  it("is the text with the claims in it, where that is a name", () => {
    expect(named("deployer", {})).toBe("deployer");
    expect(named("k8s-{{kubernetes.io/serviceaccount/name}}", { "kubernetes.io": { serviceaccount: { name: "deployer" } } })).toBe(
      "k8s-deployer",
    );
  });

  it("ends in a hash where the claims were bent into a name", () => {
    expect(named("ci-{{repository}}", { repository: "Acme/Shop" })).toMatch(/^ci-acme-shop-[0-9a-v]{12}$/);
    expect(named("{{sub}}", { sub: "spiffe://acme.example/ns/ci" })).toMatch(/^spiffe---acme.example-ns-ci-[0-9a-v]{12}$/);
    expect(named("ci-{{x}}", { x: "y".repeat(500) })).toHaveLength(63);
    expect(named("{{x}}", { x: "////" })).toMatch(/^workload-[0-9a-v]{12}$/);
  });

  it("is nobody without all of its claims", () => {
    for (const claims of [{}, { repository: "" }, { repository: ["a"] }, { repository: null }])
      expect(named("ci-{{repository}}", claims)).toBeUndefined();
  });

  const value = fc.oneof(
    fc.string({ unit: "grapheme", minLength: 1, maxLength: 80 }),
    fc.array(fc.constantFrom("a", "A", "/", "-", "_", ".", "0", " "), { minLength: 1, maxLength: 6 }).map((units) => units.join("")),
  );

  it("is always a name, and never one for two values", () => {
    fc.assert(
      fc.property(value, value, (a, b) => {
        const [one, other] = [named("ci-{{x}}", { x: a }), named("ci-{{x}}", { x: b })];
        expect(one !== undefined && isAgentName(one)).toBe(true);
        expect(one === other).toBe(a === b);
        // Nor for a value that looks like the name of the other.
        if (one?.startsWith("ci-") && one.slice(3) !== a) expect(named("ci-{{x}}", { x: one.slice(3) })).not.toBe(one);
      }),
      { numRuns: 2_000 },
    );
  });

  it("is never one for two pairs of values that read the same", () => {
    expect(named("{{a}}-{{b}}", { a: "x-y", b: "z" })).not.toBe(named("{{a}}-{{b}}", { a: "x", b: "y-z" }));
  });

  it.each(["", "Deployer", "ci {{x}}", "-ci", "-{{x}}", "ci-{{x}", "{x}", "a".repeat(64), `${"a".repeat(32)}{{x}}`, "é{{x}}"])(
    "refuses the template %j",
    (text) => {
      expect(() => parseTemplate(text)).toThrow();
    },
  );

  it.each([
    ["deployer", "deployer", true],
    ["deployer", "deploy", false],
    ["ci-deploy", "ci-{{x}}", true],
    ["ci-deploy", "ci-{{x}}-main", false],
    ["ci-a-0123456789ab", "ci-{{x}}-main", true],
    ["ci-{{x}}", "ci-{{y}}", true],
    ["ci-{{x}}", "ci-gitlab-{{y}}", true],
    ["{{x}}", "gitlab-{{y}}", true],
    ["github-{{x}}", "gitlab-{{y}}", false],
  ])("%s and %s may meet: %s", (a, b, expected) => {
    expect(mayMeet(parseTemplate(a), parseTemplate(b))).toBe(expected);
    expect(mayMeet(parseTemplate(b), parseTemplate(a))).toBe(expected);
  });
});
