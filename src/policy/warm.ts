import type { AgentName, CredentialName } from "../core/brand.ts";
import type { Question } from "../core/decision.ts";
import type { Evaluator } from "./evaluate.ts";

const nobody = "nobody" as AgentName;

const idle: Question = {
  principal: {
    agent: nobody,
    kind: "local",
    chain: [],
    authenticated: { method: "local-peer", senderConstrained: false, at: 0 },
    session: "",
    transport: "cli",
  },
  agent: { name: nobody, roles: [], registeredBy: "local", frozen: false, disabled: false, tokensValidFrom: 0 },
  action: "use",
  entry: {
    name: "nothing" as CredentialName,
    engine: "",
    description: "",
    labels: {},
    ttl: { default: 0, max: 0 },
    maxLeases: 0,
    spec: {},
  },
  exposed: false,
  purpose: "",
  ttl: 0,
  session: { startedAt: 0, leases: 0, lentLabels: [], calledTools: [] },
  approvals: [],
  now: 0,
};

let warm = false;

/** The first decision of a process costs some 100 ms, for compiling. No call should be the one to pay it. */
export function warmUp(evaluator: Evaluator): void {
  if (warm) return;
  const answer = evaluator.evaluate({ key: "", policies: [] }, idle);
  // The one question whose facts we know to be right: if it is not answered, none will be.
  if (!answer.answered) throw new Error(`policy cannot be evaluated: ${answer.failed}`);
  warm = true;
}
