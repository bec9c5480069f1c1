import { randomBytes } from "node:crypto";
import { mkdtemp } from "node:fs/promises";
import { createServer } from "node:http";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { exportJWK, generateKeyPair } from "jose";
import type { AdapterPayload, KoaContextWithOIDC } from "oidc-provider";
import { Provider } from "oidc-provider";
import { createLogStore, logFormat } from "../../src/audit/format.ts";
import { oauth } from "../../src/config/oauth.ts";
import type { AgentConfig } from "../../src/config/config.ts";
import type { AgentName } from "../../src/core/brand.ts";
import { createSealFile } from "../../src/crypto/key-file.ts";
import { openSeal } from "../../src/crypto/seal.ts";
import { createSealedJson } from "../../src/crypto/sealed-json.ts";
import { createAgents } from "../../src/identity/agents.ts";
import type { Agents } from "../../src/identity/agents.ts";
import type { Clients } from "../../src/identity/clients.ts";
import { clientsOfConfig, createClients } from "../../src/identity/clients.ts";
import type { Invitations } from "../../src/identity/invitations.ts";
import { createInvitations } from "../../src/identity/invitations.ts";
import type { GuardedFetchParts } from "../../src/outbound/fetch.ts";
import { createGuardedFetch } from "../../src/outbound/fetch.ts";
import { createConfiguredClients } from "../../src/oauth/configured-clients.ts";
import { createRegistration } from "../../src/oauth/registration.ts";
import { createSoftwareStatements } from "../../src/oauth/software-statement.ts";
import { createBuckets } from "../../src/http/bucket.ts";
import { createAgentRecords } from "../../src/store/agent-records.ts";
import { createLogRows } from "../../src/store/audit-log.ts";
import { createClientRecords } from "../../src/store/clients.ts";
import { createInvitationRecords } from "../../src/store/invitations.ts";
import { createJournal } from "../../src/store/journal.ts";
import { createDataKeyStore } from "../../src/store/keys.ts";
import { openSqlite } from "../../src/store/sqlite.ts";
import type { Database } from "../../src/store/sqlite.ts";
import { removeFolder } from "./house.ts";

/** Registration on a provider of its own, over a real store. */
export interface RegistrationHouse {
  readonly issuer: string;
  readonly folder: string;
  readonly database: Database;
  readonly clients: Clients;
  readonly agents: Agents;
  readonly invitations: Invitations;
  readonly clock: { now: number };
  readonly ended: string[];
  register(metadata: unknown, more?: RequestOptions): Promise<Answer>;
  call(url: string, options?: RequestOptions & { readonly method?: string; readonly body?: unknown }): Promise<Answer>;
  /** Whether a code would be sent to this address. */
  authorize(client: string, redirectUri: string): Promise<Answer>;
  token(parameters: Readonly<Record<string, string>>, authorization?: string): Promise<Answer>;
  audit(): Promise<readonly Record<string, unknown>[]>;
  close(): Promise<void>;
}

interface RequestOptions {
  readonly token?: string;
  readonly from?: string;
}

interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Readonly<Record<string, unknown>>;
}

export interface HouseOptions {
  readonly registration?: Readonly<Record<string, unknown>>;
  readonly agents?: readonly Partial<AgentConfig>[];
  readonly fetch?: Partial<GuardedFetchParts>;
  readonly extraGrants?: readonly string[];
}

export async function openRegistrationHouse(options: HouseOptions = {}): Promise<RegistrationHouse> {
  const folder = await mkdtemp(join(tmpdir(), "leasehold-registration-"));
  const clock = { now: Date.now() };
  const now = (): number => clock.now;
  const database = await openSqlite(join(folder, "leasehold.db"), now);
  const journal = createJournal(database, logFormat, now);
  await createSealFile(join(folder, "master.key"));
  const store = createDataKeyStore(database, journal);
  const seal = await openSeal({ config: { type: "file", path: join(folder, "master.key") }, env: {}, store, now });

  const config = oauth.parse({ registration: options.registration ?? {} });
  const agentConfigs = (options.agents ?? []).map((agent): AgentConfig => ({
    name: "x" as AgentName,
    roles: [],
    redirectUris: [],
    dpop: "optional",
    ...agent,
  }));
  const ended: string[] = [];
  const clients = createClients({
    records: createClientRecords({ database, journal, sealed: createSealedJson(seal), now }),
    configured: clientsOfConfig(agentConfigs),
    now,
    limits: config.registration,
    ended: (client) => void ended.push(client.id),
  });
  const agents = createAgents({
    configured: new Map(agentConfigs.map((agent) => [agent.name, agent])),
    records: createAgentRecords(database, journal, now),
  });
  const invitations = createInvitations({ records: createInvitationRecords(database, journal, now), now, random: randomBytes });
  const guarded = createGuardedFetch({ now, ...options.fetch });
  const buckets = createBuckets({ burst: config.registration.perHour, perSecond: config.registration.perHour / 3600, now });

  const server = createServer();
  await listening(server);
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const registration = createRegistration({
    config: config.registration,
    dpop: "optional",
    clients,
    configured: createConfiguredClients(agentConfigs, now),
    invitations,
    statements: createSoftwareStatements({ issuers: config.registration.softwareStatements, audience: issuer, fetch, now }),
    extraGrants: options.extraGrants ?? [],
    take: (ip) => buckets.take(ip),
    addressOf: (request) => String(request.headers["x-from"] ?? "192.0.2.1"),
    fetch: guarded.fetch,
    record: (event) => void journal.write(async () => ({ result: undefined, events: [event] })),
    random: randomBytes,
    moved: async () => undefined,
  });

  const key = await generateKeyPair("ES256", { extractable: true });
  const provider = new Provider(issuer, {
    jwks: { keys: [{ ...(await exportJWK(key.privateKey)), alg: "ES256", use: "sig" }] },
    adapter: memoryAdapter((model) => (model === "Client" ? registration.adapter : undefined)),
    features: {
      ...registration.features,
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      deviceFlow: { enabled: true },
      resourceIndicators: { enabled: false },
    },
    extraClientMetadata: registration.extraClientMetadata,
    fetch: registration.fetch,
    clientDefaults: { id_token_signed_response_alg: "ES256" },
    enabledJWA: { idTokenSigningAlgValues: ["ES256"] },
    cookies: { keys: ["test"] },
    interactions: { url: () => "/interaction" },
    routes: { registration: "/oauth/register", authorization: "/oauth/authorize", token: "/oauth/token" },
    ttl: { AccessToken: 60, ClientCredentials: 60, Interaction: 60, Session: 60, AuthorizationCode: 60, Grant: 60, IdToken: 60 },
  });
  provider.use(async (context, next) =>
    context.path.startsWith("/oauth/register") ? registration.step(context as KoaContextWithOIDC, next) : next(),
  );
  const answer = provider.callback();
  server.on("request", (request, response) => void answer(request, response));

  async function call(
    url: string,
    { token, from, method = "GET", body }: RequestOptions & { method?: string; body?: unknown } = {},
  ): Promise<Answer> {
    const response = await fetch(url, {
      method,
      redirect: "manual",
      headers: {
        accept: "application/json",
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(from === undefined ? {} : { "x-from": from }),
        ...(body === undefined ? {} : { "content-type": "application/json" }),
      },
      ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
    });
    return answerOf(response);
  }

  return {
    issuer,
    folder,
    database,
    clients,
    agents,
    invitations,
    clock,
    ended,
    call,
    register: (metadata, more) => call(`${issuer}/oauth/register`, { ...more, method: "POST", body: metadata }),
    authorize(client, redirectUri) {
      const query = new URLSearchParams({ client_id: client, redirect_uri: redirectUri, response_type: "code", scope: "openid" });
      query.set("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
      query.set("code_challenge_method", "S256");
      return call(`${issuer}/oauth/authorize?${query.toString()}`);
    },
    async token(parameters, authorization) {
      const headers = { ...(authorization === undefined ? {} : { authorization }), accept: "application/json" };
      return answerOf(await fetch(`${issuer}/oauth/token`, { method: "POST", headers, body: new URLSearchParams(parameters) }));
    },
    async audit() {
      await journal.drain();
      const log = createLogStore(createLogRows(database, journal));
      const entries = await log.read(0, (await log.head()).size);
      return entries.map(({ bytes }) => (JSON.parse(Buffer.from(bytes).toString("utf8")) as { event: Record<string, unknown> }).event);
    },
    async close() {
      server.closeAllConnections();
      server.close();
      registration.flush();
      await guarded.close();
      await journal.drain();
      seal.close();
      await database.close();
      await removeFolder(folder);
    },
  };
}

async function answerOf(response: Response): Promise<Answer> {
  const text = await response.text();
  const body = text.startsWith("{") ? (JSON.parse(text) as Record<string, unknown>) : { text };
  return { status: response.status, headers: response.headers, body };
}

function listening(server: Server): Promise<void> {
  return new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
}

/** The provider's other models: they are not what is tested here. */
function memoryAdapter(own: (model: string) => object | undefined) {
  const all = new Map<string, AdapterPayload>();
  return (model: string) => ({
    async upsert(id: string, payload: AdapterPayload) {
      all.set(`${model}:${id}`, payload);
    },
    find: async (id: string) => all.get(`${model}:${id}`),
    findByUid: async (uid: string) => [...all.values()].find((payload) => payload.uid === uid),
    findByUserCode: async () => undefined,
    async consume() {},
    async destroy(id: string) {
      all.delete(`${model}:${id}`);
    },
    async revokeByGrantId() {},
    ...own(model),
  });
}
