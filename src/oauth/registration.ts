import { AsyncLocalStorage } from "node:async_hooks";
import type { IncomingMessage } from "node:http";
import type { ClientMetadata, KoaContextWithOIDC } from "oidc-provider";
import { errors } from "oidc-provider";
import type { OAuthConfig } from "../config/config.ts";
import { isAgentName } from "../core/brand.ts";
import type { Actor, AuditEvent } from "../core/event.ts";
import type { JsonObject } from "../core/json.ts";
import { unreachable } from "../core/unreachable.ts";
import type { Clients } from "../identity/clients.ts";
import type { Invitation, Invitations } from "../identity/invitations.ts";
import type { GuardedFetch } from "../outbound/fetch.ts";
import type { Metadata, Standing } from "./client-metadata.ts";
import { extraMembers, judge, requested } from "./client-metadata.ts";
import type { ConfiguredClients } from "./configured-clients.ts";
import { KeysUnavailable } from "./issuer-keys.ts";
import { createMetadataDocuments, isDocumentUrl } from "./metadata-document.ts";
import type { RecordAdapter, Registration, Step } from "./parts.ts";
import { newAgentName } from "./registration-name.ts";
import { createRegistrationRefusals } from "./registration-refusals.ts";
import type { SoftwareStatements, Statement } from "./software-statement.ts";
import { statedMetadata, StatementRefused } from "./software-statement.ts";

export interface RegistrationParts {
  readonly config: OAuthConfig["registration"];
  /** Whether every client must bind its tokens to a key. */
  readonly dpop: OAuthConfig["dpop"];
  readonly clients: Clients;
  readonly configured: ConfiguredClients;
  readonly invitations: Pick<Invitations, "find">;
  readonly statements: SoftwareStatements;
  /** Grant types beside the provider's own. Clients that somebody vouches for may use them. */
  readonly extraGrants: readonly string[];
  /** Takes one registration of an address out of what it has left for this hour. Seconds until there is one again, or 0. */
  readonly take: (ip: string) => number;
  readonly addressOf: (request: IncomingMessage) => string;
  readonly fetch: GuardedFetch["fetch"];
  readonly record: (event: AuditEvent) => void;
  readonly random: (bytes: number) => Uint8Array;
  /** A client changed its redirect URIs: what people consented to before is over. */
  readonly moved: (client: string) => Promise<unknown>;
}

/** What is known of the request that a registration is made with, before the provider sees it. */
interface Order {
  readonly ip: string;
  /** Not a client that changes itself. */
  readonly registering: boolean;
  readonly invitation?: Invitation;
  statement?: Statement;
}

/**
 * Registration of clients (RFC 7591), their management of themselves (RFC 7592), and clients that name themselves by a URL.
 * The provider speaks the protocol; who may register, as what, and what it may say of itself is decided here.
 */
export function createRegistration(parts: RegistrationParts): Registration & { readonly flush: () => void } {
  const { config, clients, invitations, statements, addressOf, take } = parts;
  const orders = new AsyncLocalStorage<Order>();
  const refusals = createRegistrationRefusals(parts.record);

  /** Never falls back: who brings an invitation that is not good is told so, and registers without one if that is what it wants. */
  async function admit(authorization: string | undefined, ip: string): Promise<Order | Refused> {
    if (authorization !== undefined) {
      const [scheme = "", token = ""] = authorization.split(" ", 2);
      const invitation = /^bearer$/i.test(scheme) ? await invitations.find(token) : undefined;
      return invitation
        ? { ip, registering: true, invitation }
        : { status: 401, error: "invalid_token", why: "the invitation is not good, or no longer" };
    }
    const seconds = take(ip);
    if (seconds === 0) return { ip, registering: true };
    return { status: 429, error: "temporarily_unavailable", why: "too many registrations from this address", seconds };
  }

  const step: Step = async (context, next) => {
    const ip = addressOf(context.req);
    const order = context.method === "POST" ? await admit(context.req.headers.authorization, ip) : { ip, registering: false };
    if ("error" in order) answer(context, order);
    else await orders.run(order, next);
    const { status, body } = context;
    if (status < 400 || status > 499 || context.method === "GET") return;
    if (status === 429 && context.response.headers["retry-after"] === undefined) context.set("retry-after", "3600");
    const { error, error_description: why } = isObject(body) ? body : {};
    if (typeof error === "string") refusals.note({ error, why: typeof why === "string" ? why.slice(0, 200) : "", ip });
  };

  /**
   * The one moment at which the provider waits for us after it read the request and before it looks at it. All of it
   * that counts is put in its place: known members, and over them what a statement says.
   */
  async function prepare(context: KoaContextWithOIDC): Promise<boolean> {
    const order = orders.getStore();
    const body = context.oidc.body;
    if (!order || !body) throw new Error("a registration that did not pass the step before it");
    const { software_statement: brought, ...asked } = requested(body);
    if (brought !== undefined) order.statement = await verified(brought);
    if (!order.invitation && !order.statement && !config.open)
      throw described(new errors.InvalidToken(), "registration wants an invitation");
    const stated = order.statement ? { ...order.statement.metadata, software_statement: brought } : {};
    const usual = { grant_types: ["authorization_code", "refresh_token"] };
    replace(body, { ...usual, ...asked, ...stated });
    return true;
  }

  async function verified(statement: unknown): Promise<Statement> {
    try {
      return await statements.verify(statement);
    } catch (cause) {
      if (cause instanceof KeysUnavailable)
        throw new errors.TemporarilyUnavailable("the issuer of the statement cannot be asked", { cause });
      if (!(cause instanceof StatementRefused)) throw cause;
      const { message, error } = cause;
      if (error === "invalid_software_statement") throw new errors.InvalidSoftwareStatement(message, { cause });
      throw new errors.UnapprovedSoftwareStatement(message, { cause });
    }
  }

  /** Runs wherever the provider makes a client, whatever it makes it from. */
  function validator(context: KoaContextWithOIDC | undefined, key: string, _: unknown, metadata: ClientMetadata): void {
    if (key !== extraMembers[0]) return;
    if (context) settle(metadata, standingOf(context), statedFor(context, metadata));
    else if (isDocumentUrl(metadata.client_id)) settle(metadata, { how: "document", grants: [] }, {});
    // Else it comes from the store or the configuration, and was judged before it got there.
    if (parts.dpop === "required") metadata["dpop_bound_access_tokens"] = true;
  }

  function standingOf(context: KoaContextWithOIDC): Standing {
    const order = orders.getStore();
    // A client that changes itself keeps what it has, and gains nothing.
    const held = context.oidc.client?.grantTypes?.filter((grant) => grant === "client_credentials") ?? [];
    return { how: "registration", grants: order?.invitation || order?.statement ? ["client_credentials"] : held };
  }

  /** What a statement said at the registration goes on counting (RFC 7591 section 2.3): a change cannot get rid of it. */
  function statedFor(context: KoaContextWithOIDC, metadata: ClientMetadata): Metadata {
    const before = context.oidc.client?.metadata()["software_statement"];
    const now = metadata["software_statement"];
    if (context.oidc.client && now !== undefined && now !== before)
      throw new errors.InvalidSoftwareStatement("a software statement counts at registration only");
    return typeof before === "string" ? { ...statedMetadata(before), software_statement: before } : {};
  }

  function actor(id: string): Actor {
    const ip = orders.getStore()?.ip ?? "";
    return { type: "client", client: id, ...(ip === "" ? {} : { ip }) };
  }

  async function register(id: string, metadata: JsonObject, order: Order): Promise<void> {
    if (!isAgentName(id)) throw new Error("not an id of our making");
    const { invitation, statement } = order;
    const outcome = await clients.register(
      {
        id,
        agent: id,
        source: "dcr",
        ...named(metadata),
        metadata,
        roles: invitation?.roles ?? statement?.roles ?? [],
        ...(invitation ? { invitation: invitation.id } : {}),
        ...(statement ? { voucher: statement.issuer } : {}),
      },
      actor(id),
    );
    switch (outcome) {
      case "registered":
        return;
      case "spent":
        throw described(new errors.InvalidToken(), "the invitation is not good, or no longer");
      case "full":
        throw described(new errors.OIDCProviderError(429, "temporarily_unavailable"), "no more registrations right now");
      case "taken":
        throw new Error("two clients of one id");
      default:
        unreachable(outcome);
    }
  }

  const adapter: RecordAdapter = {
    async find(id) {
      if (isDocumentUrl(id)) return undefined;
      const client = await clients.find(id);
      if (!client || client.removed || client.frozen) return undefined;
      const metadata = (await parts.configured.metadata(id)) ?? (await clients.metadata(id));
      if (!metadata) return undefined;
      return { ...metadata, grant_types: [...texts(metadata["grant_types"]), ...(client.vouched ? parts.extraGrants : [])] };
    },

    async upsert(id, payload) {
      const order = orders.getStore();
      if (!order) throw new Error("a client that changes outside of a request");
      const metadata = jsonOf(payload);
      if (order.registering) return register(id, metadata, order);
      const before = await clients.metadata(id);
      const kept = await clients.update(id, { ...named(metadata), metadata }, actor(id));
      // Consent was to where the browser was sent. Who goes elsewhere asks again.
      if (kept && !sameTexts(before?.["redirect_uris"], metadata["redirect_uris"])) await parts.moved(id);
      if (!kept) throw described(new errors.InvalidToken(), "the client was removed or frozen");
    },

    async destroy(id) {
      await clients.remove(id, "itself", actor(id));
    },
  };

  return {
    features: {
      registration: {
        enabled: true,
        initialAccessToken: false,
        issueRegistrationAccessToken: prepare,
        idFactory(context) {
          const order = orders.getStore();
          if (!order) throw new Error("a registration that did not pass the step before it");
          const called = context.oidc.body?.["client_name"];
          return newAgentName(order.invitation?.prefix ?? (typeof called === "string" ? called.slice(0, 200) : ""), parts.random);
        },
      },
      registrationManagement: { enabled: true, rotateRegistrationAccessToken: true },
      clientIdMetadataDocument: createMetadataDocuments({ enabled: config.metadataDocuments, clients, take, addressOf }),
    },
    extraClientMetadata: { properties: [...extraMembers], validator },
    fetch: parts.fetch,
    step,
    adapter,
    flush: () => refusals.flush(),
  };
}

interface Refused {
  readonly status: number;
  readonly error: string;
  readonly why: string;
  /** After which it may be tried again. */
  readonly seconds?: number;
}

function answer(context: KoaContextWithOIDC, { status, error, why, seconds }: Refused): void {
  context.status = status;
  context.set("cache-control", "no-store");
  if (seconds !== undefined) context.set("retry-after", String(seconds));
  if (status === 401) context.set("www-authenticate", `Bearer error="${error}", error_description="${why}"`);
  context.body = { error, error_description: why };
}

/** The provider's own object, which it goes on with. */
function settle(metadata: ClientMetadata, standing: Standing, stated: Metadata): void {
  const judged = judge({ ...metadata, ...stated }, standing);
  if ("error" in judged) throw new errors.CustomOIDCProviderError(judged.error, judged.problem);
  replace(metadata, judged.metadata);
}

function replace(target: object, values: Metadata): void {
  for (const member of Reflect.ownKeys(target)) Reflect.deleteProperty(target, member);
  Object.assign(target, values);
}

function described(error: errors.OIDCProviderError, why: string): Error {
  return Object.assign(error, { error_description: why });
}

function named(metadata: JsonObject): { readonly name?: string } {
  const name = metadata["client_name"];
  return typeof name === "string" ? { name } : {};
}

function texts(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter((one) => typeof one === "string") : [];
}

function sameTexts(some: unknown, others: unknown): boolean {
  return JSON.stringify(texts(some).toSorted()) === JSON.stringify(texts(others).toSorted());
}

function jsonOf(payload: Readonly<Record<string, unknown>>): JsonObject {
  return JSON.parse(JSON.stringify(payload)) as JsonObject;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
