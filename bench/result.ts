import { statfsSync } from "node:fs";
import { availableParallelism, cpus, loadavg, tmpdir, totalmem } from "node:os";
import { pinning } from "./ask.ts";

/** One line of the table. What a case does not have is `null`. Times are of one call, as its caller sees it. */
export interface Result {
  readonly name: string;
  readonly calls_per_s: number | null;
  readonly p50_ms: number | null;
  readonly p99_ms: number | null;
  /** Of the measured process, all its threads. */
  readonly cpu_us_per_call: number | null;
  /** Calls per second against the bare server's at the same concurrency; for `query_database`, against the bare query's. */
  readonly ratio_to_bare: number | null;
  /** What the columns do not say. */
  readonly note?: string;
}

const columns = ["name", "calls/s", "p50 ms", "p99 ms", "CPU µs/call", "to bare"] as const;
const widths = [30, 10, 9, 9, 12, 9] as const;

export interface Screen {
  heading(text: string): void;
  result(result: Result): void;
  say(text: string): void;
}

/** A table for people, or one JSON object a line for programs; what is said beside it then goes to stderr. */
export function createScreen(json: boolean): Screen {
  if (json)
    return {
      heading: () => undefined,
      result: (result) =>
        console.log(JSON.stringify(result, (_, value: unknown) => (typeof value === "number" ? Number(value.toPrecision(4)) : value))),
      say: (text) => console.error(text),
    };
  return {
    heading(text) {
      console.log(`\n${text}`);
      console.log(row(columns));
    },
    result({ name, calls_per_s, p50_ms, p99_ms, cpu_us_per_call, ratio_to_bare, note }) {
      const ratio = ratio_to_bare === null ? "" : `${Math.round(ratio_to_bare * 100)} %`;
      console.log(`${row([name, show(calls_per_s), show(p50_ms), show(p99_ms), show(cpu_us_per_call), ratio])}${note ? `  ${note}` : ""}`);
    },
    say: (text) => console.log(text),
  };
}

function row(cells: readonly string[]): string {
  return cells.map((cell, at) => (at === 0 ? cell.padEnd(widths[0]) : cell.padStart(widths[at] ?? 10))).join(" ");
}

function show(value: number | null): string {
  if (value === null) return "";
  if (value >= 100) return Math.round(value).toLocaleString("en-US");
  return value.toPrecision(3);
}

const tmpfs = 0x01021994;

/** What the figures were measured on. */
export function machine(): string {
  const [cpu] = cpus();
  const memory = Math.round(totalmem() / 2 ** 30);
  const inMemory = statfsSync(tmpdir()).type === tmpfs ? "; the temporary folder is in memory, so commits cost nothing here" : "";
  return `${availableParallelism()} cores (${cpu?.model.trim() ?? "unknown"}), ${memory} GiB, Node ${process.versions.node}, ${process.platform}; ${pinning}${inMemory}`;
}

/** A word of warning where others are using the machine: ratios between neighbours hold then, figures do not. */
export function busyness(): string | undefined {
  const [load = 0] = loadavg();
  return load > 0.7
    ? `The machine is busy with other work (load ${load.toFixed(1)} before this run): figures are too low, ratios rough.`
    : undefined;
}
