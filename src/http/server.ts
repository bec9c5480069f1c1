import type { Server } from "node:http";
import type { AgentName, CorrelationId } from "../core/brand.ts";
import type { Broker } from "../core/broker.ts";
import type { Material } from "../core/ports.ts";
import type { Principal } from "../core/principal.ts";
import { covers } from "../core/scope.ts";
import type { AccessTokens } from "../identity/access-token.ts";
import { createDpop } from "../identity/dpop.ts";
import { createApp } from "./app.ts";
import { createBearer } from "./bearer.ts";
import { createBuckets } from "./bucket.ts";
import { createCertificateIdentity } from "./certificate.ts";
import { createChallenges } from "./challenge.ts";
import type { Mcp, OAuthDoor } from "./front.ts";
import { createFront } from "./front.ts";
import { createLegacySse } from "./legacy-sse.ts";
import type { Listening } from "./listen.ts";
import { listenOn } from "./listen.ts";
import { createOriginGuard } from "./origin.ts";
import { Refusal } from "./refusal.ts";
import { createRefusedLogins } from "./refused-logins.ts";
import type { AuthRefused } from "./refused-logins.ts";
import { createStreams } from "./streams.ts";
import type { TlsFiles } from "./tls.ts";
import { createTls } from "./tls.ts";

export interface HttpServerParts {
  readonly mcp: Mcp<Principal>;
  readonly broker: Broker;
  readonly tokens: Pick<AccessTokens, "principal" | "verify" | "live">;
  /** Whether an agent may still be served: it exists, and is neither frozen nor disabled. Asked every second of each open stream. */
  readonly stillLive: (caller: Principal) => Promise<boolean>;
  /** The authorization server. Absent: tokens are minted at the command line only. */
  readonly oauth?: OAuthDoor;
  /** Agents by the SHA-256 thumbprint (base64url) of their TLS client certificate. Counts with `server.tls.clientCa`. */
  readonly certificates?: ReadonlyMap<string, AgentName>;
  /** Whose tokens must be bound to a key or certificate: everyone's, or those of some agents. */
  readonly dpop?: { readonly required: boolean; readonly agents: ReadonlySet<AgentName> };
  readonly server: {
    /** Port 0 takes a free one. */
    readonly listen: { readonly host: string; readonly port: number };
    /** How clients reach us, without a trailing slash; `<publicUrl>/mcp` is the resource. */
    readonly publicUrl: string;
    readonly trustedProxies: readonly string[];
    readonly allowedOrigins?: readonly string[];
    readonly tls?: TlsFiles;
  };
  readonly limits: { readonly callsPerMinute: number; readonly bodyBytes: number };
  /** The values of a redeemed lease by field: `delivery/` knows how. */
  readonly reveal: (material: Material) => Readonly<Record<string, string>>;
  /** Told of failed authentications, in sums: at most once a second for one address. */
  readonly authRefused: (refused: AuthRefused) => void;
  readonly ready: () => boolean;
  readonly newCorrelation: () => CorrelationId;
  readonly logger: { error(facts: object, message: string): void };
  readonly now: () => number;
  /** Milliseconds in which a client must have sent its headers; three times as long for all of a request. */
  readonly patience?: number;
  /** Milliseconds between two looks: at the right of each open stream, at the TLS files. */
  readonly lookEvery?: number;
  /** Open streams that wait: of one caller, and in all. */
  readonly streams?: { readonly perCaller: number; readonly inAll: number };
}

export interface HttpServer {
  /** Throws `SetupError` when the address cannot be had. */
  listen(): Promise<Listening>;
  /** Takes no new requests, lets those under way finish for up to `grace` milliseconds, then ends them. */
  close(grace?: number): Promise<void>;
}

/** How deep JSON may nest; tool arguments need four levels. */
const bodyDepth = 64;

/** Leasehold over HTTP. Always authenticated. TLS ends here, or in a proxy. Throws `SetupError` when the TLS files cannot be used. */
export function createHttpServer(parts: HttpServerParts): HttpServer {
  const { server: config, limits, now, mcp, stillLive, dpop = { required: false, agents: new Set() } } = parts;
  const { publicUrl } = config;
  const refused = createRefusedLogins(parts.authRefused);
  const calls = createBuckets({ burst: limits.callsPerMinute, perSecond: limits.callsPerMinute / 60, now });
  const looks = parts.lookEvery === undefined ? {} : { every: parts.lookEvery };
  const streams = createStreams<Principal>({ now, ...looks, ...parts.streams, keyOf: callerKey });
  const tls = config.tls && createTls({ files: config.tls, now, logger: parts.logger, ...looks });
  const acceptsCertificates = config.tls?.clientCa !== undefined;
  const metadataUrl = `${publicUrl}/.well-known/oauth-protected-resource`;
  const challenges = {
    http: createChallenges({ metadataUrl: `${metadataUrl}/mcp`, dpopRequired: dpop.required }),
    // Clients take metadata for their own URL or for one above it (RFC 9728 section 3.3): `/sse` is not below `/mcp`.
    sse: createChallenges({ metadataUrl, dpopRequired: dpop.required }),
  };
  const scheme = tls ? "https" : "http";
  let port = config.listen.port;

  const front: Server = createFront({
    mcp,
    app: createApp({
      ...parts,
      publicUrl,
      authorizationServers: parts.oauth ? [publicUrl] : [],
      dpopRequired: dpop.required,
      certificateBound: acceptsCertificates,
    }),
    origin: createOriginGuard({ ...config, tls: tls !== undefined, port: () => port }),
    authenticate: createBearer({
      tokens: parts.tokens,
      dpop: createDpop({ now }),
      ...(tls && acceptsCertificates
        ? {
            certificates: createCertificateIdentity({
              certificateOf: (socket) => tls.certificateOf(socket),
              agents: parts.certificates ?? new Map(),
              stillLive,
              now,
            }),
          }
        : {}),
      mustBeBound: (agent) => dpop.required || dpop.agents.has(agent),
      stillLive,
      publicUrl,
      challenges,
      refused,
      failures: { burst: 20, perSecond: 1 },
      now,
    }),
    admit({ agent }, cost) {
      const wait = calls.take(agent, cost);
      if (wait > 0) throw new Refusal(429, "quota_exceeded", `Too many calls. Try again in ${wait} s.`, { "retry-after": String(wait) });
    },
    demand({ caller, scheme: came = "Bearer" }, scopes, ip, told) {
      if (scopes.every((scope) => covers(caller.scopes, scope))) return;
      if (!told) refused.note("token lacks a scope", ip);
      throw challenges.http.insufficientScope(came, caller.scopes ?? [], scopes);
    },
    ...(parts.oauth ? { oauth: parts.oauth } : {}),
    ...(mcp.converse ? { sse: createLegacySse({ converse: mcp.converse, isSame: isSameCaller, streams, publicUrl }) } : {}),
    streams,
    ...(tls ? { tls } : {}),
    publicUrl,
    body: { bytes: limits.bodyBytes, depth: bodyDepth },
    patience: parts.patience ?? 10_000,
    logger: parts.logger,
  });

  return {
    async listen() {
      const listening = await listenOn(front, { ...config.listen, scheme });
      port = listening.port;
      return listening;
    },

    async close(grace = 10_000) {
      refused.flush();
      streams.close();
      if (!front.listening) return;
      const impatient = setTimeout(() => front.closeAllConnections(), grace);
      // Clients keep connections open for later; those that are done with their last call are let go.
      const sweep = setInterval(() => front.closeIdleConnections(), 50);
      await new Promise<void>((resolve) => {
        front.close(() => resolve());
      });
      clearTimeout(impatient);
      clearInterval(sweep);
    },
  };
}

/** Whom open streams count for: an agent, for each person that it acts for. */
function callerKey({ agent, onBehalfOf }: Principal): string {
  return onBehalfOf ? `${agent} ${onBehalfOf.account}` : agent;
}

/** One sign-in: what a session id may be used with. */
function isSameCaller(a: Principal, b: Principal): boolean {
  return a.agent === b.agent && a.client === b.client && a.onBehalfOf?.account === b.onBehalfOf?.account && a.session === b.session;
}
