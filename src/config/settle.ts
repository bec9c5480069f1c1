import type { AgentName } from "../core/brand.ts";
import { isAgentName, isCredentialName } from "../core/brand.ts";
import type { CatalogueEntry } from "../core/catalogue.ts";
import type { JsonObject } from "../core/json.ts";
import type { AgentConfig, Config, PartConfig } from "./config.ts";
import type { ParsedConfig } from "./schema.ts";
import { commonKeys } from "./schema.ts";

/** From the file's shape to the core's: lists with names in them, and an engine's own keys apart from the common ones. */
export function settle(parsed: ParsedConfig): Config {
  const { server, seal } = parsed;
  const { host, port } = server.listen;
  return {
    server: {
      listen: server.listen,
      publicUrl: server.publicUrl ?? `${server.tls ? "https" : "http"}://${host.includes(":") ? `[${host}]` : host}:${port}`,
      trustedProxies: server.trustedProxies,
      ...(server.tls ? { tls: server.tls } : {}),
    },
    store: parsed.store,
    seal: seal.type === "file" ? seal : { type: seal.type, ...(seal.from === undefined ? {} : { from: seal.from }) },
    vaults: Object.fromEntries(Object.entries(parsed.vaults).map(([name, entry]) => [name, part(entry)])),
    credentials: Object.entries(parsed.credentials).map(([name, entry]) => credential(name, entry)),
    agents: Object.entries(parsed.agents).map(([name, entry]) => agent(name, entry)),
    oauth: parsed.oauth,
    policy: parsed.policy,
    audit: { sinks: parsed.audit.sinks.map(part), checkpointEvery: parsed.audit.checkpointEvery },
    limits: parsed.limits,
  };
}

function part(entry: Readonly<Record<string, unknown>>): PartConfig {
  return { ...(entry as JsonObject), type: String(entry["type"]) };
}

function credential(name: string, entry: Readonly<Record<string, unknown>>): CatalogueEntry {
  if (!isCredentialName(name)) throw new TypeError("the schema let a credential name pass");
  const { engine, description, labels, ttl, maxLeases } = entry as unknown as Omit<CatalogueEntry, "spec" | "name">;
  const spec = Object.fromEntries(Object.entries(entry).filter(([key]) => key !== "engine" && !(key in commonKeys))) as JsonObject;
  return { name, engine, description, labels, ttl, maxLeases, spec };
}

function agent(name: string, entry: ParsedConfig["agents"][AgentName]): AgentConfig {
  if (!isAgentName(name)) throw new TypeError("the schema let an agent name pass");
  const { owner, ...rest } = entry;
  return { name, ...rest, ...(owner === undefined ? {} : { owner }) };
}
