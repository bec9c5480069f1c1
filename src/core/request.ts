import type { CorrelationId, CredentialName } from "./brand.ts";

export type Delivery = "use" | "inject" | "reveal";
export type Action = "list" | Delivery;

/** The operation a `use` carries, in the canonical form that policy judges and that goes out unchanged. */
export type OperationFacts =
  | { readonly kind: "http"; readonly method: string; readonly host: string; readonly path: string }
  | { readonly kind: "sql"; readonly verbs: readonly string[]; readonly tables: readonly string[] };

export type OperationKind = OperationFacts["kind"];

/** What is asked. `purpose` and `ticket` are the agent's own words: shown and required, never believed. */
export interface AccessRequest {
  readonly credential: CredentialName;
  readonly delivery: Delivery;
  /** Seconds. Absent: the credential's default. More than allowed is capped, never refused. */
  readonly ttl?: number;
  readonly purpose: string;
  readonly ticket?: string;
  readonly correlation: CorrelationId;
}
