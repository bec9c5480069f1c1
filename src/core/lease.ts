import type { AgentName, LeaseId, CredentialName } from "./brand.ts";
import type { JsonObject } from "./json.ts";
import type { Delivery } from "./request.ts";

/**
 * The lease machine. `Next` is derived from this table, so an illegal move does not compile.
 * `failed` and `revoked` are the ends: nothing of the lease is left at the target.
 */
export const transitions = {
  issuing: ["active", "failed", "revoking"],
  active: ["revoking", "expired"],
  expired: ["revoking"],
  revoking: ["revoked", "stuck"],
  stuck: ["revoking"],
  failed: [],
  revoked: [],
} as const satisfies Record<string, readonly string[]>;

export type LeaseState = keyof typeof transitions;
export type Next<From extends LeaseState> = (typeof transitions)[From][number];

/** States in which something may exist at the target. They count against quotas and are watched by the reaper. */
export const liveStates = ["issuing", "active", "expired", "revoking", "stuck"] as const satisfies readonly LeaseState[];

export type EndReason =
  | "agent"
  | "operator"
  | "expired"
  | "frozen"
  | "unauthorized"
  | "recovered"
  | "mint-failed"
  | "one-time"
  | "run-ended"
  | "policy";

/** What was lent, until when, and how to undo it. Times are milliseconds since the epoch. */
export interface Lease<State extends LeaseState = LeaseState> {
  readonly id: LeaseId;
  readonly state: State;
  /** Counts moves; a move on an outdated version is refused. */
  readonly version: number;
  readonly agent: AgentName;
  readonly session: string;
  /** `jti` of the access token that it was lent by. */
  readonly token?: string;
  /** Account of the user on whose behalf it was lent. */
  readonly account?: string;
  /** Agents on whose behalf it was lent, nearest first: it ends with the right of any of them. Absent: none. */
  readonly chain?: readonly AgentName[];
  readonly credential: CredentialName;
  readonly engine: string;
  readonly delivery: Delivery;
  readonly createdAt: number;
  readonly expiresAt: number;
  /** Renewals end here. */
  readonly maxExpiresAt: number;
  /** The recipe to undo: complete, so that it works after the catalogue entry was changed or deleted. */
  readonly handle: JsonObject;
  readonly purpose: string;
  readonly ticket?: string;
  readonly oneTime: boolean;
  /** Which process is issuing it (`host/pid/nonce`), so that a restart knows whose work is orphaned. */
  readonly instance: string;
  readonly endReason?: EndReason;
  /** Undo attempts that failed so far. */
  readonly attempts: number;
  /** When the reaper has to look at it next. */
  readonly dueAt: number;
}

export function isIn<State extends LeaseState>(lease: Lease, state: State): lease is Lease<State> {
  return lease.state === state;
}

/** What a move may change beside the state. */
export interface LeasePatch {
  readonly expiresAt?: number;
  readonly endReason?: EndReason;
  readonly attempts?: number;
  readonly dueAt?: number;
  /** Sealed material, for a move to active; kept as long as it stays so. */
  readonly material?: Uint8Array;
}
