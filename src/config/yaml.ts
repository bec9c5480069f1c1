import type { Document, ErrorCode, Node, Pair } from "yaml";
import { isAlias, isMap, isScalar, isSeq, LineCounter, parseDocument, visit } from "yaml";
import type { JsonValue } from "../core/json.ts";
import type { Problem } from "./problem.ts";

export type Path = readonly (string | number)[];

/** A YAML file that parsed: what it says, and on which line. */
export interface Source {
  readonly data: JsonValue;
  /** Line of the key or item that the path names, or of the nearest thing above that exists. */
  lineOf(path: Path): number;
}

/** Parses without echoing a character of the text: a broken line may well be the one with a password on it. */
export function parseYaml(text: string): Source | readonly Problem[] {
  const counter = new LineCounter();
  const document = parseDocument(text, { lineCounter: counter, prettyErrors: false, stringKeys: true, strict: true });
  const lineAt = (offset: number): number => counter.linePos(offset).line;

  const broken = [...document.errors, ...document.warnings].map((error) => ({ at: error.pos[0], message: sentence(error.code) }));
  visit(document, {
    Alias(_, node) {
      if (!node.resolve(document)) broken.push({ at: node.range?.[0] ?? 0, message: sentence("BAD_ALIAS") });
    },
  });
  if (broken.length > 0) return broken.map(({ at, message }) => ({ line: lineAt(at), path: "", message }));
  try {
    const data: JsonValue = document.toJS({ maxAliasCount: 100 });
    return { data, lineOf: (path) => lineAt(offsetOf(document, path)) };
  } catch {
    return [{ path: "", message: "this YAML refers to itself too often" }];
  }
}

function offsetOf(document: Document, path: Path): number {
  let node: unknown = document.contents;
  let offset = 0;
  for (const step of path) {
    const found = child(isAlias(node) ? node.resolve(document) : node, step);
    if (!found) break;
    offset = start(found.at) ?? offset;
    node = found.node;
  }
  return offset;
}

function child(node: unknown, step: string | number): { readonly at: unknown; readonly node: unknown } | undefined {
  if (isMap(node)) {
    const pair: Pair | undefined = node.items.find((item) => isScalar(item.key) && item.key.value === step);
    return pair && { at: pair.key, node: pair.value };
  }
  const item = isSeq(node) && typeof step === "number" ? node.items[step] : undefined;
  return item === undefined ? undefined : { at: item, node: item };
}

function start(node: unknown): number | undefined {
  return (node as Node | null)?.range?.[0];
}

/** The parser's own messages can quote the text. */
const sentences: Partial<Record<ErrorCode, string>> = {
  BAD_ALIAS: "`*` starts an alias here; put the value in quotes",
  BAD_DQ_ESCAPE: "a backslash in double quotes starts an escape; use single quotes, or write it twice",
  BAD_INDENT: "the indentation does not fit the lines above",
  BAD_SCALAR_START: "a value cannot start with this character; put it in quotes",
  BLOCK_AS_IMPLICIT_KEY: "there is one `key:` too many on this line; put a value that contains a colon in quotes",
  BLOCK_IN_FLOW: "inside { } or [ ] everything stays on one level; a closing bracket may be missing",
  DUPLICATE_KEY: "this key is written twice; keep one",
  MISSING_CHAR: "a quote, bracket, comma or colon is missing here or on the line above",
  MULTILINE_IMPLICIT_KEY: "a key must be on one line; a colon or a quote may be missing",
  MULTIPLE_DOCS: "this file must hold one document; remove the line `---`",
  NON_STRING_KEY: "this key is not text; put it in quotes",
  TAB_AS_INDENT: "indent with spaces, not with tabs",
  TAG_RESOLVE_FAILED: "tags (`!…`) are not used here; put the value in quotes",
  UNEXPECTED_TOKEN: "this does not belong here; a quote, bracket or comma may be missing",
};

function sentence(code: ErrorCode): string {
  return `not valid YAML: ${sentences[code] ?? "this line cannot be read"}`;
}
