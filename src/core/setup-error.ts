export interface SetupProblem {
  /** What is wrong, as a clause without a full stop. Never a secret value. */
  readonly what: string;
  /** What to do about it, as a full sentence. */
  readonly fix: string;
  readonly file?: string;
  /** Counted from 1. */
  readonly line?: number;
  readonly cause?: unknown;
}

/** Something that the operator has to put right before the broker can start. `message` is one line to show as it is. */
export class SetupError extends Error {
  override readonly name = "SetupError";
  readonly fix: string;
  readonly file?: string;
  readonly line?: number;

  constructor(problem: SetupProblem) {
    const place = problem.file === undefined ? "" : problem.line === undefined ? `${problem.file}: ` : `${problem.file}:${problem.line}: `;
    super(`${place}${problem.what}. ${problem.fix}`, "cause" in problem ? { cause: problem.cause } : undefined);
    this.fix = problem.fix;
    if (problem.file !== undefined) this.file = problem.file;
    if (problem.line !== undefined) this.line = problem.line;
  }
}
