/** One thing that is wrong in a configuration file. Says what was expected, never what was written there. */
export interface Problem {
  /** Starting at 1. */
  readonly line?: number;
  /** Where in the file, e.g. `credentials.billing-db/readonly.ttl.max`. Empty for the file as a whole. */
  readonly path: string;
  readonly message: string;
}

const shownAtMost = 10;

/** The configuration cannot be used. Carries everything that is wrong with it, in the order of the file. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  readonly file: string;
  readonly problems: readonly Problem[];
  /** What to do about it, when that is not plain from the problems. */
  readonly fix: string | undefined;

  constructor(file: string, problems: readonly Problem[], options: { readonly fix?: string; readonly cause?: unknown } = {}) {
    super(
      problems.map((problem) => describeProblem(file, problem)).join("\n"),
      options.cause === undefined ? {} : { cause: options.cause },
    );
    this.file = file;
    this.problems = [...problems].sort((left, right) => (left.line ?? 0) - (right.line ?? 0));
    this.fix = options.fix;
  }

  /** One line per problem, at most ten, in a form that editors and terminals can jump to. */
  lines(): readonly string[] {
    const shown = this.problems.slice(0, shownAtMost).map((problem) => describeProblem(this.file, problem));
    const more = this.problems.length - shown.length;
    return more > 0 ? [...shown, `… and ${more} more`] : shown;
  }
}

function describeProblem(file: string, { line, path, message }: Problem): string {
  return [line === undefined ? file : `${file}:${line}`, ...(path === "" ? [] : [path]), message].join(": ");
}
