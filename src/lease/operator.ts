import type { AgentName, CredentialName, LeaseId } from "../core/brand.ts";
import type { Catalogue } from "../core/catalogue.ts";
import type { Actor } from "../core/event.ts";
import type { EndReason, Lease } from "../core/lease.ts";
import type { AuditLog, CredentialEngine, LeaseBook, LeaseFilter } from "../core/ports.ts";
import type { Retirement } from "../core/retire.ts";
import { everyLive } from "./reaper.ts";
import type { SweepReport } from "./sweep.ts";
import { sweepCredential } from "./sweep.ts";

interface FreezeReport extends Ended {
  readonly agent: AgentName;
}

/** What became of leases that were to end. */
interface Ended {
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
  /** Ends all leases of an agent, on behalf of a user, or of a session, whose right to them is gone. */
  end(whose: Whose, by: Actor): Promise<Ended>;
  /** Compares what exists at the targets with what is on record. */
  sweep(options: { readonly credential?: CredentialName; readonly remove: boolean }): Promise<readonly SweepReport[]>;
}

type Whose = { readonly agent: AgentName } | { readonly account: string } | { readonly session: string };

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
      return { agent, ...(await endAll({ agent }, "frozen", actor)) };
    },

    end: (whose, by) => endAll(whose, "unauthorized", by),

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

  async function endAll(whose: Whose, reason: EndReason, actor: Actor): Promise<Ended> {
    const held: Lease[] = [];
    for await (const lease of everyLive(leases, whose)) held.push(lease);
    // What others borrowed for this agent goes with its right to it: it has never been their own.
    if ("agent" in whose) for await (const lease of everyLive(leases, { actingFor: whose.agent })) held.push(lease);
    const ended = await Promise.all(
      held.map(async (lease) => {
        await retirement.retire(lease, reason, actor);
        return (await leases.find(lease.id)) ?? lease;
      }),
    );
    return { revoked: ended.filter((lease) => !isPending(lease)).length, pending: ended.filter(isPending) };
  }
}

function isPending(lease: Lease): boolean {
  return lease.state !== "revoked" && lease.state !== "failed";
}
