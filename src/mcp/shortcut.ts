import { classifyInboundRequest, SERVER_INFO_META_KEY } from "@modelcontextprotocol/server";
import type { ServerDefinition } from "./definition.ts";
import { unknownTool } from "./server.ts";

/** A POST to the MCP endpoint: its parsed body, and a look at its headers by lower-case name. */
interface Inbound {
  readonly body: unknown;
  header(name: string): string | undefined;
}

/** Answers with a JSON body for status 200, or declines: `undefined` hands the message to the SDK as if nothing had been tried. */
export type Shortcut<Caller> = (message: Inbound, caller: Caller, signal: AbortSignal) => Promise<string> | undefined;

interface PlainCall {
  readonly id: string | number;
  readonly name: string;
  readonly arguments: unknown;
  readonly modern: boolean;
}

const legacyRevisions = new Set(["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"]);
const messageKeys = new Set(["jsonrpc", "id", "method", "params"]);
const paramKeys = new Set(["name", "arguments", "_meta"]);

/**
 * The most frequent message by far, without the protocol layer, which costs ten times the call itself:
 * one `tools/call` of a plain tool, outside of any session, that is well-formed in every respect.
 * The SDK's own classifier decides what it is; everything else, and everything doubtful, is declined.
 */
export function createShortcut<Caller>({ info, tools }: ServerDefinition<Caller>): Shortcut<Caller> {
  async function answer(call: PlainCall, caller: Caller, signal: AbortSignal): Promise<string> {
    const { id, name, arguments: input, modern } = call;
    const result = await tools.call(caller, { name, arguments: input, signal });
    if (!result) return JSON.stringify({ jsonrpc: "2.0", id, error: unknownTool });
    const stamp = modern ? { resultType: "complete", _meta: { ...result["_meta"], [SERVER_INFO_META_KEY]: info } } : {};
    return JSON.stringify({ jsonrpc: "2.0", id, result: { ...result, ...stamp } });
  }

  return (message, caller, signal) => {
    const call = plainCallIn(message);
    return call && tools.isPlain(call.name) ? answer(call, caller, signal) : undefined;
  };
}

function plainCallIn(message: Inbound): PlainCall | undefined {
  const { body } = message;
  if (!isObject(body) || body["method"] !== "tools/call" || !hasOnly(body, messageKeys)) return undefined;
  const { id, params } = body;
  if (!(typeof id === "string" && id.length <= 256) && !Number.isSafeInteger(id)) return undefined;
  if (!isObject(params) || !hasOnly(params, paramKeys)) return undefined;
  const { name, arguments: input } = params;
  if (typeof name !== "string" || (input !== undefined && !isObject(input))) return undefined;

  const accept = message.header("accept");
  if (!accept?.includes("application/json") || !accept.includes("text/event-stream")) return undefined;
  if (message.header("mcp-session-id") !== undefined) return undefined;

  const version = message.header("mcp-protocol-version");
  const method = message.header("mcp-method");
  const outcome = classifyInboundRequest({
    httpMethod: "POST",
    body,
    ...(version === undefined ? {} : { protocolVersionHeader: version }),
    ...(method === undefined ? {} : { mcpMethodHeader: method }),
  });
  const call = { id: id as string | number, name, arguments: input };
  if (outcome.kind === "modern" && outcome.messageKind === "request") {
    const named = version === "2026-07-28" && method === "tools/call" && message.header("mcp-name") === name;
    return named && outcome.classification.revision === version ? { ...call, modern: true } : undefined;
  }
  const known = version === undefined || legacyRevisions.has(version);
  return outcome.kind === "legacy" && outcome.reason === "no-claim" && known ? { ...call, modern: false } : undefined;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function hasOnly(value: object, keys: ReadonlySet<string>): boolean {
  return Object.keys(value).every((key) => keys.has(key));
}
