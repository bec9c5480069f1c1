import { resolve } from "node:path";
import { isObject } from "./cross.ts";
import type { ConfigTables, ParsedConfig } from "./schema.ts";

/** Every path made absolute, so that nothing depends on where a command was started. */
export function absolute(config: ParsedConfig, folder: string, tables: ConfigTables): ParsedConfig {
  const at = (path: string): string => resolve(folder, path);

  /** `{ file: … }` means the same wherever a secret is referred to. */
  function sources(value: unknown): unknown {
    if (Array.isArray(value)) return value.map(sources);
    if (!isObject(value)) return value;
    const keys = Object.keys(value);
    if (keys.length === 1 && typeof value["file"] === "string") return { file: at(value["file"]) };
    return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, sources(entry)]));
  }

  function part(entry: Readonly<Record<string, unknown>>, paths: readonly string[] = []): Record<string, unknown> {
    return Object.fromEntries(
      Object.entries(entry).map(([key, value]) => [key, typeof value === "string" && paths.includes(key) ? at(value) : sources(value)]),
    );
  }

  function passphrase(from: { readonly env: string } | { readonly file: string } | undefined): ParsedConfig["seal"] {
    return { type: "passphrase", from: from && "file" in from ? { file: at(from.file) } : from };
  }

  /** Where keys of others are kept in files, and secrets are referred to. */
  const keyFile = <T extends { readonly jwks?: string | undefined }>(entry: T): T =>
    entry.jwks === undefined ? entry : { ...entry, jwks: at(entry.jwks) };

  function oauth(written: ParsedConfig["oauth"]): ParsedConfig["oauth"] {
    const { registration, people } = written;
    const secret = people.openid?.clientSecret;
    const openid = people.openid && {
      ...people.openid,
      ...(secret && "file" in secret ? { clientSecret: { file: at(secret.file) } } : {}),
    };
    return {
      ...written,
      registration: { ...registration, softwareStatements: registration.softwareStatements.map(keyFile) },
      people: { ...people, ...(openid ? { openid } : {}) },
      federation: written.federation.map(keyFile),
      enterprise: written.enterprise.map(keyFile),
    };
  }

  function tls(written: ParsedConfig["server"]["tls"]): ParsedConfig["server"]["tls"] {
    if (!written) return undefined;
    const { certificate, key, clientCa } = written;
    return { certificate: at(certificate), key: at(key), ...(clientCa === undefined ? {} : { clientCa: at(clientCa) }) };
  }

  const table = (kind: "vaults" | "sinks", type: unknown) => tables[kind].find((one) => one.type === type)?.paths;
  const engine = (kind: unknown) => tables.engines.find((one) => one.kind === kind)?.paths;
  const { seal } = config;
  return {
    ...config,
    server: { ...config.server, tls: tls(config.server.tls) },
    agents: map(config.agents, keyFile),
    oauth: oauth(config.oauth),
    store: { ...config.store, path: config.store.path === ":memory:" ? ":memory:" : at(config.store.path) },
    seal: seal.type === "file" ? { ...seal, path: at(seal.path) } : passphrase(seal.from),
    vaults: map(config.vaults, (entry) => part(entry, table("vaults", entry["type"]))),
    credentials: map(config.credentials, (entry) => part(entry, engine(entry["engine"]))),
    policy: { directory: at(config.policy.directory) },
    audit: { ...config.audit, sinks: config.audit.sinks.map((entry) => part(entry, table("sinks", entry["type"]))) },
  };
}

function map<T, U>(record: Readonly<Record<string, T>>, change: (entry: T) => U): Record<string, U> {
  return Object.fromEntries(Object.entries(record).map(([key, entry]) => [key, change(entry)]));
}
