import type { AgentName } from "../core/brand.ts";
import type { User } from "../core/principal.ts";

/** What a person may do at Leasehold itself: manage it, approve requests, or only let agents act for them. */
export type UserRole = "operator" | "approver" | "member";

/** A person's account. */
export interface Account extends User {
  /** What they sign in with: 1–63 characters of `a–z 0–9 . _ - @`. */
  readonly name: string;
  readonly role: UserRole;
  readonly disabled: boolean;
  readonly frozen: boolean;
  /** Sign-ins and tokens from before this instant (milliseconds) are void. */
  readonly validFrom: number;
}

export interface UserDirectory {
  find(account: string): Promise<Account | undefined>;
}

/** An OAuth client and the agent that it is. */
export interface Client {
  readonly id: string;
  readonly agent: AgentName;
  readonly source: "operator" | "dcr" | "cimd";
  /** What it calls itself. Nobody vouches for it. */
  readonly name?: string;
  /** Milliseconds since the epoch. */
  readonly createdAt: number;
  readonly lastUsedAt?: number;
  readonly frozen: boolean;
  /** Removed by whomever: kept so that it is known as removed, never as unknown. */
  readonly removed: boolean;
}

export interface ClientDirectory {
  find(id: string): Promise<Client | undefined>;
}

/** What was revoked before its time: token ids (`jti`) and sessions (`sid`), until all of it would have expired anyway. */
export interface Revocations {
  isRevoked(id: string): Promise<boolean>;
  /** `until` in milliseconds: when nothing of that name can be valid any more. */
  revoke(id: string, until: number): Promise<void>;
}
