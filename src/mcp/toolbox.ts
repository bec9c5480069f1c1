import { INTERNAL_ERROR, ProtocolError } from "@modelcontextprotocol/server";
import type { AgentName, CorrelationId } from "../core/brand.ts";
import type { Broker, Outlook } from "../core/broker.ts";
import { asFailure, Failure } from "../core/errors.ts";
import type { Principal } from "../core/principal.ts";
import { covers } from "../core/scope.ts";
import type { ToolTable } from "./definition.ts";
import { answer, failed } from "./failure.ts";
import type { PreparedTool } from "./tool.ts";

export interface ToolboxParts {
  readonly tools: readonly PreparedTool[];
  readonly broker: Broker;
  /** Told of every call that gets as far as its tool, before it runs. */
  readonly called: (principal: Principal, tool: string) => void;
  /** Told of every call of a tool that its caller does not have, durable before it is answered. */
  readonly refused: (principal: Principal, tool: string, correlation: CorrelationId) => Promise<void>;
  readonly newCorrelation: () => CorrelationId;
  readonly logger: { error(facts: object, message: string): void };
  readonly now: () => number;
}

/** Milliseconds for which a tool that an agent was seen to have is not looked up again. */
const outlookTtl = 1_000;
const rememberedAgents = 1_000;

/**
 * The tools for callers of the broker. What a caller does not see it cannot call, and is told so in the same
 * words as for a name that never existed. That is tidiness and no protection: the broker judges every call.
 */
export function createToolbox(parts: ToolboxParts): ToolTable<Principal> {
  const { broker, now } = parts;
  const tools = new Map(parts.tools.map((tool) => [tool.name, tool]));
  /** Only "yes" is remembered: a permission that was just given counts on the next call. */
  const seen = new Map<AgentName, { readonly until: number; readonly outlook: Outlook }>();

  async function look(principal: Principal): Promise<Outlook> {
    const outlook = await broker.outlook(principal);
    if (seen.size >= rememberedAgents) seen.clear();
    seen.set(principal.agent, { until: now() + outlookTtl, outlook });
    return outlook;
  }

  /** Who is refused everything is let through to the broker, which refuses in its own words and writes it down. */
  async function has(principal: Principal, tool: PreparedTool): Promise<boolean> {
    const before = seen.get(principal.agent);
    if (before && before.until > now() && tool.listed(before.outlook)) return true;
    try {
      return tool.listed(await look(principal));
    } catch (thrown) {
      if (asFailure(thrown).code === "denied") return true;
      throw thrown;
    }
  }

  function record(failure: Failure, correlation: CorrelationId, tool: string): void {
    if (failure.cause !== undefined) parts.logger.error({ correlation, tool, code: failure.code, err: failure.cause }, "a call failed");
  }

  return {
    isPlain: () => true,

    scopes: {
      of: (name) => tools.get(name)?.scope,
      held: (principal) => principal.scopes,
      refused: (principal, name) => parts.refused(principal, name, parts.newCorrelation()),
    },

    async list(principal) {
      try {
        const outlook = await look(principal);
        return parts.tools.filter((tool) => tool.listed(outlook)).map((tool) => tool.wire);
      } catch (thrown) {
        const failure = asFailure(thrown);
        if (failure.code === "denied") return [];
        const correlation = parts.newCorrelation();
        record(failure, correlation, "tools/list");
        throw new ProtocolError(INTERNAL_ERROR, failure.message, { correlation_id: correlation });
      }
    },

    async call(principal, { name, arguments: input, signal }) {
      const tool = tools.get(name);
      const correlation = parts.newCorrelation();
      try {
        if (!tool || !(await has(principal, tool))) {
          // A name that is none of ours is a stranger's text, and of no use in the log.
          await parts.refused(principal, tool ? name : "unknown", correlation);
          return undefined;
        }
        if (tool.scope !== undefined && !covers(principal.scopes, tool.scope)) {
          await parts.refused(principal, name, correlation);
          throw new Failure("insufficient_scope", { scopes: [tool.scope] });
        }
        parts.called(principal, name);
        return answer(await tool.run({ broker, principal, correlation, signal }, input));
      } catch (thrown) {
        const failure = asFailure(thrown);
        record(failure, correlation, name);
        return failed(failure, correlation);
      }
    },
  };
}
