import { AsyncLocalStorage } from "node:async_hooks";
import { parseJSONRPCMessage } from "@modelcontextprotocol/server";
import type { JSONRPCMessage, Transport } from "@modelcontextprotocol/server";
import type { ServerDefinition } from "./definition.ts";
import { createServer } from "./server.ts";

/** MCP with one client over a pair of one-way channels, as HTTP+SSE of 2024-11-05 has them. */
export interface Conversation<Caller> {
  /** Takes one message. It is answered as to whoever brought it, which may be another token of the same caller. False: not JSON-RPC. */
  receive(message: unknown, caller: Caller): boolean;
  close(): Promise<void>;
}

/** `send` gets each message as JSON text; `ended` is told when the server's side is over. */
export async function openConversation<Caller>(
  definition: ServerDefinition<Caller>,
  caller: Caller,
  { send, ended }: { readonly send: (text: string) => void; readonly ended: () => void },
): Promise<Conversation<Caller>> {
  const speaking = new AsyncLocalStorage<Caller>();
  const speaker = (): Caller => speaking.getStore() ?? caller;
  const { tools } = definition;
  const server = createServer(
    {
      ...definition,
      tools: { ...tools, list: () => tools.list(speaker()), call: (_opener, call) => tools.call(speaker(), call) },
    },
    caller,
  );
  const transport: Transport = {
    start: async () => undefined,
    send: async (message) => send(JSON.stringify(message)),
    async close() {
      transport.onclose?.();
      ended();
    },
  };
  await server.connect(transport);
  return {
    receive(message, from) {
      let parsed: JSONRPCMessage;
      try {
        parsed = parseJSONRPCMessage(message);
      } catch {
        return false;
      }
      speaking.run(from, () => transport.onmessage?.(parsed));
      return true;
    },
    close: () => server.close(),
  };
}
