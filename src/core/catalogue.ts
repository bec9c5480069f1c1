import type { CredentialName } from "./brand.ts";
import type { JsonObject } from "./json.ts";

/** An entry in the catalogue: something that can be lent. */
export interface CatalogueEntry {
  readonly name: CredentialName;
  readonly engine: string;
  readonly description: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Seconds. */
  readonly ttl: { readonly default: number; readonly max: number };
  /** Live leases at once, over all agents. */
  readonly maxLeases: number;
  /** The engine's own part of the entry, validated by the engine's schema at load. Holds references to secrets, never values. */
  readonly spec: JsonObject;
}

export interface Catalogue {
  find(name: CredentialName): CatalogueEntry | undefined;
  list(): readonly CatalogueEntry[];
}
