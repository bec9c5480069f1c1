import { decodeJwt } from "jose";
import type { Metadata } from "./client-metadata.ts";
import { requested } from "./client-metadata.ts";
import type { Issuer } from "./issuer-keys.ts";
import { createIssuerKeys, KeysUnavailable } from "./issuer-keys.ts";

/** What an issuer of the operator's choice signed about a piece of software (RFC 7591 section 2.3). */
export interface Statement {
  readonly issuer: string;
  readonly roles: readonly string[];
  /** Client metadata in it. Wins over what the request says. */
  readonly metadata: Metadata;
}

export interface SoftwareStatementsParts {
  readonly issuers: readonly (Issuer & { readonly roles: readonly string[] })[];
  /** A statement that says whom it is for must name us. */
  readonly audience: string;
  /** For issuers of the operator's choice, which may be on a private network. */
  readonly fetch: typeof globalThis.fetch;
  readonly now: () => number;
}

export interface SoftwareStatements {
  /** Throws `StatementRefused`, or `KeysUnavailable` when its issuer cannot be asked right now. */
  verify(statement: unknown): Promise<Statement>;
}

export class StatementRefused extends Error {
  override readonly name = "StatementRefused";
  /** RFC 7591 section 3.2.2: not genuine or out of date, or of an issuer that does not count here. */
  readonly error: "invalid_software_statement" | "unapproved_software_statement";

  constructor(error: StatementRefused["error"], cause?: unknown) {
    super(error === "invalid_software_statement" ? "the software statement is not valid" : "its issuer is not approved here", { cause });
    this.error = error;
  }
}

const longest = 8 * 1024;
/** Milliseconds by which two clocks may differ. */
const skew = 5_000;

export function createSoftwareStatements({ issuers, audience, fetch, now }: SoftwareStatementsParts): SoftwareStatements {
  const trusted = new Map(issuers.map((one) => [one.issuer, { roles: one.roles, keys: createIssuerKeys({ ...one, fetch, now }) }]));

  function check({ exp, nbf, aud }: Readonly<Record<string, unknown>>): void {
    if (typeof exp !== "number" || now() >= exp * 1000 + skew) throw new Error("expired, or for ever");
    if (nbf !== undefined && (typeof nbf !== "number" || now() < nbf * 1000 - skew)) throw new Error("not valid yet");
    if (aud !== undefined && ![aud].flat().includes(audience)) throw new Error("for someone else");
  }

  return {
    async verify(statement) {
      if (typeof statement !== "string" || statement.length > longest) throw new StatementRefused("invalid_software_statement");
      const issuer = issuerOf(statement);
      const one = trusted.get(issuer);
      if (!one) throw new StatementRefused("unapproved_software_statement");
      try {
        const claims = await one.keys.verify(statement);
        check(claims);
        return { issuer, roles: one.roles, metadata: requested(claims) };
      } catch (cause) {
        throw cause instanceof KeysUnavailable ? cause : new StatementRefused("invalid_software_statement", cause);
      }
    },
  };
}

/** Metadata in a statement that was verified when its client registered. */
export function statedMetadata(statement: string): Metadata {
  return requested(decodeJwt(statement));
}

function issuerOf(statement: string): string {
  try {
    return String(decodeJwt(statement).iss);
  } catch (cause) {
    throw new StatementRefused("invalid_software_statement", cause);
  }
}
