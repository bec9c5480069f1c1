import type { FailureCode } from "../core/errors.ts";

/** Exit codes are API: scripts branch on them. The reference page is made from this table. */
export const exits = {
  ok: { code: 0, means: "Done." },
  unexpected: { code: 1, means: "A defect of Leasehold. Set LEASEHOLD_DEBUG=1 to see where it happened." },
  usage: { code: 2, means: "The command line is not right: an unknown command or option, a missing or malformed argument." },
  configuration: { code: 3, means: "The configuration, or the key or store that it names, cannot be used as it is." },
  refused: { code: 4, means: "Refused: by policy, by a quota, by the target, or for want of a valid token." },
  notFound: { code: 5, means: "There is no such agent, credential, secret, lease or handle, or it has ended." },
  unavailable: {
    code: 6,
    means: "Something that is needed does not answer: a target, a vault, the audit log, a broker, or the port is taken.",
  },
  verification: { code: 7, means: "Checked, and found wrong: `audit verify`, `policy check`, `doctor`." },
  interrupted: { code: 130, means: "Interrupted from the keyboard." },
} as const satisfies Readonly<Record<string, { readonly code: number; readonly means: string }>>;

export type Exit = keyof typeof exits;

const byFailure: Readonly<Record<FailureCode, Exit>> = {
  denied: "refused",
  needs_approval: "refused",
  unauthenticated: "refused",
  insufficient_scope: "refused",
  not_found: "notFound",
  lease_ended: "notFound",
  invalid_request: "usage",
  operation_refused: "refused",
  quota_exceeded: "refused",
  target_refused: "refused",
  target_unavailable: "unavailable",
  vault_unavailable: "unavailable",
  audit_unavailable: "unavailable",
  internal: "unexpected",
};

export function exitFor(failure: FailureCode): Exit {
  return byFailure[failure];
}

/** For a code that another broker sent: one that is not known here is as unexpected as none. */
export function exitForCode(code: string): Exit {
  return new Map<string, Exit>(Object.entries(byFailure)).get(code) ?? "unexpected";
}

/** A command that cannot go on, with what to do about it. Neither text may hold a value that was typed or read as a secret. */
export class CommandError extends Error {
  override readonly name = "CommandError";
  readonly exit: Exit;
  readonly fix: string | undefined;

  constructor(exit: Exit, what: string, fix?: string) {
    super(what);
    this.exit = exit;
    this.fix = fix;
  }
}
