import { createSecretKey, generateKeyPairSync, randomBytes } from "node:crypto";
import { createServer } from "node:http";
import { mkdtemp } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Provider } from "oidc-provider";
import type { Adapter, AdapterPayload, ClientMetadata } from "oidc-provider";
import { createLogStore, logFormat } from "../../src/audit/format.ts";
import type { AgentName } from "../../src/core/brand.ts";
import type { Actor } from "../../src/core/event.ts";
import type { Agent } from "../../src/core/principal.ts";
import { allScopes } from "../../src/core/scope.ts";
import { createSealFile } from "../../src/crypto/key-file.ts";
import { openSeal } from "../../src/crypto/seal.ts";
import { createTotp } from "../../src/crypto/totp.ts";
import type { Client } from "../../src/identity/directory.ts";
import { createPasswords } from "../../src/identity/password.ts";
import { createUsers } from "../../src/identity/users.ts";
import { newLeaseId } from "../../src/lease/identifier.ts";
import type { PeopleParts } from "../../src/oauth/people.ts";
import { createPeople } from "../../src/oauth/people.ts";
import { createAuditLog, createLogRows } from "../../src/store/audit-log.ts";
import { createJournal } from "../../src/store/journal.ts";
import { createDataKeyStore } from "../../src/store/keys.ts";
import { openSqlite } from "../../src/store/sqlite.ts";
import { createUserRecords } from "../../src/store/users.ts";
import { removeFolder } from "./house.ts";

export const operator: Actor = { type: "operator", name: "test" };

/** Cheap enough for many tests; what it costs in earnest is measured elsewhere. */
const cheap = { name: "scrypt", cost: 1024, block: 8, parallel: 1 } as const;

/** Accounts over a real store, with a clock of its own. */
export async function openPeopleStore() {
  const folder = await mkdtemp(join(tmpdir(), "leasehold-people-"));
  const clock = { ahead: 0 };
  const now = () => Date.now() + clock.ahead;
  const database = await openSqlite(join(folder, "leasehold.db"), now);
  const journal = createJournal(database, logFormat, now);
  await createSealFile(join(folder, "master.key"));
  const config = { type: "file", path: join(folder, "master.key") } as const;
  const seal = await openSeal({ config, env: {}, store: createDataKeyStore(database, journal), now });
  const codes = createTotp({ seal, now });
  const records = createUserRecords(database, journal, now);
  const users = createUsers({
    records,
    codes,
    passwords: createPasswords({ cost: cheap }),
    issuer: "https://broker.example",
    newId: () => newLeaseId(now(), randomBytes(10)),
    now,
  });
  const log = createLogStore(createLogRows(database, journal));
  return {
    file: join(folder, "leasehold.db"),
    users,
    records,
    codes,
    database,
    journal,
    clock,
    now,
    audit: createAuditLog(journal),

    /** Every event so far, oldest first. */
    async events(): Promise<readonly Readonly<Record<string, unknown>>[]> {
      await journal.drain();
      const { size } = await log.head();
      const entries = await log.read(0, size);
      return entries.map(({ bytes }) => (JSON.parse(Buffer.from(bytes).toString("utf8")) as { event: Record<string, unknown> }).event);
    },

    async close() {
      seal.close();
      await journal.drain();
      await database.close();
      await removeFolder(folder);
    },
  };
}

export type PeopleStore = Awaited<ReturnType<typeof openPeopleStore>>;

export interface ProviderOptions {
  readonly clients: readonly (ClientMetadata & { readonly source?: Client["source"] })[];
  readonly openid?: PeopleParts["openid"];
}

/** An authorization server around the pages, as small as it can be. */
export async function openProvider(store: PeopleStore, options: ProviderOptions) {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const publicUrl = `http://localhost:${(server.address() as AddressInfo).port}`;
  const directory = new Map<string, Client>();
  for (const { client_id: id, source = "dcr", client_name: name } of options.clients)
    directory.set(id, {
      id,
      agent: agentOf(id),
      source,
      ...(name === undefined ? {} : { name }),
      createdAt: 0,
      frozen: false,
      removed: false,
    });
  const logged: object[] = [];
  const ended: string[] = [];
  const people = createPeople({
    publicUrl,
    users: store.users,
    clients: { find: async (id) => directory.get(id) },
    agents: { find: async (name) => agent(name) },
    audit: store.audit,
    key: createSecretKey(randomBytes(32)),
    connections: {
      list: async () => [...grants],
      end: async (id) => {
        ended.push(id);
        await (await provider.Grant.find(id))?.destroy();
      },
    },
    sessionFor: 3600,
    ...(options.openid ? { openid: options.openid } : {}),
    addressOf: (request) => request.socket.remoteAddress ?? "",
    logger: { error: (facts) => void logged.push(facts) },
    now: store.now,
  });
  const resource = `${publicUrl}/mcp`;
  const provider = new Provider(publicUrl, {
    clients: [...options.clients],
    clientDefaults: { id_token_signed_response_alg: "ES256" },
    adapter: inMemory(),
    jwks: { keys: [{ ...generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey.export({ format: "jwk" }), kty: "EC", use: "sig" }] },
    ...people.configuration,
    routes: {
      authorization: "/oauth/authorize",
      token: "/oauth/token",
      code_verification: "/oauth/device",
      device_authorization: "/oauth/device_authorization",
    },
    scopes: ["openid", "offline_access", ...allScopes],
    cookies: { keys: ["of a test"] },
    features: {
      devInteractions: { enabled: false },
      deviceFlow: { enabled: true, ...people.deviceFlow },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => resource,
        useGrantedResource: () => true,
        getResourceServerInfo: () => ({ scope: allScopes.join(" "), accessTokenFormat: "opaque" }),
      },
    },
    ttl: { Session: 3600, Interaction: 600, Grant: 3600, AuthorizationCode: 60, AccessToken: 600, DeviceCode: 600, RefreshToken: 3600 },
  });
  const grants = new Set<string>();
  provider.on("grant.saved", ({ jti }: { jti: string }) => void grants.add(jti));
  provider.on("server_error", (_, error) => void logged.push(error));
  const handle = provider.callback();
  server.on("request", (request, response) => {
    const path = (request.url ?? "").split("?", 1)[0] ?? "";
    void (people.handles(path) ? people.serve(request, response, provider) : handle(request, response));
  });
  return {
    publicUrl,
    provider,
    people,
    directory,
    logged,
    ended,
    granted: () => grants.size,
    async close() {
      people.flush();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

export type TestProvider = Awaited<ReturnType<typeof openProvider>>;

function agentOf(client: string): AgentName {
  return client.replaceAll(/[^a-z0-9._-]+/g, "-") as AgentName;
}

function agent(name: AgentName): Agent {
  return {
    name,
    roles: name === "known" ? ["data-retrieval"] : [],
    registeredBy: "operator",
    frozen: false,
    disabled: false,
    tokensValidFrom: 0,
  };
}

/** The provider's models in a map each. */
function inMemory(): (model: string) => Adapter {
  const all = new Map<string, AdapterPayload>();
  const find = (model: string, key: "uid" | "userCode", value: string) =>
    [...all].find(([id, payload]) => id.startsWith(`${model}/`) && payload[key] === value)?.[1];
  return (model) => ({
    upsert: async (id, payload) => void all.set(`${model}/${id}`, structuredClone(payload)),
    find: async (id) => structuredClone(all.get(`${model}/${id}`)),
    findByUid: async (uid) => structuredClone(find(model, "uid", uid)),
    findByUserCode: async (code) => structuredClone(find(model, "userCode", code)),
    consume: async (id) => {
      const payload = all.get(`${model}/${id}`);
      if (payload) payload.consumed = 1;
    },
    destroy: async (id) => void all.delete(`${model}/${id}`),
    revokeByGrantId: async (grant) => {
      for (const [id, payload] of all) if (payload.grantId === grant) all.delete(id);
    },
  });
}
