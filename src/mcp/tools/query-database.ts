import { z } from "zod";
import { canUse, operate, operationResult, target } from "../operation.ts";
import { prepare } from "../tool.ts";

export const queryDatabase = prepare({
  name: "query_database",
  title: "Query a database",
  description:
    "Runs one SQL statement in a read-only transaction with a login of your own that ends with the lease; you never see it. Put values in " +
    "parameters ($1, $2, …), not into the statement. Returns columns and rows, cut off at max_rows. `target_refused` carries the " +
    "database's own error: correct the statement. `denied`: policy does not allow it; do not try variations.",
  scope: "use:sql",
  input: z.strictObject({
    ...target,
    statement: z.string().min(1).max(100_000).describe("One SQL statement."),
    parameters: z
      .array(z.union([z.string().max(100_000), z.number(), z.boolean(), z.null()]))
      .max(1_000)
      .optional()
      .describe("Values for $1, $2, …"),
    max_rows: z.int().min(1).max(10_000).optional().describe("Most rows to return."),
  }),
  output: operationResult,
  annotations: { readOnlyHint: false, destructiveHint: false, idempotentHint: true, openWorldHint: true },
  listed: (outlook) => canUse(outlook, "sql"),
  run(call, { statement, parameters, max_rows: maxRows, ...on }) {
    const input = { statement, ...(parameters === undefined ? {} : { parameters }), ...(maxRows === undefined ? {} : { maxRows }) };
    return operate(call, "sql", on, input);
  },
});
