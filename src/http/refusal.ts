import { STATUS_CODES } from "node:http";
import type { FailureCode } from "../core/errors.ts";

/** An answer that ends a request before it reaches anything. `problem` is for the client and says nothing of what exists. */
export class Refusal extends Error {
  override readonly name = "Refusal";
  readonly status: number;
  readonly code: string;
  readonly headers: Readonly<Record<string, string>>;

  constructor(status: number, code: string, problem: string = STATUS_CODES[status] ?? "", headers: Readonly<Record<string, string>> = {}) {
    super(problem);
    this.status = status;
    this.code = code;
    this.headers = headers;
  }
}

/** Outside of MCP a failure has a status. A new code does not compile until it has one. */
export const statusOf: { readonly [Code in FailureCode]: number } = {
  denied: 403,
  needs_approval: 403,
  unauthenticated: 401,
  insufficient_scope: 403,
  not_found: 404,
  lease_ended: 410,
  invalid_request: 400,
  operation_refused: 403,
  quota_exceeded: 429,
  target_refused: 502,
  target_unavailable: 503,
  vault_unavailable: 503,
  audit_unavailable: 503,
  internal: 500,
};
