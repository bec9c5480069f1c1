import type { AgentName } from "../core/brand.ts";
import type { Actor } from "../core/event.ts";
import type { JsonObject } from "../core/json.ts";
import type { Agent } from "../core/principal.ts";
import type { Client, ClientDirectory } from "./directory.ts";

/** A client of the configuration file: its id, and the agent that it is. */
export interface ConfiguredClient {
  readonly id: string;
  readonly agent: AgentName;
  readonly source: "operator" | "cimd";
}

export interface KnownClient extends Client {
  /** Whether somebody stands behind it: the operator, an invitation, or the issuer of a software statement. */
  readonly vouched: boolean;
}

export interface NewClient {
  readonly id: string;
  readonly agent: AgentName;
  readonly source: Client["source"];
  readonly name?: string;
  /** Client metadata (RFC 7591 section 2), with the secret if there is one. */
  readonly metadata: JsonObject;
  /** What its agent gets. The record is made in the same commit. */
  readonly roles: readonly string[];
  readonly owner?: string;
  /** Used up by this registration, or there is none. */
  readonly invitation?: string;
  /** Issuer of the software statement that it brought along. */
  readonly voucher?: string;
}

type Outcome =
  | "registered"
  /** The invitation has no use left, is revoked or has expired. */
  | "spent"
  /** As many are there as may come by themselves. */
  | "full"
  /** There is one of that id, perhaps since a moment ago. */
  | "taken";

/** Where clients rest. A change is durable together with its audit events; metadata is sealed. */
export interface ClientRecords {
  find(id: string): Promise<KnownClient | undefined>;
  list(): Promise<readonly KnownClient[]>;
  metadata(id: string): Promise<JsonObject | undefined>;
  /** Client, agent and the use of the invitation in one commit. `limit` counts those that nobody vouches for. */
  register(client: NewClient, limit: number, registeredBy: Agent["registeredBy"], by: Actor): Promise<Outcome>;
  /** Adds or changes a client of the operator, with its agent. `false` when the id belongs to one that registered itself. */
  put(client: NewClient, by: Actor): Promise<boolean>;
  /** `false` when it is not there, removed or frozen. */
  update(id: string, change: { readonly name?: string; readonly metadata: JsonObject }, by: Actor): Promise<boolean>;
  remove(id: string, why: "operator" | "itself", by: Actor): Promise<boolean>;
  freeze(id: string, frozen: boolean, by: Actor): Promise<boolean>;
  touch(id: string, at: number): Promise<void>;
  prune(before: { readonly unused: number; readonly idle: number; readonly removed: number }): Promise<readonly Client[]>;
}

export interface ClientsParts {
  readonly records: ClientRecords;
  readonly configured: readonly ConfiguredClient[];
  readonly now: () => number;
  readonly limits: {
    /** Clients that nobody vouches for, at once. */
    readonly clients: number;
    /** Seconds. */
    readonly unusedFor: number;
    /** Seconds. */
    readonly idleFor: number;
  };
  /** A client was removed or frozen: its leases are to end. */
  readonly ended?: (client: Client) => Promise<void> | void;
}

export interface Clients extends ClientDirectory {
  find(id: string): Promise<KnownClient | undefined>;
  /** Metadata of clients in the store. */
  metadata(id: string): Promise<JsonObject | undefined>;
  list(): Promise<readonly KnownClient[]>;
  register(client: NewClient, by: Actor): Promise<Outcome>;
  /** A client of the operator, and its agent. */
  add(client: NewClient, by: Actor): Promise<"added" | "configured" | "taken">;
  update(id: string, change: { readonly name?: string; readonly metadata: JsonObject }, by: Actor): Promise<boolean>;
  remove(id: string, why: "operator" | "itself", by: Actor): Promise<Changed>;
  freeze(id: string, by: Actor): Promise<Changed>;
  unfreeze(id: string, by: Actor): Promise<Changed>;
  /** It got a token. Written at most once a minute and client. */
  touch(id: string): Promise<void>;
  /** Removes clients that registered themselves and were never used, or not for long. */
  prune(): Promise<readonly Client[]>;
}

/** `configured`: it is in the configuration file, which is changed there. */
type Changed = "changed" | "unknown" | "configured";

const touchEvery = 60_000;
const touchesRemembered = 10_000;
/** How long a removed client is still listed. Longer than anything of it could be valid. */
const tombstone = 30 * 24 * 3_600_000;

/** Clients of the configuration file and of the store as one directory. The file wins: it is what lives in git. */
export function createClients({ records, configured, now, limits, ended }: ClientsParts): Clients {
  const fixed = new Map(configured.map((client) => [client.id, describe(client)]));
  const touched = new Map<string, number>();

  async function changed(id: string, change: () => Promise<boolean>): Promise<Changed> {
    if (fixed.has(id)) return "configured";
    return (await change()) ? "changed" : "unknown";
  }

  async function ending(id: string, change: () => Promise<boolean>): Promise<Changed> {
    const client = await records.find(id);
    const outcome = await changed(id, change);
    if (outcome === "changed" && client) await ended?.(client);
    return outcome;
  }

  return {
    find: async (id) => fixed.get(id) ?? records.find(id),
    metadata: (id) => records.metadata(id),

    async list() {
      const stored = (await records.list()).filter((client) => !fixed.has(client.id));
      return [...fixed.values(), ...stored].sort((a, b) => (a.id < b.id ? -1 : 1));
    },

    register: (client, by) => records.register(client, limits.clients, client.source, by),

    async add(client, by) {
      if (fixed.has(client.id)) return "configured";
      return (await records.put(client, by)) ? "added" : "taken";
    },

    update: (id, change, by) => records.update(id, change, by),
    remove: (id, why, by) => ending(id, () => records.remove(id, why, by)),
    freeze: (id, by) => ending(id, () => records.freeze(id, true, by)),
    unfreeze: (id, by) => changed(id, () => records.freeze(id, false, by)),

    async touch(id) {
      const at = now();
      if (fixed.has(id) || at - (touched.get(id) ?? Number.NEGATIVE_INFINITY) < touchEvery) return;
      if (touched.size >= touchesRemembered) touched.clear();
      touched.set(id, at);
      await records.touch(id, at);
    },

    async prune() {
      const at = now();
      const gone = await records.prune({
        unused: at - limits.unusedFor * 1000,
        idle: at - limits.idleFor * 1000,
        removed: at - tombstone,
      });
      for (const client of gone) await ended?.(client);
      return gone;
    },
  };
}

function describe({ id, agent, source }: ConfiguredClient): KnownClient {
  return { id, agent, source, name: agent, createdAt: 0, frozen: false, removed: false, vouched: true };
}

/** What an agent of the configuration is as a client. One without any of it is none. */
export function clientsOfConfig(
  agents: readonly {
    readonly name: AgentName;
    readonly redirectUris: readonly string[];
    readonly jwks?: string | undefined;
    readonly metadataDocument?: string | undefined;
  }[],
): readonly ConfiguredClient[] {
  return agents.flatMap(({ name, redirectUris, jwks, metadataDocument }) => [
    ...(redirectUris.length > 0 || jwks !== undefined ? [{ id: name, agent: name, source: "operator" as const }] : []),
    ...(metadataDocument === undefined ? [] : [{ id: metadataDocument, agent: name, source: "cimd" as const }]),
  ]);
}
