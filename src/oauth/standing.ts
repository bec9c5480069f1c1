import type { errors } from "oidc-provider";
import type { AgentDirectory } from "../core/ports.ts";
import type { Client, ClientDirectory, UserDirectory } from "../identity/directory.ts";
import { problemOf } from "./issue.ts";
import type { OAuthSessions } from "./sessions.ts";

export interface StandingParts {
  readonly clients: ClientDirectory;
  readonly agents: AgentDirectory;
  readonly users: UserDirectory;
  readonly sessions: Pick<OAuthSessions, "end" | "isEnded">;
  readonly errors: typeof errors;
}

/** Who is to get something, and what of. */
export interface Claimant {
  readonly client: string;
  readonly account?: string | undefined;
  /** Absent: the client acts for itself. */
  readonly signIn?: SignIn | undefined;
}

interface SignIn {
  readonly session: string;
  /** Milliseconds since the epoch. */
  readonly since: number;
}

/**
 * Whether a client, the agent that it is, and the person it acts for may still get something, and the sign-in that it rests on
 * has not ended. Throws the provider's errors. A sign-in from before all of them were ended is ended in passing.
 */
export type Standing = (claimant: Claimant) => Promise<Client>;

export function createStanding({ clients, agents, users, sessions, errors }: StandingParts): Standing {
  return async ({ client: id, account, signIn }) => {
    const client = await clients.find(id);
    const agent = client && (await agents.find(client.agent));
    const problem = problemOf(client, agent);
    if (!client || problem !== undefined) throw new errors.InvalidClientAuth({ detail: problem ?? "the client is unknown" });
    const user = account === undefined ? undefined : await users.find(account);
    if (account !== undefined && (!user || user.disabled || user.frozen))
      throw new errors.InvalidGrant({ detail: "the user is disabled or frozen" });
    if (!signIn) return client;
    // What ended all tokens of an agent or a person ended the sign-ins that they came of.
    const validFrom = Math.max(agent?.tokensValidFrom ?? 0, user?.validFrom ?? 0);
    if (signIn.since >= validFrom && !(await sessions.isEnded(signIn.session))) return client;
    await sessions.end(signIn.session);
    throw new errors.InvalidGrant({ detail: "the sign-in was ended" });
  };
}
