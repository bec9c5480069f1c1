import { writeFile } from "node:fs/promises";
import { Session } from "node:inspector/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { pino } from "pino";
import { z } from "zod";
import { compose, configTables } from "../src/compose.ts";
import { loadConfig } from "../src/config/load.ts";
import { isAgentName } from "../src/core/brand.ts";
import { Secret } from "../src/core/secret.ts";
import { answerAsks, setupOf } from "./ask.ts";
import { agent } from "./world.ts";

/** The broker of `leasehold serve`, put together by the same `compose`. */
const { configFile } = setupOf(z.object({ configFile: z.string() }));
const logger = pino({ level: "error", base: null }, pino.destination({ dest: 2, sync: true }));
const house = await compose({ config: await loadConfig(configFile, configTables), logger });

const stopping = new AbortController();
let serving: Promise<void> | undefined;

async function serve(): Promise<number> {
  const url = await new Promise<string>((resolve, reject) => {
    serving = house.serve(stopping.signal, resolve);
    serving.catch(reject);
  });
  return Number(new URL(url).port);
}

const secret = z.object({ name: z.string(), value: z.string() });

async function put(input: unknown): Promise<void> {
  const { name, value } = secret.parse(input);
  await house.vaults["local"]?.write?.(name, Secret.of(value), AbortSignal.timeout(5_000));
}

function token(): string {
  if (!isAgentName(agent)) throw new Error(`${agent} is no agent name`);
  return house.tokens.mint({ agent, ttlSeconds: 3_600 }).token;
}

/** Ends every lease that is live, the way an operator would. */
async function revokeAll(): Promise<void> {
  for (let leases = await page(); leases.length > 0; leases = await page())
    await Promise.all(leases.map((lease) => house.operator.revoke(lease.id, "bench")));
}

const page = () => house.operator.list({ live: true, limit: 64 });

setFlagsFromString("--expose-gc");
const collect = z.custom<() => void>((value) => typeof value === "function").parse(runInNewContext("gc"));

/** What is still there after everything that can be freed was freed. */
function memory(): { rss: number; heap: number } {
  collect();
  collect();
  const { rss, heapUsed, external } = process.memoryUsage();
  return { rss, heap: heapUsed + external };
}

const profiler = new Session();
profiler.connect();

async function profile(): Promise<void> {
  await profiler.post("Profiler.enable");
  await profiler.post("Profiler.setSamplingInterval", { interval: 200 });
  await profiler.post("Profiler.start");
}

async function profiled(file: unknown): Promise<void> {
  const { profile: samples } = await profiler.post("Profiler.stop");
  await writeFile(z.string().parse(file), JSON.stringify(samples));
}

answerAsks({ serve, put, token, revokeAll, memory, profile, profiled }, async () => {
  stopping.abort();
  await serving;
  await house.close();
});
