import { createServer } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import { toNodeHandler } from "@modelcontextprotocol/node";
import { createMcpHandler, McpServer } from "@modelcontextprotocol/server";
import { z } from "zod";
import { listenOn } from "../src/http/listen.ts";
import { tools } from "../src/mcp/leasehold.ts";
import { answerAsks } from "./ask.ts";

type Incoming = IncomingMessage & { method: string; url: string };

/**
 * The yardstick: the SDK as its documentation shows it, a fresh `McpServer` for each request, as many tools
 * as we have, doing nothing. No token, no policy, no store. Schemas are made once, which favours it.
 */
const inputSchema = z.object({ text: z.string().optional() });

const handler = createMcpHandler(() => {
  const server = new McpServer({ name: "bare", version: "1.0.0" });
  for (const { name } of tools) {
    server.registerTool(name, { description: "Does nothing", inputSchema }, async () => ({ content: [{ type: "text", text: "done" }] }));
  }
  return server;
});

// The adapter's own types know nothing of exactOptionalPropertyTypes.
const answer: (request: Incoming, response: ServerResponse) => Promise<void> = toNodeHandler(handler);
const server = createServer((request, response) => void answer(request as Incoming, response));
const { port } = await listenOn(server, { host: "127.0.0.1", port: 0 });
answerAsks({ port: () => port });
