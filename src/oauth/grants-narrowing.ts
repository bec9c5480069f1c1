import { isCredentialName } from "../core/brand.ts";
import { within } from "../core/narrow.ts";
import type { Scope } from "../core/scope.ts";
import { isScope, unfold } from "../core/scope.ts";
import { narrowingType } from "../identity/claims.ts";
import { Refused } from "./grants-refusal.ts";

/** What a token is good for, beside who has it. Absent: not narrowed. */
export interface Reach {
  readonly scopes?: readonly Scope[];
  readonly credentials?: readonly string[];
}

const longestList = 64;

/** What a request asks for, by `scope` and `authorization_details` (RFC 9396). Throws `Refused`. */
export function askedFor(params: { readonly scope?: string | undefined; readonly details?: string | undefined }): Reach {
  const scopes = params.scope === undefined ? undefined : scopesIn(params.scope);
  const credentials = params.details === undefined ? undefined : credentialsIn(params.details);
  return { ...(scopes ? { scopes } : {}), ...(credentials ? { credentials } : {}) };
}

function scopesIn(text: string): readonly Scope[] {
  const words = text.split(" ");
  const known = words.filter(isScope);
  if (known.length < words.length) throw new Refused("invalid_scope", "There is no such scope.", "asked for a scope that does not exist");
  return [...new Set(known)];
}

function credentialsIn(text: string): readonly string[] {
  const problem = (says: string): Refused => new Refused("invalid_authorization_details", says, "odd authorization details");
  const shape = `authorization_details is a list of one object, { "type": "${narrowingType}", "credentials": […] }.`;
  const [detail, ...more] = asList(parse(text)) ?? [];
  if (typeof detail !== "object" || detail === null || more.length > 0) throw problem(shape);
  const { type, credentials, ...rest } = Object.fromEntries<unknown>(Object.entries(detail));
  const list = asList(credentials);
  if (type !== narrowingType || !list || Object.keys(rest).length > 0) throw problem(shape);
  const names = list.filter(isCredentialOrFolder);
  if (names.length < list.length || names.length > longestList)
    throw problem(`credentials are at most ${longestList} names of credentials, or folders such as "billing-db/*".`);
  return [...new Set(names)];
}

function isCredentialOrFolder(value: unknown): value is string {
  return typeof value === "string" && isCredentialName(value.replace(/\/\*$/, ""));
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function asList(value: unknown): readonly unknown[] | undefined {
  return Array.isArray(value) ? value : undefined;
}

/**
 * What of `have` is handed on. What is not asked for stays as it is; asking for more is refused, not trimmed, so that nobody
 * believes to hold what they do not. Throws `Refused` (RFC 8693 section 2.1, RFC 9396 section 5).
 */
export function narrow(have: Reach, asked: Reach): Reach {
  const { scopes = have.scopes, credentials = have.credentials } = asked;
  const wide = have.scopes && unfold(have.scopes);
  if (asked.scopes?.some((scope) => wide?.includes(scope) === false))
    throw new Refused("invalid_scope", "This is more than the token is good for.", "asked for a broader scope than the subject token has");
  if (asked.credentials?.some((name) => !within(have.credentials, name)))
    throw new Refused(
      "invalid_authorization_details",
      "This is more than the token is good for.",
      "asked for credentials that the subject token is not good for",
    );
  return { ...(scopes ? { scopes } : {}), ...(credentials ? { credentials } : {}) };
}

/** What two tokens are both good for. */
export function common(a: Reach, b: Reach): Reach {
  const scopes = both(a.scopes, b.scopes, (one, other) => unfold(one).filter((scope) => unfold(other).includes(scope)));
  const credentials = both(a.credentials, b.credentials, (one, other) => [
    ...new Set([...one.filter((name) => within(other, name)), ...other.filter((name) => within(one, name))]),
  ]);
  return { ...(scopes ? { scopes } : {}), ...(credentials ? { credentials } : {}) };
}

function both<T>(a: T | undefined, b: T | undefined, meet: (a: T, b: T) => T): T | undefined {
  return a === undefined ? b : b === undefined ? a : meet(a, b);
}
