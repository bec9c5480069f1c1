import { z } from "zod";
import { Failure } from "../../core/errors.ts";
import { credential, credentialView, viewCredential } from "../fields.ts";
import { prepare } from "../tool.ts";

export const describeCredential = prepare({
  name: "describe_credential",
  title: "Describe a credential",
  description:
    "Tells what one credential is for, how you may get it, for how long, and which tool to use it with. Never returns its value. " +
    "`denied` means that you have no access to it or that it does not exist; the two are not told apart.",
  scope: "credentials:read",
  input: z.strictObject({ credential }),
  output: credentialView.extend({ next: z.string().describe("What to call next.") }),
  annotations: { readOnlyHint: true, destructiveHint: false, idempotentHint: true, openWorldHint: false },
  listed: ({ visible }) => visible.length > 0,
  async run({ broker, principal, correlation }, input) {
    const visible = await broker.find(principal, correlation);
    const one = visible.find(({ entry }) => entry.name === input.credential);
    if (!one) throw new Failure("denied", { policies: [] });
    const view = viewCredential(one);
    return { ...view, next: nextFor(view) };
  },
});

function nextFor({ deliveries, operations, name }: z.output<typeof credentialView>): string {
  const tools = operations.map((one) => (one === "sql" ? "query_database" : "http_request"));
  if (deliveries.includes("use") && tools.length > 0) return `Call ${tools.join(" or ")} with credential "${name}".`;
  if (deliveries.includes("inject")) return `Call request_lease with delivery "inject", then run your command with leasehold run.`;
  if (deliveries.length > 0) return `Call request_lease with credential "${name}".`;
  return "You may know of it but not use it. Ask the operator.";
}
