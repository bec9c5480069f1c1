import type {
  CallToolResult,
  Implementation,
  InputRequiredResult,
  Server,
  ServerCapabilities,
  ServerContext,
  ServerOptions,
  Tool,
} from "@modelcontextprotocol/server";
import type { Scope } from "../core/scope.ts";

/** Everything an MCP server of ours is made of, apart from how it is reached. `Caller` is whoever the face authenticated. */
export interface ServerDefinition<Caller> {
  readonly info: Implementation;
  readonly instructions?: string;
  readonly tools: ToolTable<Caller>;
  /** What is served beside tools; `install` registers its handlers on each fresh server. */
  readonly extras?: {
    readonly capabilities: ServerCapabilities;
    readonly options?: Pick<ServerOptions, "requestState">;
    install(server: Server, caller: Caller): void;
  };
}

export interface ToolTable<Caller> {
  /** The tools of this caller, as they go over the wire. */
  list(caller: Caller): Promise<readonly Tool[]>;
  /** `undefined`: no such tool, or not for this caller. Never throws what a model must not read. */
  call(caller: Caller, call: ToolCall): Promise<CallToolResult | InputRequiredResult | undefined>;
  /** Whether this tool gives one answer and needs nothing of the protocol layer on the way: no progress, no questions back. */
  isPlain(name: string): boolean;
  /** Present where callers may hold tokens that are narrowed by scopes. `call` refuses by itself; this is for faces that can say so before. */
  readonly scopes?: {
    of(tool: string): Scope | undefined;
    /** Absent: this caller is not narrowed. */
    held(caller: Caller): readonly Scope[] | undefined;
    /** Writes down that a call was refused. */
    refused(caller: Caller, tool: string): Promise<void>;
  };
}

interface ToolCall {
  readonly name: string;
  readonly arguments: unknown;
  /** Aborts when the caller hangs up or cancels. */
  readonly signal: AbortSignal;
  /** Absent where a plain tool is called without the SDK. */
  readonly context?: ServerContext;
}

/** The same server, whose tools wait until what they stand on has started. When that fails, so does every call. */
export function onceStarted<Caller>(definition: ServerDefinition<Caller>, started: () => Promise<void>): ServerDefinition<Caller> {
  const { tools } = definition;
  return {
    ...definition,
    tools: {
      ...tools,
      list: (caller) => started().then(() => tools.list(caller)),
      call: (caller, call) => started().then(() => tools.call(caller, call)),
    },
  };
}
