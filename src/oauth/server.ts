import type { KeyObject } from "node:crypto";
import type { EventEmitter } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { errors, KoaContextWithOIDC } from "oidc-provider";
import type { OAuthConfig } from "../config/config.ts";
import { Failure } from "../core/errors.ts";
import type { AgentDirectory, AuditLog } from "../core/ports.ts";
import type { KeySet } from "../crypto/key-set.ts";
import type { AccessTokens } from "../identity/access-token.ts";
import type { Clients } from "../identity/clients.ts";
import type { UserDirectory } from "../identity/directory.ts";
import { deviceGrant } from "../identity/operator-client.ts";
import type { Records } from "./adapter.ts";
import { createAdapter } from "./adapter.ts";
import { createWorkloadStep } from "./grants-client.ts";
import { isWrittenDown } from "./grants-refusal.ts";
import { actorOf, createIssue, unavailable } from "./issue.ts";
import type { ExtraGrant, People, Registration, Step } from "./parts.ts";
import { messagePage } from "./pages/message.ts";
import { cookieOf, sendPage } from "./people-request.ts";
import { cookieNames, createProvider, detailsRefused, routes } from "./provider.ts";
import type { OAuthSessions } from "./sessions.ts";
import type { Standing } from "./standing.ts";
import { createStanding } from "./standing.ts";
import { createStructuredTokens } from "./structured-tokens.ts";
import { createTokenRefusals } from "./token-refusals.ts";

export interface OAuthServerParts {
  /** Public URL of the broker, without a trailing slash: compared byte by byte by clients. */
  readonly issuer: string;
  /** The MCP URL: what tokens are for. */
  readonly resource: string;
  readonly config: OAuthConfig;
  readonly keys: KeySet;
  readonly records: Records;
  readonly sessions: OAuthSessions;
  readonly registration: Registration;
  readonly people: People;
  readonly grants: readonly ExtraGrant[];
  readonly tokens: AccessTokens;
  readonly agents: AgentDirectory;
  readonly users: UserDirectory;
  readonly clients: Pick<Clients, "find" | "touch">;
  readonly audit: AuditLog;
  /** 32 random bytes, the same in all processes of a broker. */
  readonly key: KeyObject;
  /** Takes one request of an address out of what it has left. Seconds until there is one again, or 0. */
  readonly take: (ip: string) => number;
  readonly logger: { error(facts: object, message: string): void };
  readonly now: () => number;
}

/** The authorization server (RFC 6749 with RFC 9700), below `/oauth/` and at its well-known paths. */
export interface OAuthServer {
  /** Writes down refusals that are still held back. */
  flush(): void;
  handles(path: string): boolean;
  serve(request: IncomingMessage, response: ServerResponse, ip: string): Promise<void>;
}

/** A device that waits, and a client that is told a nonce, come again. */
const noRefusal: ReadonlySet<string> = new Set(["authorization_pending", "slow_down", "use_dpop_nonce"]);
/** Answered in JSON, errors too (RFC 6749 section 5.2), whatever else a caller would take. */
const inJson: ReadonlySet<string> = new Set([
  routes.token,
  routes.revocation,
  routes.introspection,
  routes.device_authorization,
  routes.pushed_authorization_request,
  routes.registration,
]);
const wellKnown = ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"] as const;

export async function createOAuthServer(parts: OAuthServerParts): Promise<OAuthServer> {
  const library = await import("oidc-provider");
  const { issuer, people, keys, sessions, logger, now } = parts;
  const { protocol, host, pathname } = new URL(issuer);
  const base = pathname.replace(/\/$/, "");
  /** Without a token, a caller may ask for these as often as it likes: they are always the same. */
  const free = new Set<string>([...wellKnown, routes.jwks]);

  const judge = createStanding({ ...parts, errors: library.errors });
  /** Asked before anything is used up for a token, and before the token. */
  const standing: Standing = async (claimant) => {
    const { oidc } = library.Provider.ctx ?? {};
    if (oidc?.route === "token" && oidc.body?.["authorization_details"] !== undefined) throw detailsRefused(library.errors);
    return judge(claimant);
  };
  const adapter = createAdapter({
    records: parts.records,
    sessions,
    clients: parts.registration.adapter,
    standing,
    // Our own pages have another way to say it.
    failed: (cause) => (cause instanceof Failure && library.Provider.ctx ? unavailable(library.errors, cause) : cause),
    invalidGrant: (why) => new library.errors.InvalidGrant(why),
    request: () => requestOf(library.Provider.ctx),
    now,
  });
  /** What was used up for a token that could not be written down: its client is told to come again with it. */
  async function giveBack({ oidc: { entities } }: KoaContextWithOIDC): Promise<void> {
    const { AuthorizationCode, DeviceCode, RotatedRefreshToken } = entities;
    for (const used of [AuthorizationCode, DeviceCode, RotatedRefreshToken]) if (used) await parts.records.release(used.kind, used.jti);
  }

  const issue = createIssue({ ...parts, standing, giveBack, dpopRequired: parts.config.dpop === "required", errors: library.errors, now });
  const steps: readonly Step[] = [
    createWorkloadStep({ path: routes.token, grants: parts.grants.map(({ name }) => name) }),
    createStructuredTokens({ ...parts, standing, paths: routes }),
    tellStrangers,
  ];

  /**
   * Requests of clients that nobody vouches for. An error of theirs, before any person was asked, is shown and not sent to
   * where they say: else a link to us would lead anywhere, to whoever registered first (RFC 9700 section 4.11.2).
   */
  const strangers = new WeakSet<object>();
  async function tellStrangers(context: KoaContextWithOIDC, next: () => Promise<void>): Promise<void> {
    const id = context.path === routes.authorization ? context.query["client_id"] : undefined;
    if (id !== undefined && !(typeof id === "string" && (await parts.clients.find(id))?.vouched)) strangers.add(context);
    await next();
  }

  const refusals = createTokenRefusals((event) => {
    // That one cannot be written down makes it no less of a refusal.
    void parts.audit.append(event).catch((err: unknown) => logger.error({ err }, "a refused token request could not be written down"));
  });

  function refused(context: KoaContextWithOIDC, error: errors.OIDCProviderError): void {
    if (isWrittenDown(error) || error.error === undefined || noRefusal.has(error.error)) return;
    const { params, client } = context.oidc;
    const grant = params?.["grant_type"];
    refusals.note({
      actor: actorOf(context),
      error: error.error,
      why: (error.error_detail ?? error.error_description ?? error.message).slice(0, 200),
      ...(typeof grant === "string" ? { grant: grant.slice(0, 100) } : {}),
      ...(client === undefined ? {} : { client: client.clientId }),
    });
  }

  function build() {
    const provider = createProvider({ ...parts, library, adapter, issue });
    for (const step of steps) provider.use((context, next) => step(context as KoaContextWithOIDC, next));
    provider.on("server_error", (_context, err) => logger.error({ err }, "the authorization server met a problem"));
    provider.on("grant.error", refused);
    provider.on("authorization.error", (context, error) => {
      if (strangers.has(context)) error.allow_redirect = false;
    });
    // Without a listener it goes to stderr as it is. A client that hangs up is none of our problems.
    const emitter: EventEmitter = provider;
    emitter.on("error", (err: NodeJS.ErrnoException) => {
      if (err.code !== "ECONNRESET" && err.code !== "ERR_STREAM_PREMATURE_CLOSE") logger.error({ err }, "the authorization server failed");
    });
    return { provider, answer: provider.callback(), keys: keyIds() };
  }

  /** The one that signs is the first. */
  function keyIds(): string {
    return keys
      .published()
      .map(({ kid }) => kid)
      .join(" ");
  }

  let present = build();

  /** Keys are given to a provider once: another set of them, or another that signs, is another provider. Requests under way end on the old one. */
  function current() {
    if (present.keys !== keyIds()) present = build();
    return present;
  }

  /** Nothing that a client or a proxy says of where we are is believed (OA-15). */
  function settle(request: IncomingMessage, ip: string): void {
    const { headers } = request;
    for (const name of Object.keys(headers)) if (name.startsWith("x-forwarded-") || name === "forwarded") delete headers[name];
    headers.host = host;
    headers["x-forwarded-proto"] = protocol.slice(0, -1);
    if (ip !== "") headers["x-forwarded-for"] = ip;
    const path = pathOf(request);
    if (inJson.has(path) || path.startsWith(`${routes.registration}/`)) headers.accept = "application/json";
    // Where the issuer has a path, a proxy took it off on the way to us; every URL that we name has it.
    Object.assign(request, { baseUrl: base });
  }

  function pathOf(request: IncomingMessage): string {
    return (request.url ?? "").split("?", 1)[0] ?? "";
  }

  /** With the path of the issuer behind it (RFC 8414 section 3.1), the same document. */
  function wellKnownOf(path: string): string | undefined {
    return wellKnown.find((one) => path === one || path === `${one}${base}`);
  }

  return {
    flush: () => refusals.flush(),
    // The provider takes paths in any spelling; what stands in front of it goes by the one that there is.
    handles: (path) => /^\/oauth\/[a-z_]+(?:\/|$)/.test(path) || wellKnownOf(path) !== undefined,

    async serve(request, response, ip) {
      const path = pathOf(request);
      if (!free.has(wellKnownOf(path) ?? path)) {
        const wait = parts.take(ip);
        if (wait > 0) return tooMany(request, response, wait);
      }
      settle(request, ip);
      response.setHeader("x-content-type-options", "nosniff");
      response.setHeader("referrer-policy", "same-origin");
      const { provider, answer } = current();
      if (people.handles(path)) return people.serve(request, response, provider);
      if (isMidway(request, path) && cookieOf(request, cookieNames(protocol === "https:").session) === undefined)
        return sendPage(
          response,
          400,
          messagePage("Start again", "This browser has no sign-in under way. Open the link that you were given again."),
        );
      const document = wellKnownOf(path);
      if (document !== undefined) request.url = document;
      await answer(request, response);
    },
  };
}

/** Later steps of the device flow, which belong to a browser that took the first. */
function isMidway({ method }: IncomingMessage, path: string): boolean {
  return path.startsWith(`${routes.code_verification}/`) || (path === routes.code_verification && method === "POST");
}

function requestOf(context: KoaContextWithOIDC | undefined): ReturnType<Parameters<typeof createAdapter>[0]["request"]> {
  if (!context?.oidc) return { by: { type: "broker" } };
  const by = actorOf(context);
  // At the token endpoint the provider ends a sign-in for one reason only.
  const grant = context.oidc.route === "token" ? context.oidc.params?.["grant_type"] : undefined;
  if (grant === "authorization_code" || grant === deviceGrant) return { by, replay: "code" };
  return grant === "refresh_token" ? { by, replay: "refresh-token" } : { by };
}

function tooMany(request: IncomingMessage, response: ServerResponse, seconds: number): void {
  const body = JSON.stringify({ error: "temporarily_unavailable", error_description: `Too many requests. Try again in ${seconds} s.` });
  response.writeHead(429, {
    "content-type": "application/json",
    "cache-control": "no-store",
    "retry-after": String(seconds),
    ...(request.complete ? {} : { connection: "close" }),
  });
  response.end(body);
  request.resume();
}
