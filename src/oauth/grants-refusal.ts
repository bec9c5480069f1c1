import type { KoaContextWithOIDC } from "oidc-provider";
import { errors } from "oidc-provider";
import { Failure } from "../core/errors.ts";
import type { AuditLog } from "../core/ports.ts";
import { Unacceptable } from "./federation-assertion.ts";
import { actorOf, unavailable } from "./issue.ts";
import { KeysUnavailable } from "./issuer-keys.ts";

/** A request that is refused: with which OAuth error, in which words to the caller, and why, for the operator. */
export class Refused extends Error {
  override readonly name = "Refused";
  readonly error: string;
  readonly says: string;

  constructor(error: string, says: string, why: string, options?: ErrorOptions) {
    super(why, options);
    this.error = error;
    this.says = says;
  }
}

export interface RefusalParts {
  readonly audit: AuditLog;
  readonly now: () => number;
}

/** Lines per minute. Anybody may send tokens here that nobody signed: they must not fill the log. The rest is counted in the next line. */
const linesPerMinute = 120;
/** One sentence for every reason: which rules there are is nobody's business who meets none of them. */
const notAccepted = "The token that was brought is not accepted. The operator finds the reason in the audit log.";

export type Guard = (context: KoaContextWithOIDC, grant: GuardedGrant, work: () => Promise<void>) => Promise<void>;

interface GuardedGrant {
  readonly name: string;
  /** The error for a token that is not accepted: `invalid_grant` (RFC 7523 section 3.1) or `invalid_request` (RFC 8693 section 2.2.2). */
  readonly unacceptable: "invalid_grant" | "invalid_request";
}

const written = new WeakSet<object>();

/** Whether the refusal is in the audit log already: whoever listens to the provider's `grant.error` needs not write it again. */
export function isWrittenDown(error: unknown): boolean {
  return typeof error === "object" && error !== null && written.has(error);
}

/** Runs a grant. What it throws is written down as `token.refused` and becomes an OAuth error; defects stay what they are. */
export function createGuard({ audit, now }: RefusalParts): Guard {
  let minute = 0;
  let lines = 0;
  let unwritten = 0;

  async function writeDown(context: KoaContextWithOIDC, grant: string, { error, message }: Refused): Promise<void> {
    const current = Math.floor(now() / 60_000);
    if (current !== minute) [minute, lines] = [current, 0];
    if ((lines += 1) > linesPerMinute) return void (unwritten += 1);
    const why = unwritten > 0 ? `${message} (and ${unwritten} more that were not written down)` : message;
    unwritten = 0;
    const client = context.oidc.client?.clientId;
    const event = {
      kind: "token.refused" as const,
      actor: actorOf(context),
      error,
      why,
      grant,
      ...(client === undefined ? {} : { client }),
    };
    await audit.append(event).catch((cause: unknown) => {
      throw unavailable(errors, cause);
    });
  }

  return async (context, { name, unacceptable }, work) => {
    try {
      await work();
    } catch (thrown) {
      const refusal = refusalOf(thrown, unacceptable);
      if (!refusal) throw thrown instanceof Failure ? unavailable(errors, thrown) : thrown;
      await writeDown(context, name, refusal);
      const answer = thrown instanceof errors.OIDCProviderError ? thrown : oauthError(refusal, thrown);
      written.add(answer);
      throw answer;
    }
  };
}

/** `undefined` for defects, and for what is no refusal: a client that is told a nonce comes again with it (RFC 9449 section 8). */
function refusalOf(thrown: unknown, unacceptable: string): Refused | undefined {
  if (thrown instanceof Refused) return thrown;
  if (thrown instanceof Unacceptable) return new Refused(unacceptable, notAccepted, reasons(thrown), { cause: thrown.cause });
  if (thrown instanceof Failure && thrown.code === "unauthenticated")
    return new Refused(unacceptable, notAccepted, thrown.cause instanceof Error ? thrown.cause.message : "not authenticated");
  if (thrown instanceof KeysUnavailable)
    return new Refused(
      "temporarily_unavailable",
      "The issuer of the token cannot be asked for its keys right now. Try again.",
      reasons(thrown),
    );
  if (thrown instanceof errors.OIDCProviderError && thrown.expose && thrown.error !== "use_dpop_nonce")
    return new Refused(thrown.error, thrown.error_description ?? "", thrown.error_detail ?? thrown.error_description ?? thrown.error);
  return undefined;
}

function oauthError({ error, says, message }: Refused, cause: unknown): errors.OIDCProviderError {
  const answer = new errors.CustomOIDCProviderError(error, says, { cause, detail: message });
  if (error === "temporarily_unavailable") answer.status = answer.statusCode = 503;
  return answer;
}

/** The message with what is behind it, for the operator. None of ours, nor of the library's, holds a piece of the token. */
function reasons(thrown: Error): string {
  const causes: readonly unknown[] = thrown.cause instanceof AggregateError ? thrown.cause.errors : [thrown.cause];
  const messages = causes.flatMap((one) => (one instanceof Error ? [thrown instanceof KeysUnavailable ? deepest(one) : one.message] : []));
  return [thrown.message, ...messages].join(": ").slice(0, 500);
}

function deepest(error: Error): string {
  return error.cause instanceof Error ? deepest(error.cause) : error.message;
}
