/** What cannot be done, and why, in words for the person at the client. Neither text may hold a token, a code or what a server wrote. */
export class BridgeProblem extends Error {
  override readonly name = "BridgeProblem";
  readonly reason: "unavailable" | "refused" | "login";
  readonly fix: string | undefined;

  constructor(reason: BridgeProblem["reason"], what: string, options: { readonly fix?: string; readonly cause?: unknown } = {}) {
    super(what, "cause" in options ? { cause: options.cause } : undefined);
    this.reason = reason;
    this.fix = options.fix;
  }

  /** One line with both. */
  get sentence(): string {
    const what = `${this.message.charAt(0).toUpperCase()}${this.message.slice(1)}.`;
    return this.fix === undefined ? what : `${what} ${this.fix}`;
  }
}

/** Any failure of a request to `origin`, as one of ours. Words of other errors are left out: they may hold what was sent. */
export function unreachable(origin: string, thrown: unknown): BridgeProblem {
  if (thrown instanceof BridgeProblem) return thrown;
  const code = codeOf(thrown) ?? codeOf(thrown instanceof Error ? thrown.cause : undefined);
  return new BridgeProblem("unavailable", `${origin} does not answer${code === undefined ? "" : ` (${code})`}`, { cause: thrown });
}

function codeOf(thrown: unknown): string | undefined {
  return thrown instanceof Error && "code" in thrown && typeof thrown.code === "string" && /^[A-Z][A-Z0-9_]{1,60}$/.test(thrown.code)
    ? thrown.code
    : undefined;
}
