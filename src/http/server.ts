import type { Server } from "node:http";
import type { CorrelationId } from "../core/brand.ts";
import type { Broker } from "../core/broker.ts";
import type { Material } from "../core/ports.ts";
import type { Principal } from "../core/principal.ts";
import type { AccessTokens } from "../identity/access-token.ts";
import { createApp } from "./app.ts";
import { createBearer } from "./bearer.ts";
import { createBuckets } from "./bucket.ts";
import type { Mcp } from "./front.ts";
import { createFront } from "./front.ts";
import type { Listening } from "./listen.ts";
import { listenOn } from "./listen.ts";
import { createOriginGuard } from "./origin.ts";
import { Refusal } from "./refusal.ts";
import { createRefusedLogins } from "./refused-logins.ts";
import type { AuthRefused } from "./refused-logins.ts";

export interface HttpServerParts {
  readonly mcp: Mcp<Principal>;
  readonly broker: Broker;
  readonly tokens: Pick<AccessTokens, "principal">;
  readonly server: {
    /** Port 0 takes a free one. */
    readonly listen: { readonly host: string; readonly port: number };
    /** How clients reach us, without a trailing slash; `<publicUrl>/mcp` is the resource. */
    readonly publicUrl: string;
    readonly trustedProxies: readonly string[];
    readonly allowedOrigins?: readonly string[];
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
}

export interface HttpServer {
  /** Throws `SetupError` when the address cannot be had. */
  listen(): Promise<Listening>;
  /** Takes no new requests, lets those under way finish for up to `grace` milliseconds, then ends them. */
  close(grace?: number): Promise<void>;
}

/** How deep JSON may nest; tool arguments need four levels. */
const bodyDepth = 64;

/** Leasehold over HTTP. Always authenticated; TLS is ended by a proxy. */
export function createHttpServer(parts: HttpServerParts): HttpServer {
  const { server: config, limits, now } = parts;
  const refused = createRefusedLogins(parts.authRefused);
  const calls = createBuckets({ burst: limits.callsPerMinute, perSecond: limits.callsPerMinute / 60, now });
  let port = config.listen.port;

  const front: Server = createFront({
    mcp: parts.mcp,
    app: createApp({ ...parts, resource: `${config.publicUrl}/mcp` }),
    origin: createOriginGuard({ ...config, port: () => port }),
    authenticate: createBearer({
      tokens: parts.tokens,
      metadataUrl: `${config.publicUrl}/.well-known/oauth-protected-resource/mcp`,
      refused,
      failures: { burst: 20, perSecond: 1 },
      now,
    }),
    admit({ agent }, cost) {
      const wait = calls.take(agent, cost);
      if (wait > 0) throw new Refusal(429, "quota_exceeded", `Too many calls. Try again in ${wait} s.`, { "retry-after": String(wait) });
    },
    publicUrl: config.publicUrl,
    body: { bytes: limits.bodyBytes, depth: bodyDepth },
    patience: parts.patience ?? 10_000,
    logger: parts.logger,
  });

  return {
    async listen() {
      const listening = await listenOn(front, config.listen);
      port = listening.port;
      return listening;
    },

    async close(grace = 10_000) {
      refused.flush();
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
