import type { Generated } from "kysely";

/** Tables, as Kysely sees them. Times are milliseconds since the epoch; JSON is text; booleans are 0 and 1. */
export interface Tables {
  leases: LeaseRow;
  /** Live leases per subject (`agent:…`, `credential:…`), so that a quota costs the same at ten leases and at a million. */
  lease_counts: { subject: string; live: number };
  handles: { digest: Uint8Array; lease: string; expires_at: number; redeemed_at: number | null };
  exposures: { credential: string; lease: string; at: number };
  audit_entries: { seq: number; bytes: Uint8Array; hash: Uint8Array };
  audit_head: { id: number; head: Uint8Array };
  audit_checkpoints: { size: number; note: string };
  sink_positions: { sink: string; position: number };
  agents: AgentRow;
  revoked_tokens: { jti: string; expires_at: number };
  secrets: { vault: string; name: string; version: number; sealed: Uint8Array; updated_at: number };
  data_keys: { id: string; kek: string; wrapped: Uint8Array; created_at: number; retired_at: number | null; records: number };
  signing_keys: { name: string; kind: string; sealed: Uint8Array; public_key: Uint8Array | null };
  migrations: { id: number; name: string; digest: string; applied_at: number };
}

export interface LeaseRow {
  id: string;
  state: string;
  version: Generated<number>;
  agent: string;
  session: string;
  credential: string;
  engine: string;
  delivery: string;
  created_at: number;
  expires_at: number;
  max_expires_at: number;
  handle: string;
  purpose: string;
  ticket: string | null;
  one_time: number;
  instance: string;
  end_reason: string | null;
  attempts: number;
  /** When the reaper has to look again; null once nothing of the lease is left. */
  due_at: number | null;
  material: Uint8Array | null;
}

/** What operators and events added to the agents of the configuration file. */
export interface AgentRow {
  name: string;
  /** JSON array, for agents that were added at the command line; null for those of the configuration. */
  roles: string | null;
  owner: string | null;
  added_at: number | null;
  frozen_at: number | null;
  disabled_at: number | null;
  tokens_valid_from: number;
}
