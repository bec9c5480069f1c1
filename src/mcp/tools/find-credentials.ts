import { z } from "zod";
import { credentialView, viewCredential } from "../fields.ts";
import { prepare } from "../tool.ts";

const most = 100;

export const findCredentials = prepare({
  name: "find_credentials",
  title: "Find credentials",
  description:
    "Lists the credentials you may know of, with what you may do with each. Returns names and descriptions, never secret values. " +
    "What you look for is not listed? Then you have no access to it: ask the operator, and do not guess names.",
  scope: "credentials:read",
  input: z.strictObject({
    query: z.string().trim().max(100).optional().describe("Words that must all occur in the name, the description or a label."),
  }),
  output: z.object({
    credentials: z.array(credentialView),
    more: z.boolean().describe(`Whether there are more than these ${most}; narrow the query then.`),
  }),
  annotations: { readOnlyHint: true, destructiveHint: false, idempotentHint: true, openWorldHint: false },
  listed: ({ visible }) => visible.length > 0,
  async run({ broker, principal, correlation }, { query = "" }) {
    const words = query.toLowerCase().split(/\s+/);
    const visible = await broker.find(principal, correlation);
    const found = visible.map(viewCredential).filter((one) => {
      const labels = Object.entries(one.labels).map(([key, value]) => `${key}=${value}`);
      const text = [one.name, one.description, ...labels].join("\n").toLowerCase();
      return words.every((word) => text.includes(word));
    });
    return { credentials: found.slice(0, most), more: found.length > most };
  },
});
