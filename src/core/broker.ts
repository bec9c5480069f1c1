import type { CorrelationId, LeaseId } from "./brand.ts";
import type { CatalogueEntry } from "./catalogue.ts";
import { Failure } from "./errors.ts";
import { actorOf } from "./event.ts";
import { createIssuer } from "./issue.ts";
import type { Permission } from "./judge.ts";
import type { Lease } from "./lease.ts";
import { isIn } from "./lease.ts";
import { createOperator } from "./operate.ts";
import type { BrokerParts, Used, UseRequest } from "./parts.ts";
import { engineOf, materialOf } from "./parts.ts";
import type { Material } from "./ports.ts";
import type { Agent, Principal } from "./principal.ts";
import { owns, within } from "./narrow.ts";
import type { AccessRequest, Action, Delivery, OperationFacts, OperationKind } from "./request.ts";

/** The one door. Every face enters here, and nothing reaches a vault, an engine or a target by another way. */
export interface Broker {
  /** Lends a credential: judged, written down, minted, written down, and only then handed out. */
  grant(principal: Principal, request: AccessRequest): Promise<Grant>;
  /** Performs an operation with a lent credential; the agent sees the result only. Without a lease, one is lent first. */
  use(principal: Principal, request: UseRequest): Promise<Used>;
  /** A later expiry for the caller's own lease, within the limit it was granted with. `ttl` in seconds. */
  renew(principal: Principal, id: LeaseId, ttl: number | undefined, correlation: CorrelationId): Promise<Lease>;
  /** Ends the caller's own lease, at the target too. A lease that has ended stays ended: that is a success. */
  revoke(principal: Principal, id: LeaseId, correlation: CorrelationId): Promise<Lease>;
  /** Trades a one-time handle for the credential, for the process beside the agent. */
  redeem(principal: Principal, handle: string, correlation: CorrelationId): Promise<{ readonly lease: Lease; readonly material: Material }>;
  /** The caller's own live leases. */
  leases(principal: Principal): Promise<readonly Lease[]>;
  /** What the caller may see of the catalogue; on record. */
  find(principal: Principal, correlation: CorrelationId): Promise<readonly Visible[]>;
  /** What the caller could do, whatever the context: decides which tools are listed, never what is allowed. */
  outlook(principal: Principal): Promise<Outlook>;
}

export interface Grant {
  readonly lease: Lease<"active">;
  readonly delivered:
    | { readonly by: "use" }
    | { readonly by: "inject"; readonly handle: string; readonly expiresAt: number }
    | { readonly by: "reveal"; readonly values: Readonly<Record<string, string>> };
}

export interface Visible {
  readonly entry: CatalogueEntry;
  readonly deliveries: readonly Delivery[];
  readonly operations: readonly OperationKind[];
}

export interface Outlook {
  readonly agent: Agent;
  readonly visible: readonly Visible[];
}

export function createBroker(parts: BrokerParts): Broker {
  const { judge, leases, audit, now } = parts;
  const issuer = createIssuer(parts);
  const operate = createOperator(parts, {
    own: (principal, request) => own(principal, request.lease, request.correlation),
    lend: async (principal, request, operation) => (await grant(principal, request, operation)).lease,
  });

  async function grant(principal: Principal, request: AccessRequest, operation?: OperationFacts): Promise<Grant> {
    const permission = await judge.permit(principal, { act: "grant", ...request, ...(operation ? { operation } : {}) });
    const issuing = await issuer.open(principal, request, permission);
    const material = await issuer.mint(principal, issuing, permission.entry, request.correlation);
    const lease = await issuer.activate(principal, issuing, material, request.correlation);
    await stillTrue(principal, lease, permission, request);
    parts.sessions.lent(principal, permission.entry);
    return { lease, delivered: await deliver(lease, material, request.correlation) };
  }

  /** A freeze or a policy change that came in while we were minting counts: the lease ends before it is handed out. */
  async function stillTrue(principal: Principal, lease: Lease<"active">, permission: Permission, request: AccessRequest): Promise<void> {
    try {
      await judge.admit(principal);
      if (parts.authorizer.bundle !== permission.bundle) await judge.permit(principal, { act: "grant", ...request, lease: lease.id });
    } catch (refused) {
      await parts.retirement.retire(lease, "policy", { type: "broker" }, request.correlation);
      throw refused;
    }
  }

  /** What cannot be handed over is not left lying about: nobody would know that it is there. */
  async function deliver(lease: Lease<"active">, material: Material, correlation: CorrelationId): Promise<Grant["delivered"]> {
    try {
      if (lease.delivery === "use") return { by: "use" };
      if (lease.delivery === "inject") return { by: "inject", ...(await parts.handles.issue(lease)) };
      await parts.exposures.mark(lease.credential, lease.id);
      return { by: "reveal", values: parts.reveal(material) };
    } catch (problem) {
      await parts.retirement.retire(lease, "mint-failed", { type: "broker" }, correlation);
      throw problem;
    }
  }

  /** The caller's lease. Someone else's is answered exactly like one that does not exist, and both are written down. */
  async function own(principal: Principal, id: LeaseId | undefined, correlation: CorrelationId): Promise<Lease> {
    await judge.admit(principal);
    const lease = id && (await leases.find(id));
    if (lease && owns(principal, lease)) return lease;
    const why = lease ? "not-owner" : "unknown";
    await audit.append({ kind: "lease.refused", actor: actorOf(principal), correlation, lease: id ?? "", why });
    throw new Failure("not_found", { what: "lease" });
  }

  /** What is refused for being over is on record, like any other refusal. */
  async function ended(principal: Principal, lease: LeaseId, correlation: CorrelationId): Promise<Failure> {
    await audit.append({ kind: "lease.refused", actor: actorOf(principal), correlation, lease, why: "ended" });
    return new Failure("lease_ended", {});
  }

  async function outlook(principal: Principal): Promise<Outlook> {
    const agents = await judge.admitAll(principal);
    const could = (action: Action, entry: CatalogueEntry) => agents.every((one) => parts.authorizer.couldEver(one, action, entry));
    const [agent] = agents;
    const visible: Visible[] = [];
    for (const entry of parts.catalogue.list()) {
      if (!within(principal.credentials, entry.name)) continue;
      const deliveries = (["use", "inject", "reveal"] as const).filter((action) => could(action, entry));
      if (deliveries.length === 0 && !could("list", entry)) continue;
      visible.push({ entry, deliveries, operations: engineOf(parts, entry).operations(entry) });
    }
    return { agent, visible };
  }

  return {
    grant: (principal, request) => grant(principal, request),
    use: operate,
    outlook,

    async renew(principal, id, ttl, correlation) {
      const lease = await own(principal, id, correlation);
      if (!isIn(lease, "active") || lease.expiresAt <= now()) throw await ended(principal, id, correlation);
      const ask = { credential: lease.credential, delivery: lease.delivery, purpose: lease.purpose, lease: id, correlation };
      const words = { ...(lease.ticket === undefined ? {} : { ticket: lease.ticket }), ...(ttl === undefined ? {} : { ttl }) };
      const permission = await judge.permit(principal, { act: "renew", ...ask, ...words });
      await audit.append(permission.event);

      const expiresAt = Math.min(now() + permission.ttl * 1000, lease.maxExpiresAt);
      if (expiresAt <= lease.expiresAt) return lease;
      // The target first: should the write fail, the lease ends at its old time, never later than on record.
      await engineOf(parts, permission.entry).extend?.(lease.handle, expiresAt, AbortSignal.timeout(parts.mintDeadline));
      const about = { actor: actorOf(principal), correlation, lease: id, credential: lease.credential };
      const extended = await leases.extend(lease, expiresAt, { kind: "lease.renewed", ...about, expiresAt });
      if (extended) return extended;
      // Somebody was faster: another renewal, which is as good as ours, or the end.
      const present = await leases.find(id);
      if (present && isIn(present, "active")) return present;
      throw await ended(principal, id, correlation);
    },

    async revoke(principal, id, correlation) {
      const lease = await own(principal, id, correlation);
      await parts.retirement.retire(lease, "agent", actorOf(principal), correlation);
      return (await leases.find(id)) ?? lease;
    },

    async redeem(principal, handle, correlation) {
      await judge.admit(principal);
      const id = await parts.handles.redeem(handle, principal, correlation);
      const lease = await leases.find(id);
      if (!lease || !owns(principal, lease) || !isIn(lease, "active") || lease.expiresAt <= now())
        throw await ended(principal, id, correlation);
      const ask = { credential: lease.credential, delivery: lease.delivery, purpose: lease.purpose, lease: lease.id, correlation };
      const { event, entry } = await judge.permit(principal, { act: "operate", ...ask });
      await audit.append(event);
      const material = await materialOf(parts, lease, entry, AbortSignal.timeout(parts.mintDeadline));
      await audit.append({ kind: "handle.redeemed", actor: actorOf(principal), correlation, lease: lease.id, credential: entry.name });
      return { lease, material };
    },

    async leases(principal) {
      await judge.admit(principal);
      return (await leases.list({ agent: principal.agent, live: true, limit: 200 })).filter((lease) => owns(principal, lease));
    },

    async find(principal, correlation) {
      const { visible } = await outlook(principal);
      await audit.append({ kind: "catalogue.listed", actor: actorOf(principal), correlation, found: visible.length });
      return visible;
    },
  };
}
