import type { AgentName } from "../core/brand.ts";
import type { CatalogueEntry } from "../core/catalogue.ts";
import type { JsonObject } from "../core/json.ts";
import type { z } from "zod";
import type { oauth } from "./oauth.ts";

/** A checked configuration: every default filled in, every path absolute, every duration in seconds. Holds no secret value. */
export interface Config {
  readonly server: ServerConfig;
  readonly store: { readonly type: "sqlite"; readonly path: string };
  readonly seal: SealConfig;
  readonly vaults: Readonly<Record<string, PartConfig>>;
  readonly credentials: readonly CatalogueEntry[];
  readonly agents: readonly AgentConfig[];
  readonly oauth: OAuthConfig;
  readonly policy: { readonly directory: string };
  readonly audit: AuditConfig;
  readonly limits: LimitsConfig;
}

interface ServerConfig {
  readonly listen: { readonly host: string; readonly port: number };
  /** Without a trailing slash. */
  readonly publicUrl: string;
  /** Addresses and networks (CIDR) whose `X-Forwarded-*` headers count. */
  readonly trustedProxies: readonly string[];
  readonly tls?: TlsConfig;
}

/** Paths of PEM files. */
interface TlsConfig {
  readonly certificate: string;
  readonly key: string;
  /** Authorities whose client certificates are accepted. */
  readonly clientCa?: string | undefined;
}

export type OAuthConfig = z.output<typeof oauth>;

type SealConfig =
  | { readonly type: "file"; readonly path: string }
  /** Without a source, the passphrase is asked for on the terminal. */
  | { readonly type: "passphrase"; readonly from?: SecretSource };

/** Where a secret value is found that no vault can hold, because it opens the vault. */
type SecretSource = { readonly env: string } | { readonly file: string };

/** The entry of a vault or sink as its own schema passed it. */
export type PartConfig = JsonObject & { readonly type: string };

export interface AgentConfig {
  readonly name: AgentName;
  readonly roles: readonly string[];
  readonly owner?: string;
  readonly redirectUris: readonly string[];
  /** Path of a JWK Set. */
  readonly jwks?: string | undefined;
  /** SHA-256 thumbprint of its TLS client certificate. */
  readonly certificate?: string | undefined;
  readonly metadataDocument?: string | undefined;
  readonly dpop: "optional" | "required";
}

interface AuditConfig {
  readonly sinks: readonly PartConfig[];
  /** Seconds between signed checkpoints of the audit log. */
  readonly checkpointEvery: number;
}

interface LimitsConfig {
  /** Live leases that one agent may hold at once. */
  readonly leasesPerAgent: number;
  /** Calls per minute and agent over HTTP. */
  readonly callsPerMinute: number;
  /** Size of one HTTP request. */
  readonly bodyBytes: number;
}
