import { z } from "zod";
import { leaseView, viewLease } from "../fields.ts";
import { prepare } from "../tool.ts";

export const listLeases = prepare({
  name: "list_leases",
  title: "List my leases",
  description: "Lists your leases that have not ended yet, over all your sessions. Use it to find a lease to go on with, or one to revoke.",
  scope: "leases:read",
  input: z.strictObject({}),
  output: z.object({ leases: z.array(leaseView) }),
  annotations: { readOnlyHint: true, destructiveHint: false, idempotentHint: true, openWorldHint: false },
  listed: ({ visible }) => visible.some((one) => one.deliveries.length > 0),
  async run({ broker, principal }) {
    return { leases: (await broker.leases(principal)).map(viewLease) };
  },
});
