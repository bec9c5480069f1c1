import type { CorrelationId } from "./brand.ts";
import type { CatalogueEntry } from "./catalogue.ts";
import { asFailure, Failure } from "./errors.ts";
import type { AuditEvent } from "./event.ts";
import { actorOf } from "./event.ts";
import type { Permission } from "./judge.ts";
import type { Lease } from "./lease.ts";
import { isIn } from "./lease.ts";
import type { BrokerParts } from "./parts.ts";
import { digestsOf, engineOf } from "./parts.ts";
import type { Material } from "./ports.ts";
import type { Principal } from "./principal.ts";
import type { AccessRequest } from "./request.ts";

/** From a permission to an active lease, in steps that a crash can interrupt anywhere without losing track. */
export interface Issuer {
  open(principal: Principal, request: AccessRequest, permission: Permission): Promise<Lease<"issuing">>;
  mint(principal: Principal, lease: Lease<"issuing">, entry: CatalogueEntry, correlation: CorrelationId): Promise<Material>;
  activate(principal: Principal, lease: Lease<"issuing">, material: Material, correlation: CorrelationId): Promise<Lease<"active">>;
}

export function createIssuer(parts: BrokerParts): Issuer {
  const { judge, leases, now } = parts;

  /** The decision and the lease with its recipe to undo, in one durable write, before anything exists at the target. */
  async function open(principal: Principal, request: AccessRequest, permission: Permission): Promise<Lease<"issuing">> {
    const { entry, decision } = permission;
    const longest = Math.min(entry.ttl.max, decision.obligations.maxTtl ?? Infinity);
    const seconds = Math.min(permission.ttl, longest);
    const createdAt = now();
    const id = parts.newLeaseId();
    const expiresAt = createdAt + seconds * 1000;
    const lease: Lease<"issuing"> = {
      id,
      state: "issuing",
      version: 0,
      agent: principal.agent,
      session: principal.session,
      ...(principal.authenticated.tokenId === undefined ? {} : { token: principal.authenticated.tokenId }),
      ...(principal.onBehalfOf ? { account: principal.onBehalfOf.account } : {}),
      ...(principal.chain.length > 0 ? { chain: principal.chain } : {}),
      credential: entry.name,
      engine: entry.engine,
      delivery: request.delivery,
      createdAt,
      expiresAt,
      maxExpiresAt: createdAt + longest * 1000,
      handle: engineOf(parts, entry).plan({ lease: id, entry, agent: principal.agent, expiresAt }),
      purpose: request.purpose,
      ...(request.ticket === undefined ? {} : { ticket: request.ticket }),
      oneTime: decision.obligations.oneTime ?? false,
      instance: parts.instance,
      attempts: 0,
      dueAt: createdAt + parts.mintDeadline + 1_000,
    };
    const quota = { perAgent: parts.leasesPerAgent, perCredential: entry.maxLeases };
    const opened = await leases.open(lease, quota, { ...permission.event, lease: id });
    if (opened === "opened") return lease;
    await judge.refuse(permission, "quota");
    throw new Failure("quota_exceeded", {
      scope: opened.exceeded,
      limit: opened.exceeded === "agent" ? quota.perAgent : quota.perCredential,
    });
  }

  async function mint(principal: Principal, lease: Lease<"issuing">, entry: CatalogueEntry, correlation: CorrelationId): Promise<Material> {
    const order = { lease: lease.id, entry, agent: lease.agent, expiresAt: lease.expiresAt };
    try {
      return await engineOf(parts, entry).mint(order, lease.handle, AbortSignal.timeout(parts.mintDeadline));
    } catch (cause) {
      const failure = asFailure(cause);
      await abandon(principal, lease, failure, correlation);
      throw failure;
    }
  }

  /** Nothing may be left of a mint that failed: undone by name now, or by the reaper until it is. */
  async function abandon(principal: Principal, lease: Lease<"issuing">, failure: Failure, correlation: CorrelationId): Promise<void> {
    const about = { actor: actorOf(principal), correlation, lease: lease.id, credential: lease.credential };
    try {
      await parts.retirement.undo(lease);
    } catch {
      const patch = { endReason: "mint-failed", attempts: 1, dueAt: now() } as const;
      await leases.move(lease, "revoking", patch, { kind: "lease.revoking", ...about, reason: "mint-failed" });
      return;
    }
    await leases.move(lease, "failed", {}, { kind: "lease.failed", ...about, code: failure.code });
  }

  /** The lease becomes active and its issue is on record, in one durable write, before the agent sees anything of it. */
  async function activate(
    principal: Principal,
    lease: Lease<"issuing">,
    material: Material,
    correlation: CorrelationId,
  ): Promise<Lease<"active">> {
    const engine = parts.engines[lease.engine];
    const kept = engine?.read ? {} : { material: parts.keeper.seal(lease.id, material) };
    const issued: AuditEvent = {
      kind: "lease.issued",
      actor: actorOf(principal),
      correlation,
      lease: lease.id,
      credential: lease.credential,
      engine: lease.engine,
      delivery: lease.delivery,
      expiresAt: lease.expiresAt,
      ...(engine?.nameOf ? { target: engine.nameOf(lease.handle) } : {}),
      values: digestsOf(parts, material),
    };
    const active = await leases.move(lease, "active", { ...kept, dueAt: lease.expiresAt }, issued).catch(async (cause: unknown) => {
      await abandon(principal, lease, asFailure(cause), correlation).catch(() => undefined);
      throw cause;
    });
    if (active) return active;

    // Someone ended it while it was being minted (a freeze, an operator). What was minted goes now, not when they come round.
    const moved = await leases.find(lease.id);
    if (moved && isIn(moved, "revoking")) await parts.retirement.finish(moved, actorOf(principal), correlation);
    else await parts.retirement.undo(lease);
    throw new Failure("lease_ended", {});
  }

  return { open, mint, activate };
}
