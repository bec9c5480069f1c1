import { Command, CommanderError, Option } from "commander";
import { version } from "../version.ts";
import { commandGroups } from "./commands.ts";
import type { CommandRow } from "./command.ts";

/** What was asked for on the command line. */
export interface Call {
  readonly row: CommandRow;
  readonly args: readonly string[];
  readonly options: Readonly<Record<string, unknown>>;
}

const groupSummaries: Readonly<Record<string, string>> = {
  secret: "store, list and remove secrets",
  credential: "look at what can be lent",
  seal: "the key that opens the store",
  agent: "agents, their tokens and invitations",
  client: "OAuth clients",
  token: "end tokens and sign-ins",
  user: "people with an account",
  policy: "check and explain policies",
  lease: "list, show and revoke leases",
  audit: "read, prove and export the audit log",
};

/** The command line as commander knows it. `called` hears which command it was; nothing is run here. */
export function createProgram(called: (call: Call) => void): Command {
  const program = new Command("leasehold")
    .description("A self-hosted MCP credential broker: agents rent credentials, they never own them.")
    .version(version, "-V, --version", "print the version")
    .option("-c, --config <file>", "configuration file (./leasehold.yaml, or $LEASEHOLD_CONFIG)")
    .option("--json", "results as JSON on stdout")
    .option("--verbose", "say more on stderr")
    .helpOption("-h, --help", "print this")
    .helpCommand("help [command]", "print the help of a command")
    .configureHelp({ showGlobalOptions: true, helpWidth: 110 })
    .addHelpText("after", "\nExample:\n  leasehold init && leasehold doctor\n")
    .action(() => program.help({ error: true }));
  for (const { title, commands } of commandGroups)
    for (const row of commands) {
      const [first = "", second] = row.name.split(" ");
      const parent = second === undefined ? program : group(program, first, title);
      add(parent, second ?? first, row, called).helpGroup(second === undefined ? `${title}:` : "Commands:");
    }
  harden(program);
  return program;
}

function group(program: Command, name: string, title: string): Command {
  const found = program.commands.find((command) => command.name() === name);
  if (found) return found;
  const made = program
    .command(name)
    .description(groupSummaries[name] ?? "")
    .helpGroup(`${title}:`)
    .helpCommand(false);
  return made.action(() => made.help({ error: true }));
}

function add(parent: Command, name: string, row: CommandRow, called: (call: Call) => void): Command {
  const command = parent.command(row.args === undefined ? name : `${name} ${row.args}`).description(row.summary);
  for (const [flags, text] of row.options ?? []) {
    const option = new Option(flags, text.replace(/ …$/, " (may be given more than once)"));
    if (text.endsWith("…")) option.argParser((value: string, before: readonly string[] | undefined) => [...(before ?? []), value]);
    command.addOption(option);
  }
  command.addHelpText("after", `\nExample:\n  ${row.example}\n`);
  // `secret put` takes what is too much and explains why, instead of a remark about counts.
  if (row.name === "secret put") command.allowExcessArguments();
  return command.action(() => called({ row, args: command.args, options: command.opts() }));
}

/** Usage errors are thrown, not printed: words of the command line may be secrets that were typed in the wrong place. */
function harden(command: Command): void {
  command.exitOverride().configureOutput({ writeErr: () => undefined, outputError: () => undefined });
  for (const child of command.commands) harden(child);
}

export { CommanderError };
