import { Failure } from "../core/errors.ts";
import type { JsonObject, JsonValue } from "../core/json.ts";
import { checkedHeaders } from "./http-headers.ts";
import { canonicalPath, pathMatches } from "./http-path.ts";
import type { HttpTarget } from "./http-target.ts";

/** What goes out, byte for byte, but for the headers that carry the credential. */
export interface HttpRequest {
  readonly method: string;
  /** With the base path of the target. */
  readonly path: string;
  readonly query: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
}

const inputKeys: ReadonlySet<string> = new Set(["method", "path", "headers", "body"]);
/** TRACE would echo the credential, CONNECT would open a tunnel. */
const methods: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"]);
const bodiless: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS"]);
const largestBody = 1_048_576;

/**
 * The agent's arguments in their one canonical form. Nothing in them is a template: `{{secret}}` in
 * a path is refused, and in a header or body it goes out as those ten characters.
 * Throws `invalid_request`, or `operation_refused` for what the allow list does not name.
 */
export function parseRequest(input: JsonObject, target: HttpTarget): HttpRequest {
  const stranger = Object.keys(input).find((key) => !inputKeys.has(key));
  if (stranger !== undefined) throw invalid("An HTTP request has method, path, headers and body, and nothing else.");
  const method = parseMethod(input["method"]);
  const { path, query } = parsePath(input["path"]);
  if (!isAllowed(target, method, path))
    throw new Failure("operation_refused", { problem: `This credential does not allow ${method} on this path.` });
  const headers = checkedHeaders(input["headers"], target);
  const body = parseBody(input["body"]);
  if (body !== undefined && bodiless.has(method)) throw invalid(`${method} carries no body.`);
  const typed = body !== undefined && body.json && headers["content-type"] === undefined ? { "content-type": "application/json" } : {};
  return {
    method,
    path: `${target.basePath}${path}`,
    query,
    headers: { ...headers, ...typed },
    ...(body === undefined ? {} : { body: body.text }),
  };
}

/** `path` is canonical and relative to the base. */
export function isAllowed(target: HttpTarget, method: string, path: string): boolean {
  return target.allow.some((rule) => rule.method === method && pathMatches(rule.path, path));
}

function parseMethod(given: JsonValue | undefined): string {
  if (given === undefined) return "GET";
  const method = typeof given === "string" && given.length <= 16 ? given.toUpperCase() : "";
  if (methods.has(method)) return method;
  throw invalid(`method must be one of ${[...methods].join(", ")}.`);
}

function parsePath(given: JsonValue | undefined) {
  if (typeof given !== "string") throw invalid("path must be text, e.g. /api/v1/tickets?state=open.");
  return canonicalPath(given);
}

function parseBody(given: JsonValue | undefined): { readonly text: string; readonly json: boolean } | undefined {
  if (given === undefined || given === null) return undefined;
  const json = typeof given !== "string";
  const text = json ? JSON.stringify(given) : given;
  if (Buffer.byteLength(text) > largestBody) throw invalid(`The body is larger than ${largestBody} bytes.`);
  return { text, json };
}

function invalid(problem: string): Failure<"invalid_request"> {
  return new Failure("invalid_request", { problem });
}
