import type { Occupied } from "./endurance-cases.ts";
import type { Result } from "./result.ts";

export interface Aim {
  readonly what: string;
  /** `undefined` where the cases that it is about did not run. */
  readonly met: boolean | undefined;
  readonly found: string;
}

/** What the project wants of itself, held against a run. */
export function judge(results: readonly Result[], memory: readonly Occupied[]): readonly Aim[] {
  const by = new Map(results.map((result) => [result.name, result]));
  const rate = (name: string): number => by.get(name)?.calls_per_s ?? Number.NaN;
  const toBare = (name: string): number => by.get(name)?.ratio_to_bare ?? Number.NaN;
  const levels = [1, 16, 64];
  const many = levels.map((level) => toBare(`request_lease_100k.c${level}`) / toBare(`request_lease.c${level}`));
  const start = by.get("stdio_initialize")?.p50_ms ?? Number.NaN;
  const early = memory.find(({ calls }) => calls >= 25_000);
  const late = memory.at(-1);
  const growth = early && late && late !== early ? late.heap - early.heap : Number.NaN;

  return [
    ...levels.map((level) => atLeast(`whoami is 120 % of bare or more, at ${level}`, toBare(`whoami.c${level}`), 1.2)),
    ...[16, 64].map((level) => atLeast(`request_lease is 70 % of bare or more, at ${level}`, toBare(`request_lease.c${level}`), 0.7)),
    ...levels.map((level, i) =>
      atLeast(`request_lease with 100,000 leases is 90 % of one with none or more, at ${level}`, many[i] ?? Number.NaN, 0.9),
    ),
    aim(
      "a decision at 10,000 policies takes twice one at 10, or less",
      rate("policy_evaluated.10") / rate("policy_evaluated.10000"),
      (x) => x <= 2,
      times,
    ),
    aim(
      "verify does 200,000 entries a second or more",
      rate("audit_verify.file"),
      (x) => x >= 200_000,
      (x) => Math.round(x).toLocaleString("en-US"),
    ),
    ...["verify_bearer_new", "verify_bearer", "verify_dpop_new", "verify_dpop"].map((name) =>
      aim(`${name} costs 1.3 times jose alone, or less`, 1 / toBare(name), (x) => x <= 1.3, times),
    ),
    aim(
      "`leasehold mcp` answers within 400 ms of its start",
      start,
      (x) => x < 400,
      (x) => `${Math.round(x)} ms`,
    ),
    aim(
      "memory is flat: under 4 MiB more after 100,000 calls than after 25,000",
      growth,
      (x) => x < 4 * 2 ** 20,
      (x) => `${(x / 2 ** 20).toFixed(1)} MiB`,
    ),
  ];
}

function atLeast(what: string, value: number, least: number): Aim {
  return aim(
    what,
    value,
    (x) => x >= least,
    (x) => `${Math.round(x * 100)} %`,
  );
}

function aim(what: string, value: number, met: (value: number) => boolean, show: (value: number) => string): Aim {
  return Number.isFinite(value) ? { what, met: met(value), found: show(value) } : { what, met: undefined, found: "not measured" };
}

const times = (x: number): string => `${x.toFixed(2)} times`;

export function sayAim({ what, met, found }: Aim): string {
  return `${met === undefined ? "–     " : met ? "met   " : "MISSED"} ${what}: ${found}`;
}
