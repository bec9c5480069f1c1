import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { AgentName, CredentialName } from "../../../src/core/brand.ts";
import type { CatalogueEntry } from "../../../src/core/catalogue.ts";
import type { Question } from "../../../src/core/decision.ts";
import type { Agent, Principal } from "../../../src/core/principal.ts";
import { parseBundle } from "../../../src/policy/bundle.ts";
import type { Bundle } from "../../../src/policy/bundle.ts";
import { createAuthorizer } from "../../../src/policy/cedar.ts";
import type { PolicyAuthorizer, PolicyError } from "../../../src/policy/cedar.ts";
import type { Problem } from "../../../src/policy/problem.ts";

export const noon = Date.parse("2026-11-20T12:00:00Z");

export interface Change {
  readonly principal?: Partial<Principal>;
  readonly agent?: Partial<Agent>;
  readonly entry?: Partial<CatalogueEntry>;
  readonly question?: Partial<Question>;
}

export function ask(change: Change = {}): Question {
  const principal: Principal = {
    agent: "reporter" as AgentName,
    kind: "oauth",
    chain: [],
    authenticated: { method: "access-token", senderConstrained: false, at: noon - 60_000 },
    session: "s1",
    transport: "http",
    sourceIp: "10.1.2.3",
    ...change.principal,
  };
  const agent: Agent = {
    name: "reporter" as AgentName,
    roles: ["data-retrieval"],
    registeredBy: "operator",
    frozen: false,
    disabled: false,
    tokensValidFrom: 0,
    ...change.agent,
  };
  const entry: CatalogueEntry = {
    name: "billing-db/readonly" as CredentialName,
    engine: "postgres",
    description: "",
    labels: { env: "prod" },
    ttl: { default: 300, max: 900 },
    maxLeases: 10,
    spec: {},
    ...change.entry,
  };
  return {
    principal,
    agent,
    action: "use",
    entry,
    exposed: false,
    purpose: "monthly report",
    ttl: 300,
    session: { startedAt: noon - 600_000, leases: 0, lentLabels: [], calledTools: [] },
    approvals: [],
    now: noon,
    ...change.question,
  };
}

export function named(name: string): CredentialName {
  return name as CredentialName;
}

export async function bundleOf(text: string, known?: Bundle): Promise<Bundle> {
  const parsed = await parseBundle([{ file: "test.cedar", text }], known);
  if (!parsed.ok) throw new Error(parsed.problems.map((problem) => `${problem.line}: ${problem.problem}`).join("\n"));
  return parsed.bundle;
}

export async function problemsOf(text: string): Promise<readonly Problem[]> {
  const parsed = await parseBundle([{ file: "test.cedar", text }]);
  return parsed.ok ? [] : parsed.problems;
}

export async function authorizerOf(text: string): Promise<{ authorizer: PolicyAuthorizer; errors: PolicyError[] }> {
  const errors: PolicyError[] = [];
  const authorizer = createAuthorizer({ bundle: await bundleOf(text), onError: (error) => errors.push(error) });
  return { authorizer, errors };
}

/** `permit` or `forbid` with a head that says what it is for; the rest of the head is open. */
export function rule(
  effect: "permit" | "forbid",
  id: string,
  parts: { action?: string; who?: string; what?: string; when?: string; notes?: string } = {},
): string {
  const { action = "use", who = "principal", what = "resource", when, notes = "" } = parts;
  const actions = action === "any" ? "action" : `action == Leasehold::Action::"${action}"`;
  return `@id("${id}")\n${notes}${effect} (\n  ${who},\n  ${actions},\n  ${what}\n)${when ? ` when { ${when} }` : ""};\n`;
}

export async function temporary(work: (directory: string) => Promise<void>): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), "leasehold-policy-"));
  try {
    await work(directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

export async function eventually(holds: () => boolean, milliseconds = 15_000): Promise<void> {
  const end = Date.now() + milliseconds;
  while (!holds()) {
    if (Date.now() > end) throw new Error("it never came to hold");
    await new Promise((resolve) => void setTimeout(resolve, 10));
  }
}
