import type { CatalogueEntry, Catalogue } from "./catalogue.ts";
import type { Decision, DenyReason, Question } from "./decision.ts";
import type { CorrelationId, CredentialName, LeaseId } from "./brand.ts";
import type { EventOf } from "./event.ts";
import { actorOf } from "./event.ts";
import { Failure } from "./errors.ts";
import type { AgentDirectory, AuditLog, Authorizer, Exposures, Sessions } from "./ports.ts";
import type { Agent, Principal } from "./principal.ts";
import type { Delivery, OperationFacts } from "./request.ts";
import { combine, isNarrowedFrom } from "./narrow.ts";
import { unreachable } from "./unreachable.ts";

/** One question to policy, whoever raised it: a grant, an operation with a lease, a renewal, a look at the catalogue. */
interface Ask {
  readonly act: "list" | "grant" | "operate" | "renew";
  readonly credential: CredentialName;
  readonly delivery: Delivery;
  readonly ttl?: number;
  readonly purpose: string;
  readonly ticket?: string;
  readonly operation?: OperationFacts;
  /** Keyed digest of the exact arguments. */
  readonly arguments?: string;
  readonly lease?: LeaseId;
  readonly correlation: CorrelationId;
}

type Allowed = Extract<Decision, { outcome: "allow" }>;

/** Policy said yes; the event that says so is not written yet, so that it can be one write with what follows. */
export interface Permission {
  readonly agent: Agent;
  readonly entry: CatalogueEntry;
  readonly decision: Allowed;
  /** Seconds that are asked for or, silent on that, the credential's default. */
  readonly ttl: number;
  readonly bundle: string;
  readonly event: EventOf<"access.decided">;
}

export interface JudgeParts {
  readonly agents: AgentDirectory;
  readonly catalogue: Catalogue;
  readonly authorizer: Authorizer;
  readonly exposures: Exposures;
  readonly sessions: Sessions;
  readonly audit: AuditLog;
  readonly now: () => number;
}

export interface Judge {
  /** Answers with the permission, or writes the refusal down and throws it. */
  permit(principal: Principal, ask: Ask): Promise<Permission>;
  /** The agent's record, or throws: for calls that name no credential. */
  admit(principal: Principal): Promise<Agent>;
  /** The records of the caller and of all agents that it acts for, or throws. */
  admitAll(principal: Principal): Promise<readonly [Agent, ...Agent[]]>;
  /** Writes a refusal that was found after policy had allowed, e.g. an exceeded quota. */
  refuse(permission: Permission, reason: DenyReason): Promise<void>;
}

export function createJudge(parts: JudgeParts): Judge {
  /** The question to policy. What a question cannot be asked about is refused before. */
  function question(principal: Principal, ask: Ask, agent: Agent, entry: CatalogueEntry, ttl: number, exposed: boolean): Question {
    return {
      principal,
      agent,
      action: ask.act === "list" ? "list" : ask.delivery,
      entry,
      exposed,
      purpose: ask.purpose,
      ...(ask.ticket === undefined ? {} : { ticket: ask.ticket }),
      ttl,
      ...(ask.operation ? { operation: ask.operation } : {}),
      session: parts.sessions.facts(principal),
      approvals: [],
      now: parts.now(),
    };
  }

  /**
   * An agent that acts for others can do what each of them could, and no more: policy is asked for all of them, as if
   * each had come itself. A chain of one, the common case, is one question.
   */
  async function judge(principal: Principal, ask: Ask, agent: Agent, entry: CatalogueEntry, ttl: number): Promise<Decision> {
    if (isNarrowedFrom(principal, ask)) return deny("narrowed");
    const exposed = await parts.exposures.isExposed(entry.name);
    const own = await parts.authorizer.decide(question(principal, ask, agent, entry, ttl, exposed));
    if (principal.chain.length === 0) return own;
    const others: Decision[] = [];
    for (const [index, name] of principal.chain.entries()) {
      const other = await parts.agents.find(name);
      const barred = bar(other);
      const standIn = { ...principal, agent: name, chain: principal.chain.slice(index + 1) };
      others.push(
        !other || barred
          ? deny(barred ?? "unknown-agent")
          : await parts.authorizer.decide(question(standIn, ask, other, entry, ttl, exposed)),
      );
    }
    return combine(own, others);
  }

  async function admit(principal: Principal, name = principal.agent): Promise<Agent> {
    const agent = await parts.agents.find(name);
    const why = bar(agent);
    if (agent && !why) return agent;
    await parts.audit.append({ kind: "agent.refused", actor: actorOf(principal), agent: name, why: why ?? "unknown-agent" });
    throw new Failure("denied", { policies: [] });
  }

  /** Which policy forbids is told to those only who may know of the credential: to others it would say that there is one. */
  function mayKnow(agent: Agent, entry: CatalogueEntry): boolean {
    return (["list", "use", "inject", "reveal"] as const).some((action) => parts.authorizer.couldEver(agent, action, entry));
  }

  return {
    async permit(principal, ask) {
      if (ask.ttl !== undefined && !(Number.isSafeInteger(ask.ttl) && ask.ttl > 0))
        throw new Failure("invalid_request", { problem: "ttl_seconds: expected a whole number of seconds, 1 or more." });
      const agent = await parts.agents.find(principal.agent);
      const entry = parts.catalogue.find(ask.credential);
      const ttl = ask.ttl ?? entry?.ttl.default ?? 0;
      // Named as it is when the question is put: a reload in between must not sign for what it did not decide.
      const bundle = parts.authorizer.bundle;
      const barred = bar(agent);
      const decision = !agent || barred || !entry ? deny(barred ?? "unknown-credential") : await judge(principal, ask, agent, entry, ttl);
      const event = decided(principal, ask, decision, ttl, bundle);
      if (agent && entry && decision.outcome === "allow") return { agent, entry, decision, ttl, bundle, event };

      await parts.audit.append(event);
      throw refusal(agent && entry && mayKnow(agent, entry) ? decision : { ...decision, policies: [] });
    },

    admit: (principal) => admit(principal),

    async admitAll(principal) {
      const own = await admit(principal);
      const others: Agent[] = [];
      for (const name of principal.chain) others.push(await admit(principal, name));
      return [own, ...others];
    },

    async refuse(permission, reason) {
      await parts.audit.append({ ...permission.event, outcome: "deny", reason });
    },
  };
}

/** Why nothing at all is granted to this agent. */
function bar(agent: Agent | undefined): "unknown-agent" | "disabled" | "frozen" | undefined {
  if (!agent) return "unknown-agent";
  if (agent.disabled) return "disabled";
  return agent.frozen ? "frozen" : undefined;
}

function deny(reason: DenyReason): Decision {
  return { outcome: "deny", policies: [], reason };
}

function refusal(decision: Decision): Failure {
  switch (decision.outcome) {
    case "deny":
    case "allow":
      return new Failure("denied", { policies: decision.policies });
    case "needs-approval":
      return new Failure("needs_approval", { groups: decision.groups });
    default:
      return unreachable(decision);
  }
}

function decided(principal: Principal, ask: Ask, decision: Decision, ttl: number, bundle: string): EventOf<"access.decided"> {
  return {
    kind: "access.decided",
    actor: actorOf(principal),
    correlation: ask.correlation,
    action: ask.act === "list" || ask.act === "renew" ? ask.act : ask.delivery,
    credential: ask.credential,
    ...(ask.lease ? { lease: ask.lease } : {}),
    delivery: ask.delivery,
    outcome: decision.outcome,
    policies: decision.policies,
    ...(decision.outcome === "deny" ? { reason: decision.reason } : {}),
    ...(decision.outcome === "allow" ? { obligations: decision.obligations } : {}),
    bundle,
    ttl,
    purpose: ask.purpose,
    ...(ask.ticket === undefined ? {} : { ticket: ask.ticket }),
    ...(ask.operation ? { operation: ask.operation } : {}),
    ...(ask.arguments ? { arguments: ask.arguments } : {}),
  };
}
