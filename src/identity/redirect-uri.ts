/** The one private scheme that is let in, by exact match: Cursor's. Whatever else claims a scheme can be claimed by others, too. */
const privateUri = "cursor://anysphere.cursor-mcp/oauth/callback";

export const longestUri = 2048;

/** As written, not as parsed: `http://127.1/` and `http://0x7f000001/` are the loopback to a parser, and nothing that an honest client writes. */
const loopback = /^http:\/\/(?:localhost|127\.0\.0\.1|\[::1\])(?::[1-9][0-9]{0,4})?(?:[/?]|$)/;

/** Printable ASCII without what browsers, proxies and people read in more than one way. */
const plain = /^[!#-&(-)+-;=?-[\]_a-z~]+$/;

const secure = /^https:\/\//;

/**
 * What is wrong with an address that people are to be sent back to with a code; `undefined` when nothing is.
 * Allowed are `https` anywhere, `http` on the loopback interface (RFC 8252 section 7.3) and one private address.
 * What is allowed is compared byte by byte later (RFC 9700 section 2.1), so there is nothing to be lenient about.
 */
export function redirectProblem(uri: unknown): string | undefined {
  if (typeof uri !== "string" || uri === "") return "must be strings";
  if (uri === privateUri) return undefined;
  if (uri.length > longestUri) return `must be at most ${longestUri} characters long`;
  if (!plain.test(uri)) return "must not contain spaces, control characters, quotes, wildcards or anything else outside of RFC 3986";
  if (/%(?:0|1|7f)/i.test(uri)) return "must not contain control characters";
  if (uri.includes("#")) return "must not have a fragment";
  if (!secure.test(uri) && !loopback.test(uri)) return "must be https, or http on localhost, 127.0.0.1 or [::1]";
  const url = URL.parse(uri);
  if (!url || url.hostname === "") return "must be valid";
  if (/^https?:\/\/[^/?]*@/.test(uri)) return "must not name a user";
  if (
    uri
      .slice(uri.indexOf("//") + 2)
      .split("?", 1)[0]
      ?.split("/")
      .some(isDots)
  )
    return "must not have dot segments";
  return undefined;
}

/** Whether these belong to a program on the person's own machine, whose loopback addresses match on any port. */
export function isNative(uris: readonly string[]): boolean {
  return uris.some((uri) => !secure.test(uri));
}

/** `..`, `.`, `..;`, also escaped: servers disagree on what they lead to. */
function isDots(segment: string): boolean {
  return /^(?:\.|%2e){1,2}(?:;.*)?$/i.test(segment);
}
