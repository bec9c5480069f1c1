import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { z } from "zod";

/** A process of its own that does what it is asked, one thing at a time or several. */
export interface Child {
  ask<T>(what: string, answer: z.ZodType<T>, input?: unknown): Promise<T>;
  /** CPU time that the process has used so far, all its threads together, in microseconds. */
  cpu(): Promise<number>;
  stop(): Promise<void>;
}

/** What is measured runs on one core, what measures it on another: neither takes time from the other. */
export type Side = "measured" | "measuring";

const cores = availableParallelism();
const pins = cores > 1 && spawnSync("taskset", ["--version"]).status === 0;
export const pinning = pins ? `each measured process on one core, the load generator on another` : "no pinning";

const question = z.object({ id: z.number(), what: z.string(), input: z.unknown() });
const reply = z.object({ id: z.number(), answer: z.unknown(), failed: z.string().optional() });

/** Starts `bench/<file>` and waits until it is ready to be asked. */
export async function startChild(file: string, side: Side, setup: unknown = {}): Promise<Child> {
  const script = [fileURLToPath(new URL(file, import.meta.url)), JSON.stringify(setup)];
  const node = [process.execPath, "--disable-warning=ExperimentalWarning", ...script];
  const [command = "", ...args] = pins ? ["taskset", "-c", String(side === "measured" ? 0 : cores - 1), ...node] : node;
  const child = spawn(command, args, { stdio: ["ignore", "inherit", "inherit", "ipc"], serialization: "advanced" });
  const waiting = new Map<number, (answer: z.infer<typeof reply>) => void>();
  let asked = 0;
  let ended = false;
  child.on("message", (message) => {
    const answer = reply.parse(message);
    waiting.get(answer.id)?.(answer);
    waiting.delete(answer.id);
  });
  child.once("exit", (code, signal) => {
    ended = true;
    for (const [id, settle] of waiting) settle({ id, answer: undefined, failed: `${file} ended (${signal ?? code})` });
  });

  async function ask<T>(what: string, answer: z.ZodType<T>, input?: unknown): Promise<T> {
    if (ended) throw new Error(`${file} is not running`);
    const id = (asked += 1);
    const got = await new Promise<z.infer<typeof reply>>((resolve) => {
      waiting.set(id, resolve);
      child.send({ id, what, input });
    });
    if (got.failed !== undefined) throw new Error(`${file}, ${what}: ${got.failed}`);
    return answer.parse(got.answer);
  }

  await ask("ready", z.unknown());
  return {
    ask,
    cpu: () => ask("cpu", z.number()),
    async stop() {
      if (ended) return;
      const gone = once(child, "exit");
      child.send({ id: 0, what: "stop", input: undefined });
      await gone;
    },
  };
}

/** The other end, inside of the child. `stop` is called before the process ends. */
export function answerAsks(table: Readonly<Record<string, (input: unknown) => unknown>>, stop?: () => Promise<void>): void {
  const standard = {
    ready: () => true,
    cpu: () => {
      const { user, system } = process.cpuUsage();
      return user + system;
    },
  };
  const all = new Map<string, (input: unknown) => unknown>(Object.entries({ ...standard, ...table }));

  async function respond({ id, what, input }: z.infer<typeof question>): Promise<void> {
    if (what === "stop") {
      await stop?.();
      process.exit(0);
    }
    try {
      const work = all.get(what);
      if (!work) throw new Error("nobody does that here");
      process.send?.({ id, answer: await work(input) });
    } catch (problem) {
      process.send?.({ id, answer: undefined, failed: problem instanceof Error ? (problem.stack ?? problem.message) : String(problem) });
    }
  }

  process.on("message", (message) => void respond(question.parse(message)));
  // The parent is gone: nobody will ask or stop us any more.
  process.on("disconnect", () => process.exit(1));
}

/** What a child was started with. */
export function setupOf<T>(schema: z.ZodType<T>): T {
  return schema.parse(JSON.parse(process.argv[2] ?? "{}"));
}
