import { z } from "zod";
import { isLoopback } from "./loopback.ts";
import {
  agentName,
  credentialName,
  duration,
  labels,
  listen,
  network,
  path,
  publicUrl,
  roleName,
  seal,
  store,
  vaultName,
} from "./fields.ts";
import { agentOAuth, oauth } from "./oauth.ts";

/** What each kind of adapter brings: its name in the file, and the schema of its own keys. */
export interface ConfigTables {
  readonly engines: readonly { readonly kind: string; readonly schema: z.ZodObject; readonly paths?: readonly string[] }[];
  readonly vaults: readonly PartTable[];
  readonly sinks: readonly PartTable[];
}

interface PartTable {
  readonly type: string;
  readonly schema: z.ZodObject;
  /** Keys that hold a path, to be read relative to the configuration file. */
  readonly paths?: readonly string[];
}

/** Keys that have a meaning in a later release: named, so that nobody believes in a protection that is not there. */
export const laterKeys: Readonly<Record<string, string>> = {
  upstreams: "upstream MCP servers come with a later release",
};

const ttl = z
  .strictObject({
    default: duration({ max: "24h" }).prefault("5m").describe("How long a lease lasts when the agent does not say."),
    max: duration({ max: "24h" }).prefault("15m").describe("The longest lease, renewals included. Policy can shorten it."),
  })
  .refine((value) => value.default <= value.max, { path: ["default"], error: "expected no more than ttl.max" });

/** Keys that every credential has. The rest belongs to its engine. */
export const commonKeys = {
  description: z.string().max(500).default("").describe("What it opens, in words an agent can choose by."),
  labels: labels.default({}).describe("Facts for policy, e.g. `{ env: prod, data: customer }`."),
  ttl: ttl.prefault({}).describe("How long it is lent."),
  maxLeases: z.int().min(1).max(10_000).default(100).describe("Live leases at once, over all agents."),
};

const server = z
  .strictObject({
    listen: listen.prefault("127.0.0.1:7420").describe("Address and port. Anything but loopback needs `tls` or `trustedProxies`."),
    publicUrl: publicUrl.optional().describe("How clients reach it; the MCP endpoint is `<publicUrl>/mcp`. Default: `http://<listen>`."),
    trustedProxies: z
      .array(network)
      .default([])
      .describe("Addresses of proxies that end TLS, e.g. `[10.0.0.0/8]`. Without `tls`, nobody else on another machine may connect."),
    tls: z
      .strictObject({
        certificate: path.describe("PEM file with the certificate and its chain. Read again when it changes."),
        key: path.describe("PEM file with its private key. Nobody else may read it."),
        clientCa: path.optional().describe("PEM file with the authorities whose client certificates are accepted."),
      })
      .optional()
      .describe("End TLS here (1.2 or later) instead of in a proxy."),
  })
  .superRefine((value, context) => {
    if (isLoopback(value.listen.host)) return;
    if (value.trustedProxies.length === 0 && value.tls === undefined)
      context.addIssue({
        code: "custom",
        path: ["listen"],
        message: "other machines could reach this without TLS; use 127.0.0.1, set tls, or put a TLS proxy in front and set trustedProxies",
      });
    if (value.publicUrl === undefined)
      context.addIssue({ code: "custom", path: ["listen"], message: "set publicUrl to the https URL that clients use" });
  });

const agent = z.strictObject({
  roles: z.array(roleName).default([]).describe("What policies grant to, e.g. `[data-retrieval]`."),
  owner: z.string().min(1).max(200).optional().describe("Who answers for it."),
  ...agentOAuth,
});

const limits = z.strictObject({
  leasesPerAgent: z.int().min(1).max(10_000).default(50).describe("Live leases that one agent may hold at once."),
  callsPerMinute: z.int().min(1).max(1_000_000).default(600).describe("Calls per minute and agent over HTTP."),
  bodyBytes: z.int().min(1024).max(104_857_600).default(1_048_576).describe("Largest HTTP request."),
});

/** The one schema of `leasehold.yaml`. */
export function configSchema(tables: ConfigTables) {
  return z.strictObject({
    server: server.prefault({}).describe("Where Leasehold listens."),
    store: store.prefault("sqlite:./data/leasehold.db").describe("Where leases, agents and the audit log are kept."),
    seal: seal.prefault({ type: "file", path: "./data/master.key" }).describe("What opens the embedded vault."),
    vaults: z
      .record(vaultName, choose("type", tables.vaults.map(part)))
      .prefault({ local: { type: "embedded" } })
      .describe("Where static secrets rest."),
    credentials: z
      .record(credentialName, choose("engine", tables.engines.map(credential)))
      .default({})
      .describe("What can be lent."),
    agents: z.record(agentName, agent).default({}).describe("Who may ask. More are added with `leasehold agent add`."),
    oauth: oauth.prefault({}).describe("How agents come to their tokens."),
    policy: z
      .strictObject({ directory: z.string().min(1).default("./policies").describe("Folder of the Cedar policies.") })
      .prefault({})
      .describe("Who may do what."),
    audit: z
      .strictObject({
        sinks: z
          .array(choose("type", tables.sinks.map(part)))
          .default([])
          .describe("Where the audit log is copied to."),
        checkpointEvery: duration({ min: "1s", max: "24h" }).prefault("1m").describe("Time between signed checkpoints."),
      })
      .prefault({})
      .describe("The record of everything."),
    limits: limits.prefault({}).describe("How much one caller may take."),
  });
}

export type ParsedConfig = z.output<ReturnType<typeof configSchema>>;

function part(table: PartTable): z.ZodObject {
  return table.schema.safeExtend({ type: z.literal(table.type) }).strict();
}

function credential(table: ConfigTables["engines"][number]): z.ZodObject {
  return table.schema.safeExtend({ engine: z.literal(table.kind), ...commonKeys }).strict();
}

/** One of several adapters by name; with none installed, nothing fits. */
function choose(key: string, options: readonly z.ZodObject[]): z.ZodType<Record<string, unknown>> {
  const [first, ...rest] = options;
  return first ? z.discriminatedUnion(key, [first, ...rest]) : z.never();
}
