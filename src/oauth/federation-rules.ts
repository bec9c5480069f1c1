import type { OAuthConfig } from "../config/config.ts";
import { SetupError } from "../core/setup-error.ts";
import { isOpen, literalStart } from "./claim-pattern.ts";
import type { AgentTemplate } from "./federation-agent.ts";
import { mayMeet, parseTemplate } from "./federation-agent.ts";

type Written = OAuthConfig["federation"][number];

/** A rule of the configuration, ready for use. */
export interface FederationRule {
  readonly issuer: string;
  readonly jwksUri?: string | undefined;
  readonly jwks?: string | undefined;
  readonly audience: string;
  /** By claim: one of these patterns. */
  readonly claims: readonly (readonly [name: string, patterns: readonly string[]])[];
  readonly agent: AgentTemplate;
  readonly roles: readonly string[];
  /** Seconds. */
  readonly ttl: number;
}

/** Claims that are about the token and not about who has it. */
const formal: ReadonlySet<string> = new Set(["iss", "aud", "exp", "iat", "nbf", "jti", "azp"]);

/**
 * Platforms whose one issuer signs for all of their customers. There, a rule that does not say whose workload it is lets in
 * anybody who opens an account: one of these claims has to name the owner.
 */
const shared: Readonly<Record<string, readonly string[]>> = {
  "https://token.actions.githubusercontent.com": [
    "repository",
    "repository_id",
    "repository_owner",
    "repository_owner_id",
    "enterprise",
    "enterprise_id",
    "job_workflow_ref",
    "sub",
  ],
  "https://gitlab.com": ["project_path", "project_id", "namespace_path", "namespace_id", "sub"],
  "https://agent.buildkite.com": ["organization_slug", "organization_id", "pipeline_id", "sub"],
  "https://app.terraform.io": ["terraform_organization_name", "terraform_organization_id", "terraform_workspace_id", "sub"],
  "https://accounts.google.com": ["sub", "email", "hd"],
};

/** Throws `SetupError` for rules that let in more than anybody can have meant. */
export function readRules(written: readonly Written[], ours: string): readonly FederationRule[] {
  const rules = written.map((one, index) => readRule(one, `oauth.federation[${index}]`, ours));
  for (const [index, rule] of rules.entries()) {
    const other = rules.findIndex((one, at) => at < index && mayMeet(one.agent, rule.agent) && !mayShare(one, rule));
    if (other >= 0)
      throw new SetupError({
        what: `oauth.federation[${other}] and oauth.federation[${index}] could name the same agent, but say different things of it`,
        fix: "Let the names begin differently, e.g. `main-{{repository}}` and `pr-{{repository}}`: roles belong to the agent, not to one token.",
      });
  }
  return rules;
}

/** Rules for one agent: always with the same roles, and of two issuers only where the name is written out. */
function mayShare(a: FederationRule, b: FederationRule): boolean {
  const sameRoles = [...a.roles].sort().join() === [...b.roles].sort().join();
  return sameRoles && (a.issuer === b.issuer || (a.agent.claims.length === 0 && b.agent.claims.length === 0));
}

function readRule(written: Written, place: string, ours: string): FederationRule {
  const { issuer, audience = ours, claims, agent, roles, ttl, jwks, jwksUri } = written;
  const wrong = (what: string, fix: string): SetupError => new SetupError({ what: `${place} ${what}`, fix });
  if (issuer === ours) throw wrong("trusts our own tokens", "Name the issuer of the platform that the workload runs on.");

  const conditions = Object.entries(claims).map(
    ([name, patterns]) => [name, typeof patterns === "string" ? [patterns] : patterns] as const,
  );
  const telling = conditions.filter(([name, patterns]) => !formal.has(name) && !patterns.some(isOpen));
  if (telling.length === 0)
    throw wrong(
      "lets in every workload of its issuer",
      "Say in `claims` whose it is, e.g. `{ repository: acme/shop, ref: refs/heads/main }`.",
    );
  const owners = shared[issuer.replace(/\/$/, "")];
  const definite = ([name, patterns]: (typeof telling)[number]): boolean => owners?.includes(name) === true && patterns.every(isDefinite);
  if (owners && !telling.some(definite))
    throw wrong(
      `lets in workloads of everybody: ${issuer} signs for all customers of the platform`,
      `Say whose it is by one of ${owners.join(", ")}, in full or at least with the owner in full, e.g. acme/* (not acme*).`,
    );
  return { issuer, jwks, jwksUri, audience, claims: conditions, agent: template(agent, wrong), roles, ttl };
}

/** Written out, or at least up to the end of the owner: `acme/*` is one owner's, `acme*` is also `acme-evil`, `repo:*` is everybody's. */
function isDefinite(pattern: string): boolean {
  const start = literalStart(pattern);
  return start === pattern || /[^/:][/:]/.test(start.replace(/^[a-z_]+:/, ""));
}

function template(text: string, wrong: (what: string, fix: string) => SetupError): AgentTemplate {
  try {
    return parseTemplate(text);
  } catch (cause) {
    throw wrong(
      `has an agent that cannot be named (${cause instanceof Error ? cause.message : "unknown"})`,
      "Write a name, or text with claims in it: `ci-{{repository}}`.",
    );
  }
}
