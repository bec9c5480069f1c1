import { createHash, randomBytes } from "node:crypto";
import type { CorrelationId, LeaseId } from "../core/brand.ts";
import { Failure } from "../core/errors.ts";
import type { AuditEvent } from "../core/event.ts";
import { actorOf } from "../core/event.ts";
import type { AuditLog, Handles } from "../core/ports.ts";
import type { Principal } from "../core/principal.ts";

/** Handles at rest: only the digest of each, so that a stolen database redeems nothing. */
interface HandleRows {
  add(digest: Uint8Array, lease: LeaseId, expiresAt: number): Promise<void>;
  find(digest: Uint8Array): Promise<{ readonly lease: LeaseId; readonly agent: string; readonly expiresAt: number } | undefined>;
  /** True for exactly one caller, however many come at once. */
  redeem(digest: Uint8Array, at: number): Promise<boolean>;
}

export interface HandleParts {
  readonly rows: HandleRows;
  readonly audit: AuditLog;
  readonly now: () => number;
  /** Milliseconds between issue and redemption, at most; never longer than the lease. */
  readonly lifetime: number;
}

const form = /^lhh_[A-Za-z0-9_-]{43}$/;

/**
 * One-time handles: 256 random bits that an agent carries to the process beside it. A handle is not
 * authority by itself: it is redeemed by the agent that was given it, once, within minutes.
 */
export function createHandles({ rows, audit, now, lifetime }: HandleParts): Handles {
  return {
    async issue(lease) {
      const handle = `lhh_${randomBytes(32).toString("base64url")}`;
      const expiresAt = Math.min(now() + lifetime, lease.expiresAt);
      await rows.add(digestOf(handle), lease.id, expiresAt);
      return { handle, expiresAt };
    },

    async redeem(handle, principal, correlation) {
      if (!form.test(handle)) throw await refuse(principal, correlation, "unknown");
      const digest = digestOf(handle);
      const found = await rows.find(digest);
      if (!found) throw await refuse(principal, correlation, "unknown");
      if (found.agent !== principal.agent) throw await refuse(principal, correlation, "not-owner", found.lease);
      if (found.expiresAt <= now()) throw await refuse(principal, correlation, "expired", found.lease);
      if (!(await rows.redeem(digest, now()))) throw await refuse(principal, correlation, "used", found.lease);
      return found.lease;
    },
  };

  /** All refusals look alike from outside; the log knows which it was. */
  async function refuse(
    principal: Principal,
    correlation: CorrelationId,
    why: Extract<AuditEvent, { kind: "handle.refused" }>["why"],
    lease?: LeaseId,
  ): Promise<Failure> {
    await audit.append({ kind: "handle.refused", actor: actorOf(principal), correlation, why, ...(lease ? { lease } : {}) });
    return new Failure("not_found", { what: "handle" });
  }
}

function digestOf(handle: string): Uint8Array {
  return createHash("sha256").update(handle).digest();
}
