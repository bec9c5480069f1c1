import type { Actor, AuditEvent } from "../core/event.ts";
import type { AuditLog } from "../core/ports.ts";
import { longestTtl } from "../identity/access-token.ts";
import type { Revocations } from "../identity/directory.ts";

/** Sign-ins at rest, as their end concerns them; `src/store/oauth-records.ts` makes one. */
interface Grants {
  endGrant(grant: string, event: AuditEvent): Promise<boolean>;
  grants(of: { readonly client: string } | { readonly account: string }): Promise<readonly string[]>;
}

export interface OAuthSessionsParts {
  readonly grants: Grants;
  readonly revocations: Revocations;
  readonly audit: AuditLog;
  /** Ends leases and streams of a session. */
  readonly ended: { session(session: string): Promise<void> };
  readonly now: () => number;
}

/** Sign-ins of agents (`sid`): a grant, its refresh tokens, and every access token that came of it. */
export interface OAuthSessions {
  /** Whether it was ended, also where only its id was revoked and its records are still there. */
  isEnded(session: string): Promise<boolean>;
  /** Everything of it is dead at its next use. Ending one that has ended changes nothing. */
  end(session: string, by?: Actor): Promise<void>;
  /** Ends it because a code or refresh token came twice, which is a finding, and is written down once. */
  replayed(what: "code" | "refresh-token", session: string, by: Actor): Promise<void>;
  /** Ends every one that a client has, or that acts for an account. Answers how many there were. */
  endAllOf(whose: { readonly client: string } | { readonly account: string }, by: Actor): Promise<number>;
  /** Ends one access token that belongs to no sign-in. */
  endToken(token: { readonly id: string; readonly client: string }, by: Actor): Promise<void>;
}

/** Milliseconds for which an access token can outlive the moment of its minting, clocks that differ included. */
const tokenLife = longestTtl * 1000 + 60_000;

export function createOAuthSessions(parts: OAuthSessionsParts): OAuthSessions {
  const { grants, revocations, audit, ended, now } = parts;
  const broker: Actor = { type: "broker" };

  /** First the access tokens: from then on whatever goes wrong leaves something that can only end. */
  async function close(session: string, event: AuditEvent): Promise<boolean> {
    await revocations.revoke(session, now() + tokenLife);
    return grants.endGrant(session, event);
  }

  async function end(session: string, by: Actor = broker): Promise<void> {
    const client = by.type === "client" ? by.client : undefined;
    await close(session, { kind: "token.revoked", actor: by, session, ...(client === undefined ? {} : { client }) });
    await ended.session(session);
  }

  return {
    end,
    isEnded: (session) => revocations.isRevoked(session),

    async replayed(what, session, by) {
      const client = (by.type === "client" ? by.client : undefined) ?? "";
      const first = await close(session, { kind: "token.replayed", actor: by, what, client, session });
      if (first) await ended.session(session);
    },

    async endAllOf(whose, by) {
      const sessions = await grants.grants(whose);
      for (const session of sessions) await end(session, by);
      return sessions.length;
    },

    async endToken({ id, client }, by) {
      await revocations.revoke(id, now() + tokenLife);
      await audit.append({ kind: "token.revoked", actor: by, token: id, client });
      await ended.session(id);
    },
  };
}
