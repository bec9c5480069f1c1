import { INVALID_PARAMS, ProtocolError, Server } from "@modelcontextprotocol/server";
import type { ServerDefinition } from "./definition.ts";

/** Milliseconds for which a client may keep the tool list. Short: policy can change at any time. */
const listTtl = 5_000;

export const unknownTool = { code: INVALID_PARAMS, message: "Unknown tool" };

/**
 * One server for one request, or for one stdio connection; sharing an instance between clients has leaked
 * answers across them (CVE-2026-25536, CVE-2026-111770). Cheap enough for that: the low-level `Server`,
 * and tables that were prepared at start instead of tools that are registered again each time.
 */
export function createServer<Caller>(definition: ServerDefinition<Caller>, caller: Caller): Server {
  const { info, instructions, tools, extras } = definition;
  const server = new Server(info, {
    capabilities: { tools: {}, ...extras?.capabilities },
    ...(instructions === undefined ? {} : { instructions }),
    cacheHints: { "tools/list": { ttlMs: listTtl, cacheScope: "private" } },
    ...extras?.options,
  });
  server.setRequestHandler("tools/list", async () => ({ tools: [...(await tools.list(caller))] }));
  server.setRequestHandler("tools/call", async ({ params }, context) => {
    const call = { name: params.name, arguments: params.arguments, signal: context.mcpReq.signal, context };
    const result = await tools.call(caller, call);
    if (!result) throw new ProtocolError(unknownTool.code, unknownTool.message);
    return result;
  });
  extras?.install(server, caller);
  return server;
}
