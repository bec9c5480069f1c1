import { randomBytes } from "node:crypto";
import type { KeyObject } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { Logger } from "pino";
import type { Config } from "./config/config.ts";
import { networkOf } from "./core/network.ts";
import type { AuditLog, Vault } from "./core/ports.ts";
import type { KeySet } from "./crypto/key-set.ts";
import type { Duty } from "./duties.ts";
import { every, inOrder } from "./duties.ts";
import { createBuckets } from "./http/bucket.ts";
import type { OAuthDoor } from "./http/front.ts";
import type { AccessTokens } from "./identity/access-token.ts";
import type { Agents } from "./identity/agents.ts";
import type { Clients } from "./identity/clients.ts";
import type { Invitations } from "./identity/invitations.ts";
import type { Users } from "./identity/users.ts";
import { createConfiguredClients } from "./oauth/configured-clients.ts";
import { createExtraGrants } from "./oauth/grants.ts";
import { createPeople } from "./oauth/people.ts";
import { createRegistration } from "./oauth/registration.ts";
import { createOAuthServer } from "./oauth/server.ts";
import type { OAuthSessions } from "./oauth/sessions.ts";
import { createSoftwareStatements } from "./oauth/software-statement.ts";
import { createGuardedFetch } from "./outbound/fetch.ts";
import type { OAuthRecords } from "./store/oauth-records.ts";
import { readReference } from "./vaults/reference.ts";

export interface AuthorizationParts {
  readonly config: Config;
  /** 32 random bytes, the same in all processes of a broker: cookies, forms and nonces are signed with what is derived from it. */
  readonly key: KeyObject;
  readonly keys: KeySet;
  readonly records: OAuthRecords;
  readonly sessions: OAuthSessions;
  readonly tokens: AccessTokens;
  readonly agents: Agents;
  readonly users: Users;
  readonly clients: Clients;
  readonly invitations: Invitations;
  readonly vault: (name: string) => Vault;
  readonly audit: AuditLog;
  readonly report: (problem: unknown) => void;
  readonly logger: Logger;
  readonly now: () => number;
}

export interface Authorization {
  readonly door: OAuthDoor;
  /** Keys that take turns, and what has expired. */
  readonly duty: Duty;
}

/** Puts the authorization server together: who may register, how people sign in, what is exchanged for a token. Throws `SetupError`. */
export async function createAuthorization(parts: AuthorizationParts): Promise<Authorization> {
  const { config, clients, invitations, users, agents, audit, records, sessions, tokens, report, logger, now } = parts;
  const { oauth } = config;
  const issuer = config.server.publicUrl;
  const resource = `${issuer}/mcp`;
  const guarded = createGuardedFetch({ now });
  const fetch = globalThis.fetch;
  /** Who is at the other end was found out at the door. */
  const addresses = new WeakMap<IncomingMessage, string>();
  const addressOf = (request: IncomingMessage): string => addresses.get(request) ?? "";

  const mustBind = new Set(config.agents.filter(({ dpop }) => dpop === "required").map(({ name }) => name));
  const grants = createExtraGrants({
    issuer,
    resource,
    config: oauth,
    tokens,
    agents,
    users,
    clients,
    mustBind: (agent) => oauth.dpop === "required" || mustBind.has(agent),
    ensureUser: async (person, ip) => (await users.signInVouched({ ...person, name: person.email ?? person.subject }, ip)).account?.account,
    once: (id, until) => records.claim("Assertion", id, until),
    audit,
    fetch,
    now,
  });

  const configured = createConfiguredClients(config.agents, now);
  await configured.check();
  const registrations = createBuckets({ burst: oauth.registration.perHour, perSecond: oauth.registration.perHour / 3_600, now });
  const registration = createRegistration({
    config: oauth.registration,
    dpop: oauth.dpop,
    clients,
    configured,
    invitations,
    statements: createSoftwareStatements({ issuers: oauth.registration.softwareStatements, audience: issuer, fetch, now }),
    extraGrants: grants.map(({ name }) => name),
    take: (ip) => registrations.take(networkOf(ip)),
    addressOf,
    fetch: guarded.fetch,
    record: (event) => void audit.append(event).catch(report),
    random: randomBytes,
    moved: (client) => sessions.endAllOf({ client }, { type: "client", client }),
  });

  const { openid, sessionFor } = oauth.people;
  const people = createPeople({
    publicUrl: issuer,
    users,
    clients,
    agents,
    audit,
    key: parts.key,
    ...(openid ? { openid: withSecret(openid) } : {}),
    connections: { list: (account) => records.grants({ account }), end: (grant, by) => sessions.end(grant, by) },
    sessionFor,
    addressOf,
    logger,
    now,
  });

  function withSecret({ clientSecret: where, ...provider }: NonNullable<typeof openid>) {
    return { ...provider, ...(where ? { clientSecret: () => readReference(where, parts.vault, process.env) } : {}) };
  }

  const requests = createBuckets({ burst: oauth.requestsPerMinute, perSecond: oauth.requestsPerMinute / 60, now });
  const server = await createOAuthServer({
    issuer,
    resource,
    config: oauth,
    keys: parts.keys,
    records,
    sessions,
    registration,
    people,
    grants,
    tokens,
    agents,
    users,
    clients,
    audit,
    key: parts.key,
    take: (ip) => requests.take(networkOf(ip)),
    logger,
    now,
  });

  return {
    door: {
      handles: (path) => server.handles(path),
      serve(request, response, ip) {
        addresses.set(request, ip);
        return server.serve(request, response, ip);
      },
    },
    duty: inOrder([
      every(60_000, () => parts.keys.rotate(), report),
      every(60_000, () => records.prune(), report),
      every(60_000, () => clients.prune(), report),
      every(3_600_000, () => invitations.prune(), report),
      {
        start: () => undefined,
        async stop() {
          registration.flush();
          people.flush();
          server.flush();
          await guarded.close();
        },
      },
    ]),
  };
}
