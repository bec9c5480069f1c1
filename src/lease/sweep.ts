import type { AgentName, CredentialName } from "../core/brand.ts";
import { isLeaseId } from "../core/brand.ts";
import type { CatalogueEntry } from "../core/catalogue.ts";
import type { Actor } from "../core/event.ts";
import type { AuditLog, CredentialEngine, Handle, LeaseBook } from "../core/ports.ts";

export interface SweepReport {
  readonly credential: CredentialName;
  /** Everything at the target that bears our mark. */
  readonly found: number;
  /** Names of those without a live lease. */
  readonly orphans: readonly string[];
  /** Orphans that were removed. */
  readonly removed: number;
  /** Why the target could not be looked at, in one sentence. */
  readonly problem?: string;
}

export interface SweepParts {
  readonly leases: LeaseBook;
  readonly engines: Readonly<Record<string, CredentialEngine>>;
  readonly audit: AuditLog;
}

const nobody = "sweep" as AgentName;
const actor: Actor = { type: "broker" };

/**
 * Lists what exists at a target and reports anything without a live lease: the last line of defence,
 * for what no record of ours knows. `undefined` for engines that leave nothing at a target.
 */
export async function sweepCredential(parts: SweepParts, entry: CatalogueEntry, remove: boolean): Promise<SweepReport | undefined> {
  const engine = parts.engines[entry.engine];
  if (!engine?.survey) return undefined;
  const signal = AbortSignal.timeout(30_000);
  let names: readonly string[];
  let orphans: readonly string[];
  try {
    names = await engine.survey(entry, signal);
    const suspects = await withoutLease(parts.leases, names);
    // A lease may have ended between the look at the target and the look at the record: only what is still there counts.
    const present = suspects.length > 0 ? new Set(await engine.survey(entry, signal)) : new Set<string>();
    orphans = suspects.filter((name) => present.has(name));
  } catch {
    return { credential: entry.name, found: 0, orphans: [], removed: 0, problem: "The target cannot be looked at right now." };
  }
  let removed = 0;
  for (const name of orphans) {
    const lease = await leaseBehind(parts.leases, name);
    const gone = remove && (await removeOrphan(engine, lease?.handle ?? planFor(engine, entry, name), signal));
    if (gone) removed += 1;
    await parts.audit.append({ kind: "sweep.orphan", actor, credential: entry.name, target: name, removed: gone });
  }
  await parts.audit.append({ kind: "sweep.finished", actor, credential: entry.name, found: names.length, orphans: orphans.length });
  return { credential: entry.name, found: names.length, orphans, removed };
}

/** Whatever is live is on its way through the lease machine; only what nobody looks after is suspect. */
async function withoutLease(leases: LeaseBook, names: readonly string[]): Promise<readonly string[]> {
  const suspects: string[] = [];
  for (const name of names) {
    const lease = await leaseBehind(leases, name);
    if (!lease || lease.state === "revoked" || lease.state === "failed") suspects.push(name);
  }
  return suspects;
}

async function leaseBehind(leases: LeaseBook, name: string) {
  const id = name.replace(/^lh_/, "");
  return isLeaseId(id) ? leases.find(id) : undefined;
}

/** Names are deterministic from the lease id, so the recipe can be written again for a lease that was lost. */
function planFor(engine: CredentialEngine, entry: CatalogueEntry, name: string): Handle | undefined {
  const id = name.replace(/^lh_/, "");
  return isLeaseId(id) ? engine.plan({ lease: id, entry, agent: nobody, expiresAt: 0 }) : undefined;
}

async function removeOrphan(engine: CredentialEngine, handle: Handle | undefined, signal: AbortSignal): Promise<boolean> {
  if (!handle) return false;
  try {
    await engine.undo(handle, signal);
    return true;
  } catch {
    return false;
  }
}
