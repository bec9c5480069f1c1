import type { z } from "zod";
import type { Outline } from "./outline.ts";
import { keysAt } from "./outline.ts";
import type { Problem } from "./problem.ts";
import { laterKeys } from "./schema.ts";
import { closest, didYouMean } from "./suggest.ts";
import type { Path, Source } from "./yaml.ts";

type Issue = z.core.$ZodIssue;

/** Stands for "no words of its own": the sentence is then made here, from the kind of issue. */
export const unsaid = "\u0000";

/** What the schema found, in words for the person who wrote the file. Values are never repeated: any of them may be a secret. */
export function problemsOf(issues: readonly Issue[], source: Source, outline: () => Outline): readonly Problem[] {
  return issues
    .flatMap((issue) => explain(issue, []))
    .map(({ path, message }) => ({
      line: source.lineOf(path),
      path: showPath(path),
      message,
    }));

  function explain(issue: Issue, above: Path): readonly { readonly path: Path; readonly message: string }[] {
    const path: Path = [...above, ...issue.path.filter((step) => typeof step !== "symbol")];
    const written = valueAt(source.data, path);
    if (issue.code === "unrecognized_keys")
      return issue.keys.map((key) => ({ path: [...path, key], message: unknownKey([...path, key], key, path) }));
    if (issue.code === "invalid_union") return union(issue, path, written);
    if (issue.code === "invalid_key") return issue.issues.map((inner) => ({ path, message: inner.message }));
    return [{ path, message: issue.message === unsaid ? plain(issue, path, written) : issue.message }];
  }

  function unknownKey(path: Path, key: string, parent: Path): string {
    const later = laterKeys[showPath(path)];
    if (later !== undefined) return later;
    const known = keysAt(outline(), parent, source.data);
    const nearest = closest(key, known);
    if (nearest === undefined && holdsSecret(key)) return `unknown key; ${useReference}`;
    return nearest === undefined && known.length > 0
      ? `unknown key; known here: ${known.join(", ")}`
      : `unknown key${didYouMean(key, known)}`;
  }

  function union(issue: Extract<Issue, { code: "invalid_union" }>, path: Path, written: unknown): ReturnType<typeof explain> {
    if ("discriminator" in issue && issue.discriminator !== undefined) {
      const options = ("options" in issue && Array.isArray(issue.options) ? issue.options : []).map(String);
      const start = written === undefined ? "missing; " : "";
      const meant = typeof written === "string" ? didYouMean(written, options) : "";
      return [{ path, message: `${start}expected one of: ${options.join(", ")}${meant}` }];
    }
    if (typeof written === "string" && issue.errors.some((branch) => branch.some(wantsObject))) return [{ path, message: literal(path) }];
    const nearest = [...issue.errors].sort((left, right) => unknownIn(left) - unknownIn(right) || left.length - right.length)[0] ?? [];
    return nearest.flatMap((inner) => explain(inner, path));
  }
}

function plain(issue: Issue, path: Path, written: unknown): string {
  if (written === undefined && issue.code !== "unrecognized_keys") return `missing; ${expected(issue)}`;
  if (typeof written === "string" && wantsObject(issue) && holdsSecret(String(path.at(-1)))) return literal(path);
  return `${expected(issue)}${issue.code === "invalid_value" && typeof written === "string" ? didYouMean(written, issue.values.map(String)) : ""}`;
}

const types: Readonly<Record<string, string>> = {
  string: "text",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
  object: "keys and values",
  record: "keys and values",
  array: "a list",
  never: "nothing",
};

function expected(issue: Issue): string {
  if (issue.code === "invalid_type")
    return issue.expected === "string"
      ? "expected text (numbers and dates need quotes)"
      : `expected ${types[issue.expected] ?? issue.expected}`;
  if (issue.code === "invalid_value")
    return `expected ${issue.values.length === 1 ? "" : "one of: "}${issue.values.map(String).join(", ")}`;
  if (issue.code === "too_small") return `expected at least ${sized(issue.origin, issue.minimum)}`;
  if (issue.code === "too_big") return `expected at most ${sized(issue.origin, issue.maximum)}`;
  return "not what is expected here";
}

function sized(origin: string, count: number | bigint): string {
  if (origin === "string") return `${count} character${count === 1 ? "" : "s"}`;
  return origin === "array" ? `${count} item${count === 1 ? "" : "s"}` : String(count);
}

const useReference =
  "secret values do not belong in this file: store it with `leasehold secret put` and refer to it as { vault: local, secret: NAME }";

function literal(path: Path): string {
  const environment = path[0] === "credentials" ? "" : ", { env: NAME } or { file: PATH }";
  return environment === ""
    ? `expected a reference; ${useReference}`
    : `expected a reference to a secret${environment}, never the value itself`;
}

const secretKey = /pass|secret|token|admin|key|credential|pwd/i;

function holdsSecret(key: string): boolean {
  return secretKey.test(key);
}

function wantsObject(issue: Issue): boolean {
  return issue.code === "invalid_type" && (issue.expected === "object" || issue.expected === "record");
}

function unknownIn(branch: readonly Issue[]): number {
  return branch.filter((issue) => issue.code === "unrecognized_keys").length;
}

function valueAt(data: unknown, path: Path): unknown {
  return path.reduce<unknown>((value, step) => (typeof value === "object" && value !== null ? Reflect.get(value, step) : undefined), data);
}

/** `credentials.billing-db/readonly.grants[0]` */
function showPath(path: Path): string {
  return path.map((step, index) => (typeof step === "number" ? `[${step}]` : index === 0 ? step : `.${step}`)).join("");
}
