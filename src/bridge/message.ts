export type Id = string | number;

/** What came from the client, as it is sent on: the bytes of the line are not touched. */
export interface Message {
  readonly body: string;
  /** Ids that want an answer. More than one in a batch (revision 2025-03-26). */
  readonly requests: readonly Id[];
  /** The request that this notification gives up. */
  readonly cancels?: Id;
  readonly handshake?: "initialize" | "initialized";
  /** The revision that the message itself names (2026-07-28 and later): it needs no session, and its headers repeat its body. */
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Malformed {
  readonly malformed: { readonly id: Id | null; readonly code: number; readonly message: string };
}

const versionKey = "io.modelcontextprotocol/protocolVersion";
/** Which parameter the header `Mcp-Name` repeats. */
const nameOf: ReadonlyMap<string, string> = new Map([
  ["tools/call", "name"],
  ["prompts/get", "name"],
  ["resources/read", "uri"],
  ["tasks/get", "taskId"],
  ["tasks/update", "taskId"],
  ["tasks/cancel", "taskId"],
]);

export function readMessage(text: string): Message | Malformed {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return { malformed: { id: null, code: -32700, message: "Parse error: a line is not JSON." } };
  }
  const all: readonly unknown[] = Array.isArray(parsed) ? parsed : [parsed];
  const wrong = all.find((one) => !isMessage(one));
  if (wrong !== undefined || all.length === 0)
    return { malformed: { id: idOf(wrong) ?? null, code: -32600, message: "Invalid request: not a JSON-RPC 2.0 message." } };
  const messages = all.filter(isMessage);
  const requests = messages.flatMap((one) => (typeof one["method"] === "string" ? (idOf(one) ?? []) : []));
  const [only] = messages;
  return { body: text, requests, ...(only && messages.length === 1 ? about(only) : {}) };
}

function about(message: JsonRpc): Partial<Message> {
  const { method } = message;
  if (typeof method !== "string") return {};
  const params = fields(message["params"]);
  const version = fields(params["_meta"])[versionKey];
  const headers = typeof version === "string" ? headersOf(version, method, params) : undefined;
  const cancelled = method === "notifications/cancelled" ? params["requestId"] : undefined;
  return {
    ...(headers ? { headers } : {}),
    ...(isId(cancelled) ? { cancels: cancelled } : {}),
    ...(method === "initialize" && !headers ? { handshake: "initialize" as const } : {}),
    ...(method === "notifications/initialized" ? { handshake: "initialized" as const } : {}),
  };
}

function headersOf(version: string, method: string, params: JsonRpc): Readonly<Record<string, string>> {
  const field = nameOf.get(method);
  const name = field === undefined ? undefined : params[field];
  return {
    "mcp-protocol-version": headerText(version),
    "mcp-method": headerText(method),
    ...(typeof name === "string" ? { "mcp-name": headerText(name) } : {}),
  };
}

/** What is not plain ASCII, or could be taken for the encoding itself, travels as Base64 (MCP 2026-07-28, Streamable HTTP). */
function headerText(value: string): string {
  const plain = /^[\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?$/.test(value) && !/^=\?base64\?.*\?=$/.test(value);
  return plain ? value : `=?base64?${Buffer.from(value).toString("base64")}?=`;
}

/** What a server sent: whom it answers, and the text for one line. `undefined`: no JSON-RPC. */
export interface Answer {
  readonly line: string;
  readonly answers: readonly Id[];
  /** The answer to a request that the server could not even name. */
  readonly anonymous: boolean;
  /** The result, when there is exactly one. */
  readonly result?: Readonly<Record<string, unknown>>;
  readonly error?: unknown;
}

export function readAnswer(text: string): Answer | undefined {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return undefined;
  }
  const all: readonly unknown[] = Array.isArray(parsed) ? parsed : [parsed];
  const messages = all.filter(isMessage);
  if (messages.length === 0 || messages.length < all.length) return undefined;
  const [only] = messages;
  return {
    // The text itself where it can be: numbers past 2^53 would not survive being written anew.
    line: /[\r\n]/.test(text) ? JSON.stringify(parsed) : text,
    answers: messages.flatMap((one) => (one["method"] === undefined ? (idOf(one) ?? []) : [])),
    anonymous: messages.length === 1 && only?.["method"] === undefined && idOf(only) === undefined,
    ...(messages.length === 1 && only?.["result"] !== undefined ? { result: fields(only["result"]) } : {}),
    ...(messages.length === 1 && only?.["error"] !== undefined ? { error: only["error"] } : {}),
  };
}

export function errorLine(id: Id | null, error: unknown): string {
  return JSON.stringify({ jsonrpc: "2.0", id, error });
}

type JsonRpc = Readonly<Record<string, unknown>>;

function isMessage(value: unknown): value is JsonRpc {
  if (typeof value !== "object" || value === null || !("jsonrpc" in value) || value.jsonrpc !== "2.0") return false;
  if ("method" in value) return typeof value.method === "string" && (!("id" in value) || isId(value.id));
  return "result" in value || "error" in value;
}

function isId(value: unknown): value is Id {
  return typeof value === "string" || typeof value === "number";
}

function idOf(value: unknown): Id | undefined {
  const { id } = fields(value);
  return isId(id) ? id : undefined;
}

function fields(value: unknown): JsonRpc {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? { ...value } : {};
}
