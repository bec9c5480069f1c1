import type { Logger } from "pino";
import type { LogStore } from "../audit/log-store.ts";
import type { Config } from "../config/config.ts";
import type { ConfigTables } from "../config/schema.ts";
import type { AgentName } from "../core/brand.ts";
import type { Actor } from "../core/event.ts";
import type { Broker } from "../core/broker.ts";
import type { AuditLog, Exposures, Material, Vault } from "../core/ports.ts";
import type { Secret } from "../core/secret.ts";
import type { RotationStep } from "../crypto/rotate.ts";
import type { AccessTokens } from "../identity/access-token.ts";
import type { Agents } from "../identity/agents.ts";
import type { Clients } from "../identity/clients.ts";
import type { Revocations } from "../identity/directory.ts";
import type { Invitations } from "../identity/invitations.ts";
import type { Users } from "../identity/users.ts";
import type { Operator } from "../lease/operator.ts";
import type { PolicyAuthorizer } from "../policy/cedar.ts";

/** The parts of the broker that commands work with. Structural: whoever starts the program puts them together. */
export interface House {
  readonly config: Config;
  readonly broker: Broker;
  readonly agents: Agents;
  readonly tokens: Pick<AccessTokens, "mint">;
  readonly revocations: Revocations;
  /** Sign-ins of agents, with all tokens that came of them. */
  readonly signIns: { endAllOf(whose: { readonly client: string } | { readonly account: string }, by: Actor): Promise<number> };
  readonly clients: Clients;
  readonly invitations: Invitations;
  readonly users: Users;
  readonly operator: Operator;
  readonly vaults: Readonly<Record<string, Vault>>;
  /** Loads the policies, or throws what is wrong with them. Before the broker is asked anything. */
  policies(): Promise<PolicyAuthorizer>;
  /** Lent values as plain text, for the process that they are lent to. */
  reveal(material: Material): Readonly<Record<string, string>>;
  readonly exposures: Pick<Exposures, "isExposed">;
  readonly audit: AuditLog;
  readonly log: LogStore;
  readonly checkpointer: { readonly verifierKey: string; sign(): Promise<string> };
  rotateSeal(): AsyncIterable<RotationStep>;
  /** Listens until the signal, then lets calls that are running finish. */
  serve(signal: AbortSignal, listening: (url: string) => void): Promise<void>;
  /** Speaks MCP on stdin and stdout until the input ends. */
  speakStdio(agent: AgentName, signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

/** What `main.ts` hands to the command line; each is imported when a command first needs it. */
export interface Parts {
  tables(): Promise<ConfigTables>;
  compose(options: ComposeOptions): Promise<House>;
  demo(options: { readonly json: boolean }): Promise<number>;
}

interface ComposeOptions {
  readonly config: Config;
  readonly version: string;
  readonly logger: Logger;
  readonly askPassphrase?: () => Promise<Secret>;
}
