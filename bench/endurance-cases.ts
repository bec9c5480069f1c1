import { z } from "zod";
import type { Child } from "./ask.ts";
import type { Revision, ToolCall } from "./calls.ts";
import type { Screen } from "./result.ts";
import { median } from "./rounds.ts";
import type { Server } from "./servers.ts";
import { callOver, startBroker, startLoad } from "./servers.ts";
import type { World } from "./world.ts";
import { asked, createWorld, kept } from "./world.ts";

const purpose = "nightly report";
const lease = (credential: string): ToolCall => ({ tool: "request_lease", input: { credential, purpose, ttl_seconds: 600 } });
const whoami: ToolCall = { tool: "whoami", input: {} };
const find: ToolCall = { tool: "find_credentials", input: {} };

/** Half of them look, a quarter lists the catalogue, a quarter lends. */
const everyday: readonly ToolCall[] = [whoami, find, whoami, lease(kept)];
const decisions: readonly ToolCall[] = [lease(asked)];

const occupied = z.object({ rss: z.number(), heap: z.number() });
export type Occupied = z.infer<typeof occupied> & { readonly calls: number };

/** What a broker occupies after so many calls, with every lease ended and everything collected that can be. */
export async function measureMemory(screen: Screen, revision: Revision): Promise<readonly Occupied[]> {
  return withBroker(async (server, load) => {
    const found: Occupied[] = [];
    let calls = 0;
    const look = async (): Promise<void> => {
      await server.child.ask("revokeAll", z.unknown());
      const now = { calls, ...(await server.child.ask("memory", occupied)) };
      found.push(now);
      screen.say(
        `after ${calls.toLocaleString("en-US").padStart(7)} calls: ${mib(now.heap)} MiB of heap and buffers, ${mib(now.rss)} MiB resident`,
      );
    };
    screen.say("\nMemory, after a full collection (half whoami, a quarter find_credentials, a quarter request_lease; all leases revoked)");
    await look();
    for (const until of [25_000, 50_000, 75_000, 100_000]) {
      while (calls < until) {
        const options = { connections: 16, milliseconds: 60_000, most: until - calls, warmUp: 0, revision };
        const got = await callOver(load, server, everyday, options);
        calls += got.latencies.length;
        if (got.failed > 0) throw new Error(`${got.failed} calls failed, e.g. ${got.failure}`);
      }
      await look();
    }
    return found;
  });
}

export const mib = (bytes: number): string => (bytes / 2 ** 20).toFixed(1);

/**
 * The recipe that ended whole processes on older versions of Node: policy evaluated under concurrent HTTP
 * load, for a minute or longer. A broker that dies fails the run.
 */
export async function soak(screen: Screen, seconds: number, revision: Revision): Promise<void> {
  await withBroker(async (server, load, world) => {
    const rates: number[] = [];
    let calls = 0;
    for (const end = performance.now() + seconds * 1000; performance.now() < end;) {
      const got = await callOver(load, server, decisions, { connections: 64, milliseconds: 2_000, most: 6_000, revision });
      if (got.failed > 0) throw new Error(`${got.failed} calls failed, e.g. ${got.failure}`);
      calls += got.latencies.length;
      rates.push((got.latencies.length / got.milliseconds) * 1000);
      world.reset();
    }
    const { rss, heap } = await server.child.ask("memory", occupied);
    screen.say(
      `\nSoak: ${calls.toLocaleString("en-US")} decisions by Cedar in ${seconds} s at 64 connections, ${Math.round(median(rates))} a second; ` +
        `the broker lives, with ${mib(heap)} MiB of heap and ${mib(rss)} MiB resident`,
    );
  });
}

async function withBroker<T>(work: (server: Server, load: Child, world: World) => Promise<T>): Promise<T> {
  const world = await createWorld();
  try {
    const server = await startBroker(world);
    const load = await startLoad();
    try {
      return await work(server, load, world);
    } finally {
      await load.stop();
      await server.child.stop();
    }
  } finally {
    await world.remove();
  }
}
