import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { asFailure } from "../core/errors.ts";
import type { Scope } from "../core/scope.ts";
import type { Admitted, Authenticate } from "./bearer.ts";
import type { BodyLimits } from "./body.ts";
import { readJson } from "./body.ts";
import type { Converse, LegacySse } from "./legacy-sse.ts";
import { messagesPath, streamPath } from "./legacy-sse.ts";
import { createListener } from "./listener.ts";
import type { OriginGuard } from "./origin.ts";
import { Refusal, statusOf } from "./refusal.ts";
import { sendJson, sendResponse } from "./send.ts";
import type { Streams } from "./streams.ts";
import type { Tls } from "./tls.ts";

/** The MCP endpoint as the front needs it; `src/mcp/endpoint.ts` makes one. */
export interface Mcp<Caller> {
  /** Answers the common message at once with a JSON text, or declines. */
  shortcut(
    message: { readonly body: unknown; header(name: string): string | undefined },
    caller: Caller,
    signal: AbortSignal,
  ): Promise<string> | undefined;
  /** The scopes that this message takes, when the caller's token is not good for all of them; else `undefined`. */
  stepUp?(body: unknown, caller: Caller): Promise<readonly Scope[]> | undefined;
  /** Present where HTTP+SSE of 2024-11-05 is served. */
  readonly converse?: Converse<Caller>;
  fetch(request: Request, caller: Caller, body: unknown): Promise<Response>;
}

/** The authorization server: what it handles gets the request as it came, after the checks of host, origin and peer. */
export interface OAuthDoor {
  handles(path: string): boolean;
  serve(request: IncomingMessage, response: ServerResponse, ip: string): Promise<void>;
}

/** Everything that is not MCP. `caller` is absent on public paths only. */
export interface App<Caller> {
  access(path: string): "public" | "caller" | undefined;
  /** What a token must be good for on this path. */
  scopes?(path: string): readonly Scope[];
  fetch(request: Request, bindings: { readonly caller: Caller | undefined; readonly body: unknown }): Response | Promise<Response>;
}

export interface FrontParts<Caller> {
  readonly mcp: Mcp<Caller>;
  readonly app: App<Caller>;
  readonly origin: OriginGuard;
  readonly authenticate: Authenticate<Caller>;
  /** Throws a `Refusal` when this caller has had enough for now. `cost` is the number of messages. */
  readonly admit: (caller: Caller, cost: number) => void;
  /** Throws a `Refusal` with a challenge when the token is not good for all of these. `told`: that was written down already. */
  readonly demand?: (admitted: Admitted<Caller>, scopes: readonly Scope[], ip: string, told: boolean) => void;
  readonly oauth?: OAuthDoor;
  readonly sse?: LegacySse<Caller>;
  readonly streams?: Streams<Caller>;
  readonly tls?: Tls;
  readonly publicUrl: string;
  readonly body: BodyLimits;
  /** Milliseconds in which a client must have sent its headers; three times as long for all of the request. */
  readonly patience: number;
  readonly logger: { error(facts: object, message: string): void };
}

const mcpPath = "/mcp";
/** Parameters in which clients have put tokens: URLs end up in logs and histories (RFC 9700 section 4.3.2). */
const tokenInQuery = /[?&](?:access_token|token|id_token|api_key|authorization)=/i;

/** The authorization server has parameters of its own; these are never among them. */
const tokenInOAuthQuery = /[?&](?:access_token|refresh_token|client_secret)=/i;
const httpsOnly = "max-age=31536000";

/** Percent-escapes of letters hide nothing. What is no valid escape is left as it is. */
function unescaped(target: string): string {
  return target.replace(/%[0-7][0-9a-f]/gi, (escape) => String.fromCharCode(Number.parseInt(escape.slice(1), 16)));
}

/**
 * The one door for HTTP: who may not come in is turned away here, before anything else looks at the request.
 * Plain `node:http`, because this is passed by every call; a framework's conversions cost as much as the rest of it.
 */
export function createFront<Caller>(parts: FrontParts<Caller>): Server {
  const { mcp, app, origin, oauth, sse, streams } = parts;
  const isHttps = parts.publicUrl.startsWith("https:");

  function accessTo(path: string): "public" | "caller" | "oauth" | undefined {
    if (path === mcpPath || (sse && (path === streamPath || path === messagesPath))) return "caller";
    return app.access(path) ?? (oauth?.handles(path) ? "oauth" : undefined);
  }

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (isHttps) response.setHeader("strict-transport-security", httpsOnly);
    origin.check(request);
    const target = request.url ?? "";
    const path = target.split("?", 1)[0] ?? "";
    const access = accessTo(path);
    if (access === undefined) throw new Refusal(404, "not_found");
    if ((access === "oauth" ? tokenInOAuthQuery : tokenInQuery).test(unescaped(target)))
      throw new Refusal(400, "invalid_request", "Send the token as a header, never in a URL.");
    if (access === "oauth" && oauth) return await oauth.serve(request, response, origin.addressOf(request));
    if (access === "caller") return await serveCaller(request, response, path);
    const body = request.method === "POST" ? await readJson(request, parts.body) : undefined;
    sendResponse(response, await app.fetch(webRequest(request, hangupOf(response)), { caller: undefined, body }));
  }

  async function serveCaller(request: IncomingMessage, response: ServerResponse, path: string): Promise<void> {
    const ip = origin.addressOf(request);
    const legacy = path === streamPath || path === messagesPath;
    const admitted = await parts.authenticate(request, ip, legacy ? "sse" : "http");
    const { caller } = admitted;
    // What is opened is let go of when the response closes: that must still be ahead. A stream of its own looks after itself.
    if (response.destroyed) return;
    if (admitted.right && streams && path !== streamPath) {
      const watched = streams.watch(admitted.right, () => response.destroy());
      response.once("close", () => watched.forget());
    }
    const body = request.method === "POST" ? await readJson(request, parts.body) : undefined;
    parts.admit(caller, Array.isArray(body) ? body.length : 1);
    const lacking = path === mcpPath || legacy ? await mcp.stepUp?.(body, caller) : undefined;
    parts.demand?.(admitted, lacking ?? app.scopes?.(path) ?? [], ip, lacking !== undefined);

    if (response.destroyed) return;
    if (legacy && sse) return await serveLegacy(sse, request, response, admitted, body);
    const signal = hangupOf(response);
    if (path === mcpPath) return await serveMcp(request, response, caller, body, signal);
    sendResponse(response, await app.fetch(webRequest(request, signal), { caller, body }));
  }

  async function serveMcp(request: IncomingMessage, response: ServerResponse, caller: Caller, body: unknown, signal: AbortSignal) {
    const { method, headers } = request;
    if (method === "POST") {
      const header = (name: string) => single(headers[name]);
      const short = await mcp.shortcut({ body, header }, caller, signal);
      if (short !== undefined) return sendJson(response, 200, short);
      if (isListening(body)) response.once("close", streams?.seat(caller, () => response.destroy()) ?? (() => undefined));
    } else if (method !== "GET" && method !== "DELETE") throw new Refusal(405, "method_not_allowed", undefined, { allow: "POST" });
    sendResponse(response, await mcp.fetch(webRequest(request, signal), caller, body));
  }

  async function serveLegacy(
    legacy: LegacySse<Caller>,
    request: IncomingMessage,
    response: ServerResponse,
    admitted: Admitted<Caller>,
    body: unknown,
  ) {
    const target = request.url ?? "";
    const allow = target.startsWith(streamPath) ? "GET" : "POST";
    if (request.method !== allow) throw new Refusal(405, "method_not_allowed", undefined, { allow });
    if (allow === "GET") await legacy.open(response, admitted);
    else legacy.receive(target, response, admitted, body);
  }

  function webRequest(request: IncomingMessage, signal: AbortSignal): Request {
    const headers = new Headers();
    for (const [name, value] of Object.entries(request.headers)) if (value !== undefined) headers.set(name, single(value) ?? "");
    // Whoever answers this needs no token: it was used up at the door.
    headers.delete("authorization");
    headers.delete("dpop");
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

  return createListener({
    serve(request, response) {
      serve(request, response).catch((thrown: unknown) => fail(request, response, thrown));
    },
    patience: parts.patience,
    ...(parts.tls ? { tls: parts.tls } : {}),
  });
}

/** Aborts when the client hangs up before it has its answer. */
function hangupOf(response: ServerResponse): AbortSignal {
  const hangup = new AbortController();
  response.once("close", () => response.writableFinished || hangup.abort());
  return hangup.signal;
}

/** A request for a stream that stands open until something happens. */
function isListening(body: unknown): boolean {
  return typeof body === "object" && body !== null && "method" in body && body.method === "subscriptions/listen";
}

function single(value: string | readonly string[] | undefined): string | undefined {
  return typeof value === "string" || value === undefined ? value : value.join(", ");
}
