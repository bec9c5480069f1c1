import type { AgentName } from "../core/brand.ts";
import type { Actor } from "../core/event.ts";
import type { AgentDirectory } from "../core/ports.ts";
import type { Agent } from "../core/principal.ts";

/** What the store holds of an agent beside the configuration file. Times are milliseconds since the epoch. */
interface AgentRecord {
  readonly name: AgentName;
  /** Present for agents that are not of the configuration file. */
  readonly added?: AddedAgent;
  readonly frozen: boolean;
  readonly disabled: boolean;
  readonly tokensValidFrom: number;
}

type AgentChange =
  | ({ readonly kind: "agent.added" } & AddedAgent)
  | { readonly kind: "agent.frozen" | "agent.unfrozen" | "agent.disabled" | "agent.enabled" }
  | { readonly kind: "token.revoked" };

/** Where the records rest. A change is durable together with its audit event. */
export interface AgentRecords {
  find(name: AgentName): Promise<AgentRecord | undefined>;
  list(): Promise<readonly AgentRecord[]>;
  apply(name: AgentName, change: AgentChange, actor: Actor): Promise<void>;
}

export interface ConfiguredAgent {
  readonly roles: readonly string[];
  readonly owner?: string;
}

/** An agent of the store. Whoever registered it first counts; absent, that is the operator. */
interface AddedAgent extends ConfiguredAgent {
  readonly registeredBy?: Agent["registeredBy"];
}

export interface Agents extends AgentDirectory {
  list(): Promise<readonly Agent[]>;
  /** Adds, or changes the roles of an agent that was added before. Agents of the configuration file are changed there. */
  add(name: AgentName, agent: AddedAgent, by: Actor): Promise<"added" | "configured">;
  change(name: AgentName, kind: Exclude<AgentChange["kind"], "agent.added">, by: Actor): Promise<boolean>;
}

/** Agents of the configuration file and of the store as one directory. The file wins: it is what lives in git. */
export function createAgents(parts: {
  readonly configured: ReadonlyMap<AgentName, ConfiguredAgent>;
  readonly records: AgentRecords;
}): Agents {
  const { configured, records } = parts;

  function merge(name: AgentName, record: AgentRecord | undefined): Agent | undefined {
    const fixed = configured.get(name);
    const base = fixed ?? record?.added;
    if (!base) return undefined;
    return {
      name,
      roles: base.roles,
      ...(base.owner === undefined ? {} : { owner: base.owner }),
      registeredBy: fixed ? "operator" : (record?.added?.registeredBy ?? "operator"),
      frozen: record?.frozen ?? false,
      disabled: record?.disabled ?? false,
      tokensValidFrom: record?.tokensValidFrom ?? 0,
    };
  }

  const agents: Agents = {
    find: async (name) => merge(name, await records.find(name)),

    async list() {
      const stored = new Map((await records.list()).map((record) => [record.name, record]));
      const names = [...new Set([...configured.keys(), ...stored.keys()])].sort();
      return names.flatMap((name) => merge(name, stored.get(name)) ?? []);
    },

    async add(name, agent, by) {
      if (configured.has(name)) return "configured";
      await records.apply(name, { kind: "agent.added", ...agent }, by);
      return "added";
    },

    async change(name, kind, by) {
      if (!(await agents.find(name))) return false;
      await records.apply(name, { kind }, by);
      return true;
    },
  };
  return agents;
}
