import type { AgentName } from "./brand.ts";
import type { Scope } from "./scope.ts";

export type Transport = "stdio" | "http" | "sse" | "cli";

/** Who asks, as verified by a face. Nothing that the model wrote is in here. */
export interface Principal {
  readonly agent: AgentName;
  readonly kind: "oauth" | "workload" | "local";
  /** The OAuth client that the token was issued to; absent for local peers. */
  readonly client?: string;
  /** The user on whose behalf the agent acts: named by the token, described by our own records. */
  readonly onBehalfOf?: User;
  /** Agents between this one and the user, nearest first (RFC 8693 `act`). Empty without delegation. */
  readonly chain: readonly AgentName[];
  /** What the token may be used for. Absent: not narrowed by scopes. */
  readonly scopes?: readonly Scope[];
  /** The only credentials that a delegated token is good for; `billing-db/*` stands for a folder. Absent: not narrowed. */
  readonly credentials?: readonly string[];
  readonly authenticated: {
    readonly method: "access-token" | "local-peer" | "certificate";
    readonly senderConstrained: boolean;
    /** Milliseconds since the epoch. */
    readonly at: number;
    /** `jti` of the access token, where there is one. */
    readonly tokenId?: string;
  };
  /** What belongs together for rules about chains: one sign-in with all its refreshed tokens, one token without, or one stdio process. */
  readonly session: string;
  readonly transport: Transport;
  readonly sourceIp?: string;
}

/** A person, as our records describe them at this moment. */
export interface User {
  /** Our own id of the account: 26 characters, never used again. */
  readonly account: string;
  /** Who vouches for them: we, or the OpenID provider that they signed in with. */
  readonly issuer: string;
  readonly subject: string;
  readonly email?: string;
  /** Groups, for policy. */
  readonly teams: readonly string[];
}

/** What the operator's records say of an agent at this moment; read anew on every call. */
export interface Agent {
  readonly name: AgentName;
  readonly roles: readonly string[];
  readonly owner?: string;
  readonly registeredBy: "operator" | "dcr" | "cimd" | "federation" | "local";
  /** A frozen or disabled agent is refused everything. */
  readonly frozen: boolean;
  readonly disabled: boolean;
  /** Access tokens issued before this instant (milliseconds) are revoked. */
  readonly tokensValidFrom: number;
}
