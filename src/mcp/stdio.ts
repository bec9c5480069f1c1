import { serveStdio } from "@modelcontextprotocol/server/stdio";
import type { ServeStdioOptions, StdioServerHandle } from "@modelcontextprotocol/server/stdio";
import type { ServerDefinition } from "./definition.ts";
import { createServer } from "./server.ts";

export interface StdioParts<Caller> {
  readonly definition: ServerDefinition<Caller>;
  readonly caller: Caller;
  readonly onerror?: (error: Error) => void;
  /** Absent: stdin and stdout of this process, which then must carry nothing else. */
  readonly transport?: ServeStdioOptions["transport"];
}

/** MCP over stdio, all revisions, for the one caller that this process stands for. */
export function serveMcpOverStdio<Caller>({ definition, caller, onerror, transport }: StdioParts<Caller>): StdioServerHandle {
  return serveStdio(() => createServer(definition, caller), {
    maxSubscriptions: 16,
    ...(onerror ? { onerror } : {}),
    ...(transport ? { transport } : {}),
  });
}
