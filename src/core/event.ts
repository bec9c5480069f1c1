import type { AgentName, CorrelationId, CredentialName, LeaseId } from "./brand.ts";
import type { DenyReason, Obligations } from "./decision.ts";
import type { FailureCode } from "./errors.ts";
import type { EndReason } from "./lease.ts";
import type { Principal, Transport } from "./principal.ts";
import type { Action, Delivery, OperationFacts, OperationKind } from "./request.ts";

/** Who stands behind an event: an agent over MCP, an operator at the command line, or the broker itself. */
export type Actor =
  | {
      readonly type: "agent";
      readonly agent: AgentName;
      readonly kind: Principal["kind"];
      readonly user?: string;
      readonly chain?: readonly AgentName[];
      readonly client?: string;
      readonly token?: string;
      readonly session: string;
      readonly transport: Transport;
      readonly ip?: string;
    }
  | { readonly type: "operator"; readonly name: string }
  /** A person who signed in; `user` is the account. */
  | { readonly type: "user"; readonly user: string; readonly name: string; readonly ip?: string }
  /** An OAuth client, at the authorization server; before it has proved anything, its id is only what it said. */
  | { readonly type: "client"; readonly client?: string; readonly ip?: string }
  | { readonly type: "broker" };

/**
 * One line of the audit log: one closed union. Values (arguments, statements, secrets) appear only as
 * keyed digests (`hmac:` + HMAC-SHA-256, base64url): equal values can be matched, none can be read.
 */
export type AuditEvent = { readonly actor: Actor; readonly correlation?: CorrelationId } & EventBody;

export type EventBody =
  | {
      readonly kind: "access.decided";
      readonly action: Action | "renew";
      readonly credential: CredentialName;
      readonly lease?: LeaseId;
      readonly delivery?: Delivery;
      readonly outcome: "allow" | "deny" | "needs-approval";
      readonly policies: readonly string[];
      readonly reason?: DenyReason;
      readonly obligations?: Obligations;
      /** Hash of the policy bundle that decided. */
      readonly bundle: string;
      readonly ttl: number;
      readonly purpose: string;
      readonly ticket?: string;
      readonly operation?: OperationFacts;
      /** Keyed digest of the exact arguments. */
      readonly arguments?: string;
    }
  | {
      readonly kind: "lease.issued";
      readonly lease: LeaseId;
      readonly credential: CredentialName;
      readonly engine: string;
      readonly delivery: Delivery;
      readonly expiresAt: number;
      /** What the credential is called at the target, e.g. a role name. */
      readonly target?: string;
      /** Keyed digests of the leased values by field. */
      readonly values: Readonly<Record<string, string>>;
    }
  | { readonly kind: "lease.failed"; readonly lease: LeaseId; readonly credential: CredentialName; readonly code: FailureCode }
  | { readonly kind: "lease.renewed"; readonly lease: LeaseId; readonly credential: CredentialName; readonly expiresAt: number }
  | { readonly kind: "lease.expired"; readonly lease: LeaseId; readonly credential: CredentialName }
  | { readonly kind: "lease.revoking"; readonly lease: LeaseId; readonly credential: CredentialName; readonly reason: EndReason }
  | { readonly kind: "lease.revoked"; readonly lease: LeaseId; readonly credential: CredentialName; readonly attempts: number }
  | {
      readonly kind: "lease.stuck";
      readonly lease: LeaseId;
      readonly credential: CredentialName;
      readonly attempts: number;
      readonly retryAt: number;
    }
  | {
      readonly kind: "operation.performed";
      readonly lease: LeaseId;
      readonly credential: CredentialName;
      readonly operation: OperationFacts;
      readonly outcome: "ok" | FailureCode;
      readonly milliseconds: number;
      /** Rows, bytes, HTTP status: numbers only. */
      readonly figures?: Readonly<Record<string, number>>;
      /** How many leased values were scrubbed from the result. */
      readonly scrubbed?: number;
    }
  | {
      /** Allowed in principle, but the operation itself is malformed or outside of what the credential does. */
      readonly kind: "operation.refused";
      readonly credential: CredentialName;
      readonly operation: OperationKind;
      readonly code: FailureCode;
      readonly arguments: string;
    }
  | { readonly kind: "catalogue.listed"; readonly found: number }
  | { readonly kind: "handle.redeemed"; readonly lease: LeaseId; readonly credential: CredentialName }
  | { readonly kind: "handle.refused"; readonly lease?: LeaseId; readonly why: "used" | "expired" | "unknown" | "not-owner" }
  | { readonly kind: "lease.refused"; readonly lease: string; readonly why: "not-owner" | "unknown" | "ended" }
  | { readonly kind: "agent.refused"; readonly agent: AgentName; readonly why: "unknown-agent" | "disabled" | "frozen" }
  | { readonly kind: "tool.refused"; readonly tool: string }
  | { readonly kind: "agent.frozen" | "agent.unfrozen" | "agent.added" | "agent.disabled" | "agent.enabled"; readonly agent: AgentName }
  | {
      readonly kind: "token.minted";
      readonly agent: AgentName;
      readonly token: string;
      readonly expiresAt: number;
      /** OAuth grant type; absent for tokens of the command line. */
      readonly grant?: string;
      readonly client?: string;
      readonly user?: string;
      readonly session?: string;
      readonly chain?: readonly AgentName[];
      readonly scope?: string;
      /** Who vouched for a workload: issuer and subject of the token that was exchanged. */
      readonly evidence?: { readonly issuer: string; readonly subject: string };
    }
  | {
      readonly kind: "token.revoked";
      readonly agent?: AgentName;
      readonly token?: string;
      readonly client?: string;
      readonly session?: string;
    }
  /** `error` is the OAuth error code, `why` our own words for the operator. */
  | { readonly kind: "token.refused"; readonly error: string; readonly why: string; readonly grant?: string; readonly client?: string }
  /** A finding: a code or refresh token came a second time, so one of two parties stole it. All that came of it was revoked. */
  | { readonly kind: "token.replayed"; readonly what: "code" | "refresh-token"; readonly client: string; readonly session: string }
  | {
      readonly kind: "client.registered";
      readonly client: string;
      readonly agent: AgentName;
      readonly source: "operator" | "dcr" | "cimd";
      readonly invitation?: string;
      readonly name?: string;
    }
  | { readonly kind: "client.updated" | "client.frozen" | "client.unfrozen"; readonly client: string }
  | { readonly kind: "client.removed"; readonly client: string; readonly why: "operator" | "itself" | "idle" }
  | { readonly kind: "registration.refused"; readonly error: string; readonly why: string; readonly count: number }
  | {
      readonly kind: "invitation.created";
      readonly invitation: string;
      readonly roles: readonly string[];
      readonly uses: number;
      readonly expiresAt: number;
    }
  | { readonly kind: "invitation.revoked"; readonly invitation: string }
  | { readonly kind: "user.added"; readonly user: string; readonly name: string; readonly role: string }
  | {
      readonly kind: "user.disabled" | "user.enabled" | "user.frozen" | "user.unfrozen" | "user.invited" | "user.sessions-ended";
      readonly user: string;
    }
  | { readonly kind: "user.enrolled"; readonly user: string; readonly method: "password" | "totp" | "passkey" }
  | { readonly kind: "user.signed-in"; readonly user: string; readonly method: "password" | "passkey" | "openid" }
  /** In sums: `count` attempts since the last line. `user` only where there is such an account. */
  | { readonly kind: "user.refused"; readonly user?: string; readonly why: string; readonly count: number }
  | {
      readonly kind: "consent.given" | "consent.refused";
      readonly user: string;
      readonly client: string;
      readonly agent: AgentName;
      readonly scope: string;
    }
  | { readonly kind: "key.rotated"; readonly key: string }
  | { readonly kind: "auth.refused"; readonly why: string; readonly transport: Transport; readonly ip?: string; readonly count: number }
  | { readonly kind: "secret.written" | "secret.removed"; readonly vault: string; readonly secret: string; readonly version?: string }
  | { readonly kind: "seal.rotated"; readonly key: string }
  | { readonly kind: "policy.loaded"; readonly bundle: string; readonly policies: number }
  | { readonly kind: "policy.rejected"; readonly problem: string }
  | { readonly kind: "policy.error"; readonly policies: readonly string[]; readonly credential: CredentialName }
  | { readonly kind: "sweep.orphan"; readonly credential: CredentialName; readonly target: string; readonly removed: boolean }
  | { readonly kind: "sweep.finished"; readonly credential: CredentialName; readonly found: number; readonly orphans: number }
  | { readonly kind: "broker.started" | "broker.stopped"; readonly instance: string; readonly version: string };

export type EventOf<Kind extends EventKind> = Extract<AuditEvent, { readonly kind: Kind }>;

export type EventKind = EventBody["kind"];

export function actorOf(principal: Principal): Actor {
  return {
    type: "agent",
    agent: principal.agent,
    kind: principal.kind,
    ...(principal.onBehalfOf ? { user: principal.onBehalfOf.account } : {}),
    ...(principal.chain.length > 0 ? { chain: principal.chain } : {}),
    ...(principal.client === undefined ? {} : { client: principal.client }),
    ...(principal.authenticated.tokenId ? { token: principal.authenticated.tokenId } : {}),
    session: principal.session,
    transport: principal.transport,
    ...(principal.sourceIp ? { ip: principal.sourceIp } : {}),
  };
}
