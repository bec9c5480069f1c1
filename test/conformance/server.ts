import type { Server } from "node:http";
import { createFront } from "../../src/http/front.ts";
import { listenOn } from "../../src/http/listen.ts";
import { createOriginGuard } from "../../src/http/origin.ts";
import type { ServerDefinition } from "../../src/mcp/definition.ts";
import { createMcpEndpoint } from "../../src/mcp/endpoint.ts";
import { extras } from "./extras.ts";
import { withSessions } from "./sessions.ts";
import { tools } from "./tools.ts";

const definition: ServerDefinition<object> = { info: { name: "leasehold-conformance", version: "1.0.0" }, tools, extras };

export interface FixtureServer {
  readonly url: string;
  close(): void;
}

/**
 * Our own front, endpoint, shortcut and server factory with the suite's tools behind them. The suite cannot
 * send a token, so this one listener lets everybody in; nothing in `src/` can be told to.
 */
export async function startFixtureServer({ sessions }: { readonly sessions: boolean }): Promise<FixtureServer> {
  const endpoint = createMcpEndpoint({ definition });
  let port = 0;
  const server: Server = createFront({
    mcp: sessions ? withSessions(endpoint, definition) : endpoint,
    app: { access: () => undefined, fetch: () => new Response(null, { status: 404 }) },
    origin: createOriginGuard({ publicUrl: "http://localhost:1", port: () => port }),
    authenticate: async () => ({ caller: {} }),
    admit: () => undefined,
    publicUrl: "http://localhost:1",
    body: { bytes: 1 << 20, depth: 64 },
    patience: 10_000,
    logger: { error: (facts, message) => process.stderr.write(`${message} ${String(Object.values(facts)[1])}\n`) },
  });
  const listening = await listenOn(server, { host: "127.0.0.1", port: 0 });
  port = listening.port;
  return {
    url: `${listening.url}/mcp`,
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}
