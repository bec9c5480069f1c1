import type { ProofKey } from "./proof-key.ts";
import { isProofKey } from "./proof-key.ts";

/** What is kept of a sign-in: never an access token, which lives in memory only. */
export interface Login {
  /** Whose tokens these are: a refresh token goes to this issuer and to no other. */
  readonly issuer: string;
  readonly resource: string;
  readonly clientId: string;
  readonly key?: ProofKey;
  /** Absent between registering and signing in. */
  readonly refreshToken?: string;
  readonly scopes?: readonly string[];
}

export function isLogin(value: unknown): value is Login {
  if (typeof value !== "object" || value === null) return false;
  const { issuer, resource, clientId, key, refreshToken, scopes }: Partial<Record<keyof Login, unknown>> = value;
  return (
    [issuer, resource, clientId].every((one) => typeof one === "string") &&
    (key === undefined || isProofKey(key)) &&
    (refreshToken === undefined || typeof refreshToken === "string") &&
    (scopes === undefined || (Array.isArray(scopes) && scopes.every((scope) => typeof scope === "string")))
  );
}

/** Where logins rest, by the name of the broker (and of the client, where one was given). */
export interface LoginPlace {
  /** In words, e.g. `the keychain`. */
  readonly words: string;
  read(name: string): Promise<Login | undefined>;
  write(name: string, login: Login): Promise<void>;
  remove(name: string): Promise<void>;
}
