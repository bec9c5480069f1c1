import { describe, expect, it } from "vitest";
import { eventKinds } from "../../src/audit/kinds.ts";
import { Failure, failureSentences } from "../../src/core/errors.ts";
import type { FailureCode } from "../../src/core/errors.ts";
import { tools } from "../../src/mcp/leasehold.ts";

/** What programs on the outside hold on to. A change here is a change for them: say so in the changelog. */
describe("the surface", () => {
  it("error codes", () => {
    const codes: Readonly<Record<FailureCode, true>> = {
      audit_unavailable: true,
      denied: true,
      insufficient_scope: true,
      internal: true,
      invalid_request: true,
      lease_ended: true,
      needs_approval: true,
      not_found: true,
      operation_refused: true,
      quota_exceeded: true,
      target_refused: true,
      target_unavailable: true,
      unauthenticated: true,
      vault_unavailable: true,
    };
    expect(
      failureSentences()
        .map(([code]) => code)
        .toSorted(),
    ).toEqual(Object.keys(codes));
  });

  it("a failure tells its caller nothing of its cause", () => {
    const failure = new Failure("internal", {}, { cause: new Error("secret detail") });
    expect(JSON.stringify({ message: failure.message, facts: failure.facts })).not.toContain("detail");
  });

  it("event kinds", () => {
    expect(Object.keys(eventKinds).toSorted()).toMatchInlineSnapshot(`
      [
        "access.decided",
        "agent.added",
        "agent.disabled",
        "agent.enabled",
        "agent.frozen",
        "agent.refused",
        "agent.unfrozen",
        "auth.refused",
        "broker.started",
        "broker.stopped",
        "catalogue.listed",
        "client.frozen",
        "client.registered",
        "client.removed",
        "client.unfrozen",
        "client.updated",
        "consent.given",
        "consent.refused",
        "handle.redeemed",
        "handle.refused",
        "invitation.created",
        "invitation.revoked",
        "key.rotated",
        "lease.expired",
        "lease.failed",
        "lease.issued",
        "lease.refused",
        "lease.renewed",
        "lease.revoked",
        "lease.revoking",
        "lease.stuck",
        "operation.performed",
        "operation.refused",
        "policy.error",
        "policy.loaded",
        "policy.rejected",
        "registration.refused",
        "seal.rotated",
        "secret.removed",
        "secret.written",
        "sweep.finished",
        "sweep.orphan",
        "token.minted",
        "token.refused",
        "token.replayed",
        "token.revoked",
        "tool.refused",
        "user.added",
        "user.disabled",
        "user.enabled",
        "user.enrolled",
        "user.frozen",
        "user.invited",
        "user.refused",
        "user.sessions-ended",
        "user.signed-in",
        "user.unfrozen",
      ]
    `);
  });

  it("tools, and how they are annotated", () => {
    const hints = tools.map(({ name, wire }) => [
      name,
      Object.entries(wire.annotations ?? {})
        .flatMap(([hint, on]) => (on === true ? [hint] : []))
        .join(" "),
    ]);
    expect(Object.fromEntries(hints)).toMatchInlineSnapshot(`
      {
        "describe_credential": "readOnlyHint idempotentHint",
        "find_credentials": "readOnlyHint idempotentHint",
        "http_request": "destructiveHint openWorldHint",
        "list_leases": "readOnlyHint idempotentHint",
        "query_database": "idempotentHint openWorldHint",
        "renew_lease": "idempotentHint openWorldHint",
        "request_lease": "openWorldHint",
        "revoke_lease": "destructiveHint idempotentHint openWorldHint",
        "whoami": "readOnlyHint idempotentHint",
      }
    `);
  });
});
