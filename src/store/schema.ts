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
  signing_keys: { name: string; kind: string; sealed: Uint8Array; public_key: Uint8Array | null; created_at: Generated<number> };
  oauth_records: OAuthRecordRow;
  clients: ClientRow;
  invitations: InvitationRow;
  users: UserRow;
  passkeys: PasskeyRow;
  enrolments: { digest: Uint8Array; account: string; expires_at: number; used_at: number | null };
  migrations: { id: number; name: string; digest: string; applied_at: number };
}

export interface LeaseRow {
  id: string;
  state: string;
  version: Generated<number>;
  agent: string;
  session: string;
  token: string | null;
  /** Account of the user on whose behalf it was lent. */
  account: string | null;
  /** Agents on whose behalf it was lent, with a space before and after each; null for none. */
  chain: string | null;
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
  /** Who registered it, as in `Agent.registeredBy`; null for those of the operator. */
  source: string | null;
}

/** A record of the OAuth server. Its id is a secret (a code, a refresh token), so only the digest is kept; the rest is sealed. */
export interface OAuthRecordRow {
  model: string;
  digest: Uint8Array;
  sealed: Uint8Array;
  grant_id: string | null;
  /** Digest of a second id: the user code of a device, the uid of a session. */
  lookup: Uint8Array | null;
  client: string | null;
  account: string | null;
  consumed_at: number | null;
  expires_at: number | null;
}

export interface ClientRow {
  id: string;
  agent: string;
  source: string;
  name: string | null;
  /** Metadata (RFC 7591), with the secret if there is one. */
  sealed: Uint8Array;
  /** The invitation that it came with. */
  invitation: string | null;
  /** Issuer of the software statement that it came with. */
  voucher: string | null;
  created_at: number;
  last_used_at: number | null;
  frozen_at: number | null;
  removed_at: number | null;
}

export interface InvitationRow {
  id: string;
  digest: Uint8Array;
  /** JSON array. */
  roles: string;
  /** What the names of its agents start with. */
  prefix: string | null;
  uses_left: number;
  created_by: string;
  created_at: number;
  expires_at: number;
  revoked_at: number | null;
}

export interface UserRow {
  id: string;
  name: string;
  issuer: string;
  subject: string;
  email: string | null;
  role: string;
  /** JSON array. */
  teams: string;
  /** Algorithm, parameters, salt and hash. */
  password: string | null;
  /** The sealed TOTP key (RFC 6238). */
  totp: Uint8Array | null;
  /** The last time step that was used, so that a code is good once. */
  totp_step: number | null;
  created_at: number;
  disabled_at: number | null;
  frozen_at: number | null;
  /** Sign-ins and tokens from before this instant are void. */
  valid_from: number;
}

export interface PasskeyRow {
  id: Uint8Array;
  account: string;
  public_key: Uint8Array;
  /** COSE algorithm. */
  algorithm: number;
  counter: number;
  name: string;
  created_at: number;
  used_at: number | null;
}
