type NoFacts = Readonly<Record<string, never>>;

/**
 * Everything that can be said to a caller when a call does not succeed. Codes are API and pinned by
 * a test; messages are not. Each face maps every code exhaustively, so a new one breaks the compile
 * until all faces answer it. Facts are public: no secret, no detail of a target, no hint whether
 * something exists.
 */
export interface Failures {
  /** Policy did not allow it, or it does not exist: the two are indistinguishable on purpose. */
  denied: { readonly policies: readonly string[] };
  /** A policy wants approvals that this request does not have. */
  needs_approval: { readonly groups: readonly string[] };
  /** The caller has no usable identity. */
  unauthenticated: NoFacts;
  /** The access token is narrowed to other scopes; these are what the call takes. */
  insufficient_scope: { readonly scopes: readonly string[] };
  /** No such lease or handle, or not the caller's: the two are indistinguishable on purpose. */
  not_found: { readonly what: "lease" | "handle" };
  /** The lease ended: expired, revoked, or on its way there. */
  lease_ended: NoFacts;
  /** The request is malformed, or asks what this credential cannot do. */
  invalid_request: { readonly problem: string };
  /** The operation is outside of what the credential's catalogue entry allows. */
  operation_refused: { readonly problem: string };
  /** Too many leases or calls at once. `retryAfterSeconds` where waiting helps. */
  quota_exceeded: { readonly scope: "agent" | "credential" | "rate"; readonly limit: number; readonly retryAfterSeconds?: number };
  /** The target answered the operation with an error of its own, e.g. a SQLSTATE. */
  target_refused: { readonly code: string; readonly problem: string };
  /** The target could not be reached, or did not answer in time. */
  target_unavailable: NoFacts;
  /** The vault could not be read. */
  vault_unavailable: NoFacts;
  /** The audit log could not be written, so nothing was done or, with `performed`, its outcome is withheld. */
  audit_unavailable: { readonly performed?: true };
  /** A defect of ours. Details are in the broker's log under the correlation id. */
  internal: NoFacts;
}

export type FailureCode = keyof Failures;

/** `message` is for the caller; `cause` is for the broker's own log and never leaves the process. */
export class Failure<Code extends FailureCode = FailureCode> extends Error {
  override readonly name = "Failure";
  readonly code: Code;
  readonly facts: Failures[Code];

  constructor(code: Code, facts: Failures[Code], options?: { readonly cause?: unknown }) {
    super(describe(code, facts), options);
    this.code = code;
    this.facts = facts;
  }
}

/** Any thrown value as a `Failure`; what is not one of ours becomes `internal` with its cause kept private. */
export function asFailure(thrown: unknown): Failure {
  return thrown instanceof Failure ? thrown : new Failure("internal", {}, { cause: thrown });
}

/** Every code with an example of its sentence, for the reference and for the test that pins them. */
export function failureSentences(): readonly (readonly [FailureCode, string])[] {
  return [
    ["denied", describe("denied", { policies: [] })],
    ["needs_approval", describe("needs_approval", { groups: ["security"] })],
    ["unauthenticated", describe("unauthenticated", {})],
    ["insufficient_scope", describe("insufficient_scope", { scopes: ["leases:write"] })],
    ["not_found", describe("not_found", { what: "lease" })],
    ["lease_ended", describe("lease_ended", {})],
    ["invalid_request", "What is wrong with the request, naming the argument."],
    ["operation_refused", "What this credential does not do."],
    ["quota_exceeded", describe("quota_exceeded", { scope: "agent", limit: 50 })],
    ["target_refused", describe("target_refused", { code: "42P01", problem: 'relation "invoice" does not exist' })],
    ["target_unavailable", describe("target_unavailable", {})],
    ["vault_unavailable", describe("vault_unavailable", {})],
    ["audit_unavailable", describe("audit_unavailable", {})],
    ["internal", describe("internal", {})],
  ];
}

type Describe = { readonly [Code in FailureCode]: (facts: Failures[Code]) => string };

const sentences: Describe = {
  denied: () => "Policy does not allow this. Ask the operator, or find_credentials for what you may use.",
  needs_approval: (f) => `This needs approval by: ${f.groups.join(", ")}.`,
  unauthenticated: () => "Not authenticated. Present a valid, unexpired access token.",
  insufficient_scope: (f) => `The access token is not good for this: it takes the scope ${f.scopes.join(" ")}. Sign in again with it.`,
  not_found: (f) => `No such ${f.what}.`,
  lease_ended: () => "This lease has ended. Request a new one.",
  invalid_request: (f) => f.problem,
  operation_refused: (f) => f.problem,
  quota_exceeded: (f) =>
    f.scope === "rate"
      ? `Too many calls. Try again in ${f.retryAfterSeconds ?? 1} s.`
      : `Too many live leases for this ${f.scope} (limit ${f.limit}). Revoke one, or wait until one expires.`,
  target_refused: (f) => `The target refused the operation (${f.code}): ${f.problem}`,
  target_unavailable: () => "The target cannot be reached right now. Try again later.",
  vault_unavailable: () => "The vault cannot be read right now. Try again later.",
  audit_unavailable: (f) =>
    f.performed
      ? "The operation was performed, but its outcome cannot be written to the audit log and is withheld. Do not repeat it; tell the operator."
      : "The audit log cannot be written, so nothing was done. Tell the operator.",
  internal: () => "Something went wrong inside the broker. Tell the operator the correlation id.",
};

function describe<Code extends FailureCode>(code: Code, facts: Failures[Code]): string {
  const sentence: Describe[Code] = sentences[code];
  return sentence(facts);
}
