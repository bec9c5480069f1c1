import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import type { Result, Screen } from "./result.ts";
import { median } from "./rounds.ts";
import { agent, createWorld } from "./world.ts";

const runs = 7;
const program = fileURLToPath(new URL("../bin/leasehold.js", import.meta.url));
const message = z.looseObject({ id: z.number(), result: z.looseObject({}) });

const initialize = {
  jsonrpc: "2.0",
  id: 1,
  method: "initialize",
  params: { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: { name: "bench", version: "1" } },
};
const initialized = { jsonrpc: "2.0", method: "notifications/initialized" };
const listTools = { jsonrpc: "2.0", id: 2, method: "tools/list" };

/** From spawning `leasehold mcp` to its answers, as a client that starts it waits for them. */
export async function measureStart(screen: Screen, wanted: (name: string) => boolean): Promise<readonly Result[]> {
  if (!wanted("stdio_initialize") && !wanted("stdio_tools_list")) return [];
  screen.heading(`Start of \`leasehold mcp\`, median of ${runs} (p99: the slowest)`);
  const world = await createWorld();
  try {
    // The first run of all compiles, and keeps what it compiled: that is once per installation.
    await startOnce(world.configFile);
    const times = [];
    for (let run = 0; run < runs; run += 1) times.push(await startOnce(world.configFile));
    const results = [
      resultOf(
        "stdio_initialize",
        times.map((time) => time.initialize),
      ),
      resultOf(
        "stdio_tools_list",
        times.map((time) => time.toolsList),
      ),
    ];
    for (const result of results) screen.result(result);
    return results;
  } finally {
    await world.remove();
  }
}

function resultOf(name: string, milliseconds: readonly number[]): Result {
  return {
    name,
    calls_per_s: null,
    p50_ms: median(milliseconds),
    p99_ms: Math.max(...milliseconds),
    cpu_us_per_call: null,
    ratio_to_bare: null,
  };
}

async function startOnce(configFile: string): Promise<{ readonly initialize: number; readonly toolsList: number }> {
  const start = performance.now();
  const child = spawn(process.execPath, [program, "--config", configFile, "mcp", "--agent", agent], { stdio: ["pipe", "pipe", "inherit"] });
  const gone = once(child, "exit");
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const send = (one: object): void => void child.stdin.write(`${JSON.stringify(one)}\n`);
  const answerTo = async (id: number): Promise<number> => {
    for (let line = await lines.next(); line.done !== true; line = await lines.next())
      if (message.parse(JSON.parse(line.value)).id === id) return performance.now() - start;
    throw new Error("leasehold mcp ended without an answer");
  };
  try {
    send(initialize);
    const first = await answerTo(1);
    send(initialized);
    send(listTools);
    return { initialize: first, toolsList: await answerTo(2) };
  } finally {
    child.stdin.end();
    await gone;
  }
}
