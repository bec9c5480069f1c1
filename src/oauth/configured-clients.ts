import { readFile } from "node:fs/promises";
import type { AgentConfig } from "../config/config.ts";
import type { JsonObject } from "../core/json.ts";
import { SetupError } from "../core/setup-error.ts";
import { operatorMetadata, publicKeys } from "../identity/operator-client.ts";

type ConfiguredAgent = Pick<AgentConfig, "name" | "redirectUris" | "jwks" | "dpop">;

export interface ConfiguredClients {
  /** Reads all that there is to read. Throws `SetupError`. */
  check(): Promise<void>;
  /** Client metadata of an agent of the configuration. `undefined`: it is no client, or not configured. */
  metadata(id: string): Promise<JsonObject | undefined>;
}

/** Milliseconds after which a changed key file counts. */
const fresh = 10_000;

/** Agents that the configuration file makes clients: with keys or redirect URIs, and their name as `client_id`. */
export function createConfiguredClients(agents: readonly ConfiguredAgent[], now: () => number): ConfiguredClients {
  const clients = new Map<string, ConfiguredAgent>(
    agents.filter((agent) => agent.redirectUris.length > 0 || agent.jwks !== undefined).map((agent) => [agent.name, agent]),
  );
  const read = new Map<string, { readonly metadata: JsonObject; readonly at: number }>();

  async function metadataOf({ name, redirectUris, jwks, dpop }: ConfiguredAgent): Promise<JsonObject> {
    try {
      const keys = jwks === undefined ? {} : { jwks: publicKeys(await readFile(jwks, "utf8")) };
      return operatorMetadata({ name, redirectUris, ...keys, dpop: dpop === "required" });
    } catch (cause) {
      const what = `agents.${name} cannot be an OAuth client: ${cause instanceof TypeError ? cause.message : "its keys cannot be read"}`;
      throw new SetupError({ what, fix: "Correct its redirectUris, or its jwks: a file with public keys.", cause });
    }
  }

  async function metadata(id: string): Promise<JsonObject | undefined> {
    const agent = clients.get(id);
    if (!agent) return undefined;
    const known = read.get(id);
    if (known && now() - known.at < fresh) return known.metadata;
    const found = await metadataOf(agent);
    read.set(id, { metadata: found, at: now() });
    return found;
  }

  return {
    metadata,
    async check() {
      for (const id of clients.keys()) await metadata(id);
    },
  };
}
