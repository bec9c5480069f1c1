import type { OAuthConfig } from "../config/config.ts";
import type { AgentName } from "../core/brand.ts";
import { claimAt, matches } from "./claim-pattern.ts";
import { agentOf } from "./federation-agent.ts";
import { goodUntil, isFor, peek, signedClaims, textClaim, Unacceptable } from "./federation-assertion.ts";
import type { FederationRule } from "./federation-rules.ts";
import { readRules } from "./federation-rules.ts";
import type { IssuerKeys } from "./issuer-keys.ts";
import { createIssuerKeys } from "./issuer-keys.ts";

export interface FederationParts {
  readonly rules: OAuthConfig["federation"];
  /** Ours: what a token is for where a rule does not say otherwise, and whose tokens are never brought here. */
  readonly issuer: string;
  readonly fetch: typeof globalThis.fetch;
  readonly now: () => number;
}

/** A workload that its platform vouches for. */
export interface Workload {
  readonly agent: AgentName;
  /** The operator wrote the agent's name out; otherwise it was made from what the workload is called. */
  readonly named: boolean;
  /** For an agent that is made this way. */
  readonly roles: readonly string[];
  /** Seconds that its tokens may live. */
  readonly ttl: number;
  /** Milliseconds; when the token that it brought ends. */
  readonly until: number;
  readonly evidence: { readonly issuer: string; readonly subject: string };
  readonly mayAct: unknown;
}

export interface Federation {
  /** Who brings this token. Throws `Unacceptable`, or `KeysUnavailable` when it cannot be told right now. */
  recognise(token: string): Promise<Workload>;
}

/** Tokens of other kinds that an issuer may sign as well are no proof of who brings them (RFC 8725 section 3.11). */
const kinds: ReadonlySet<string | undefined> = new Set([undefined, "jwt", "jose"]);

/** Workloads by the token of their platform. Throws `SetupError` for rules that cannot be meant. */
export function createFederation(parts: FederationParts): Federation {
  const rules = readRules(parts.rules, parts.issuer);
  const sources = new Map<string, IssuerKeys>();
  const keysOf = ({ issuer, jwks, jwksUri }: FederationRule): IssuerKeys => {
    const name = JSON.stringify([issuer, jwks, jwksUri]);
    const keys = sources.get(name) ?? createIssuerKeys({ issuer, jwks, jwksUri, fetch: parts.fetch, now: parts.now });
    sources.set(name, keys);
    return keys;
  };
  const trusted = rules.map((rule) => ({ rule, keys: keysOf(rule) }));

  return {
    async recognise(token) {
      const { typ, issuer } = peek(token);
      if (!kinds.has(typ)) throw new Unacceptable(`tokens of the type ${String(typ).slice(0, 64)} are not taken from workloads`);
      const candidates = trusted.filter(({ rule }) => rule.issuer === issuer);
      if (candidates.length === 0) throw new Unacceptable("no rule trusts its issuer");
      let problem: Error = new Unacceptable("no rule is about it");
      for (const { rule, keys } of candidates) {
        const claims = await signedClaims(keys, token).catch((cause: Error) => void (problem = cause));
        if (!claims) continue;
        const until = goodUntil(claims, parts.now());
        const workload = isFor(claims, rule.audience) && fits(rule, claims) ? workloadOf(rule, claims, until) : undefined;
        if (workload) return workload;
        problem = new Unacceptable(`no rule is about it: ${described(claims)}`);
      }
      throw problem;
    },
  };
}

function fits(rule: FederationRule, claims: Readonly<Record<string, unknown>>): boolean {
  return rule.claims.every(([name, patterns]) => {
    const value = claimAt(claims, name);
    return value !== undefined && patterns.some((pattern) => matches(pattern, value));
  });
}

function workloadOf(rule: FederationRule, claims: Readonly<Record<string, unknown>>, until: number): Workload | undefined {
  const agent = agentOf(rule.agent, claims);
  if (agent === undefined) return undefined;
  const { issuer, roles, ttl } = rule;
  const evidence = { issuer, subject: textClaim(claims, "sub") };
  return { agent, named: rule.agent.claims.length === 0, roles, ttl, until, evidence, mayAct: claims["may_act"] };
}

/** What the operator needs to write the rule that is missing. */
function described(claims: Readonly<Record<string, unknown>>): string {
  return JSON.stringify({ aud: claims["aud"], sub: claims["sub"] }).slice(0, 400);
}
