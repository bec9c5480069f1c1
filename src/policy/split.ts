import { newlines } from "./problem.ts";

/** One policy as it was written, from its first annotation or keyword to its semicolon. */
export interface Written {
  readonly text: string;
  /** Line in the file, from 1. */
  readonly line: number;
  /** How many brackets are open at once, at most. */
  readonly depth: number;
  /** Everything that makes Cedar recurse one step: operators, field accesses, conditions. */
  readonly operators: number;
  readonly template: boolean;
}

// Strings and comments are taken whole, so that a semicolon or a bracket in them counts for nothing.
const token = /\/\/[^\n]*|"(?:[^"\\]|\\[^])*(?:"|$)|&&|\|\||[A-Za-z_]\w*|\s+|[^]/gy;
const opening = new Set(["(", "[", "{"]);
const closing = new Set([")", "]", "}"]);
const recursing = new Set(["&&", "||", "+", "-", "*", ".", "!", "if", "when", "unless"]);

/**
 * Takes a file apart into its policies. Cedar uses the semicolon for nothing but their end. What follows
 * the last one is handed on as a policy too, for Cedar to say what is missing.
 */
export function* splitPolicies(text: string): Generator<Written> {
  let start: number | undefined;
  let line = 1;
  let lineOfStart = 1;
  let depth = 0;
  let deepest = 0;
  let operators = 0;
  let template = false;

  function cut(from: number, to: number): Written {
    const written = { text: text.slice(from, to), line: lineOfStart, depth: deepest, operators, template };
    start = undefined;
    depth = deepest = operators = 0;
    template = false;
    return written;
  }

  for (const { 0: part, index } of text.matchAll(token)) {
    const silent = part.startsWith("//") || part.trim() === "";
    if (!silent && start === undefined) {
      start = index;
      lineOfStart = line;
    }
    if (opening.has(part)) deepest = Math.max(deepest, (depth += 1));
    else if (closing.has(part)) depth -= 1;
    else if (recursing.has(part)) operators += 1;
    else if (part === "?") template = true;
    line += newlines(part);
    if (part === ";" && start !== undefined) yield cut(start, index + 1);
  }
  if (start !== undefined) yield cut(start, text.trimEnd().length);
}
