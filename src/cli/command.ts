import type { Config } from "../config/config.ts";
import type { Exit } from "./exit.ts";
import type { House, Parts } from "./house.ts";
import type { Terminal } from "./terminal.ts";
import type { Screen } from "./screen.ts";
import type { Given } from "./given.ts";

/** A command as a row in a table: what help and the reference page say of it, and where its code is. */
export interface CommandRow {
  /** Words after `leasehold`, e.g. `secret put`. */
  readonly name: string;
  readonly args?: string;
  readonly summary: string;
  /** Flags and text, as commander takes them. Flags that may come more than once end in `…` in the text. */
  readonly options?: readonly (readonly [flags: string, text: string])[];
  readonly example: string;
  readonly load: () => Promise<Handler>;
}

/** Done, or the exit that is to be reported; a number is a child's own exit code. */
export type Handler = (run: Run) => Promise<Exit | number | undefined>;

/** All that a command may touch. */
export interface Run {
  readonly args: readonly string[];
  readonly given: Given;
  readonly screen: Screen;
  readonly terminal: Terminal;
  readonly parts: Parts;
  readonly json: boolean;
  readonly verbose: boolean;
  /** As the person named it. */
  readonly configFile: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly now: () => number;
  /** Aborted by SIGINT and SIGTERM. */
  readonly interrupted: AbortSignal;
  config(): Promise<Config>;
  /** Opened once, and closed when the command is through. `level` is the least that is logged to stderr. */
  house(level?: "info" | "warn"): Promise<House>;
  /** The same for a configuration file that nobody named on the command line. */
  houseOf(file: string): Promise<House>;
}
