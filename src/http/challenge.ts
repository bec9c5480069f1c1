import type { Scope } from "../core/scope.ts";
import { allScopes } from "../core/scope.ts";
import { dpopAlgorithms } from "../identity/dpop.ts";
import { Refusal } from "./refusal.ts";

/** How the token came: RFC 6750 section 2.1, RFC 9449 section 7.1. */
export type Scheme = "Bearer" | "DPoP";

export interface ChallengeParts {
  /** URL of the protected-resource metadata (RFC 9728 section 5.1). */
  readonly metadataUrl: string;
  /** Whether every token must be bound to a key of its client: then `Bearer` is not offered. */
  readonly dpopRequired: boolean;
}

/** What is said to who may not come in: each a `Refusal` with its one `WWW-Authenticate`. */
export interface Challenges {
  noToken(): Refusal;
  invalidToken(scheme: Scheme, problem: string): Refusal;
  invalidProof(): Refusal;
  /** One complete challenge: what the token has and what the call takes, so that a client asks once (RFC 6750 section 3.1). */
  insufficientScope(scheme: Scheme, held: readonly Scope[], needed: readonly Scope[]): Refusal;
}

export function createChallenges({ metadataUrl, dpopRequired }: ChallengeParts): Challenges {
  const where = `resource_metadata="${metadataUrl}"`;
  const algs = `algs="${dpopAlgorithms.join(" ")}"`;
  const everything = `scope="${allScopes.join(" ")}"`;
  const schemes = dpopRequired ? `DPoP ${algs}, ${where}, ${everything}` : `Bearer ${where}, ${everything}, DPoP ${algs}`;

  function refusal(status: 401 | 403, code: string, problem: string, challenge: string): Refusal {
    return new Refusal(status, code, problem, { "www-authenticate": challenge });
  }
  const inScheme = (scheme: Scheme, rest: string): string => (scheme === "DPoP" ? `DPoP ${rest}, ${algs}` : `Bearer ${rest}`);

  return {
    noToken: () => refusal(401, "invalid_token", "An access token is required.", schemes),

    invalidToken: (scheme, problem) => refusal(401, "invalid_token", problem, inScheme(scheme, `error="invalid_token", ${where}`)),

    invalidProof: () =>
      refusal(
        401,
        "invalid_dpop_proof",
        "The DPoP proof is missing, is not for this request, or was used before.",
        inScheme("DPoP", `error="invalid_dpop_proof", ${where}`),
      ),

    insufficientScope(scheme, held, needed) {
      const scope = allScopes.filter((one) => held.includes(one) || needed.includes(one)).join(" ");
      const problem = `The access token is not good for this: it takes the scope ${needed.join(" ")}.`;
      return refusal(403, "insufficient_scope", problem, inScheme(scheme, `error="insufficient_scope", scope="${scope}", ${where}`));
    },
  };
}
