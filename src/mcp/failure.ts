import type { CallToolResult } from "@modelcontextprotocol/server";
import type { CorrelationId } from "../core/brand.ts";
import type { Failure, FailureCode, Failures } from "../core/errors.ts";
import type { JsonObject } from "../core/json.ts";

type PublicFacts = { readonly [Code in FailureCode]: (facts: Failures[Code]) => JsonObject };

/** What a model is told beside the sentence. A new code does not compile until it is answered here. */
const publicFacts: PublicFacts = {
  denied: (f) => (f.policies.length > 0 ? { policies: f.policies } : {}),
  needs_approval: (f) => ({ groups: f.groups }),
  unauthenticated: () => ({}),
  insufficient_scope: (f) => ({ scopes: f.scopes }),
  not_found: (f) => ({ what: f.what }),
  lease_ended: () => ({}),
  invalid_request: () => ({}),
  operation_refused: () => ({}),
  quota_exceeded: (f) => ({
    scope: f.scope,
    limit: f.limit,
    ...(f.retryAfterSeconds === undefined ? {} : { retry_after_seconds: f.retryAfterSeconds }),
  }),
  target_refused: (f) => ({ target_code: f.code }),
  target_unavailable: () => ({}),
  vault_unavailable: () => ({}),
  audit_unavailable: (f) => (f.performed ? { performed: true } : {}),
  internal: () => ({}),
};

/** A tool result, the same in words for the model and in structure for the program around it. */
export function answer(structured: JsonObject, isError = false): CallToolResult {
  return {
    content: [{ type: "text", text: JSON.stringify(structured) }],
    structuredContent: structured,
    ...(isError ? { isError } : {}),
  };
}

export function failed(failure: Failure, correlation: CorrelationId): CallToolResult {
  const error = { code: failure.code, message: failure.message, correlation_id: correlation, ...factsOf(failure.code, failure.facts) };
  return answer({ error }, true);
}

function factsOf<Code extends FailureCode>(code: Code, facts: Failures[Code]): JsonObject {
  const tell: PublicFacts[Code] = publicFacts[code];
  return tell(facts);
}
