import { z } from "zod";
import { leaseId, leaseView, viewLease } from "../fields.ts";
import { prepare } from "../tool.ts";

export const revokeLease = prepare({
  name: "revoke_lease",
  title: "Revoke a lease",
  description:
    "Ends one of your leases now, at the target too: its login stops working and its open sessions are closed. Do this as soon as you " +
    "are done. State `revoked` means gone; `revoking` means that the target could not be reached and the broker keeps trying.",
  scope: "leases:write",
  input: z.strictObject({ lease_id: leaseId }),
  output: leaseView,
  annotations: { readOnlyHint: false, destructiveHint: true, idempotentHint: true, openWorldHint: true },
  listed: ({ visible }) => visible.some((one) => one.deliveries.length > 0),
  async run({ broker, principal, correlation }, input) {
    return viewLease(await broker.revoke(principal, input.lease_id, correlation));
  },
});
