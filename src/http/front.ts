import { createServer } from "node:http";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { asFailure } from "../core/errors.ts";
import type { Authenticate } from "./bearer.ts";
import type { BodyLimits } from "./body.ts";
import { readJson } from "./body.ts";
import type { OriginGuard } from "./origin.ts";
import { Refusal, statusOf } from "./refusal.ts";
import { sendJson, sendResponse } from "./send.ts";

/** The MCP endpoint as the front needs it; `src/mcp/endpoint.ts` makes one. */
export interface Mcp<Caller> {
  /** Answers the common message at once with a JSON text, or declines. */
  shortcut(
    message: { readonly body: unknown; header(name: string): string | undefined },
    caller: Caller,
    signal: AbortSignal,
  ): Promise<string> | undefined;
  fetch(request: Request, caller: Caller, body: unknown): Promise<Response>;
}

/** Everything that is not MCP. `caller` is absent on public paths only. */
export interface App<Caller> {
  access(path: string): "public" | "caller" | undefined;
  fetch(request: Request, bindings: { readonly caller: Caller | undefined; readonly body: unknown }): Response | Promise<Response>;
}

export interface FrontParts<Caller> {
  readonly mcp: Mcp<Caller>;
  readonly app: App<Caller>;
  readonly origin: OriginGuard;
  readonly authenticate: Authenticate<Caller>;
  /** Throws a `Refusal` when this caller has had enough for now. `cost` is the number of messages. */
  readonly admit: (caller: Caller, cost: number) => void;
  readonly publicUrl: string;
  readonly body: BodyLimits;
  /** Milliseconds in which a client must have sent its headers; three times as long for all of the request. */
  readonly patience: number;
  readonly logger: { error(facts: object, message: string): void };
}

const mcpPath = "/mcp";
/** Parameters in which clients have put tokens: URLs end up in logs and histories (RFC 9700 section 4.3.2). */
const tokenInQuery = /[?&](?:access_token|token|id_token|api_key|authorization)=/i;

/** Percent-escapes of letters hide nothing. What is no valid escape is left as it is. */
function unescaped(target: string): string {
  return target.replace(/%[0-7][0-9a-f]/gi, (escape) => String.fromCharCode(Number.parseInt(escape.slice(1), 16)));
}

/**
 * The one door for HTTP: who may not come in is turned away here, before anything else looks at the request.
 * Plain `node:http`, because this is passed by every call; a framework's conversions cost as much as the rest of it.
 */
export function createFront<Caller>(parts: FrontParts<Caller>): Server {
  const { mcp, app, origin } = parts;

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    origin.check(request);
    const target = request.url ?? "";
    const path = target.split("?", 1)[0] ?? "";
    const access = path === mcpPath ? "caller" : app.access(path);
    if (access === undefined) throw new Refusal(404, "not_found");
    if (tokenInQuery.test(unescaped(target))) throw new Refusal(400, "invalid_request", "Send the token as a header, never in a URL.");

    const caller = access === "caller" ? await parts.authenticate(request, origin.addressOf(request)) : undefined;
    const method = request.method ?? "";
    const body = method === "POST" ? await readJson(request, parts.body) : undefined;
    if (caller !== undefined) parts.admit(caller, Array.isArray(body) ? body.length : 1);

    const hangup = new AbortController();
    response.once("close", () => response.writableFinished || hangup.abort());
    if (path === mcpPath && caller !== undefined) return await serveMcp(request, response, caller, body, hangup.signal);
    if (method !== "GET" && method !== "POST" && method !== "HEAD") throw new Refusal(405, "method_not_allowed");
    sendResponse(response, await app.fetch(webRequest(request, hangup.signal), { caller, body }));
  }

  async function serveMcp(request: IncomingMessage, response: ServerResponse, caller: Caller, body: unknown, signal: AbortSignal) {
    const { method, headers } = request;
    if (method === "POST") {
      const header = (name: string) => single(headers[name]);
      const short = await mcp.shortcut({ body, header }, caller, signal);
      if (short !== undefined) return sendJson(response, 200, short);
    } else if (method !== "GET" && method !== "DELETE") throw new Refusal(405, "method_not_allowed", undefined, { allow: "POST" });
    sendResponse(response, await mcp.fetch(webRequest(request, signal), caller, body));
  }

  function webRequest(request: IncomingMessage, signal: AbortSignal): Request {
    const headers = new Headers();
    for (const [name, value] of Object.entries(request.headers)) if (value !== undefined) headers.set(name, single(value) ?? "");
    // Whoever answers this needs no token: it was used up at the door.
    headers.delete("authorization");
    headers.delete("cookie");
    return new Request(new URL(request.url ?? "/", parts.publicUrl), { method: request.method ?? "GET", headers, signal });
  }

  function fail(request: IncomingMessage, response: ServerResponse, thrown: unknown): void {
    if (response.headersSent || response.destroyed) return void response.destroy();
    const refusal = thrown instanceof Refusal ? thrown : refusalOf(thrown);
    // What is left of the request's body is not worth reading.
    const headers = request.complete ? refusal.headers : { ...refusal.headers, connection: "close" };
    sendJson(response, refusal.status, JSON.stringify({ error: refusal.code, error_description: refusal.message }), headers);
    request.resume();
  }

  function refusalOf(thrown: unknown): Refusal {
    const failure = asFailure(thrown);
    if (failure.cause !== undefined) parts.logger.error({ code: failure.code, err: failure.cause }, "an HTTP request failed");
    return new Refusal(statusOf[failure.code], failure.code, failure.message);
  }

  const server = createServer(
    {
      maxHeaderSize: 16 * 1024,
      // A client that trickles its headers or body is cut off with 408 (slow-loris).
      headersTimeout: parts.patience,
      requestTimeout: parts.patience * 3,
      keepAliveTimeout: 65_000,
      connectionsCheckingInterval: parts.patience / 5,
      requireHostHeader: true,
      insecureHTTPParser: false,
    },
    (request, response) => {
      serve(request, response).catch((thrown: unknown) => fail(request, response, thrown));
    },
  );
  server.maxConnections = 4_096;
  return server;
}

function single(value: string | readonly string[] | undefined): string | undefined {
  return typeof value === "string" || value === undefined ? value : value.join(", ");
}
