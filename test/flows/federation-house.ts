import { generateKeyPairSync, randomBytes } from "node:crypto";
import { mkdtemp } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { AdapterPayload } from "oidc-provider";
import { Provider } from "oidc-provider";
import { createLogStore, logFormat } from "../../src/audit/format.ts";
import { oauth } from "../../src/config/oauth.ts";
import type { AgentName } from "../../src/core/brand.ts";
import { Failure } from "../../src/core/errors.ts";
import type { Actor } from "../../src/core/event.ts";
import type { AuditLog } from "../../src/core/ports.ts";
import { createSealFile } from "../../src/crypto/key-file.ts";
import { openSeal } from "../../src/crypto/seal.ts";
import { createSealedJson } from "../../src/crypto/sealed-json.ts";
import { createTotp } from "../../src/crypto/totp.ts";
import { createAccessTokens } from "../../src/identity/access-token.ts";
import { createAgents } from "../../src/identity/agents.ts";
import { createClients } from "../../src/identity/clients.ts";
import { createPasswords } from "../../src/identity/password.ts";
import { signJws } from "../../src/identity/jws.ts";
import { createUsers } from "../../src/identity/users.ts";
import { newLeaseId } from "../../src/lease/identifier.ts";
import { createWorkloadStep } from "../../src/oauth/grants-client.ts";
import { createExtraGrants, jwtBearer, tokenExchange } from "../../src/oauth/grants.ts";
import { createAgentRecords } from "../../src/store/agent-records.ts";
import { createAuditLog, createLogRows } from "../../src/store/audit-log.ts";
import { createClientRecords } from "../../src/store/clients.ts";
import { createJournal } from "../../src/store/journal.ts";
import { createDataKeyStore } from "../../src/store/keys.ts";
import { createOAuthRecords } from "../../src/store/oauth-records.ts";
import { openSqlite } from "../../src/store/sqlite.ts";
import { createRevocations } from "../../src/store/tokens.ts";
import { createUserRecords } from "../../src/store/users.ts";
import { freePort } from "./documents.ts";
import { removeFolder } from "./house.ts";

export { jwtBearer, tokenExchange } from "../../src/oauth/grants.ts";

export const operator: Actor = { type: "operator", name: "test" };
export const accessToken = "urn:ietf:params:oauth:token-type:access_token";
export const jwtType = "urn:ietf:params:oauth:token-type:jwt";

export interface HouseOptions {
  readonly federation?: readonly unknown[];
  readonly enterprise?: readonly unknown[];
  readonly mustBind?: (agent: AgentName) => boolean;
  /** `false`: somebody else listens on `port`, and calls `callback`. */
  readonly listen?: boolean;
}

export interface Answer {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
  readonly headers: Headers;
}

export type FederationHouse = Awaited<ReturnType<typeof openFederationHouse>>;

/** The extra grants on a provider of its own, over a real store. Every registered client is an agent of its name, with this secret. */
export const secretOf = (client: string): string => `${client}-secret-0123456789-0123456789-0123456789`;

export async function openFederationHouse(options: HouseOptions | ((ours: string) => HouseOptions | Promise<HouseOptions>)) {
  const port = await freePort();
  const issuer = `http://127.0.0.1:${port}`;
  const { federation = [], enterprise = [], mustBind, listen = true } = typeof options === "function" ? await options(issuer) : options;
  const resource = `${issuer}/mcp`;

  const folder = await mkdtemp(join(tmpdir(), "leasehold-federation-"));
  const clock = { now: Date.now() };
  const now = (): number => clock.now;
  const database = await openSqlite(join(folder, "leasehold.db"), now);
  const journal = createJournal(database, logFormat, now);
  await createSealFile(join(folder, "master.key"));
  const store = createDataKeyStore(database, journal);
  const seal = await openSeal({ config: { type: "file", path: join(folder, "master.key") }, env: {}, store, now });
  const config = oauth.parse({ federation, enterprise });

  const log = createLogStore(createLogRows(database, journal));
  const durable = createAuditLog(journal);
  /** Fails writes of a kind, or has something happen after the write or before an agent is looked up. */
  const faults: { fail?: string; after?: () => Promise<unknown>; finding?: (name: AgentName) => Promise<unknown> } = {};
  const audit: AuditLog = {
    async append(event) {
      if (faults.fail === event.kind) throw new Failure("audit_unavailable", {});
      const appended = await durable.append(event);
      if (event.kind === "token.minted") await faults.after?.();
      return appended;
    },
  };
  const agents = createAgents({
    configured: new Map([["configured-bot" as AgentName, { roles: ["reporting"] }]]),
    records: createAgentRecords(database, journal, now),
  });
  const sealed = createSealedJson(seal);
  const clients = createClients({
    records: createClientRecords({ database, journal, sealed, now }),
    configured: [{ id: "configured-bot", agent: "configured-bot" as AgentName, source: "operator" }],
    now,
    limits: config.registration,
  });
  const users = createUsers({
    records: createUserRecords(database, journal, now),
    passwords: createPasswords(),
    codes: createTotp({ seal, now }),
    issuer,
    newId: () => newLeaseId(now(), randomBytes(10)),
    now,
  });
  const revocations = createRevocations(database, journal, now);
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const keys = { current: () => ({ kid: "k1", privateKey }), find: (kid: string) => (kid === "k1" ? publicKey : undefined) };
  const tokens = createAccessTokens({ keys, issuer, audience: resource, revocations, agents, users, clients, now });
  const records = createOAuthRecords({ database, journal, sealed, now });

  const grants = createExtraGrants({
    issuer,
    resource,
    config,
    tokens,
    agents: {
      ...agents,
      async find(name) {
        await faults.finding?.(name);
        return agents.find(name);
      },
    },
    users,
    async ensureUser({ email, ...person }, address) {
      const user = { ...person, name: "vouched", role: "member" as const, ...(email === undefined ? {} : { email }) };
      return (await users.signInVouched(user, address)).account?.account;
    },
    once: (id, until) => records.claim("Assertion", id, until),
    clients,
    audit,
    now,
    fetch,
    ...(mustBind ? { mustBind } : {}),
  });

  const metadata = new Map<string, AdapterPayload>();
  const rows = new Map<string, AdapterPayload>();
  class MemoryAdapter {
    readonly #model: string;
    constructor(model: string) {
      this.#model = model;
    }
    #rows = (): Map<string, AdapterPayload> => (this.#model === "Client" ? metadata : rows);
    upsert = async (id: string, payload: AdapterPayload): Promise<void> => void this.#rows().set(id, payload);
    find = async (id: string): Promise<AdapterPayload | undefined> => this.#rows().get(id);
    findByUid = async (): Promise<undefined> => undefined;
    findByUserCode = async (): Promise<undefined> => undefined;
    consume = async (): Promise<void> => undefined;
    destroy = async (id: string): Promise<void> => void this.#rows().delete(id);
    revokeByGrantId = async (): Promise<void> => undefined;
  }
  const extra = [jwtBearer, tokenExchange];
  const bare = {
    grant_types: extra,
    redirect_uris: [],
    response_types: [],
    id_token_signed_response_alg: "ES256",
  } satisfies AdapterPayload;
  metadata.set("workload", { client_id: "workload", token_endpoint_auth_method: "none", ...bare });
  const provider = new Provider(issuer, {
    adapter: MemoryAdapter,
    routes: { token: "/oauth/token" },
    cookies: { keys: ["cookie-key"] },
    jwks: { keys: [{ ...privateKey.export({ format: "jwk" }), kty: "EC", kid: "k1", use: "sig", alg: "ES256" }] },
    features: {
      devInteractions: { enabled: false },
      dPoP: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => resource,
        getResourceServerInfo: () => ({ scope: "", audience: resource, accessTokenFormat: "jwt" }),
        useGrantedResource: () => true,
      },
    },
  });
  for (const { name, parameters, repeatable, handler } of grants)
    provider.registerGrantType(name, (context) => handler(provider, context), parameters, repeatable);
  provider.use(createWorkloadStep({ path: "/oauth/token", grants: extra }));
  const thrown: unknown[] = [];
  provider.on("grant.error", (_context, error) => void thrown.push(error));
  provider.on("server_error", (_context, error) => void thrown.push(error));
  const callback = provider.callback();
  const server = createServer((request, response) => void callback(request, response));
  if (listen) await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));

  return {
    issuer,
    port,
    callback,
    resource,
    folder,
    clock,
    agents,
    clients,
    users,
    tokens,
    revocations,
    faults,
    thrown,
    /** Claims under our own signature, whatever they are. */
    signed: (payload: Readonly<Record<string, unknown>>): string =>
      signJws({ header: { alg: "ES256", kid: "k1", typ: "at+jwt" }, payload }, privateKey),

    /** A client that authenticates itself by a secret, and the agent that it is. */
    async addClient(name: string, roles: readonly string[] = []): Promise<void> {
      const known: AdapterPayload = {
        client_id: name,
        client_secret: secretOf(name),
        token_endpoint_auth_method: "client_secret_post",
        ...bare,
      };
      await clients.add({ id: name, agent: name as AgentName, source: "operator", metadata: {}, roles }, operator);
      metadata.set(name, known);
    },

    async token(
      parameters: Readonly<Record<string, string | readonly string[]>>,
      headers: Readonly<Record<string, string>> = {},
    ): Promise<Answer> {
      const body = new URLSearchParams();
      for (const [name, value] of Object.entries(parameters)) for (const one of [value].flat()) body.append(name, one);
      const response = await fetch(`${issuer}/oauth/token`, { method: "POST", body, headers });
      return { status: response.status, headers: response.headers, body: (await response.json()) as Record<string, unknown> };
    },

    async audit(kind?: string): Promise<readonly Record<string, unknown>[]> {
      const entries = await log.read(0, (await log.head()).size);
      const events = entries.map(
        ({ bytes }) => (JSON.parse(Buffer.from(bytes).toString("utf8")) as { event: Record<string, unknown> }).event,
      );
      return kind === undefined ? events : events.filter((event) => event["kind"] === kind);
    },

    async close(): Promise<void> {
      server.closeAllConnections();
      if (listen) await new Promise((resolve) => server.close(resolve));
      await journal.drain();
      seal.close();
      await database.close();
      await removeFolder(folder);
    },
  };
}
