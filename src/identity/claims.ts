import { isAgentName } from "../core/brand.ts";
import type { AgentName } from "../core/brand.ts";
import type { Scope } from "../core/scope.ts";
import { isScope } from "../core/scope.ts";

/**
 * Who a token speaks for, in the terms of RFC 8693: `sub` is on whose behalf, `act` who acts, with those it acts for
 * nested in it. Without anybody to act for, `sub` is the agent itself. Accounts are written `user:<id>`, which no
 * agent name can be.
 */
export interface Bearer {
  readonly agent: AgentName;
  /** OAuth client that it is issued to; the agent's own name for tokens of the command line. */
  readonly client: string;
  /** Account of the user on whose behalf it acts. */
  readonly account?: string;
  /** Agents between this one and the user or the first agent, nearest first. */
  readonly chain: readonly AgentName[];
  /** Absent: not narrowed. */
  readonly scopes?: readonly Scope[];
  /** Credentials or folders (`billing-db/*`) that it is good for. Absent: not narrowed. */
  readonly credentials?: readonly string[];
  /** What it belongs to (`sid`): the sign-in that it was refreshed from. Absent: it stands alone. */
  readonly session?: string;
  /** Token ids and sessions with which it ends, beside its own: those of the tokens that it was exchanged for. */
  readonly lineage: readonly string[];
  /** The key or certificate that it is bound to (RFC 9449 section 6.1, RFC 8705 section 3.1). */
  readonly bound?: { readonly jkt: string } | { readonly "x5t#S256": string };
}

/** Type of our entry in `authorization_details` (RFC 9396). */
export const narrowingType = "leasehold_credentials";

const accountPrefix = "user:";
const longestChain = 8;
const longestList = 64;

/** The claims that say it (RFC 9068 section 2.2, RFC 8693 section 4.1). */
export function claimsOf(bearer: Bearer): Readonly<Record<string, unknown>> {
  const { agent, account, chain, client, scopes, credentials, session, lineage, bound } = bearer;
  const root = account === undefined ? chain.at(-1) : `${accountPrefix}${account}`;
  const acting = root === undefined ? [] : [agent, ...(account === undefined ? chain.slice(0, -1) : chain)];
  const act = acting.reduceRight<object | undefined>((inner, sub) => (inner ? { sub, act: inner } : { sub }), undefined);
  return {
    sub: root ?? agent,
    client_id: client,
    ...(act ? { act } : {}),
    ...(scopes ? { scope: scopes.join(" ") } : {}),
    ...(credentials ? { authorization_details: [{ type: narrowingType, credentials }] } : {}),
    ...(session === undefined ? {} : { sid: session }),
    ...(lineage.length > 0 ? { lin: lineage } : {}),
    ...(bound ? { cnf: bound } : {}),
  };
}

/** What claims of our own making say, or throws. They are signed by us; this is against tokens of other versions of us. */
export function bearerOf(claims: Readonly<Record<string, unknown>>): Bearer {
  const { sub, client_id: client, scope, sid, lin, cnf } = claims;
  if (typeof client !== "string" || client === "" || client.length > 512) throw new Error("token names no client");
  if (typeof sub !== "string") throw new Error("token names no subject");
  const account = sub.startsWith(accountPrefix) ? sub.slice(accountPrefix.length) : undefined;
  const acting = actorsOf(claims["act"]);
  const agents = account === undefined ? [...acting, sub] : acting;
  const names = agents.filter(isAgentName);
  const [agent, ...chain] = names;
  if (agent === undefined || names.length !== agents.length) throw new Error("token names no agent");
  const credentials = narrowedTo(claims["authorization_details"]);
  const bound = boundTo(cnf);
  return {
    agent,
    client,
    ...(account === undefined ? {} : { account }),
    chain,
    ...(scope === undefined ? {} : { scopes: scopesOf(scope) }),
    ...(credentials ? { credentials } : {}),
    ...(sid === undefined ? {} : { session: text(sid) }),
    lineage: lin === undefined ? [] : texts(lin),
    ...(bound ? { bound } : {}),
  };
}

/** Nearest first. */
function actorsOf(act: unknown): readonly string[] {
  const actors: string[] = [];
  for (let at = act; at !== undefined;) {
    const actor = record(at);
    actors.push(text(actor["sub"]));
    if (actors.length > longestChain) throw new Error("token has too long a chain");
    at = actor["act"];
  }
  return actors;
}

/** Scopes that we do not know any more grant nothing. */
function scopesOf(scope: unknown): readonly Scope[] {
  if (typeof scope !== "string") throw new Error("token has an odd scope");
  return scope.split(" ").filter(isScope);
}

function narrowedTo(details: unknown): readonly string[] | undefined {
  if (details === undefined) return undefined;
  if (!Array.isArray(details) || details.length !== 1) throw new Error("token has odd authorization details");
  const detail = record(details[0]);
  if (detail["type"] !== narrowingType) throw new Error("token has odd authorization details");
  return texts(detail["credentials"]);
}

function boundTo(cnf: unknown): Bearer["bound"] {
  if (cnf === undefined) return undefined;
  const { jkt, "x5t#S256": thumbprint, ...rest } = record(cnf);
  if (Object.keys(rest).length > 0 || (jkt === undefined) === (thumbprint === undefined))
    throw new Error("token is bound to something unknown");
  return jkt === undefined ? { "x5t#S256": text(thumbprint) } : { jkt: text(jkt) };
}

function record(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new Error("token has an odd claim");
  return Object.fromEntries(Object.entries(value));
}

function text(value: unknown): string {
  if (typeof value !== "string" || value === "" || value.length > 512) throw new Error("token has an odd claim");
  return value;
}

function texts(value: unknown): readonly string[] {
  if (!Array.isArray(value) || value.length > longestList) throw new Error("token has an odd claim");
  return value.map(text);
}
