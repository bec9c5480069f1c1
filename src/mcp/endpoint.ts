import { createMcpHandler } from "@modelcontextprotocol/server";
import type { Conversation } from "./conversation.ts";
import { openConversation } from "./conversation.ts";
import type { ServerDefinition } from "./definition.ts";
import { createServer } from "./server.ts";
import type { Shortcut } from "./shortcut.ts";
import { createShortcut } from "./shortcut.ts";
import type { StepUp } from "./step-up.ts";
import { createStepUp } from "./step-up.ts";

export interface EndpointParts<Caller> {
  readonly definition: ServerDefinition<Caller>;
  /** Told what the SDK rejected or could not do; never alters an answer. */
  readonly onerror?: (error: Error) => void;
  /** Open `subscriptions/listen` streams, over all callers. */
  readonly maxSubscriptions?: number;
}

/** MCP over HTTP, all revisions, for callers that were authenticated and bodies that were parsed before. */
export interface McpEndpoint<Caller> {
  readonly shortcut: Shortcut<Caller>;
  readonly stepUp: StepUp<Caller>;
  /** `body` is what was parsed of the request's body, which itself may be gone. */
  fetch(request: Request, caller: Caller, body: unknown): Promise<Response>;
  /** For HTTP+SSE of 2024-11-05: a client that is spoken with over two channels. */
  converse(caller: Caller, channel: { send(text: string): void; ended(): void }): Promise<Conversation<Caller>>;
  close(): Promise<void>;
}

export function createMcpEndpoint<Caller>(parts: EndpointParts<Caller>): McpEndpoint<Caller> {
  const callers = new WeakMap<Request, { readonly caller: Caller }>();
  const handler = createMcpHandler(
    ({ requestInfo }) => {
      const known = requestInfo && callers.get(requestInfo);
      if (!known) throw new Error("a request arrived without its caller");
      return createServer(parts.definition, known.caller);
    },
    { maxSubscriptions: parts.maxSubscriptions ?? 256, ...(parts.onerror ? { onerror: parts.onerror } : {}) },
  );
  return {
    shortcut: createShortcut(parts.definition),
    stepUp: createStepUp(parts.definition.tools),
    converse: (caller, channel) => openConversation(parts.definition, caller, channel),
    fetch(request, caller, body) {
      callers.set(request, { caller });
      return handler.fetch(request, body === undefined ? {} : { parsedBody: body });
    },
    close: () => handler.close(),
  };
}
