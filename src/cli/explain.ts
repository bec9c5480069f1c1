import { ConfigError } from "../config/problem.ts";
import { SetupError } from "../core/setup-error.ts";
import { Failure } from "../core/errors.ts";
import type { Exit } from "./exit.ts";
import { CommandError, exitFor } from "./exit.ts";

export interface Explanation {
  readonly exit: Exit;
  /** Each shown as `error: …`. */
  readonly lines: readonly string[];
  readonly fix?: string | undefined;
}

/**
 * What a person is told of anything that was thrown. Words of errors that are not ours are left out:
 * drivers and parsers put values into them.
 */
export function explain(error: unknown): Explanation {
  if (error instanceof CommandError) return { exit: error.exit, lines: [error.message], fix: error.fix };
  if (error instanceof ConfigError) return { exit: "configuration", lines: error.lines(), fix: error.fix };
  if (error instanceof SetupError)
    return { exit: taken.has(codeOf(error.cause) ?? "") ? "unavailable" : "configuration", lines: [error.message] };
  if (error instanceof Failure) return { exit: exitFor(error.code), lines: [error.message] };
  const code = codeOf(error);
  const known = code === undefined ? undefined : system[code];
  if (known) return known;
  const name = error instanceof Error ? error.name : typeof error;
  return {
    exit: "unexpected",
    lines: [`something went wrong inside Leasehold (${code === undefined ? name : `${name} ${code}`})`],
    fix: "Set LEASEHOLD_DEBUG=1 to see where.",
  };
}

/** A setup that is right, in a place that is not free. */
const taken = new Set(["EADDRINUSE", "EADDRNOTAVAIL", "ENOSPC"]);

const system: Readonly<Record<string, Explanation>> = {
  EADDRINUSE: {
    exit: "unavailable",
    lines: ["the address is already in use"],
    fix: "Stop the other process, or change server.listen in the configuration.",
  },
  EADDRNOTAVAIL: {
    exit: "unavailable",
    lines: ["this machine does not have the address of server.listen"],
    fix: "Use 127.0.0.1, or an address of this machine.",
  },
  EACCES: { exit: "unavailable", lines: ["permission denied"], fix: "Check who owns the file, or use a port above 1023." },
  ENOSPC: { exit: "unavailable", lines: ["the disk is full"], fix: "Free some space; nothing was lost." },
  EROFS: { exit: "unavailable", lines: ["the file system is read-only"] },
};

/** Where it happened, for LEASEHOLD_DEBUG: names and places only, since messages can carry values. */
export function whereabouts(error: unknown): readonly string[] {
  const lines: string[] = [];
  for (let at = error, depth = 0; at instanceof Error && depth < 5; at = at.cause, depth += 1) {
    const code = codeOf(at);
    lines.push(`${depth === 0 ? "" : "caused by "}${at.name}${code === undefined ? "" : ` ${code}`}`);
    lines.push(...(at.stack ?? "").split("\n").filter((line) => /^\s+at /.test(line)));
  }
  return lines;
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" && /^[A-Z0-9_]{2,40}$/.test(error.code)
    ? error.code
    : undefined;
}
