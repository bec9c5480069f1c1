import * as oauth from "oauth4webapi";
import { scopesOf } from "./challenge.ts";
import { BridgeProblem } from "./problem.ts";

/** A token in memory, and what it is good for. */
export interface Held {
  readonly credential: Credential;
  /** Milliseconds since the epoch; `undefined` when the server does not say. */
  readonly expiresAt: number | undefined;
  /** What it may be used for; `undefined`: not narrowed. */
  readonly scopes: readonly string[] | undefined;
}

export interface Credential {
  readonly token: string;
  /** Signs each request, for a token that is bound to our key. */
  readonly proofs?: oauth.DPoPHandle;
}

/** Sends a request and reads its answer; once more when the server wants its own nonce in the proof (RFC 9449 section 8). */
export async function withNonce<T>(attempt: () => Promise<T>): Promise<T> {
  try {
    return await attempt();
  } catch (thrown) {
    if (!oauth.isDPoPNonceError(thrown)) throw thrown;
    return attempt();
  }
}

export function heldFrom(
  answer: oauth.TokenEndpointResponse,
  asked: { readonly scopes: readonly string[] | undefined; readonly proofs: oauth.DPoPHandle | undefined; readonly now: number },
): Held {
  const bound = answer.token_type === "dpop";
  if (bound && !asked.proofs) throw new BridgeProblem("refused", "the authorization server bound a token to a key that is not ours");
  const scopes = answer.scope === undefined ? asked.scopes : scopesOf(answer.scope);
  return {
    credential: { token: answer.access_token, ...(bound && asked.proofs ? { proofs: asked.proofs } : {}) },
    expiresAt: answer.expires_in === undefined ? undefined : asked.now + answer.expires_in * 1000,
    scopes,
  };
}

/** A little before the end: a token that runs out on its way is a failed call. */
export function isFresh(held: Held, now: number): boolean {
  return held.expiresAt === undefined || now < held.expiresAt - 20_000;
}

export function covers(held: readonly string[] | undefined, wanted: readonly string[]): boolean {
  return wanted.every((scope) => held?.includes(scope));
}

/** The `error` of an OAuth answer (RFC 6749 section 5.2), or `undefined` when the failure was of another kind. */
export async function oauthError(thrown: unknown): Promise<string | undefined> {
  if (thrown instanceof oauth.ResponseBodyError || thrown instanceof oauth.AuthorizationResponseError) return word(thrown.error);
  if (!(thrown instanceof oauth.WWWAuthenticateChallengeError)) return undefined;
  const named = thrown.cause.map((challenge) => challenge.parameters["error"]).find((error) => error !== undefined);
  const body: unknown = named ?? (await thrown.response.json().catch(() => undefined));
  return word(typeof body === "object" && body !== null && "error" in body ? body.error : body);
}

/** Codes only: a description is whatever a server likes to write. */
function word(error: unknown): string | undefined {
  return typeof error === "string" && /^[a-z_]{1,64}$/.test(error) ? error : undefined;
}

/** What a failed exchange is to the person. */
export async function refusal(thrown: unknown, what: string, fix?: string): Promise<BridgeProblem> {
  if (thrown instanceof BridgeProblem) return thrown;
  const error = await oauthError(thrown);
  return new BridgeProblem("refused", `${what}${error === undefined ? "" : ` (${error})`}`, {
    cause: thrown,
    ...(fix === undefined ? {} : { fix }),
  });
}
