import { z } from "zod";
import { startChild } from "./ask.ts";
import type { Result, Screen } from "./result.ts";
import { costed, inTurn, median, stretch } from "./rounds.ts";

export interface LogOptions {
  readonly rounds: number;
  readonly wanted: (name: string) => boolean;
}

const entries = 200_000;
const checked = z.object({ entries: z.number(), milliseconds: z.number() });

/** The audit log: durable appends, and verifying them. */
export async function measureLog(screen: Screen, { rounds, wanted }: LogOptions): Promise<readonly Result[]> {
  const levels = [1, 16, 64].filter((level) => wanted(`audit_append.c${level}`));
  const sources = (["file", "store"] as const).filter((source) => wanted(`audit_verify.${source}`));
  if (levels.length + sources.length === 0) return [];
  const child = await startChild("log.child.ts", "measured");
  try {
    screen.heading("Audit log: durable appends by so many at once; verifying 200,000 entries");
    const results: Result[] = [];
    const report = (result: Result): void => {
      screen.result(result);
      results.push(result);
    };
    const one = {
      name: "audit_append",
      stretch: (connections: number, milliseconds: number) =>
        costed(child, () => child.ask("append", stretch, { connections, milliseconds })),
    };
    await one.stretch(16, 500);
    for (const connections of levels) for (const result of await inTurn({ cases: [one], connections, rounds })) report(result);

    if (sources.length > 0) await child.ask("fill", z.number(), entries);
    for (const source of sources) {
      const rates: number[] = [];
      const costs: number[] = [];
      for (let round = 0; round < Math.max(3, rounds); round += 1) {
        const before = await child.cpu();
        const got = await child.ask(source === "file" ? "checkFile" : "checkStore", checked);
        costs.push(((await child.cpu()) - before) / got.entries);
        rates.push((got.entries / got.milliseconds) * 1000);
      }
      const nothing = { p50_ms: null, p99_ms: null, ratio_to_bare: null };
      report({ name: `audit_verify.${source}`, ...nothing, calls_per_s: median(rates), cpu_us_per_call: median(costs) });
    }
    return results;
  } finally {
    await child.stop();
  }
}
