import { randomUUID } from "node:crypto";
import type { AgentName } from "../core/brand.ts";
import type { Principal } from "../core/principal.ts";

export interface LocalPeer {
  readonly agent: AgentName;
  readonly transport: "stdio" | "cli";
  readonly now: () => number;
}

/**
 * The caller of `leasehold mcp --agent NAME` or of a command: whoever may run the process and read its
 * data folder is that agent. Nothing in the environment is believed, because MCP clients pass all of
 * theirs to the child. One session for as long as the process lives.
 */
export function localPeer({ agent, transport, now }: LocalPeer): Principal {
  return {
    agent,
    kind: "local",
    chain: [],
    authenticated: { method: "local-peer", senderConstrained: false, at: now() },
    session: randomUUID(),
    transport,
  };
}
