import { z } from "zod";
import { canUse, operate, operationResult, target } from "../operation.ts";
import { prepare } from "../tool.ts";

export const httpRequest = prepare({
  name: "http_request",
  title: "Make an HTTP request",
  description:
    "Makes one HTTP request with a credential that you never see: the broker adds it, and removes it from the answer. Give a path on the " +
    "credential's host, not a URL. Returns status, headers and body. `operation_refused`: the credential does not cover this method or path. " +
    "`denied`: policy does not allow it; do not try variations.",
  scope: "use:http",
  input: z.strictObject({
    ...target,
    method: z.enum(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]),
    path: z.string().min(1).max(8_000).startsWith("/").describe("Path and query, starting with /."),
    headers: z
      .record(z.string().regex(/^[A-Za-z0-9-]{1,64}$/, "expected a header name"), z.string().max(8_000))
      .refine((headers) => Object.keys(headers).length <= 50, "expected at most 50 headers")
      .optional()
      .describe("Further request headers. Leave authentication to the broker."),
    body: z.string().max(500_000).optional().describe("Request body as text; set content-type in headers."),
  }),
  output: operationResult,
  annotations: { readOnlyHint: false, destructiveHint: true, idempotentHint: false, openWorldHint: true },
  listed: (outlook) => canUse(outlook, "http"),
  run(call, { method, path, headers, body, ...on }) {
    const input = { method, path, ...(headers === undefined ? {} : { headers }), ...(body === undefined ? {} : { body }) };
    return operate(call, "http", on, input);
  },
});
