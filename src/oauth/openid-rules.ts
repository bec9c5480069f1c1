import type { VouchedUser } from "../identity/users.ts";

/** Who may sign in with the provider, and as what: `oauth.people.openid` of the configuration. */
export interface OpenIdRules {
  readonly issuer: string;
  /** The claim with a person's groups. */
  readonly teams: string;
  readonly allow: { readonly emails: readonly string[]; readonly teams: readonly string[] };
  /** Teams whose members are operators. */
  readonly operators: readonly string[];
}

const mostTeams = 200;
const longest = 255;

/** The person that these claims speak of, or `undefined` when nothing lets them in. The signature was checked. */
export function judge(claims: Readonly<Record<string, unknown>>, rules: OpenIdRules): VouchedUser | undefined {
  const { sub } = claims;
  if (typeof sub !== "string" || sub === "" || sub.length > longest) return undefined;
  const email = verifiedEmail(claims);
  const teams = teamsIn(claims[rules.teams]);
  const welcome =
    teams.some((team) => rules.allow.teams.includes(team)) || (email !== undefined && rules.allow.emails.some((one) => fits(email, one)));
  if (!welcome) return undefined;
  return {
    issuer: rules.issuer,
    subject: sub,
    name: email ?? sub,
    ...(email === undefined ? {} : { email }),
    teams,
    role: teams.some((team) => rules.operators.includes(team)) ? "operator" : "member",
  };
}

/** An address that the provider did not verify is only what somebody typed. */
function verifiedEmail({ email, email_verified: verified }: Readonly<Record<string, unknown>>): string | undefined {
  if (typeof email !== "string" || verified !== true || email.length > longest || !/^[^\s@]+@[^\s@]+$/.test(email)) return undefined;
  return email.toLowerCase();
}

/** An address, or `*@example.com` for all of a domain, and of no other that ends alike. */
function fits(email: string, rule: string): boolean {
  const wanted = rule.toLowerCase();
  return wanted.startsWith("*@") ? email.slice(email.lastIndexOf("@")) === wanted.slice(1) : email === wanted;
}

function teamsIn(value: unknown): readonly string[] {
  const teams: readonly unknown[] = Array.isArray(value) ? value : typeof value === "string" ? [value] : [];
  return teams.filter((team): team is string => typeof team === "string" && team !== "" && team.length <= longest).slice(0, mostTeams);
}
