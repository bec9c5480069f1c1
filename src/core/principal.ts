import type { AgentName } from "./brand.ts";

export type Transport = "stdio" | "http" | "sse" | "cli";

/** Who asks, as verified by a face. Nothing that the model wrote is in here. */
export interface Principal {
  readonly agent: AgentName;
  readonly kind: "oauth" | "workload" | "local";
  /** The user on whose behalf the agent acts, from the token. */
  readonly onBehalfOf?: { readonly subject: string; readonly email?: string; readonly issuer: string };
  /** Agents between this one and the user, nearest first (RFC 8693 `act`). Empty without delegation. */
  readonly chain: readonly AgentName[];
  readonly authenticated: {
    readonly method: "access-token" | "local-peer";
    readonly senderConstrained: boolean;
    /** Milliseconds since the epoch. */
    readonly at: number;
    /** `jti` of the access token, where there is one. */
    readonly tokenId?: string;
  };
  /** What belongs together for rules about chains: one access token, or one stdio process. */
  readonly session: string;
  readonly transport: Transport;
  readonly sourceIp?: string;
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
