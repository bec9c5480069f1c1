import { z } from "zod";
import { leaseId, leaseView, ttlSeconds, viewLease } from "../fields.ts";
import { prepare } from "../tool.ts";

export const renewLease = prepare({
  name: "renew_lease",
  title: "Renew a lease",
  description:
    "Makes one of your leases last longer, counted from now and up to its renewable_until. Returns the lease with its new expires_at. " +
    "`lease_ended` means that it is too late: request a new one.",
  scope: "leases:write",
  input: z.strictObject({
    lease_id: leaseId,
    ttl_seconds: ttlSeconds.describe("Seconds from now; the credential's default when absent. More than is allowed is capped."),
  }),
  output: leaseView,
  annotations: { readOnlyHint: false, destructiveHint: false, idempotentHint: true, openWorldHint: true },
  listed: ({ visible }) => visible.some((one) => one.deliveries.length > 0),
  async run({ broker, principal, correlation }, input) {
    return viewLease(await broker.renew(principal, input.lease_id, input.ttl_seconds, correlation));
  },
});
