import type { CorrelationId, CredentialName, LeaseId } from "./brand.ts";
import type { Catalogue, CatalogueEntry } from "./catalogue.ts";
import { Failure } from "./errors.ts";
import type { JsonObject } from "./json.ts";
import type { Judge } from "./judge.ts";
import type { Lease } from "./lease.ts";
import type { AuditLog, Authorizer, CredentialEngine, Exposures, Handles, Keeper, LeaseBook } from "./ports.ts";
import type { Material, Performer, Redactor, Sessions } from "./ports.ts";
import type { OperationKind } from "./request.ts";
import type { Retirement } from "./retire.ts";
import { Secret } from "./secret.ts";

/** What the broker is put together from. `compose.ts` is the only place that knows who stands behind each. */
export interface BrokerParts {
  readonly judge: Judge;
  readonly retirement: Retirement;
  readonly catalogue: Catalogue;
  readonly authorizer: Authorizer;
  readonly audit: AuditLog;
  readonly leases: LeaseBook;
  readonly engines: Readonly<Record<string, CredentialEngine>>;
  readonly performers: readonly Performer[];
  readonly keeper: Keeper;
  readonly handles: Handles;
  readonly exposures: Exposures;
  readonly sessions: Sessions;
  readonly redactor: Redactor;
  /** The one place where a leased value becomes plain text for an agent. */
  readonly reveal: (material: Material) => Readonly<Record<string, string>>;
  readonly newLeaseId: () => LeaseId;
  readonly now: () => number;
  /** Who we are among the processes that share the store. */
  readonly instance: string;
  readonly leasesPerAgent: number;
  /** Milliseconds. */
  readonly mintDeadline: number;
}

export interface UseRequest {
  readonly kind: OperationKind;
  /** Either the lease to use, or the credential: then the caller's own live lease of this session, or a new one. */
  readonly lease?: LeaseId;
  readonly credential?: CredentialName;
  readonly input: JsonObject;
  readonly purpose: string;
  readonly ticket?: string;
  readonly correlation: CorrelationId;
  readonly signal: AbortSignal;
}

export interface Used {
  readonly lease: Lease;
  readonly output: JsonObject;
}

export function engineOf(parts: BrokerParts, entry: CatalogueEntry): CredentialEngine {
  const engine = parts.engines[entry.engine];
  if (!engine) throw new Failure("internal", {}, { cause: new Error(`no engine named ${entry.engine}`) });
  return engine;
}

/** Keyed digests of the leased values by field, for the audit log: equal values can be matched, none can be read. */
export function digestsOf(parts: BrokerParts, material: Material): Readonly<Record<string, string>> {
  const secrets = Object.entries(material.fields).filter((field): field is [string, Secret] => field[1] instanceof Secret);
  return Object.fromEntries(secrets.map(([name, value]) => [name, parts.keeper.digest(value)]));
}

/** The lent values: read anew where they rest in a vault, else unsealed from the lease. */
export async function materialOf(parts: BrokerParts, lease: Lease, entry: CatalogueEntry, signal: AbortSignal): Promise<Material> {
  const engine = engineOf(parts, entry);
  if (engine.read) return engine.read(entry, signal);
  const sealed = await parts.leases.material(lease.id);
  if (!sealed) throw new Failure("lease_ended", {});
  return parts.keeper.open(lease.id, sealed);
}
