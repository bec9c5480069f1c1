import { z } from "zod";
import type { Child } from "./ask.ts";
import type { Result } from "./result.ts";

/** A stretch of calls that were measured together. Latencies in microseconds. */
export const stretch = z.object({
  milliseconds: z.number(),
  latencies: z.instanceof(Float64Array),
  failed: z.number(),
  failure: z.string().optional(),
});
export type Stretch = z.infer<typeof stretch> & { readonly cpu: number };

export interface Case {
  readonly name: string;
  /** The case that this one is held against. */
  readonly against?: string;
  stretch(connections: number, milliseconds: number): Promise<Stretch>;
}

export interface Plan {
  readonly cases: readonly Case[];
  readonly connections: number;
  /** Stretches of a second each. */
  readonly rounds: number;
}

/**
 * The cases in turn, a second each, again and again: whatever else the machine is doing meets all of them,
 * and a ratio is taken between neighbours in time. Every figure is the median of its rounds.
 */
export async function inTurn({ cases, connections, rounds }: Plan): Promise<readonly Result[]> {
  const measured = new Map<string, Stretch[]>(cases.map(({ name }) => [name, []]));
  for (let round = 0; round < rounds; round += 1) {
    for (const one of cases) measured.get(one.name)?.push(await good(one, connections));
  }
  return cases.map(({ name, against }) =>
    resultOf(`${name}.c${connections}`, measured.get(name) ?? [], against === undefined ? undefined : measured.get(against)),
  );
}

async function good(one: Case, connections: number): Promise<Stretch> {
  const got = await one.stretch(connections, 1_000);
  if (got.failed > 0) throw new Error(`${one.name}: ${got.failed} of ${got.latencies.length} calls failed, e.g. ${got.failure}`);
  return got;
}

function resultOf(name: string, stretches: readonly Stretch[], against: readonly Stretch[] | undefined): Result {
  const latencies = Float64Array.from(stretches.flatMap((one) => [...one.latencies])).sort();
  return {
    name,
    calls_per_s: median(stretches.map(rate)),
    p50_ms: at(latencies, 0.5) / 1000,
    p99_ms: at(latencies, 0.99) / 1000,
    cpu_us_per_call: median(stretches.map((one) => one.cpu / one.latencies.length)),
    ratio_to_bare: against ? median(stretches.flatMap((one, round) => ratio(one, against[round]))) : null,
  };
}

function ratio(one: Stretch, other: Stretch | undefined): readonly number[] {
  return other ? [rate(one) / rate(other)] : [];
}

function rate({ latencies, milliseconds }: Stretch): number {
  return (latencies.length / milliseconds) * 1000;
}

export function median(values: readonly number[]): number {
  return at(Float64Array.from(values).sort(), 0.5);
}

/** The value below which this share of the sorted values lies; the mean of the middle two where there is no middle. */
export function at(sorted: Float64Array, share: number): number {
  const place = share * (sorted.length - 1);
  const below = sorted[Math.floor(place)] ?? Number.NaN;
  const above = sorted[Math.ceil(place)] ?? Number.NaN;
  return share === 0.5 ? (below + above) / 2 : above;
}

/** Runs work in a child, and what it cost in CPU. */
export async function costed(child: Child, work: () => Promise<z.infer<typeof stretch>>): Promise<Stretch> {
  const before = await child.cpu();
  const got = await work();
  return { ...got, cpu: (await child.cpu()) - before };
}
