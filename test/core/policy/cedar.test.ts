import { describe, expect, it } from "vitest";

import type { AgentName } from "../../../src/core/brand.ts";
import type { Question } from "../../../src/core/decision.ts";
import { createAuthorizer } from "../../../src/policy/cedar.ts";
import { mergeObligations } from "../../../src/policy/obligations.ts";
import { ask, authorizerOf, bundleOf, named, noon, rule } from "./sample.ts";
import type { Change } from "./sample.ts";

const billing = 'resource == Leasehold::Credential::"billing-db/readonly"';
const retrieval = 'principal in Leasehold::Role::"data-retrieval"';
const usesBilling = rule("permit", "uses-billing", { who: retrieval, what: billing, notes: '@max_ttl("15m")\n' });
const overflows = "context.ttl * 9223372036854775807 > 0";

async function decide(text: string, question: Question) {
  const { authorizer } = await authorizerOf(text);
  return authorizer.decide(question);
}

describe("a decision", () => {
  it("allows what a permit names, with its id and its limits", async () => {
    expect(await decide(usesBilling, ask())).toEqual({ outcome: "allow", policies: ["uses-billing"], obligations: { maxTtl: 900 } });
  });

  it("denies by default", async () => {
    const nothing = { outcome: "deny", policies: [], reason: "default" };
    expect(await decide("", ask())).toEqual(nothing);
    expect(await decide(usesBilling, ask({ entry: { name: named("billing-db/admin") } }))).toEqual(nothing);
    expect(await decide(usesBilling, ask({ agent: { roles: [] } }))).toEqual(nothing);
  });

  it("knows nothing of a role that no policy names", async () => {
    expect(await decide(usesBilling, ask({ agent: { roles: ["data-retrieval-2", "Data-Retrieval", ""] } }))).toMatchObject({
      outcome: "deny",
      reason: "default",
    });
  });

  it("lets a forbid win", async () => {
    const text = usesBilling + rule("forbid", "not-in-prod", { when: 'resource.hasTag("env") && resource.getTag("env") == "prod"' });
    expect(await decide(text, ask())).toEqual({ outcome: "deny", policies: ["not-in-prod"], reason: "forbid" });
  });

  it.each(["list", "inject", "reveal"] as const)("permits nothing but use where use is permitted: %s", async (action) => {
    expect(await decide(usesBilling, ask({ question: { action } }))).toMatchObject({ outcome: "deny" });
  });

  it("reveals only where a permit names it (EX-01)", async () => {
    const everything = rule("permit", "everything", { action: "any" });
    const reveal = ask({ question: { action: "reveal" } });
    expect(await decide(everything, ask())).toMatchObject({ outcome: "allow" });
    expect(await decide(everything, reveal)).toEqual({ outcome: "deny", policies: [], reason: "default" });
    expect(await decide(everything + rule("permit", "named", { action: "reveal" }), reveal)).toMatchObject({
      outcome: "allow",
      policies: ["named"],
    });
    expect(await decide(rule("permit", "named", { action: "reveal" }) + rule("forbid", "none", { action: "any" }), reveal)).toMatchObject({
      reason: "forbid",
    });
  });

  it("refuses a frozen and a disabled agent whatever policy says", async () => {
    expect(await decide(usesBilling, ask({ agent: { frozen: true } }))).toEqual({ outcome: "deny", policies: [], reason: "frozen" });
    expect(await decide(usesBilling, ask({ agent: { disabled: true } }))).toEqual({ outcome: "deny", policies: [], reason: "disabled" });
  });

  it("sees a freeze at once, although the decision before was kept", async () => {
    const { authorizer } = await authorizerOf(usesBilling);
    expect(await authorizer.decide(ask())).toMatchObject({ outcome: "allow" });
    expect(await authorizer.decide(ask({ agent: { frozen: true } }))).toMatchObject({ reason: "frozen" });
    expect(await authorizer.decide(ask({ agent: { roles: [] } }))).toMatchObject({ reason: "default" });
  });

  it("reads folders, labels, the operation, the session, the clock, the address and the user", async () => {
    const sql = { kind: "sql", verbs: ["select"], tables: ["public.invoices"] } as const;
    const user = { account: "01u", subject: "alice", issuer: "https://idp.example.com", email: "alice@example.com", teams: ["sre"] };
    const cases: readonly [string, Question][] = [
      ['resource in Leasehold::Folder::"billing-db"', ask()],
      ['context has sql && ["select"].containsAll(context.sql.verbs)', ask({ question: { operation: sql } })],
      [
        'context has http && context.http.method == "GET"',
        ask({ question: { operation: { kind: "http", method: "GET", host: "h", path: "/" } } }),
      ],
      ['!context.session.lentLabels.contains("data=customer") && context.session.ageSeconds == 600', ask()],
      ['context.now.toTime() >= duration("9h") && context.now < datetime("2026-11-21")', ask()],
      ['context has sourceIp && context.sourceIp.isInRange(ip("10.0.0.0/8"))', ask()],
      ['context has sourceIp && context.sourceIp.isInRange(ip("10.0.0.0/8"))', ask({ principal: { sourceIp: "::ffff:10.1.2.3" } })],
      ['context has sourceIp && context.sourceIp.isInRange(ip("10.0.0.0/8"))', ask({ principal: { sourceIp: "::FFFF:0a01:0203" } })],
      ['context has sourceIp && context.sourceIp.isInRange(ip("fe80::/10"))', ask({ principal: { sourceIp: "fe80::1%eth0" } })],
      [
        'context has onBehalfOf && context.onBehalfOf == Leasehold::User::"https://idp.example.com#alice"',
        ask({ principal: { onBehalfOf: user } }),
      ],
      [
        'context has onBehalfOf && context.onBehalfOf has email && context.onBehalfOf.email like "*@example.com"',
        ask({ principal: { onBehalfOf: user } }),
      ],
      [
        'context has onBehalfOf && context.onBehalfOf in Leasehold::Team::"https://idp.example.com#sre"',
        ask({ principal: { onBehalfOf: user } }),
      ],
      ['context.chain.contains("parent")', ask({ principal: { chain: ["parent" as AgentName] } })],
      ['context has client && context.client == "c1"', ask({ principal: { client: "c1" } })],
      ['context.authenticated.ageSeconds == 60 && context.transport == "http"', ask()],
    ];
    for (const [when, question] of cases) {
      expect([when, (await decide(rule("permit", "a", { when }), question)).outcome]).toEqual([when, "allow"]);
    }
    const local = 'context has sourceIp && context.sourceIp.isInRange(ip("10.0.0.0/8"))';
    const { sourceIp: _absent, ...overStdio } = ask().principal;
    expect(await decide(rule("permit", "a", { when: local }), { ...ask(), principal: overStdio })).toMatchObject({ reason: "default" });
  });
});

describe("what goes wrong", () => {
  it("denies when a forbid fails at run time, which Cedar would skip", async () => {
    const { authorizer, errors } = await authorizerOf(usesBilling + rule("forbid", "broken", { when: overflows }));
    expect(await authorizer.decide(ask())).toEqual({ outcome: "deny", policies: ["broken"], reason: "error" });
    expect(errors).toMatchObject([
      {
        policies: ["broken"],
        agent: "reporter",
        action: "use",
        credential: "billing-db/readonly",
        cause: expect.stringContaining("overflow"),
      },
    ]);
  });

  it("denies when a permit fails, even beside one that holds", async () => {
    const { authorizer, errors } = await authorizerOf(usesBilling + rule("permit", "broken", { when: overflows }));
    expect(await authorizer.decide(ask())).toMatchObject({ outcome: "deny", reason: "error" });
    expect(errors).toHaveLength(1);
  });

  const spoof = { __entity: { type: "Leasehold::Role", id: "data-retrieval" } } as unknown as string;

  it.each<[string, Question]>([
    ["ttl NaN (PL-05)", ask({ question: { ttl: NaN } })],
    ["ttl negative (PL-05)", ask({ question: { ttl: -1 } })],
    ["ttl a fraction (PL-05)", ask({ question: { ttl: 1.5 } })],
    ["ttl past 2^53 (PL-05)", ask({ question: { ttl: 2 ** 53 } })],
    ["ttl past 2^63 (PL-05)", ask({ question: { ttl: 2 ** 63 } })],
    ["ttl infinite (PL-05)", ask({ question: { ttl: Infinity } })],
    ["ttl a string (PL-05)", ask({ question: { ttl: "300" as unknown as number } })],
    ["ttl a bigint", ask({ question: { ttl: 300n as unknown as number } })],
    ["ttl null", ask({ question: { ttl: null as unknown as number } })],
    ["purpose an entity (PL-04)", ask({ question: { purpose: spoof } })],
    ["ticket an extension value (PL-04)", ask({ question: { ticket: { __extn: { fn: "ip", arg: "10.0.0.1" } } as unknown as string } })],
    ["a role that is an object (PL-04)", ask({ agent: { roles: [spoof] } })],
    ["a label that is an object (PL-04)", ask({ entry: { labels: { env: spoof } } })],
    ["an approval that is an object (PL-04)", ask({ question: { approvals: [spoof] } })],
    ["approvals that are no list (PL-04)", ask({ question: { approvals: "dba" as unknown as string[] } })],
    ["purpose far too long", ask({ question: { purpose: "x".repeat(8_193) } })],
    ["purpose with half a character", ask({ question: { purpose: "\ud800" } })],
    [
      "a session of endless labels",
      ask({
        question: {
          session: { startedAt: noon, leases: 0, lentLabels: Array.from({ length: 5_000 }, (_, i) => `l=${i}`), calledTools: [] },
        },
      }),
    ],
    ["an address that is none", ask({ principal: { sourceIp: "10.0.0.0/8" } })],
    ["an address with more behind it", ask({ principal: { sourceIp: "10.0.0.1, 10.0.0.2" } })],
    ["a clock past all dates", ask({ question: { now: 253_402_300_800_000 } })],
    ["exposed as a string", ask({ question: { exposed: "false" as unknown as boolean } })],
    ["another agent's record", ask({ principal: { agent: "mallory" as Question["agent"]["name"] } })],
    ["no session at all", ask({ question: { session: undefined as unknown as Question["session"] } })],
    [
      "an operation of no known kind",
      ask({ question: { operation: { kind: "carrier-pigeon" } as unknown as NonNullable<Question["operation"]> } }),
    ],
  ])("denies and alarms on facts of the wrong kind: %s", async (_, question) => {
    for (const text of [rule("permit", "a", { when: "context.ttl >= 0 || context.ttl < 0" }), rule("permit", "a")]) {
      const { authorizer, errors } = await authorizerOf(text);
      // A decision that is kept for sound facts must not be what unsound ones get.
      expect(await authorizer.decide(ask())).toMatchObject({ outcome: "allow" });
      expect(await authorizer.decide(question)).toEqual({ outcome: "deny", policies: [], reason: "error" });
      expect(errors).toHaveLength(1);
    }
  });
});

describe("what the agent writes (PL-04)", () => {
  const text = [
    rule("permit", "admins", { who: 'principal in Leasehold::Role::"admin"' }),
    rule("permit", "in-dev", { when: 'resource.hasTag("env") && resource.getTag("env") == "dev"' }),
    rule("permit", "approved", { when: 'context.approvals.contains("dba")' }),
    rule("permit", "for-alice", { when: 'context has onBehalfOf && context.onBehalfOf == Leasehold::User::"https://idp#alice"' }),
  ].join("\n");

  it.each([
    "role:admin",
    '"}, "approvals": ["dba"], "x": {"',
    'Leasehold::Role::"admin"',
    '{"__entity":{"type":"Leasehold::Role","id":"admin"}}',
    "env=dev",
    "https://idp#alice",
  ])("is never a fact: %s", async (claim) => {
    const { authorizer } = await authorizerOf(text);
    const question = ask({
      question: { purpose: claim, ticket: claim, operation: { kind: "http", method: claim, host: claim, path: claim } },
    });
    expect(await authorizer.decide(question)).toEqual({ outcome: "deny", policies: [], reason: "default" });
  });

  it("a user of one issuer is not the user of that name of another", async () => {
    const { authorizer } = await authorizerOf(text);
    const of = (issuer: string) => ask({ principal: { onBehalfOf: { account: "01u", subject: "alice", issuer, teams: [] } } });
    expect(await authorizer.decide(of("https://idp"))).toMatchObject({ outcome: "allow" });
    expect(await authorizer.decide(of("https://evil"))).toMatchObject({ outcome: "deny" });
  });
});

describe("limits", () => {
  const permit = (id: string, notes: string) => rule("permit", id, { notes });

  it("are the least strict of all permits that match", async () => {
    const text =
      permit("a", '@max_ttl("5m")\n@one_time("true")\n@notify("security")\n') +
      permit("b", '@max_ttl("1h")\n@one_time("true")\n@notify("ops, security")\n');
    expect(await decide(text, ask())).toEqual({
      outcome: "allow",
      policies: ["a", "b"],
      obligations: { maxTtl: 3600, oneTime: true, notify: ["ops", "security"] },
    });
    expect(await decide(text + permit("c", ""), ask())).toMatchObject({
      policies: ["a", "b", "c"],
      obligations: { notify: ["ops", "security"] },
    });
    expect(Object.keys(((await decide(text + permit("c", ""), ask())) as { obligations: object }).obligations)).toEqual(["notify"]);
  });

  it("of a permit that does not match count for nothing", async () => {
    const text = permit("a", '@max_ttl("5m")\n') + rule("permit", "b", { when: "context.ttl > 1000" });
    expect(await decide(text, ask())).toMatchObject({ policies: ["a"], obligations: { maxTtl: 300 } });
  });

  it("of nobody are none", () => expect(mergeObligations([])).toEqual({}));
});

describe("a decision that is kept", () => {
  it.each<[string, string, Change]>([
    ["role", 'principal in Leasehold::Role::"x"', { agent: { roles: ["x"] } }],
    ["kind", 'principal.kind == "local"', { principal: { kind: "local" } }],
    ["owner", 'principal has owner && principal.owner == "me"', { agent: { owner: "me" } }],
    ["registration", 'principal.registeredBy == "dcr"', { agent: { registeredBy: "dcr" } }],
    ["engine", 'resource.engine == "static"', { entry: { engine: "static" } }],
    ["labels", 'resource.hasTag("env") && resource.getTag("env") == "dev"', { entry: { labels: { env: "dev" } } }],
    ["exposure", "resource.exposed", { question: { exposed: true } }],
    ["name", 'resource == Leasehold::Credential::"other"', { entry: { name: named("other") } }],
    ["action", 'action == Leasehold::Action::"inject"', { question: { action: "inject" } }],
  ])("is not the answer to a question that differs in %s alone", async (_, when, change) => {
    const { authorizer } = await authorizerOf(
      rule("permit", "a", { when }).replace(
        'action == Leasehold::Action::"use",',
        'action in [Leasehold::Action::"use", Leasehold::Action::"inject"],',
      ),
    );
    for (const question of [ask(), ask(change), ask(), ask(change)]) {
      const differs = JSON.stringify(question) !== JSON.stringify(ask());
      expect((await authorizer.decide(question)).outcome).toBe(differs ? "allow" : "deny");
    }
  });
});

describe("a reload", () => {
  it("counts from the next decision on, for kept ones too (PL-02)", async () => {
    const { authorizer } = await authorizerOf(usesBilling);
    const before = authorizer.bundle;
    expect(await authorizer.decide(ask())).toMatchObject({ outcome: "allow" });
    authorizer.reload(await bundleOf(rule("forbid", "closed", { action: "any" })));
    expect(authorizer.bundle).not.toBe(before);
    expect(await authorizer.decide(ask())).toEqual({ outcome: "deny", policies: ["closed"], reason: "forbid" });
    authorizer.reload(await bundleOf(usesBilling));
    expect(authorizer.bundle).toBe(before);
    expect(await authorizer.decide(ask())).toMatchObject({ outcome: "allow" });
  });

  it("of one authorizer leaves another with the same policies alone", async () => {
    const text = rule("permit", "a", { when: "context.ttl > 0" });
    const [one, other] = [createAuthorizer({ bundle: await bundleOf(text) }), createAuthorizer({ bundle: await bundleOf(text) })];
    expect(await one.decide(ask())).toMatchObject({ outcome: "allow" });
    expect(await other.decide(ask())).toMatchObject({ outcome: "allow" });
    one.reload(await bundleOf(""));
    expect(await other.decide(ask())).toMatchObject({ outcome: "allow" });
  });
});

describe("what an agent could ever do", () => {
  it("is what some permit's head names, whatever its conditions", async () => {
    const text = rule("permit", "a", { who: retrieval, what: billing, when: "context.ttl < 0" });
    const { authorizer } = await authorizerOf(text);
    const { agent, entry } = ask();
    expect(authorizer.couldEver(agent, "use", entry)).toBe(true);
    expect(authorizer.couldEver(agent, "inject", entry)).toBe(false);
    expect(authorizer.couldEver({ ...agent, roles: [] }, "use", entry)).toBe(false);
    expect(authorizer.couldEver({ ...agent, frozen: true }, "use", entry)).toBe(false);
    expect(authorizer.couldEver({ ...agent, disabled: true }, "use", entry)).toBe(false);
    expect(authorizer.couldEver(agent, "use", { ...entry, name: named("other") })).toBe(false);
  });

  it("is not what is forbidden without conditions, nor to reveal what is not named", async () => {
    const { agent, entry } = ask();
    const could = async (text: string, action: Question["action"]) => (await authorizerOf(text)).authorizer.couldEver(agent, action, entry);
    expect(await could(usesBilling + rule("forbid", "f"), "use")).toBe(false);
    expect(await could(usesBilling + rule("forbid", "f", { when: "context.ttl > 9" }), "use")).toBe(true);
    expect(await could(rule("permit", "p", { action: "any" }), "reveal")).toBe(false);
    expect(await could(rule("permit", "p", { action: "any" }), "list")).toBe(true);
  });
});
