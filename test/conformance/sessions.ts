import { randomUUID } from "node:crypto";
import { isLegacyRequest, WebStandardStreamableHTTPServerTransport } from "@modelcontextprotocol/server";
import type { Mcp } from "../../src/http/front.ts";
import type { ServerDefinition } from "../../src/mcp/definition.ts";
import { createServer } from "../../src/mcp/server.ts";

/**
 * Sessions for clients up to 2025-11-25, in front of an endpoint that has none. The product has no use for
 * them: its tools never ask a client back, which is the one thing that they are needed for.
 */
export function withSessions<Caller>(endpoint: Mcp<Caller>, definition: ServerDefinition<Caller>): Mcp<Caller> {
  const sessions = new Map<string, WebStandardStreamableHTTPServerTransport>();
  return {
    shortcut: (message, caller, signal) => endpoint.shortcut(message, caller, signal),
    async fetch(request, caller, body) {
      const id = request.headers.get("mcp-session-id");
      const session = id === null ? undefined : sessions.get(id);
      if (session) return session.handleRequest(request, { parsedBody: body });
      if (id !== null)
        return Response.json({ jsonrpc: "2.0", error: { code: -32001, message: "Session not found" }, id: null }, { status: 404 });
      if (body === undefined || !isInitialize(body) || !(await isLegacyRequest(request, body)))
        return endpoint.fetch(request, caller, body);

      const transport = new WebStandardStreamableHTTPServerTransport({
        sessionIdGenerator: randomUUID,
        onsessioninitialized: (opened) => void sessions.set(opened, transport),
        onsessionclosed: (closed) => void sessions.delete(closed),
      });
      await createServer(definition, caller).connect(transport);
      return transport.handleRequest(request, { parsedBody: body });
    },
  };
}

function isInitialize(body: unknown): boolean {
  return typeof body === "object" && body !== null && "method" in body && body.method === "initialize";
}
