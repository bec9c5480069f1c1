import { Failure } from "../core/errors.ts";
import type { JsonValue } from "../core/json.ts";
import type { HttpTarget } from "./http-target.ts";

/** What an agent may say about its request. Whatever identifies, routes, frames or caches is the broker's. */
const agentHeaders: ReadonlySet<string> = new Set([
  "accept",
  "accept-language",
  "content-language",
  "content-type",
  "idempotency-key",
  "if-match",
  "if-modified-since",
  "if-none-match",
  "if-unmodified-since",
  "prefer",
  "x-correlation-id",
  "x-request-id",
]);

const most = 16;
const longestValue = 1_024;

/** Lower-case names, one value each. Throws `invalid_request` or `operation_refused`. */
export function checkedHeaders(given: JsonValue | undefined, target: HttpTarget): Readonly<Record<string, string>> {
  if (given === undefined || given === null) return {};
  if (typeof given !== "object" || Array.isArray(given)) throw invalid("headers must be an object of names and values.");
  const entries: readonly (readonly [string, unknown])[] = Object.entries(given);
  if (entries.length > most) throw invalid(`At most ${most} headers can be set.`);
  const own = new Set(target.headers.map((header) => header.name.toLowerCase()));
  const checked = new Map<string, string>();
  for (const [written, value] of entries) {
    const name = written.toLowerCase();
    // The name is repeated to the agent only once it is known to be one of ours.
    if (!agentHeaders.has(name) || own.has(name)) throw refused(`These headers can be set: ${settable(own)}.`);
    if (typeof value !== "string" || value.length > longestValue || !/^[\x20-\x7e]*$/.test(value))
      throw invalid(`The value of ${name} must be printable ASCII, at most ${longestValue} characters.`);
    if (checked.has(name)) throw invalid(`The header ${name} is given twice.`);
    checked.set(name, value);
  }
  return Object.fromEntries(checked);
}

function settable(own: ReadonlySet<string>): string {
  return [...agentHeaders].filter((name) => !own.has(name)).join(", ");
}

/** Session and authentication state of the broker's own, and what described a transfer that is over. */
const dropped = new Set([
  "alt-svc",
  "authentication-info",
  "authorization",
  "clear-site-data",
  "connection",
  "content-encoding",
  "content-length",
  "cookie",
  "keep-alive",
  "location",
  "proxy-authenticate",
  "proxy-authentication-info",
  "proxy-authorization",
  "proxy-connection",
  "refresh",
  "set-cookie",
  "set-cookie2",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "www-authenticate",
]);

/** Headers of a response that an agent gets to see, scrubbed. Redirects are judged elsewhere: `location` is not among them. */
export function shownHeaders(
  raw: readonly (readonly [name: string, value: string])[],
  target: HttpTarget,
  scrub: (text: string) => string,
): Record<string, string> {
  const own = new Set(target.headers.map((header) => header.name.toLowerCase()));
  const shown = new Map<string, string>();
  for (const [name, value] of raw) {
    const lower = name.toLowerCase();
    if (dropped.has(lower) || own.has(lower)) continue;
    // Scrubbed as it was written: lower case would hide a value that has capitals.
    const clean = scrub(name);
    const key = clean === name ? lower : clean;
    const before = shown.get(key);
    // Joined first: a value may be spread over two lines of the same name.
    shown.set(key, scrub(before === undefined ? value : `${before}, ${value}`));
  }
  return Object.fromEntries(shown);
}

function invalid(problem: string): Failure<"invalid_request"> {
  return new Failure("invalid_request", { problem });
}

function refused(problem: string): Failure<"operation_refused"> {
  return new Failure("operation_refused", { problem });
}
