import { z } from "zod";
import type { AgentName, CredentialName } from "../src/core/brand.ts";
import type { Question } from "../src/core/decision.ts";
import { parseBundle } from "../src/policy/bundle.ts";
import { createAuthorizer } from "../src/policy/cedar.ts";
import type { PolicyAuthorizer } from "../src/policy/cedar.ts";
import { answerAsks } from "./ask.ts";

/**
 * Policies of many teams, five credentials each, and two that concern everybody. Every question meets
 * three of them, in a bundle of ten as in one of ten thousand: what grows is only what does not concern it.
 */
function bundleText(count: number, condition: string): string {
  const common = [
    `@id("nobody-reveals-customer-data") forbid (principal, action == Leasehold::Action::"reveal", resource);`,
    `@id("exposed-are-not-used") forbid (principal is Leasehold::Agent, action == Leasehold::Action::"use", resource) when { resource.exposed };`,
  ];
  const teams = Array.from({ length: count - common.length }, (_, i) => {
    const { team, credential } = placeOf(i);
    return `@id("p${i}") @max_ttl("15m") permit (principal in Leasehold::Role::"${team}", action in [Leasehold::Action::"use", Leasehold::Action::"inject"], resource == Leasehold::Credential::"${credential}") ${condition};`;
  });
  return [...common, ...teams].join("\n");
}

function placeOf(i: number): { readonly team: string; readonly credential: string } {
  return { team: `team-${Math.floor(i / 5)}`, credential: `team-${Math.floor(i / 5)}/db-${i % 5}` };
}

const at = Date.now();

function question(i: number): Question {
  const { team, credential } = placeOf(i);
  const agent = `${team}-agent` as AgentName;
  return {
    principal: {
      agent,
      kind: "oauth",
      chain: [],
      authenticated: { method: "access-token", senderConstrained: false, at: at - 60_000, tokenId: "t" },
      session: "s",
      transport: "http",
      sourceIp: "127.0.0.1",
    },
    agent: { name: agent, roles: [team], registeredBy: "operator", frozen: false, disabled: false, tokensValidFrom: 0 },
    action: "use",
    entry: {
      name: credential as CredentialName,
      engine: "static",
      description: "",
      labels: { env: "prod", team },
      ttl: { default: 300, max: 900 },
      maxLeases: 10,
      spec: {},
    },
    exposed: false,
    purpose: "nightly report",
    ttl: 600,
    session: { startedAt: at - 60_000, leases: 3, lentLabels: ["env=prod"], calledTools: ["whoami", "request_lease"] },
    approvals: [],
    now: at,
  };
}

const loading = z.object({ policies: z.number(), readsContext: z.boolean() });
let authorizer: PolicyAuthorizer | undefined;
let questions: readonly Question[] = [];

async function load(input: unknown): Promise<number> {
  const { policies, readsContext } = loading.parse(input);
  const text = bundleText(policies, readsContext ? "when { context.ttl <= 900 && context.session.leases < 50 }" : "");
  const start = performance.now();
  const parsed = await parseBundle([{ file: "bench.cedar", text }]);
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems[0]));
  authorizer = createAuthorizer({ bundle: parsed.bundle });
  questions = Array.from({ length: Math.min(policies - 2, 500) }, (_, i) =>
    question(Math.floor((i * (policies - 2)) / Math.min(policies - 2, 500))),
  );
  return performance.now() - start;
}

/** Eight questions, over and over, for so many milliseconds. */
async function decide(input: unknown) {
  const milliseconds = z.number().parse(input);
  return timed(questions.slice(0, 8), (count, elapsed) => elapsed < milliseconds || count < 8);
}

/** Questions that were never asked before: the first one of each pays for parsing what concerns it. */
const decideFirst = async () => timed(questions.slice(8), (count) => count < questions.length - 8);

async function timed(asked: readonly Question[], goOn: (count: number, elapsed: number) => boolean) {
  const latencies: number[] = [];
  const start = performance.now();
  for (let begin = start; goOn(latencies.length, begin - start);) {
    const one = asked[latencies.length % asked.length];
    const decision = one && (await authorizer?.decide(one));
    if (decision?.outcome !== "allow") throw new Error(`not allowed: ${JSON.stringify(decision)}`);
    const end = performance.now();
    latencies.push((end - begin) * 1000);
    begin = end;
  }
  return { milliseconds: performance.now() - start, latencies: Float64Array.from(latencies), failed: 0 };
}

answerAsks({ load, decide, decideFirst });
