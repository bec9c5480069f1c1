import { constants } from "node:os";
import type { Handler, Run } from "../command.ts";
import { CommandError } from "../exit.ts";
import { agentNamed } from "../given.ts";
import type { Borrowed, Lender } from "../lender.ts";
import { httpLender, localLender } from "../lender.ts";
import { known } from "./agent.ts";

interface Assignment {
  readonly variable: string;
  /** A credential name, or a one-time handle. */
  readonly what: string;
  readonly field: string | undefined;
}

/** The command gets the values, the model never does. No shell is involved, and the leases end with the command. */
export const withLeases: Handler = async (run) => {
  const assignments = run.given.texts("lease").map(parse);
  if (assignments.length === 0) throw new CommandError("usage", "--lease is missing: what should the command get?", example);
  const lender = await lenderFor(run);
  const borrowed = new Map<string, Borrowed>();
  try {
    const variables: Record<string, string> = {};
    for (const { variable, what, field } of assignments) {
      const one = borrowed.get(what) ?? (await lender.borrow(what));
      borrowed.set(what, one);
      variables[variable] = pick(one.fields, field, variable);
    }
    if (run.interrupted.aborted) return "interrupted";
    return await execute(run, { ...withoutOurs(run.env, await lender.secretVariables()), ...variables });
  } finally {
    for (const { lease } of borrowed.values())
      await lender
        .giveBack(lease)
        .catch(() => run.screen.error([`lease ${lease} could not be ended now`], "It ends when it expires; a running broker sees to it."));
  }
};

const example = "For example: leasehold run --agent reporter --lease PGPASSWORD=billing-db/readonly:password -- psql";

function parse(text: string): Assignment {
  const [, variable, what, field] = /^([A-Za-z_][A-Za-z0-9_]*)=([^:\s]+)(?::([A-Za-z0-9_.-]+))?$/.exec(text) ?? [];
  if (variable === undefined || what === undefined)
    throw new CommandError("usage", "--lease: expected NAME=credential[:field] or NAME=handle[:field]", example);
  return { variable, what, field };
}

async function lenderFor(run: Run): Promise<Lender> {
  const server = run.given.text("server");
  const agent = run.given.text("agent");
  if ((server === undefined) === (agent === undefined))
    throw new CommandError("usage", "say either --agent NAME, or --server URL", example);
  if (server !== undefined) return httpLender({ server, tokenFile: run.given.text("token-file"), env: run.env });
  const name = agentNamed(agent ?? "");
  const house = await run.house();
  await known(house, name);
  await house.policies();
  return localLender({
    house,
    agent: name,
    purpose: run.given.text("purpose") ?? `leasehold run ${run.args[0] ?? ""}`,
    ttl: run.given.duration("ttl"),
    now: run.now,
  });
}

function pick(fields: Readonly<Record<string, string>>, field: string | undefined, variable: string): string {
  const names = Object.keys(fields);
  const name = field ?? (names.length === 1 ? names[0] : undefined);
  const value = name !== undefined && Object.hasOwn(fields, name) ? fields[name] : undefined;
  if (value !== undefined) return value;
  const said = field === undefined ? "has several fields" : `has no field "${field}"`;
  throw new CommandError("usage", `${variable}: the credential ${said}`, `Write one of: ${names.map((one) => `:${one}`).join(", ")}.`);
}

/** The command's own environment: ours, less what opens the broker. */
function withoutOurs(env: Run["env"], ours: readonly string[]): Record<string, string> {
  const kept: Record<string, string> = {};
  for (const [name, value] of Object.entries(env)) if (value !== undefined && !ours.includes(name)) kept[name] = value;
  return kept;
}

const forwarded = ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"] as const satisfies readonly NodeJS.Signals[];

async function execute(run: Run, env: Record<string, string>): Promise<number> {
  const { spawn } = await import("node:child_process");
  const [command = "", ...args] = run.args;
  const child = spawn(command, args, { env, stdio: "inherit", shell: false });
  // A terminal sends Ctrl-C to the whole group: the child has it already, and once is enough.
  const pass = (signal: NodeJS.Signals): void => void (!(signal === "SIGINT" && run.terminal.interactive) && child.kill(signal));
  for (const signal of forwarded) process.on(signal, pass);
  try {
    return await new Promise<number>((resolve, reject) => {
      child.once("error", (cause) => reject(notStarted(cause)));
      child.once("exit", (code, signal) => resolve(code ?? 128 + (signal ? constants.signals[signal] : 0)));
    });
  } finally {
    for (const signal of forwarded) process.off(signal, pass);
  }
}

function notStarted(cause: Error): CommandError {
  const missing = "code" in cause && cause.code === "ENOENT";
  return new CommandError(
    missing ? "notFound" : "unexpected",
    missing ? "there is no such command" : "the command could not be started",
    "What follows -- is started as it is, without a shell.",
  );
}
