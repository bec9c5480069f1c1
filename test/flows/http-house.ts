import { generateKeyPairSync } from "node:crypto";
import { connect } from "node:net";
import type { AgentName } from "../../src/core/brand.ts";
import type { Account } from "../../src/identity/directory.ts";
import type { AuthRefused } from "../../src/http/refused-logins.ts";
import { createHttpServer } from "../../src/http/server.ts";
import type { HttpServerParts } from "../../src/http/server.ts";
import type { TlsFiles } from "../../src/http/tls.ts";
import { createAccessTokens } from "../../src/identity/access-token.ts";
import type { MintOrder } from "../../src/identity/access-token.ts";
import { createMcpEndpoint } from "../../src/mcp/endpoint.ts";
import { createLeaseholdServer } from "../../src/mcp/leasehold.ts";
import { newCorrelation, plain, tinyHouse } from "../core/mcp/tiny-house.ts";
import type { Rights } from "../core/mcp/tiny-house.ts";

export const publicUrl = "https://broker.example";

export interface HttpHouseOptions {
  readonly rights?: Rights;
  readonly callsPerMinute?: number;
  readonly trustedProxies?: readonly string[];
  readonly ready?: () => boolean;
  readonly patience?: number;
  readonly publicUrl?: string;
  readonly parts?: Partial<Pick<HttpServerParts, "oauth" | "certificates" | "dpop" | "lookEvery" | "streams">>;
  readonly tls?: TlsFiles;
  /** Announces that the list of tools may change, so that clients have something to wait for. */
  readonly listChanges?: boolean;
  readonly refusedTool?: (tool: string) => void;
}

/** Leasehold over real HTTP on a free port, with the real broker on small parts behind it. */
export async function startHttpHouse(options: HttpHouseOptions = {}) {
  const ourUrl = options.publicUrl ?? publicUrl;
  const house = tinyHouse(options.rights ?? { bot: { "crm/api": ["use", "inject"] } });
  const refused: AuthRefused[] = [];
  const revoked = new Set<string>();
  const pair = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const accounts = new Map<string, Account>();
  const tokens = createAccessTokens({
    keys: { current: () => ({ kid: "k", privateKey: pair.privateKey }), find: (kid) => (kid === "k" ? pair.publicKey : undefined) },
    issuer: ourUrl,
    audience: `${ourUrl}/mcp`,
    revocations: { isRevoked: async (id) => revoked.has(id) },
    agents: { find: (name) => house.agent(name) },
    users: { find: async (account) => accounts.get(account) },
    clients: { find: async () => undefined },
    now: Date.now,
  });
  const logged: object[] = [];
  const logger = { error: (facts: object) => void logged.push(facts) };
  const leasehold = createLeaseholdServer({
    broker: house.broker,
    called: () => undefined,
    refused: async (_principal, tool) => options.refusedTool?.(tool),
    newCorrelation,
    logger,
    now: Date.now,
    version: "1.2.3",
  });
  const definition: typeof leasehold = options.listChanges
    ? { ...leasehold, extras: { capabilities: { tools: { listChanged: true } }, install: () => undefined } }
    : leasehold;
  const parts: HttpServerParts = {
    mcp: createMcpEndpoint({ definition }),
    broker: house.broker,
    tokens,
    async stillLive({ agent }) {
      const record = await house.agent(agent);
      return record !== undefined && !record.frozen && !record.disabled;
    },
    ...options.parts,
    server: {
      listen: { host: "127.0.0.1", port: 0 },
      publicUrl: ourUrl,
      trustedProxies: options.trustedProxies ?? [],
      ...(options.tls ? { tls: options.tls } : {}),
    },
    limits: { callsPerMinute: options.callsPerMinute ?? 10_000, bodyBytes: 1 << 20 },
    reveal: plain,
    authRefused: (info) => void refused.push(info),
    ready: options.ready ?? (() => true),
    newCorrelation,
    logger,
    now: Date.now,
    ...(options.patience === undefined ? {} : { patience: options.patience }),
  };
  const server = createHttpServer(parts);
  const { url, port } = await server.listen();

  const token = (agent = "bot", order: Partial<MintOrder> = {}) => tokens.mint({ agent: agent as AgentName, ...order });
  const headers = (agent = "bot", order: Partial<MintOrder> = {}) => ({
    authorization: `Bearer ${token(agent, order).token}`,
    "content-type": "application/json",
    accept: "application/json, text/event-stream",
  });

  return {
    house,
    parts,
    definition,
    server,
    url,
    port,
    refused,
    revoked,
    accounts,
    logged,
    token,
    headers,

    post: (body: unknown, more: Readonly<Record<string, string>> = {}, path = "/mcp") =>
      fetch(url + path, {
        method: "POST",
        headers: { ...headers(), ...more },
        body: typeof body === "string" ? body : JSON.stringify(body),
      }),

    /** Bytes in, bytes out: for what no well-behaved client sends. */
    raw: (text: string | Buffer, { finish = true, wait = 4_000 } = {}): Promise<string> =>
      new Promise((resolve) => {
        const socket = connect(port, "127.0.0.1");
        let answer = "";
        const timer = setTimeout(() => socket.destroy(), wait);
        socket.on("data", (chunk: Buffer) => (answer += chunk.toString("latin1")));
        socket.on("error", () => undefined);
        socket.on("close", () => {
          clearTimeout(timer);
          resolve(answer);
        });
        socket.write(text);
        if (finish) socket.end();
      }),
  };
}

export type HttpHouse = Awaited<ReturnType<typeof startHttpHouse>>;

export function toolCall(name: string, input: object = {}) {
  return { jsonrpc: "2.0", id: 1, method: "tools/call", params: { name, arguments: input } };
}
