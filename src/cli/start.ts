import type { Logger } from "pino";
import type { Config } from "../config/config.ts";
import type { Run } from "./command.ts";
import { CommandError, exits } from "./exit.ts";
import { explain, whereabouts } from "./explain.ts";
import { given } from "./given.ts";
import type { House, Parts } from "./house.ts";
import type { Call } from "./program.ts";
import { CommanderError, createProgram } from "./program.ts";
import type { Screen } from "./screen.ts";
import { createScreen } from "./screen.ts";
import { createTerminal } from "./terminal.ts";
import { usage } from "./usage.ts";
import { version } from "../version.ts";

/** Runs one command line. Answers with the exit code; never throws. */
export async function start(argv: readonly string[], parts: Parts): Promise<number> {
  let call: Call | undefined;
  const program = createProgram((one) => (call = one));
  const screen = (options: Readonly<Record<string, unknown>>): Screen =>
    createScreen({ stdout: process.stdout, stderr: process.stderr, json: options["json"] === true, verbose: options["verbose"] === true });
  try {
    program.parse(argv, { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) return tell(screen({}), error);
    if (error.exitCode === 0) return exits.ok.code;
    return tell(screen({}), usage(error, program, argv));
  }
  const globals: Readonly<Record<string, unknown>> = program.opts();
  return call ? perform(call, globals, parts, screen(globals)) : exits.ok.code;
}

async function perform(call: Call, globals: Readonly<Record<string, unknown>>, parts: Parts, screen: Screen): Promise<number> {
  const interrupted = new AbortController();
  const interrupt = (): void => interrupted.abort();
  process.once("SIGINT", interrupt).once("SIGTERM", interrupt);
  let house: Promise<House> | undefined;
  let config: Promise<Config> | undefined;
  const configFile = typeof globals["config"] === "string" ? globals["config"] : (process.env["LEASEHOLD_CONFIG"] ?? "leasehold.yaml");
  const run: Run = {
    args: call.args,
    given: given(call.options),
    screen,
    terminal: createTerminal(process.stdin, process.stderr),
    parts,
    json: globals["json"] === true,
    verbose: globals["verbose"] === true,
    configFile,
    env: process.env,
    now: Date.now,
    interrupted: interrupted.signal,
    config: () => (config ??= load(configFile, parts)),
    house: (level = "warn") => (house ??= open(run, level, run.config())),
    houseOf: (file) => (house ??= open(run, "warn", load(file, parts))),
  };
  try {
    const handler = await call.row.load();
    const outcome = await handler(run);
    return typeof outcome === "number" ? outcome : exits[outcome ?? "ok"].code;
  } catch (error) {
    return tell(screen, error);
  } finally {
    await house?.then((one) => one.close()).catch(() => undefined);
    process.off("SIGINT", interrupt).off("SIGTERM", interrupt);
  }
}

async function load(file: string, parts: Parts): Promise<Config> {
  const { loadConfig } = await import("../config/load.ts");
  return loadConfig(file, await parts.tables());
}

async function open(run: Run, level: "info" | "warn", config: Promise<Config>): Promise<House> {
  const { terminal } = run;
  return run.parts.compose({
    config: await config,
    version,
    logger: await createLogger(run.verbose ? "debug" : level),
    ...(terminal.interactive ? { askPassphrase: () => terminal.ask("Passphrase of the seal") } : {}),
  });
}

async function createLogger(level: string): Promise<Logger> {
  const { pino } = await import("pino");
  // Synchronously to stderr: nothing is lost when the process ends, and stdout stays the command's own.
  return pino({ level, base: null }, pino.destination({ dest: 2, sync: true }));
}

function tell(screen: Screen, error: unknown): number {
  const { exit, lines, fix } = explain(error);
  screen.error(lines, fix);
  if ((process.env["LEASEHOLD_DEBUG"] ?? "") !== "" && !(error instanceof CommandError))
    for (const line of whereabouts(error)) process.stderr.write(`${line}\n`);
  return exits[exit].code;
}
