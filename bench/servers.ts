import { z } from "zod";
import type { Database } from "../src/demo/database.ts";
import type { Child } from "./ask.ts";
import { startChild } from "./ask.ts";
import type { Revision, ToolCall } from "./calls.ts";
import { httpRequest } from "./calls.ts";
import type { Stretch } from "./rounds.ts";
import { costed, stretch } from "./rounds.ts";
import type { World } from "./world.ts";

/** An MCP server in a process of its own. */
export interface Server {
  readonly child: Child;
  readonly port: number;
  readonly token?: string;
}

export async function startBare(): Promise<Server> {
  const child = await startChild("bare.child.ts", "measured");
  return { child, port: await child.ask("port", z.number()) };
}

export async function startBroker(world: World, postgres?: Database): Promise<Server> {
  const child = await startChild("broker.child.ts", "measured", { configFile: world.configFile });
  await child.ask("put", z.unknown(), { name: "tickets/token", value: "tickets-token-of-32-characters-00" });
  if (postgres) await child.ask("put", z.unknown(), { name: "billing-db/admin", value: JSON.stringify(postgres.superuser) });
  const token = await child.ask("token", z.string());
  return { child, port: await child.ask("serve", z.number()), token };
}

export const startLoad = (): Promise<Child> => startChild("load.child.ts", "measuring");

export interface LoadOptions {
  readonly connections: number;
  readonly milliseconds: number;
  readonly revision: Revision;
  /** Calls after which a stretch ends early. */
  readonly most?: number;
  /** Milliseconds of calls before those that count; 200 if absent. */
  readonly warmUp?: number;
}

/** Calls a server over kept connections. */
export async function callOver(load: Child, server: Server, calls: readonly ToolCall[], options: LoadOptions): Promise<Stretch> {
  const { connections, milliseconds, revision, most = Number.MAX_SAFE_INTEGER, warmUp = 200 } = options;
  const { port, token } = server;
  const requests = calls.map((call) => httpRequest({ ...call, port, revision, ...(token === undefined ? {} : { token }) }));
  await load.ask("open", z.unknown(), { port, connections, requests });
  try {
    await load.ask("run", stretch, { milliseconds: warmUp, most: Math.floor(most / 5) });
    return await costed(server.child, () => load.ask("run", stretch, { milliseconds, most }));
  } finally {
    await load.ask("close", z.unknown());
  }
}
