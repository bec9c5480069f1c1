declare const brand: unique symbol;

/** A string that was checked once and keeps its meaning in the type from then on. */
type Brand<T, Name extends string> = T & { readonly [brand]: Name };

/** 26 lower-case Crockford base32 characters, sortable by time. An address, never authority by itself. */
export type LeaseId = Brand<string, "LeaseId">;
/** Name of an agent as the operator knows it, e.g. `reporter`. */
export type AgentName = Brand<string, "AgentName">;
/** Path-like name of something that can be lent, e.g. `billing-db/readonly`. */
export type CredentialName = Brand<string, "CredentialName">;
/** One per incoming call; ties a refusal that an agent saw to the lines of the audit log. */
export type CorrelationId = Brand<string, "CorrelationId">;

const agentName = /^[a-z0-9][a-z0-9._-]{0,62}$/;
const credentialName = /^[a-z0-9][a-z0-9._-]{0,62}(?:\/[a-z0-9][a-z0-9._-]{0,62}){0,4}$/;
const leaseId = /^[0-9a-hjkmnp-tv-z]{26}$/;

/** 1–63 characters of `a–z 0–9 . _ -`, starting with a letter or digit: the one canonical form policy sees. */
export function isAgentName(text: string): text is AgentName {
  return agentName.test(text);
}

/** One to five segments of `a–z 0–9 . _ -` joined by `/`, no segment starting with punctuation. */
export function isCredentialName(text: string): text is CredentialName {
  return credentialName.test(text);
}

export function isLeaseId(text: string): text is LeaseId {
  return leaseId.test(text);
}
