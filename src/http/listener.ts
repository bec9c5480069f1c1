import type { RequestListener, Server } from "node:http";
import { createServer } from "node:http";
import { createServer as createSecureServer } from "node:https";
import type { Tls } from "./tls.ts";

export interface ListenerParts {
  readonly serve: RequestListener;
  /** Milliseconds in which a client must have sent its headers; three times as long for all of the request. */
  readonly patience: number;
  readonly tls?: Tls;
}

/** The bare server, with and without TLS under the same limits. */
export function createListener({ serve, patience, tls }: ListenerParts): Server {
  const limits = {
    maxHeaderSize: 16 * 1024,
    // A client that trickles its headers or body is cut off with 408 (slow-loris).
    headersTimeout: patience,
    requestTimeout: patience * 3,
    keepAliveTimeout: 65_000,
    connectionsCheckingInterval: patience / 5,
    requireHostHeader: true,
    insecureHTTPParser: false,
  };
  const server = tls ? createSecureServer({ ...limits, ...tls.options, handshakeTimeout: patience }, serve) : createServer(limits, serve);
  if (tls && "setSecureContext" in server) {
    tls.follow(server);
    server.once("close", () => tls.stop());
  }
  server.maxConnections = 4_096;
  return server;
}
