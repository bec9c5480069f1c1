import type { Command, CommanderError } from "commander";
import { didYouMean } from "../config/suggest.ts";
import { CommandError } from "./exit.ts";

/**
 * A usage error in our words. Commander repeats what was typed, and what was typed may be a secret in the
 * wrong place: of an option only its name is repeated, of an argument nothing.
 */
export function usage(error: CommanderError, program: Command, argv: readonly string[]): CommandError {
  const command = nearest(program, argv);
  const help = `Run \`leasehold ${[...path(command), "--help"].join(" ")}\`.`;
  switch (error.code) {
    case "commander.unknownOption": {
      const typed = /'(.*?)'/s.exec(error.message)?.[1] ?? "";
      const long = typed.startsWith("--");
      const name = long ? typed.replace(/=.*$/s, "") : typed.slice(0, 2);
      const known = [...command.options, ...program.options].flatMap((option) => option.long ?? []);
      return new CommandError("usage", `unknown option ${name}${long ? didYouMean(name, known) : ""}`, help);
    }
    case "commander.excessArguments": {
      // A group of commands takes no arguments: what came too much is the name of a command that does not exist.
      if (command.commands.length === 0) return new CommandError("usage", "there are more arguments than this command takes", help);
      const known = command.commands.map((one) => one.name());
      const typed = argv.find((word) => !word.startsWith("-") && !path(command).includes(word)) ?? "";
      return new CommandError("usage", `unknown command${didYouMean(typed, known)}`, help);
    }
    case "commander.missingArgument":
      return new CommandError("usage", `${/'(.*)'/.exec(error.message)?.[1] ?? "an argument"} is missing`, help);
    case "commander.optionMissingArgument":
      return new CommandError("usage", `${/'(.*)'/.exec(error.message)?.[1] ?? "an option"} needs a value`, help);
    case "commander.help":
      return new CommandError(
        "usage",
        path(command).length === 0 ? "which command?" : `which one? ${command.commands.map((one) => one.name()).join(", ")}`,
        help,
      );
    default:
      return new CommandError("usage", "this command line cannot be understood", help);
  }
}

/** The command that the words lead to, as far as they lead. */
function nearest(program: Command, argv: readonly string[]): Command {
  let command = program;
  for (const word of argv) command = command.commands.find((one) => one.name() === word) ?? command;
  return command;
}

function path(command: Command): readonly string[] {
  return command.parent ? [...path(command.parent), command.name()] : [];
}
