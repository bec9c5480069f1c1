import type { CatalogueEntry } from "./catalogue.ts";
import type { Agent, Principal } from "./principal.ts";
import type { Action, OperationFacts } from "./request.ts";

/** What policy is asked. Every fact is verified, but for `purpose` and `ticket`, which are the agent's words. */
export interface Question {
  readonly principal: Principal;
  readonly agent: Agent;
  readonly action: Action;
  readonly entry: CatalogueEntry;
  /** Whether the value was ever revealed to an agent. */
  readonly exposed: boolean;
  readonly purpose: string;
  readonly ticket?: string;
  /** Seconds that are asked for. */
  readonly ttl: number;
  readonly operation?: OperationFacts;
  readonly session: SessionFacts;
  /** Groups that approved exactly this request. */
  readonly approvals: readonly string[];
  /** Milliseconds since the epoch. */
  readonly now: number;
}

/** What this session already touched. */
export interface SessionFacts {
  readonly startedAt: number;
  readonly leases: number;
  /** `key=value` of every label of every credential lent in this session. */
  readonly lentLabels: readonly string[];
  readonly calledTools: readonly string[];
}

export interface Obligations {
  /** Seconds. */
  readonly maxTtl?: number;
  readonly oneTime?: boolean;
  readonly notify?: readonly string[];
}

export type Decision =
  | { readonly outcome: "allow"; readonly policies: readonly string[]; readonly obligations: Obligations }
  | { readonly outcome: "needs-approval"; readonly policies: readonly string[]; readonly groups: readonly string[] }
  | { readonly outcome: "deny"; readonly policies: readonly string[]; readonly reason: DenyReason };

/** `default`: no permit matched. `forbid`: a policy forbids. `error`: a policy failed to evaluate, which denies and alarms. */
export type DenyReason =
  | "default"
  | "forbid"
  | "error"
  | "frozen"
  | "disabled"
  | "unknown-credential"
  | "unknown-agent"
  | "quota"
  /** The token is not good for this credential or this kind of operation, whatever policy says. */
  | "narrowed";
