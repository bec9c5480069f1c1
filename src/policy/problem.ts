import type { DetailedError } from "@cedar-policy/cedar-wasm/nodejs";

/** Something wrong with the policies, said so that a person can go and mend it. */
export interface Problem {
  readonly file: string;
  /** From 1. */
  readonly line: number;
  readonly problem: string;
}

/** `policies/billing.cedar:12: …`, the form that editors and terminals turn into a link. */
export function sayProblem(problem: Problem): string {
  return `${problem.file}:${problem.line}: ${problem.problem}`;
}

/** Cedar's own words, with its hint ("did you mean …?") and without the prefixes that only Cedar's own tools need. */
export function sayCedar(error: DetailedError): string {
  const message = error.message
    .replace(/^failed to parse (?:policy|policies|policy set) from string: /, "")
    .replace(/^for policy `[^`]*`, /, "");
  const label = error.sourceLocations?.find((location) => location.label)?.label;
  return [message, label, error.help].filter((part) => part).join("; ");
}

/** The line, counted from 1, of a byte offset: Cedar counts in UTF-8, JavaScript does not. */
export function lineAt(text: string, byteOffset: number): number {
  return newlines(Buffer.from(text).subarray(0, byteOffset).toString()) + 1;
}

export function newlines(text: string): number {
  return text.split("\n").length - 1;
}
