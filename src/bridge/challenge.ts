/** What a server says about the token that it wants (RFC 6750 section 3, RFC 9728 section 5.1). */
export interface Challenge {
  readonly error?: string;
  readonly scopes: readonly string[];
  /** URL of the protected-resource metadata. */
  readonly metadata?: string;
}

const parameter = /(?<![^\s,])([a-z_-]{1,64})\s*=\s*(?:"((?:[^"\\]|\\.){0,2048})"|([^\s,"]{1,2048}))/gi;

/** The first value of a parameter counts, whichever scheme it comes with: brokers challenge with `Bearer` and `DPoP` at once. */
export function challengeOf(response: Response): Challenge {
  const found = new Map<string, string>();
  for (const [, name = "", quoted, bare] of (response.headers.get("www-authenticate") ?? "").slice(0, 8192).matchAll(parameter)) {
    const key = name.toLowerCase();
    if (!found.has(key)) found.set(key, quoted?.replaceAll(/\\(.)/g, "$1") ?? bare ?? "");
  }
  const error = found.get("error");
  const metadata = found.get("resource_metadata");
  return {
    ...(error === undefined ? {} : { error }),
    scopes: scopesOf(found.get("scope")),
    ...(metadata === undefined ? {} : { metadata }),
  };
}

/** A list of scopes as words (RFC 6749 section 3.3). */
export function scopesOf(text: string | undefined): readonly string[] {
  return [...new Set((text ?? "").split(" ").filter((word) => /^[\x21\x23-\x5b\x5d-\x7e]+$/.test(word)))];
}
