import { z } from "zod";
import { isCredentialName, isLeaseId } from "../core/brand.ts";
import type { Visible } from "../core/broker.ts";
import type { Lease } from "../core/lease.ts";

/** Arguments and results that several tools share. Every text has a bound. */

export const credential = z
  .string()
  .min(1)
  .max(319)
  .transform((text, context) => {
    if (isCredentialName(text)) return text;
    context.addIssue({ code: "custom", message: "expected a credential name as find_credentials lists it, e.g. billing-db/readonly" });
    return z.NEVER;
  })
  .describe("Name of a credential, as find_credentials lists it.");

export const leaseId = z
  .string()
  .min(1)
  .max(64)
  .transform((text, context) => {
    if (isLeaseId(text)) return text;
    context.addIssue({ code: "custom", message: "expected a lease id of 26 characters, as request_lease returned it" });
    return z.NEVER;
  })
  .describe("Id of one of your leases, as request_lease returned it.");

export const purpose = z
  .string()
  .trim()
  .min(1)
  .max(500)
  .describe("Why you need this, in one sentence. It is recorded, and people who approve or audit will read it.");

export const ticket = z
  .string()
  .trim()
  .min(1)
  .max(100)
  .optional()
  .describe("Id of the ticket or incident this belongs to, if there is one.");

/** Bounded only to stay a sane number: what exceeds the limit of the credential is capped by the broker. */
export const ttlSeconds = z.int().min(1).max(31_536_000).optional();

export const delivery = z.enum(["use", "inject", "reveal"]);

const time = z.string().describe("ISO 8601, UTC.");

export const leaseView = z.object({
  lease_id: z.string(),
  credential: z.string(),
  delivery,
  state: z.string().describe("`active` leases can be used."),
  expires_at: time,
  renewable_until: time,
  purpose: z.string(),
  ticket: z.string().optional(),
});

export function viewLease(lease: Lease): z.output<typeof leaseView> {
  return {
    lease_id: lease.id,
    credential: lease.credential,
    delivery: lease.delivery,
    state: lease.state,
    expires_at: new Date(lease.expiresAt).toISOString(),
    renewable_until: new Date(lease.maxExpiresAt).toISOString(),
    purpose: lease.purpose,
    ...(lease.ticket === undefined ? {} : { ticket: lease.ticket }),
  };
}

export const credentialView = z.object({
  name: z.string(),
  description: z.string(),
  labels: z.record(z.string(), z.string()),
  deliveries: z.array(delivery).describe("How you may get it; empty if you may only know of it."),
  operations: z
    .array(z.enum(["http", "sql"]))
    .describe("What the broker can do with it for you: http with http_request, sql with query_database."),
  default_ttl_seconds: z.int(),
  max_ttl_seconds: z.int(),
});

export function viewCredential({ entry, deliveries, operations }: Visible): z.output<typeof credentialView> {
  return {
    name: entry.name,
    description: entry.description,
    labels: { ...entry.labels },
    deliveries: [...deliveries],
    operations: [...operations],
    default_ttl_seconds: entry.ttl.default,
    max_ttl_seconds: entry.ttl.max,
  };
}
