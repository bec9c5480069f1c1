import { isAuthorized, schemaToJson } from "@cedar-policy/cedar-wasm/nodejs";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";

import type { Question } from "../../../src/core/decision.ts";
import type { Bundle } from "../../../src/policy/bundle.ts";
import { textsOf } from "../../../src/policy/bundle.ts";
import { createAuthorizer } from "../../../src/policy/cedar.ts";
import { contextOf, entitiesOf, factsOf } from "../../../src/policy/facts.ts";
import { schemaText } from "../../../src/policy/schema.ts";
import { createSlices } from "../../../src/policy/slices.ts";
import { ask, bundleOf, named, rule } from "./sample.ts";
import type { Change } from "./sample.ts";

const names = ["billing-db", "billing-db/readonly", "billing-db/admin/root", "tickets/api", "billing-dbx/readonly"];

const who = fc.constantFrom(
  "principal",
  "principal is Leasehold::Agent",
  'principal == Leasehold::Agent::"reporter"',
  'principal in Leasehold::Agent::"other"',
  'principal in Leasehold::Role::"a"',
  'principal in Leasehold::Role::"b"',
  'principal is Leasehold::Agent in Leasehold::Role::"c"',
);
const what = fc.oneof(
  fc.constantFrom("resource", "resource is Leasehold::Credential"),
  fc.constantFrom(...names).map((name) => `resource == Leasehold::Credential::"${name}"`),
  fc.constantFrom(...names).map((name) => `resource in Leasehold::Credential::"${name}"`),
  fc.constantFrom("billing-db", "billing-db/admin", "tickets").map((name) => `resource in Leasehold::Folder::"${name}"`),
  fc.constantFrom("billing-db", "tickets").map((name) => `resource is Leasehold::Credential in Leasehold::Folder::"${name}"`),
);
const action = fc.constantFrom(
  "action",
  'action == Leasehold::Action::"use"',
  'action in Leasehold::Action::"reveal"',
  'action in [Leasehold::Action::"use", Leasehold::Action::"inject", Leasehold::Action::"use"]',
  'action in [Leasehold::Action::"reveal", Leasehold::Action::"list"]',
);
const when = fc.constantFrom(
  "",
  'resource is Leasehold::Credential && resource.hasTag("env") && resource.getTag("env") == "prod"',
  "!(principal is Leasehold::Agent && principal.frozen)",
  'principal is Leasehold::Agent && principal.kind == "local"',
  "context.ttl <= 300",
  "resource is Leasehold::Credential && resource.exposed",
);

/** A policy set of up to twelve, most of them permits. */
const texts = fc
  .array(fc.record({ effect: fc.constantFrom("permit", "permit", "forbid"), who, action, what, when }), { maxLength: 12 })
  .map((all) =>
    all.map((one, i) => `@id("p${i}") ${one.effect} (${one.who}, ${one.action}, ${one.what})${one.when && ` when { ${one.when} }`};`),
  );

const questions = fc
  .record({
    name: fc.constantFrom(...names),
    action: fc.constantFrom<Question["action"]>("list", "use", "inject", "reveal"),
    roles: fc.subarray(["a", "b", "c"]),
    agent: fc.constantFrom("reporter", "other"),
    kind: fc.constantFrom("oauth" as const, "local" as const),
    env: fc.constantFrom("prod", "dev"),
    exposed: fc.boolean(),
    ttl: fc.constantFrom(300, 600),
  })
  .map(({ name, agent, kind, roles, env, ...question }) => {
    const asker = { agent: agent as Question["agent"]["name"], kind };
    return ask({ principal: asker, agent: { name: asker.agent, roles }, entry: { name: named(name), labels: { env } }, question });
  });

const parsedSchema = schemaToJson(schemaText);
if (parsedSchema.type === "failure") throw new Error("the schema does not parse");
const schema = parsedSchema.json;

/** Cedar itself over everything there is, without slices, caches or prepared names. */
function unsliced(bundle: Bundle, question: Question): { outcome: string; policies: string[] } {
  const facts = factsOf(question);
  // The one rule of ours that Cedar does not know: to reveal has to be permitted by name.
  const policies = bundle.policies.filter(
    (one) => one.effect === "forbid" || question.action !== "reveal" || one.scope.actions.includes("reveal"),
  );
  const answer = isAuthorized({
    principal: facts.principal,
    action: facts.action,
    resource: facts.resource,
    context: contextOf(question),
    entities: entitiesOf(question, facts),
    schema,
    policies: { staticPolicies: textsOf(policies) },
  });
  if (answer.type === "failure") throw new Error(answer.errors[0]?.message);
  return { outcome: answer.response.decision, policies: answer.response.diagnostics.reason.sort() };
}

describe("an agent that registered itself", () => {
  const open = `@id("everybody") permit (principal, action, resource); @id("agents") permit (principal is Leasehold::Agent, action, resource);`;
  const byName = `@id("named") permit (principal == Leasehold::Agent::"reporter", action == Leasehold::Action::"use", resource);`;
  const never = `@id("never") forbid (principal, action, resource);`;

  it("gets nothing by a permit that names nobody, until it has a role; a forbid for everybody holds for it", async () => {
    const decided = async (text: string, agent: NonNullable<Change["agent"]>) =>
      (await createAuthorizer({ bundle: await bundleOf(text) }).decide(ask({ agent }))).outcome;
    for (const registeredBy of ["dcr", "cimd"] as const) {
      expect(await decided(open, { registeredBy, roles: [] })).toBe("deny");
      expect(await decided(open, { registeredBy, roles: ["reader"] })).toBe("allow");
      expect(await decided(byName, { registeredBy, roles: [] })).toBe("allow");
      expect(await decided(byName + never, { registeredBy, roles: [] })).toBe("deny");
    }
    for (const registeredBy of ["operator", "federation", "local"] as const)
      expect(await decided(open, { registeredBy, roles: [] })).toBe("allow");
  });
});

describe("a slice", { timeout: 30_000 }, () => {
  it("decides as the whole bundle does", async () => {
    await fc.assert(
      fc.asyncProperty(texts, fc.array(questions, { minLength: 4, maxLength: 4 }), async (all, asked) => {
        const bundle = await bundleOf(all.join("\n"));
        const authorizer = createAuthorizer({ bundle });
        for (const question of asked) {
          const decision = await authorizer.decide(question);
          expect({ outcome: decision.outcome, policies: [...decision.policies] }).toEqual(unsliced(bundle, question));
        }
      }),
      { numRuns: 40 },
    );
  });

  it("answers from what it kept as it would afresh", async () => {
    await fc.assert(
      fc.asyncProperty(texts, fc.array(questions, { minLength: 12, maxLength: 12 }), async (all, asked) => {
        const bundle = await bundleOf(all.join("\n"));
        const keeping = createAuthorizer({ bundle });
        for (const question of [...asked, ...asked]) {
          expect(await keeping.decide(question)).toEqual(await createAuthorizer({ bundle }).decide(question));
        }
      }),
      { numRuns: 25 },
    );
  });

  it("holds only what can apply, in bundles of any size", async () => {
    const many = Array.from({ length: 400 }, (_, i) =>
      rule("permit", `p${i}`, {
        who: `principal in Leasehold::Role::"r${i % 40}"`,
        what: `resource == Leasehold::Credential::"db${i}/ro"`,
      }),
    );
    const slices = createSlices(await bundleOf([...many, rule("forbid", "all", { action: "any" })].join("\n")));
    const found = slices.find(ask({ agent: { roles: ["r7"] }, entry: { name: named("db47/ro") } }));
    expect(found.policies.map(({ id }) => id)).toEqual(["all", "p47"]);
  });

  it("still decides rightly when hardly any can be kept parsed", async () => {
    const text = names
      .map((name, i) =>
        rule(i % 2 ? "permit" : "forbid", `p${i}`, { what: `resource == Leasehold::Credential::"${name}"`, when: "context.ttl > 0" }),
      )
      .join("\n");
    const authorizer = createAuthorizer({ bundle: await bundleOf(text), maxParsed: 1 });
    for (const round of [1, 2]) {
      for (const [i, name] of names.entries()) {
        const { outcome, policies } = await authorizer.decide(ask({ entry: { name: named(name) } }));
        expect([round, outcome, policies]).toEqual([round, i % 2 ? "allow" : "deny", [`p${i}`]]);
      }
    }
  });
});
