import { z } from "zod";
import type { Grant } from "../../core/broker.ts";
import { unreachable } from "../../core/unreachable.ts";
import { credential, delivery, leaseView, purpose, ticket, ttlSeconds, viewLease } from "../fields.ts";
import { prepare } from "../tool.ts";

export const requestLease = prepare({
  name: "request_lease",
  title: "Request a lease",
  description:
    "Borrows a credential for a short time. Delivery `use` (the default): you get a lease id, and the broker does the work through " +
    "http_request or query_database. `inject`: you get a one-time handle that `leasehold run` trades for the value beside the process " +
    "that needs it. `reveal`: the value itself is returned; only where policy says so. " +
    "`denied` is final for this request: ask the operator instead of trying variations. `quota_exceeded`: revoke a lease you no longer need.",
  scope: "leases:write",
  input: z.strictObject({
    credential,
    delivery: delivery.default("use").describe("How you want to get it. Prefer `use`."),
    ttl_seconds: ttlSeconds.describe("For how long. Ask for no more than you need; more than is allowed is capped."),
    purpose,
    ticket,
  }),
  output: leaseView.extend({
    handle: z.string().optional().describe("One-time handle (delivery inject). It is no secret, and works once, for you only."),
    handle_expires_at: z.string().optional().describe("ISO 8601, UTC."),
    values: z.record(z.string(), z.string()).optional().describe("The credential's fields (delivery reveal). Do not repeat or store them."),
    next: z.string().describe("What to do with it."),
  }),
  annotations: { readOnlyHint: false, destructiveHint: false, idempotentHint: false, openWorldHint: true },
  listed: ({ visible }) => visible.some((one) => one.deliveries.length > 0),
  async run({ broker, principal, correlation }, input) {
    const { lease, delivered } = await broker.grant(principal, {
      credential: input.credential,
      delivery: input.delivery,
      ...(input.ttl_seconds === undefined ? {} : { ttl: input.ttl_seconds }),
      purpose: input.purpose,
      ...(input.ticket === undefined ? {} : { ticket: input.ticket }),
      correlation,
    });
    return { ...viewLease(lease), ...handover(delivered) };
  },
});

function handover(delivered: Grant["delivered"]) {
  switch (delivered.by) {
    case "use":
      return { next: "Pass lease_id to http_request or query_database. Call revoke_lease when you are done." };
    case "inject":
      return {
        handle: delivered.handle,
        handle_expires_at: new Date(delivered.expiresAt).toISOString(),
        next: `Run: leasehold run --lease NAME=${delivered.handle}:FIELD -- COMMAND (NAME is the environment variable that COMMAND reads).`,
      };
    case "reveal":
      return { values: { ...delivered.values }, next: "Call revoke_lease when you are done." };
    default:
      return unreachable(delivered);
  }
}
