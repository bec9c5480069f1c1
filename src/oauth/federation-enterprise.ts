import { createHash } from "node:crypto";
import type { OAuthConfig } from "../config/config.ts";
import { SetupError } from "../core/setup-error.ts";
import { goodUntil, isFor, peek, signedClaims, textClaim, Unacceptable } from "./federation-assertion.ts";
import { createIssuerKeys } from "./issuer-keys.ts";

/** Header type of an identity assertion that authorizes (ID-JAG). */
export const idJag = "oauth-id-jag+jwt";

export interface EnterpriseParts {
  readonly providers: OAuthConfig["enterprise"];
  readonly issuer: string;
  /** The MCP URL, without a trailing slash. */
  readonly resource: string;
  readonly fetch: typeof globalThis.fetch;
  readonly now: () => number;
  /** Claims an id for good, durably: `false` when it was claimed before. It may be forgotten after `until` (milliseconds). */
  readonly once: (id: string, until: number) => Promise<boolean>;
}

/** A person for whom their company's identity provider lets a client in. */
export interface ManagedSignIn {
  readonly person: {
    readonly issuer: string;
    readonly subject: string;
    readonly email?: string;
    readonly teams: readonly string[];
  };
  /** As the assertion says it. Absent: not narrowed. */
  readonly scope?: string;
  /** Milliseconds. */
  readonly until: number;
}

export interface Enterprise {
  /** For whom this client may act. Throws `Unacceptable`, or `KeysUnavailable` when it cannot be told right now. */
  signIn(assertion: string, client: string): Promise<ManagedSignIn>;
}

/** Enterprise-managed authorization: the company's identity provider says which people a client may act for, instead of asking each of them. */
export function createEnterprise(parts: EnterpriseParts): Enterprise {
  const { issuer: ours, resource, fetch, now, providers } = parts;
  const trusted = providers.map(({ issuer, jwks, jwksUri, teams }) => {
    if (issuer === ours)
      throw new SetupError({ what: "oauth.enterprise trusts our own tokens", fix: "Name the issuer of your identity provider." });
    return { issuer, teams, keys: createIssuerKeys({ issuer, jwks, jwksUri, fetch, now }) };
  });

  return {
    async signIn(assertion, client) {
      const { typ, issuer } = peek(assertion);
      const provider = trusted.find((one) => one.issuer === issuer);
      if (typ !== idJag || !provider) throw new Unacceptable("no identity provider that we trust issued it");
      const claims = await signedClaims(provider.keys, assertion);
      const until = goodUntil(claims, now());
      if (claims["iat"] === undefined) throw new Unacceptable("it does not say when it was issued");
      if (!isFor(claims, ours)) throw new Unacceptable("it is for another authorization server");
      if (claims["client_id"] !== client) throw new Unacceptable("it was issued to another client");
      if (!isResource(claims["resource"], resource)) throw new Unacceptable("it is for another resource");
      const { scope } = claims;
      if (scope !== undefined && typeof scope !== "string") throw new Unacceptable("its scope is no text");
      const person = personOf(claims, provider.teams, issuer);
      const id = createHash("sha256")
        .update(JSON.stringify([issuer, textClaim(claims, "jti")]))
        .digest("base64url");
      // Last: what fails for another reason may be put right and brought again.
      if (!(await parts.once(`id-jag:${id}`, until + 60_000))) throw new Unacceptable("it was used before");
      return { person, until, ...(scope === undefined ? {} : { scope }) };
    },
  };
}

function isResource(value: unknown, resource: string): boolean {
  const one: unknown = Array.isArray(value) && value.length === 1 ? value[0] : value;
  return one === resource || one === `${resource}/`;
}

function personOf(claims: Readonly<Record<string, unknown>>, teamsClaim: string, issuer: string): ManagedSignIn["person"] {
  const { email, email_verified: confirmed, [teamsClaim]: teams } = claims;
  return {
    issuer,
    subject: textClaim(claims, "sub"),
    ...(typeof email === "string" && email.length <= 320 && confirmed !== false ? { email } : {}),
    teams: Array.isArray(teams) ? teams.filter((team) => typeof team === "string").slice(0, 200) : [],
  };
}
