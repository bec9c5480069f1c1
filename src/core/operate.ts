import type { CorrelationId, CredentialName } from "./brand.ts";
import type { CatalogueEntry } from "./catalogue.ts";
import { asFailure, Failure } from "./errors.ts";
import type { AuditEvent } from "./event.ts";
import { actorOf } from "./event.ts";
import type { JsonObject } from "./json.ts";
import type { Lease } from "./lease.ts";
import { isIn } from "./lease.ts";
import type { BrokerParts, Used, UseRequest } from "./parts.ts";
import { materialOf } from "./parts.ts";
import type { Material, OperationResult, PreparedOperation } from "./ports.ts";
import type { Principal } from "./principal.ts";
import type { AccessRequest, OperationFacts } from "./request.ts";
import { owns } from "./narrow.ts";

/** How an operation comes by its lease: the caller's own by id, or a fresh one. */
export interface LeaseSource {
  own(principal: Principal, request: UseRequest): Promise<Lease>;
  lend(principal: Principal, request: AccessRequest, operation?: OperationFacts): Promise<Lease>;
}

/** Performs an operation with a lent credential: what was judged is what goes out, and the agent sees the result only. */
export function createOperator(parts: BrokerParts, source: LeaseSource): (principal: Principal, request: UseRequest) => Promise<Used> {
  const { audit, now } = parts;

  /** Parsed before policy is asked: the facts come from the very bytes that will go out. */
  async function prepare(credential: CredentialName, request: UseRequest): Promise<PreparedOperation | undefined> {
    const performer = parts.performers.find((one) => one.kind === request.kind);
    const entry = parts.catalogue.find(credential);
    // For what does not exist there is nothing to prepare, and policy refuses it in the same words as any other.
    if (!entry) return undefined;
    if (!performer || !parts.engines[entry.engine]?.operations(entry).includes(request.kind)) throw unfit(request.kind);
    return performer.prepare(entry, request.input);
  }

  /** Why an operation is no good is told only to those who may use the credential: others would learn that it exists. */
  async function turnDown(principal: Principal, request: UseRequest, credential: CredentialName, problem: unknown): Promise<never> {
    const { correlation } = request;
    await parts.judge.permit(principal, { act: "operate", credential, delivery: "use", ...words(request), correlation });
    const failure = asFailure(problem);
    const about = { actor: actorOf(principal), correlation, credential, operation: request.kind, code: failure.code };
    await audit.append({ kind: "operation.refused", ...about, arguments: parts.keeper.digest(request.input) });
    throw failure;
  }

  /** The lease that this session already holds for use of this credential, if it lives long enough to be of use. */
  async function held(principal: Principal, credential: CredentialName): Promise<Lease | undefined> {
    const mine = await parts.leases.list({ agent: principal.agent, credential, live: true, limit: 50 });
    // A one-time lease belongs to the call that took it: another would use it up under its hands.
    const fit = (lease: Lease): boolean => usable(lease) && !lease.oneTime && owns(principal, lease) && lease.session === principal.session;
    return mine.find((lease) => fit(lease) && lease.expiresAt - now() > 5_000);
  }

  function usable(lease: Lease): lease is Lease<"active"> {
    return isIn(lease, "active") && lease.delivery === "use" && lease.expiresAt > now();
  }

  async function perform(
    principal: Principal,
    lease: Lease,
    entry: CatalogueEntry,
    prepared: PreparedOperation,
    request: UseRequest,
    early: (() => Material) | undefined,
  ) {
    const started = now();
    const about = {
      kind: "operation.performed" as const,
      actor: actorOf(principal),
      correlation: request.correlation,
      lease: lease.id,
      credential: lease.credential,
      operation: prepared.facts,
    };
    let result: OperationResult;
    try {
      const material = early ? early() : await materialOf(parts, lease, entry, request.signal);
      parts.redactor.remember(lease.id, material);
      result = await prepared.perform(material, lease, request.signal);
    } catch (cause) {
      const failure = scrubbed(asFailure(cause));
      await audit.append({ ...about, outcome: failure.code, milliseconds: now() - started });
      throw failure;
    }
    const { clean, hits } = parts.redactor.scrub(result.output);
    const withheld = await wasTaken(lease);
    const outcome = withheld ? "lease_ended" : "ok";
    const performed = { ...about, outcome, milliseconds: now() - started, figures: result.figures, scrubbed: hits } as const;
    await audit.append(performed).catch((cause: unknown) => {
      throw new Failure("audit_unavailable", { performed: true }, { cause });
    });
    if (withheld) throw new Failure("lease_ended", {});
    return clean;
  }

  /** A target that knows nothing of leases answers after a revocation too. That answer is not for the agent any more. */
  async function wasTaken(lease: Lease): Promise<boolean> {
    const reason = (await parts.leases.find(lease.id))?.endReason;
    return reason !== undefined && reason !== "expired" && reason !== "one-time";
  }

  /** The decision on record and, with it, a one-time lease used up: of many calls at once, one gets further. */
  async function begin(lease: Lease<"active">, event: AuditEvent): Promise<Lease | undefined> {
    if (!lease.oneTime) {
      await audit.append(event);
      return lease;
    }
    // Due as before: should we die now, the reaper finds it when it would have expired.
    return parts.leases.move(lease, "expired", { endReason: "one-time" }, event);
  }

  async function ended(principal: Principal, lease: Lease, correlation: CorrelationId): Promise<Failure> {
    await audit.append({ kind: "lease.refused", actor: actorOf(principal), correlation, lease: lease.id, why: "ended" });
    return new Failure("lease_ended", {});
  }

  /** A target's own words can carry a value that it was given. */
  function scrubbed(failure: Failure): Failure {
    if (!isRefusedByTarget(failure)) return failure;
    return new Failure("target_refused", parts.redactor.scrub({ ...failure.facts }).clean, { cause: failure.cause });
  }

  async function named(principal: Principal, request: UseRequest): Promise<{ lease?: Lease; credential: CredentialName }> {
    if (request.lease) {
      const lease = await source.own(principal, request);
      return { lease, credential: lease.credential };
    }
    const credential = request.credential;
    if (!credential) throw new Failure("invalid_request", { problem: "Name a lease_id or a credential." });
    const lease = await held(principal, credential);
    return { ...(lease ? { lease } : {}), credential };
  }

  return async (principal, request) => {
    const { credential, lease: existing } = await named(principal, request);
    const { correlation } = request;
    const prepared = await prepare(credential, request).catch((problem: unknown) => turnDown(principal, request, credential, problem));
    const lease =
      existing ?? (await source.lend(principal, { credential, delivery: "use", ...words(request), correlation }, prepared?.facts));

    const { entry, event } = await parts.judge.permit(principal, {
      act: "operate",
      credential,
      delivery: "use",
      ttl: Math.max(1, Math.floor((lease.expiresAt - now()) / 1000)),
      ...words(request),
      ...(prepared ? { operation: prepared.facts } : {}),
      arguments: parts.keeper.digest(request.input),
      lease: lease.id,
      correlation,
    });
    if (!usable(lease)) throw await ended(principal, lease, correlation);
    if (!prepared) throw unfit(request.kind);
    // Used up, a lease has no material any more. What came of reading it is dealt with where it is needed.
    const early = lease.oneTime ? await outcomeOf(materialOf(parts, lease, entry, request.signal)) : undefined;
    const begun = await begin(lease, event);
    if (!begun) throw await ended(principal, lease, correlation);
    try {
      const output: JsonObject = await perform(principal, lease, entry, prepared, request, early);
      return { lease, output };
    } finally {
      // Used up it is already, whatever comes of this: the reaper ends it then, and the outcome stands.
      if (begun.oneTime) await parts.retirement.retire(begun, "one-time", { type: "broker" }, correlation).catch(() => undefined);
    }
  };
}

function isRefusedByTarget(failure: Failure): failure is Failure<"target_refused"> {
  return failure.code === "target_refused";
}

async function outcomeOf<T>(work: Promise<T>): Promise<() => T> {
  try {
    const value = await work;
    return () => value;
  } catch (problem) {
    return () => {
      throw problem;
    };
  }
}

function unfit(kind: UseRequest["kind"]): Failure {
  return new Failure("operation_refused", { problem: `This credential does not do ${kind} operations.` });
}

function words(request: UseRequest): { readonly purpose: string; readonly ticket?: string } {
  return { purpose: request.purpose, ...(request.ticket === undefined ? {} : { ticket: request.ticket }) };
}
