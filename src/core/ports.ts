import type { AgentName, CorrelationId, CredentialName, LeaseId } from "./brand.ts";
import type { CatalogueEntry } from "./catalogue.ts";
import type { Decision, Question, SessionFacts } from "./decision.ts";
import type { AuditEvent } from "./event.ts";
import type { JsonObject } from "./json.ts";
import type { Lease, LeasePatch, LeaseState, Next } from "./lease.ts";
import type { Agent, Principal } from "./principal.ts";
import type { Action, OperationFacts, OperationKind } from "./request.ts";
import type { Secret } from "./secret.ts";

/** Where a static secret rests. `read` answers `undefined` for what does not exist and throws when it cannot tell. */
export interface Vault {
  read(secret: string, signal: AbortSignal): Promise<{ readonly value: Secret; readonly version: string } | undefined>;
  list(
    prefix: string,
    signal: AbortSignal,
  ): AsyncIterable<{ readonly secret: string; readonly version: string; readonly updatedAt?: number }>;
  write?(secret: string, value: Secret, signal: AbortSignal): Promise<{ readonly version: string }>;
  remove?(secret: string, signal: AbortSignal): Promise<boolean>;
}

/** What an engine lends. Fields that are secret are `Secret`, the others plain: `{ username, password: Secret, host, … }`. */
export interface Material {
  readonly fields: Readonly<Record<string, string | Secret>>;
}

/** What is needed to undo, stored in the lease before the credential exists. Complete in itself, and free of secrets. */
export type Handle = JsonObject;

export interface Order {
  readonly lease: LeaseId;
  readonly entry: CatalogueEntry;
  readonly agent: AgentName;
  /** Milliseconds since the epoch. */
  readonly expiresAt: number;
}

/** Mints a credential at a target, and undoes it. One contract suite (`testing/engine-contract.ts`) holds for all. */
export interface CredentialEngine {
  /** Operations that the broker can perform itself with what this engine lends for this entry. */
  operations(entry: CatalogueEntry): readonly OperationKind[];
  /** Names the credential before it exists: pure, and deterministic from the lease id. */
  plan(order: Order): Handle;
  /** The credential's name at the target, for people and for the audit log. */
  nameOf?(handle: Handle): string;
  mint(order: Order, handle: Handle, signal: AbortSignal): Promise<Material>;
  /** Ends the credential and its live sessions. Succeeds on what is already gone, and on what was never minted. */
  undo(handle: Handle, signal: AbortSignal): Promise<void>;
  extend?(handle: Handle, until: number, signal: AbortSignal): Promise<void>;
  /** For values that rest in a vault: read anew on every use and never kept with the lease. */
  read?(entry: CatalogueEntry, signal: AbortSignal): Promise<Material>;
  /** Names of everything at the target that bears our mark, whether or not a lease knows it. */
  survey?(entry: CatalogueEntry, signal: AbortSignal): Promise<readonly string[]>;
}

/** Performs one kind of operation with a lent credential, so that the agent sees only the result. */
export interface Performer {
  readonly kind: OperationKind;
  /**
   * Parses the agent's arguments into what will go out, and the facts of it for policy. What `prepare`
   * returned is performed unchanged. Throws `invalid_request` or `operation_refused`.
   */
  prepare(entry: CatalogueEntry, input: JsonObject): Promise<PreparedOperation> | PreparedOperation;
  /** Lets go of whatever it holds for this lease, e.g. open connections. */
  release?(lease: LeaseId): Promise<void>;
  /** Lets go of everything, for good. */
  close?(): Promise<void>;
}

export interface PreparedOperation {
  readonly facts: OperationFacts;
  perform(material: Material, lease: Lease, signal: AbortSignal): Promise<OperationResult>;
}

export interface OperationResult {
  readonly output: JsonObject;
  /** Numbers for the audit log: rows, bytes, status. */
  readonly figures: Readonly<Record<string, number>>;
}

export interface Authorizer {
  /** Hash of the bundle in force, for the audit log. */
  readonly bundle: string;
  decide(question: Question): Promise<Decision>;
  /** Whether any permit could ever let this agent do this, whatever the context: for listings, never for a call. */
  couldEver(agent: Agent, action: Action, entry: CatalogueEntry): boolean;
}

/** Durable when it returns, or it throws `audit_unavailable` and the call does not happen. */
export interface AuditLog {
  append(event: AuditEvent): Promise<{ readonly seq: bigint }>;
}

/** Where audit is copied to. May fall behind; the log may not. */
export interface AuditSink {
  send(batch: readonly Uint8Array[], signal: AbortSignal): Promise<void>;
}

export interface LeaseFilter {
  readonly agent?: AgentName;
  /** On behalf of this user. */
  readonly account?: string;
  /** On behalf of this agent, by another one. */
  readonly actingFor?: AgentName;
  /** Lent in this session, or by the token of this id. */
  readonly session?: string;
  readonly credential?: CredentialName;
  readonly engine?: string;
  readonly live?: boolean;
  readonly states?: readonly LeaseState[];
  readonly limit?: number;
  /** Only leases before this id, for paging: the newest come first. */
  readonly before?: LeaseId;
}

/**
 * Leases at rest. Every change is one durable write together with its audit event: neither exists
 * without the other. Throws `audit_unavailable` when the write fails.
 */
export interface LeaseBook {
  /** Stores the lease as `issuing`, within the quotas. */
  open(lease: Lease<"issuing">, quota: Quota, event: AuditEvent): Promise<"opened" | { readonly exceeded: "agent" | "credential" }>;
  /** Refuses (`undefined`) when the lease has moved since it was read. */
  move<From extends LeaseState, To extends Next<From>>(
    lease: Lease<From>,
    to: To,
    patch: LeasePatch,
    event: AuditEvent,
  ): Promise<Lease<To> | undefined>;
  /** A later expiry for an active lease. Refuses like `move`. */
  extend(lease: Lease<"active">, expiresAt: number, event: AuditEvent): Promise<Lease<"active"> | undefined>;
  /** Puts off the reaper after a failed undo; no state changes. */
  postpone(lease: Lease, dueAt: number, attempts: number): Promise<Lease | undefined>;
  find(id: LeaseId): Promise<Lease | undefined>;
  /** The sealed material of an active lease. */
  material(id: LeaseId): Promise<Uint8Array | undefined>;
  list(filter: LeaseFilter): Promise<readonly Lease[]>;
  /** Live leases whose time to be looked at has come, the most urgent first; those of some credentials left out. */
  due(now: number, limit: number, except?: readonly CredentialName[]): Promise<readonly Lease[]>;
}

interface Quota {
  readonly perAgent: number;
  readonly perCredential: number;
}

/** Seals the material of a lease for the store, bound to the lease id. */
export interface Keeper {
  seal(lease: LeaseId, material: Material): Uint8Array;
  open(lease: LeaseId, sealed: Uint8Array): Material;
  /** Keyed digest (`hmac:…`) for the audit log. */
  digest(value: string | Secret | JsonObject): string;
}

/** One-time handles: an agent carries one, a process beside it redeems it. */
export interface Handles {
  issue(lease: Lease<"active">): Promise<{ readonly handle: string; readonly expiresAt: number }>;
  /** Exactly one redemption succeeds. Throws `not_found` for used, expired, unknown and foreign alike, and records which. */
  redeem(handle: string, principal: Principal, correlation: CorrelationId): Promise<LeaseId>;
}

/** What results must not contain. Values are registered when they are lent and forgotten when the lease ends. */
export interface Redactor {
  remember(lease: LeaseId, material: Material): void;
  forget(lease: LeaseId): void;
  /** Replaces every known value, in every encoding we know, in every string of the result. */
  scrub<T extends JsonObject>(result: T): { readonly clean: T; readonly hits: number };
}

/** What each session already touched: the broker's own record, the ground for policies about chains. */
export interface Sessions {
  facts(principal: Principal): SessionFacts;
  lent(principal: Principal, entry: CatalogueEntry): void;
  called(principal: Principal, tool: string): void;
}

export interface AgentDirectory {
  find(name: AgentName): Promise<Agent | undefined>;
}

/** Which credentials were ever revealed. */
export interface Exposures {
  isExposed(credential: CredentialName): Promise<boolean>;
  mark(credential: CredentialName, lease: LeaseId): Promise<void>;
}
