import { parseDuration } from "../config/duration.ts";
import { didYouMean } from "../config/suggest.ts";
import { isAgentName, isCredentialName } from "../core/brand.ts";
import type { AgentName, CredentialName } from "../core/brand.ts";
import { CommandError } from "./exit.ts";

/** Options as they were typed, read by type. A wrong one is a usage error that says what was expected. */
export interface Given {
  has(name: string): boolean;
  text(name: string): string | undefined;
  texts(name: string): readonly string[];
  /** Seconds. */
  duration(name: string): number | undefined;
  count(name: string): number | undefined;
  /** Milliseconds since the epoch: an RFC 3339 time, or a duration back from now. */
  time(name: string, now: number): number | undefined;
  choice<const T extends string>(name: string, choices: readonly T[]): T | undefined;
}

export function given(options: Readonly<Record<string, unknown>>): Given {
  const text = (name: string): string | undefined => {
    const value = options[camel(name)];
    return typeof value === "string" ? value : undefined;
  };
  return {
    has: (name) => options[camel(name)] === true,
    text,
    texts(name) {
      const value = options[camel(name)];
      return Array.isArray(value) ? value.map(String) : [];
    },
    duration(name) {
      const typed = text(name);
      if (typed === undefined) return undefined;
      return parseDuration(typed) ?? wrong(name, "expected a duration like 15m");
    },
    count(name) {
      const typed = text(name);
      if (typed === undefined) return undefined;
      return /^[1-9][0-9]{0,8}$/.test(typed) ? Number(typed) : wrong(name, "expected a whole number from 1");
    },
    time(name, now) {
      const typed = text(name);
      if (typed === undefined) return undefined;
      const back = parseDuration(typed);
      const at = back === undefined && /^\d{4}-\d\d-\d\d(T|$)/.test(typed) ? Date.parse(typed) : now - (back ?? Number.NaN) * 1000;
      return Number.isNaN(at) ? wrong(name, "expected a time like 2026-11-22T09:00:00Z, or a duration back from now like 2h") : at;
    },
    choice(name, choices) {
      const typed = text(name);
      if (typed === undefined) return undefined;
      return (
        choices.find((choice) => choice === typed) ?? wrong(name, `expected one of: ${choices.join(", ")}${didYouMean(typed, choices)}`)
      );
    },
  };
}

export function agentNamed(text: string): AgentName {
  if (isAgentName(text)) return text;
  throw new CommandError("usage", "not a valid agent name: use a–z, 0–9, dot, dash and underscore, at most 63 characters");
}

export function credentialNamed(text: string): CredentialName {
  if (isCredentialName(text)) return text;
  throw new CommandError("usage", "not a valid credential name, e.g. billing-db/readonly");
}

/** `no agent named "reprter"; did you mean "reporter"?` */
export function unknown(what: string, name: string, known: readonly string[], fix?: string): CommandError {
  return new CommandError("notFound", `no ${what} named "${name}"${didYouMean(name, known)}`, fix);
}

function wrong(name: string, expected: string): never {
  throw new CommandError("usage", `--${name}: ${expected}`);
}

function camel(name: string): string {
  return name.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
}
