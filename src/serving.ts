import { setTimeout as pause } from "node:timers/promises";
import type { Logger } from "pino";
import type { Authorization } from "./authorization.ts";
import type { Config } from "./config/config.ts";
import type { AgentName, CorrelationId } from "./core/brand.ts";
import type { EventBody } from "./core/event.ts";
import type { AgentDirectory, Material } from "./core/ports.ts";
import type { Duty } from "./duties.ts";
import { inOrder } from "./duties.ts";
import type { AccessTokens } from "./identity/access-token.ts";
import { localPeer } from "./identity/local-peer.ts";
import { onceStarted } from "./mcp/definition.ts";
import type { createLeaseholdServer } from "./mcp/leasehold.ts";

/** What the MCP server that agents see is made from. */
export type Face = Parameters<typeof createLeaseholdServer>[0];

interface Serving {
  readonly face: Face;
  readonly duties: Duty;
  /** Loads the policies, or throws what is wrong with them. */
  readonly policies: () => Promise<unknown>;
  readonly report: (problem: unknown) => void;
}

interface HttpServing extends Serving {
  readonly tokens: AccessTokens;
  readonly agents: AgentDirectory;
  readonly config: Pick<Config, "server" | "limits" | "agents" | "oauth">;
  /** Puts the authorization server together. */
  readonly authorization: () => Promise<Authorization>;
  readonly reveal: (material: Material) => Readonly<Record<string, string>>;
  readonly record: (event: EventBody) => void;
  readonly newCorrelation: () => CorrelationId;
  readonly logger: Logger;
  readonly now: () => number;
}

/** Answers over HTTP until the signal, then lets calls that are running finish. The faces are imported here: no other command waits for them. */
export async function serveOverHttp(parts: HttpServing, signal: AbortSignal, listening: (url: string) => void): Promise<void> {
  const { createHttpServer } = await import("./http/server.ts");
  const { createMcpEndpoint } = await import("./mcp/endpoint.ts");
  const { createLeaseholdServer } = await import("./mcp/leasehold.ts");
  // Before anyone is let in: broken policies are no reason to serve with less of them.
  await parts.policies();
  const { agents } = parts.config;
  const authorization = await parts.authorization();
  const duties = inOrder([parts.duties, authorization.duty]);
  let ready = false;
  const server = createHttpServer({
    mcp: createMcpEndpoint({ definition: createLeaseholdServer(parts.face), onerror: parts.report }),
    broker: parts.face.broker,
    tokens: parts.tokens,
    stillLive: async ({ agent: name }) => {
      const agent = await parts.agents.find(name);
      return agent !== undefined && !agent.frozen && !agent.disabled;
    },
    oauth: authorization.door,
    certificates: new Map(agents.flatMap(({ name, certificate }) => (certificate === undefined ? [] : [[certificate, name]]))),
    dpop: {
      required: parts.config.oauth.dpop === "required",
      agents: new Set(agents.flatMap(({ name, dpop }) => (dpop === "required" ? [name] : []))),
    },
    server: parts.config.server,
    limits: parts.config.limits,
    reveal: parts.reveal,
    authRefused: (refused) => parts.record({ kind: "auth.refused", ...refused }),
    ready: () => ready,
    newCorrelation: parts.newCorrelation,
    logger: parts.logger,
    now: parts.now,
  });
  const { url } = await server.listen();
  try {
    await duties.start();
    ready = true;
    listening(url);
    await aborted(signal);
  } finally {
    ready = false;
    await server.close();
    await duties.stop();
  }
}

/** Speaks MCP on stdin and stdout, for one agent, until the input ends. */
export async function speakOverStdio(
  parts: Serving & { readonly agent: AgentName; readonly now: () => number },
  signal: AbortSignal,
): Promise<void> {
  const { serveMcpOverStdio } = await import("./mcp/stdio.ts");
  const { createLeaseholdServer } = await import("./mcp/leasehold.ts");
  const caller = localPeer({ agent: parts.agent, transport: "stdio", now: parts.now });
  // Clients wait for the first answer, and it needs no policies. Everything after it waits for them.
  let starting: Promise<void> | undefined;
  const started = (): Promise<void> => (starting ??= Promise.resolve(parts.duties.start()));
  const definition = onceStarted(createLeaseholdServer(parts.face), started);
  const session = serveMcpOverStdio({ definition, caller, onerror: parts.report });
  try {
    await Promise.race([
      aborted(signal),
      ended(process.stdin),
      pause(50)
        .then(started)
        .then(() => forever),
    ]);
    await session.close();
  } finally {
    await parts.duties.stop();
  }
}

const forever = new Promise<never>(() => undefined);

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

function ended(stream: NodeJS.ReadStream): Promise<void> {
  return new Promise((resolve) => stream.once("end", resolve).once("close", resolve));
}
