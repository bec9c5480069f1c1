import type { AgentName, CredentialName, LeaseId } from "../core/brand.ts";
import type { Catalogue } from "../core/catalogue.ts";
import type { Actor } from "../core/event.ts";
import type { Lease } from "../core/lease.ts";
import type { AuditLog, CredentialEngine, LeaseBook, LeaseFilter } from "../core/ports.ts";
import type { Retirement } from "../core/retire.ts";
import { everyLive } from "./reaper.ts";
import type { SweepReport } from "./sweep.ts";
import { sweepCredential } from "./sweep.ts";

interface FreezeReport {
  readonly agent: AgentName;
  /** Leases that are gone at their target. */
  readonly revoked: number;
  /** Leases that are not yet: retried until they are. */
  readonly pending: readonly Lease[];
}

/** Everything an operator does to leases. */
export interface Operator {
  list(filter: LeaseFilter): Promise<readonly Lease[]>;
  find(id: LeaseId): Promise<Lease | undefined>;
  /** The lease as it is afterwards: gone at the target when its state is `revoked`. */
  revoke(id: LeaseId, by: string): Promise<Lease | undefined>;
  /** From now on every call of this agent is refused; then all its leases end at their targets. `undefined`: no such agent. */
  freeze(agent: AgentName, by: string): Promise<FreezeReport | undefined>;
  unfreeze(agent: AgentName, by: string): Promise<boolean>;
  /** Compares what exists at the targets with what is on record. */
  sweep(options: { readonly credential?: CredentialName; readonly remove: boolean }): Promise<readonly SweepReport[]>;
}

export interface OperatorParts {
  readonly leases: LeaseBook;
  readonly retirement: Retirement;
  readonly catalogue: Catalogue;
  readonly engines: Readonly<Record<string, CredentialEngine>>;
  readonly audit: AuditLog;
  readonly agents: { change(name: AgentName, kind: "agent.frozen" | "agent.unfrozen", by: Actor): Promise<boolean> };
}

export function createOperator(parts: OperatorParts): Operator {
  const { leases, retirement } = parts;

  return {
    list: (filter) => leases.list(filter),
    find: (id) => leases.find(id),

    async revoke(id, by) {
      const lease = await leases.find(id);
      if (!lease) return undefined;
      await retirement.retire(lease, "operator", { type: "operator", name: by });
      return leases.find(id);
    },

    async freeze(agent, by) {
      const actor: Actor = { type: "operator", name: by };
      // The refusal first: a lease that is granted between the two would escape the other order.
      if (!(await parts.agents.change(agent, "agent.frozen", actor))) return undefined;
      const held: Lease[] = [];
      for await (const lease of everyLive(leases, { agent })) held.push(lease);
      const ended = await Promise.all(held.map((lease) => end(lease, actor)));
      return { agent, revoked: ended.filter((lease) => !isPending(lease)).length, pending: ended.filter(isPending) };
    },

    unfreeze: (agent, by) => parts.agents.change(agent, "agent.unfrozen", { type: "operator", name: by }),

    async sweep({ credential, remove }) {
      const entries = parts.catalogue.list().filter((entry) => credential === undefined || entry.name === credential);
      const reports: SweepReport[] = [];
      for (const entry of entries) {
        const report = await sweepCredential(parts, entry, remove);
        if (report) reports.push(report);
      }
      return reports;
    },
  };

  async function end(lease: Lease, actor: Actor): Promise<Lease> {
    await retirement.retire(lease, "frozen", actor);
    return (await leases.find(lease.id)) ?? lease;
  }
}

function isPending(lease: Lease): boolean {
  return lease.state !== "revoked" && lease.state !== "failed";
}
