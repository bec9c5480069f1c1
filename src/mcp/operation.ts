import { z } from "zod";
import type { CredentialName, LeaseId } from "../core/brand.ts";
import { Failure } from "../core/errors.ts";
import type { JsonObject } from "../core/json.ts";
import type { UseRequest } from "../core/parts.ts";
import type { OperationKind } from "../core/request.ts";
import { credential, leaseId, purpose, ticket } from "./fields.ts";
import type { Outlook } from "../core/broker.ts";
import type { Call } from "./tool.ts";

/** What every operation takes: the credential, or a lease on it, and why. */
export const target = {
  credential: credential.optional().describe("Credential to use; a lease is taken for you. Give this or lease_id."),
  lease_id: leaseId.optional().describe("A lease of yours with delivery `use`. Give this or credential."),
  purpose,
  ticket,
};

export const operationResult = z.object({
  lease_id: z.string(),
  expires_at: z.string().describe("When the lease that was used ends. ISO 8601, UTC."),
  result: z.looseObject({}).describe("What the target answered. Leased values in it were replaced."),
});

interface Target {
  readonly credential?: CredentialName | undefined;
  readonly lease_id?: LeaseId | undefined;
  readonly purpose: string;
  readonly ticket?: string | undefined;
}

export function canUse({ visible }: Outlook, kind: OperationKind): boolean {
  return visible.some((one) => one.operations.includes(kind) && one.deliveries.includes("use"));
}

export async function operate(call: Call, kind: OperationKind, on: Target, input: JsonObject) {
  if ((on.credential === undefined) === (on.lease_id === undefined))
    throw new Failure("invalid_request", { problem: "Give exactly one of credential and lease_id." });
  const request: UseRequest = {
    kind,
    ...(on.lease_id === undefined ? {} : { lease: on.lease_id }),
    ...(on.credential === undefined ? {} : { credential: on.credential }),
    input,
    purpose: on.purpose,
    ...(on.ticket === undefined ? {} : { ticket: on.ticket }),
    correlation: call.correlation,
    signal: call.signal,
  };
  const { lease, output } = await call.broker.use(call.principal, request);
  return { lease_id: lease.id, expires_at: new Date(lease.expiresAt).toISOString(), result: { ...output } };
}
