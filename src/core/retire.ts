import type { CorrelationId, LeaseId } from "./brand.ts";
import type { Actor, AuditEvent } from "./event.ts";
import type { EndReason, Lease } from "./lease.ts";
import { isIn } from "./lease.ts";
import type { CredentialEngine, LeaseBook, Performer, Redactor } from "./ports.ts";

export interface RetirementParts {
  readonly leases: LeaseBook;
  readonly engines: Readonly<Record<string, CredentialEngine>>;
  readonly performers: readonly Performer[];
  readonly redactor: Redactor;
  readonly now: () => number;
  readonly limits: RetirementLimits;
  /** Told of every failed undo; `stuck` must reach a person. */
  readonly alarm: (problem: { readonly lease: Lease; readonly attempts: number; readonly stuck: boolean; readonly cause: unknown }) => void;
}

/** Milliseconds, but for `attempts`. */
export interface RetirementLimits {
  readonly mintDeadline: number;
  readonly undoDeadline: number;
  /** Failed undos after which a lease is `stuck` and alarms. It is still retried, at `stuckRetry`. */
  readonly attempts: number;
  readonly firstRetry: number;
  readonly maxRetry: number;
  readonly stuckRetry: number;
}

export const retirementDefaults: RetirementLimits = {
  mintDeadline: 15_000,
  undoDeadline: 15_000,
  attempts: 6,
  firstRetry: 1_000,
  maxRetry: 60_000,
  stuckRetry: 300_000,
};

/** The way out of every lease, whoever asked for it. */
export interface Retirement {
  /** Marks the lease as ending and undoes it. Answers with where that got to; `undefined` when someone else is at it. */
  retire(lease: Lease, reason: EndReason, actor: Actor, correlation?: CorrelationId): Promise<Lease | undefined>;
  /** Undoes a lease that is already `revoking`. A failure is not thrown: it is counted, and retried by the reaper. */
  finish(lease: Lease<"revoking">, actor: Actor, correlation?: CorrelationId): Promise<Lease | undefined>;
  /** Lets go of what this process holds for a lease that has ended, wherever it was ended. */
  letGo(id: LeaseId): Promise<void>;
  /** Runs the stored recipe, with a deadline. Throws what the engine throws. */
  undo(lease: Lease): Promise<void>;
}

export function createRetirement(parts: RetirementParts): Retirement {
  const { leases, engines, limits, now } = parts;

  async function undo(lease: Lease): Promise<void> {
    const engine = engines[lease.engine];
    if (!engine) throw new Error(`no engine named ${lease.engine}`);
    await release(lease.id);
    await engine.undo(lease.handle, AbortSignal.timeout(limits.undoDeadline));
  }

  async function release(id: LeaseId): Promise<void> {
    for (const performer of parts.performers) await performer.release?.(id);
  }

  /** What follows a failed undo: try again after a pause that doubles, then alarm and go on trying. */
  async function failed(lease: Lease<"revoking">, cause: unknown, actor: Actor): Promise<Lease | undefined> {
    const attempts = lease.attempts + 1;
    const stuck = attempts >= limits.attempts;
    parts.alarm({ lease, attempts, stuck, cause });
    if (!stuck) return leases.postpone(lease, now() + Math.min(limits.firstRetry * 2 ** (attempts - 1), limits.maxRetry), attempts);
    const dueAt = now() + limits.stuckRetry;
    return leases.move(lease, "stuck", { attempts, dueAt }, { kind: "lease.stuck", actor, ...about(lease), attempts, retryAt: dueAt });
  }

  const retirement: Retirement = {
    undo,

    async letGo(id) {
      await release(id);
      parts.redactor.forget(id);
    },

    async finish(lease, actor, correlation) {
      try {
        await undo(lease);
      } catch (cause) {
        return failed(lease, cause, actor);
      }
      parts.redactor.forget(lease.id);
      const event: AuditEvent = { kind: "lease.revoked", actor, ...trace(correlation), ...about(lease), attempts: lease.attempts + 1 };
      return leases.move(lease, "revoked", {}, event);
    },

    async retire(lease, reason, actor, correlation) {
      if (isIn(lease, "revoking")) return retirement.finish(lease, actor, correlation);
      if (isIn(lease, "issuing")) {
        // Its mint may still be running, and an undo that overtakes it would leave the credential behind.
        // The minter notices that the lease has moved and finishes; should it be dead, the reaper does.
        const dueAt = lease.createdAt + limits.mintDeadline + 1_000;
        return leases.move(lease, "revoking", { endReason: reason, dueAt }, revoking(lease, reason, actor, correlation));
      }
      if (!isIn(lease, "active") && !isIn(lease, "expired") && !isIn(lease, "stuck")) return undefined;
      // Due only after our own undo had its time: until then nobody else needs to try.
      const patch = { endReason: lease.endReason ?? reason, dueAt: now() + limits.undoDeadline + 1_000 };
      const moved = await leases.move<"active" | "expired" | "stuck", "revoking">(
        lease,
        "revoking",
        patch,
        revoking(lease, reason, actor, correlation),
      );
      return moved && retirement.finish(moved, actor, correlation);
    },
  };
  return retirement;
}

function revoking(lease: Lease, reason: EndReason, actor: Actor, correlation?: CorrelationId): AuditEvent {
  return { kind: "lease.revoking", actor, ...trace(correlation), ...about(lease), reason };
}

function about(lease: Lease): { lease: Lease["id"]; credential: Lease["credential"] } {
  return { lease: lease.id, credential: lease.credential };
}

function trace(correlation: CorrelationId | undefined): { correlation?: CorrelationId } {
  return correlation ? { correlation } : {};
}
