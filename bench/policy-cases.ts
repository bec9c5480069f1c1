import { z } from "zod";
import type { Child } from "./ask.ts";
import { startChild } from "./ask.ts";
import type { Result, Screen } from "./result.ts";
import type { Case } from "./rounds.ts";
import { costed, inTurn, stretch } from "./rounds.ts";

export interface PolicyOptions {
  readonly rounds: number;
  readonly wanted: (name: string) => boolean;
}

const sizes = [10, 100, 1_000, 10_000] as const;

/** Decisions by themselves: evaluated each time, remembered, and of the kind that was never asked before. */
export async function measurePolicy(screen: Screen, { rounds, wanted }: PolicyOptions): Promise<readonly Result[]> {
  const kinds = ["policy_evaluated", "policy_remembered"] as const;
  const plans = kinds.flatMap((kind) => sizes.map((size) => ({ kind, size, name: `${kind}.${size}` }))).filter(({ name }) => wanted(name));
  if (plans.length === 0) return [];
  screen.heading("Policy decisions, by policies in the bundle (each question meets three of them)");
  const children: Child[] = [];
  try {
    const cases: Case[] = [];
    for (const { kind, size, name } of plans) {
      const child = await startChild("policy.child.ts", "measured");
      children.push(child);
      const readsContext = kind === "policy_evaluated";
      const loaded = await child.ask("load", z.number(), { policies: size, readsContext });
      if (readsContext) screen.say(`${name}: ${Math.round(loaded)} ms to read and validate the bundle`);
      cases.push({ name, stretch: (_, milliseconds) => costed(child, () => child.ask("decide", stretch, milliseconds)) });
      if (readsContext && size >= 1_000) await first(child, `policy_first.${size}`, screen);
    }
    for (const one of cases) await one.stretch(1, 300);
    const results = (await inTurn({ cases, connections: 1, rounds })).map((result) => ({
      ...result,
      name: result.name.replace(/\.c1$/, ""),
    }));
    for (const result of results) screen.result(result);
    return results;
  } finally {
    for (const child of children) await child.stop();
  }
}

async function first(child: Child, name: string, screen: Screen): Promise<void> {
  const got = await costed(child, () => child.ask("decideFirst", stretch));
  const one = { name, stretch: async () => got };
  for (const result of await inTurn({ cases: [one], connections: 1, rounds: 1 })) screen.result({ ...result, name });
}
