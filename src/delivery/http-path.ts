import { Failure } from "../core/errors.ts";

/** The one form of a path that policy judges, the allow list matches, and that goes out byte for byte. */
export interface CanonicalPath {
  /** Starts with a slash; escapes are upper case and only where needed. */
  readonly path: string;
  /** Empty, or starts with a question mark. */
  readonly query: string;
}

const longestPath = 2_048;
const longestQuery = 8_192;
/** `pchar` of RFC 3986 §3.3 without the semicolon: some servers cut a segment off there, so two would see different paths. */
const pathCharacters = /^[A-Za-z0-9\-._~!$&'()*+,=:@/%]*$/;
/** RFC 3986 §3.4, and the brackets that many APIs want unescaped. */
const queryCharacters = /^[A-Za-z0-9\-._~!$&'()*+,;=:@/?%[\]]*$/;
/** Dot, slash, backslash, semicolon, percent and controls: read differently by every second server and proxy. */
const refusedEscape = /%(?:2[EeFf5]|3[Bb]|5[Cc]|7[Ff]|[01][0-9A-Fa-f])/;
const brokenEscape = /%(?![0-9A-Fa-f]{2})/;

/** Throws `invalid_request` for whatever different servers read differently. */
export function canonicalPath(text: string): CanonicalPath {
  if (!text.startsWith("/")) throw invalid("must start with / and is relative to the credential's base URL");
  const mark = text.indexOf("?");
  const path = mark < 0 ? text : text.slice(0, mark);
  const query = mark < 0 ? "" : text.slice(mark);
  return { path: canonical(path), query: checkedQuery(query) };
}

function canonical(path: string): string {
  if (path.length > longestPath) throw invalid(`is longer than ${longestPath} characters`);
  if (!pathCharacters.test(path)) throw invalid("holds a character that must be percent-encoded, or that is not allowed in a path");
  if (brokenEscape.test(path)) throw invalid("holds a % that is not followed by two hex digits");
  if (refusedEscape.test(path)) throw invalid("must not escape a dot, slash, backslash, semicolon, percent sign or control character");
  if (path.includes("//")) throw invalid("must not hold an empty segment");
  if (path.split("/").some((segment) => segment === "." || segment === "..")) throw invalid("must not hold . or .. segments");
  if (hidesPunctuation(path)) throw invalid("holds an escape that is not plain UTF-8 text");
  return path.replace(/%[0-9A-Fa-f]{2}/g, (escape) => {
    const character = String.fromCharCode(Number.parseInt(escape.slice(1), 16));
    return /[A-Za-z0-9\-_~]/.test(character) ? character : escape.toUpperCase();
  });
}

/** Overlong or broken UTF-8, and characters that compatibility mapping turns into a dot or a slash. */
function hidesPunctuation(path: string): boolean {
  let decoded: string;
  try {
    decoded = decodeURIComponent(path);
  } catch {
    return true;
  }
  const punctuation = (text: string): number => text.replace(/[^./\\;%]/g, "").length;
  return /\p{Cc}/u.test(decoded) || punctuation(decoded.normalize("NFKC")) !== punctuation(decoded);
}

function checkedQuery(query: string): string {
  if (query.length > longestQuery) throw invalid(`has a query longer than ${longestQuery} characters`);
  if (!queryCharacters.test(query)) throw invalid("has a query with a character that must be percent-encoded");
  if (brokenEscape.test(query)) throw invalid("has a query with a % that is not followed by two hex digits");
  if (/%00/.test(query)) throw invalid("has a query with an escaped NUL");
  return query;
}

function invalid(problem: string): Failure<"invalid_request"> {
  return new Failure("invalid_request", { problem: `path ${problem}.` });
}

/**
 * Whether a canonical path fits a pattern: `*` is one segment that is not empty, `**` at the end is
 * whatever follows the slash. Goes through both once; nothing in either makes it slower.
 */
export function pathMatches(pattern: string, path: string): boolean {
  const wanted = pattern.split("/");
  const given = path.split("/");
  const open = wanted.at(-1) === "**";
  if (open ? given.length < wanted.length : given.length !== wanted.length) return false;
  const fixed = open ? wanted.slice(0, -1) : wanted;
  return fixed.every((segment, i) => (segment === "*" ? given[i] !== "" : segment === given[i]));
}
