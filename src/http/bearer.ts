import type { IncomingMessage } from "node:http";
import { asFailure } from "../core/errors.ts";
import type { Principal } from "../core/principal.ts";
import type { AccessTokens } from "../identity/access-token.ts";
import { createBuckets } from "./bucket.ts";
import { Refusal } from "./refusal.ts";
import type { RefusedLogins } from "./refused-logins.ts";

export interface BearerParts {
  readonly tokens: Pick<AccessTokens, "principal">;
  /** URL of the protected-resource metadata (RFC 9728), for clients that come without a token. */
  readonly metadataUrl: string;
  readonly refused: RefusedLogins;
  /** Failed attempts from one address: so many at once, and so many per second after that. */
  readonly failures: { readonly burst: number; readonly perSecond: number };
  readonly now: () => number;
}

export type Authenticate<Caller> = (request: IncomingMessage, ip: string) => Promise<Caller>;

const credentials = /^Bearer ([A-Za-z0-9._~+/-]+=*)$/i;

/** A bearer token in the `Authorization` header (RFC 6750 section 2.1) is the only way to be someone over HTTP. */
export function createBearer(parts: BearerParts): Authenticate<Principal> {
  const failures = createBuckets({ ...parts.failures, now: parts.now });

  function challenge(problem: string, error: string): Refusal {
    return new Refusal(401, "invalid_token", problem, { "www-authenticate": `Bearer ${error}resource_metadata="${parts.metadataUrl}"` });
  }

  /** Good tokens are never slowed down by bad ones from the same address. */
  function refuse(ip: string, why: string, problem: string): Refusal {
    parts.refused.note(why, ip);
    const wait = failures.take(ip);
    if (wait > 0) return new Refusal(429, "too_many_failures", "Too many failed attempts.", { "retry-after": String(wait) });
    return challenge(problem, 'error="invalid_token", ');
  }

  return async (request, ip) => {
    const header = request.headers.authorization;
    if (header === undefined) {
      // How clients find out where to get a token: on record, but no guess, and never slowed down.
      parts.refused.note("no token", ip);
      throw challenge("An access token is required.", "");
    }
    const token = credentials.exec(header)?.[1];
    if (token === undefined) throw refuse(ip, "no bearer token", "Send the token as Authorization: Bearer TOKEN.");
    try {
      return await parts.tokens.principal(token, { transport: "http", ...(ip === "" ? {} : { sourceIp: ip }) });
    } catch (thrown) {
      const failure = asFailure(thrown);
      if (failure.code !== "unauthenticated") throw failure;
      const why = failure.cause instanceof Error ? failure.cause.message : "invalid token";
      throw refuse(ip, why, "The access token is not valid, has expired or was revoked.");
    }
  };
}
