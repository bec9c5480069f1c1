import { commandGroups } from "./commands.ts";
import type { CommandRow } from "./command.ts";
import { exits } from "./exit.ts";

/** The reference page of the command line, from the table that the program runs on. */
export function commandPage(): string {
  return [intro, ...commandGroups.map(({ title, commands }) => `## ${title}\n\n${commands.map(command).join("\n")}`), exitCodes()].join(
    "\n",
  );
}

const intro = `# Command line

\`leasehold COMMAND [options]\`. Every command takes \`--help\`.

| option | |
|---|---|
| \`-c, --config <file>\` | configuration file; \`./leasehold.yaml\` unless said, or \`$LEASEHOLD_CONFIG\` |
| \`--json\` | results as JSON on stdout: one document, or one per line for the audit log |
| \`--verbose\` | say more on stderr |

Results go to stdout, everything else to stderr. Colour and progress are for terminals only, and \`NO_COLOR\` is honoured.
An error is one line \`error: …\`, mostly followed by what to do. \`LEASEHOLD_DEBUG=1\` adds where in the code it happened.
This page is generated from \`src/cli/commands.ts\`: change that, then run \`npm run docs\`.
`;

function command({ name, args, summary, options = [], example }: CommandRow): string {
  const rows = options.map(([flags, text]) => `| \`${flags}\` | ${cell(text.replace(/ …$/, "; may be given more than once"))} |`);
  const table = rows.length === 0 ? "" : `\n| option | |\n|---|---|\n${rows.join("\n")}\n`;
  return `### leasehold ${name}${args === undefined ? "" : ` ${args}`}\n\n${capital(summary)}.\n${table}\n    ${example}\n`;
}

function exitCodes(): string {
  const rows = Object.values(exits).map(({ code, means }) => `| ${code} | ${means} |`);
  return `## Exit codes\n\n| code | means |\n|---|---|\n${rows.join("\n")}\n\n\`leasehold run\` ends with the exit code of its command; 128 and more stand for a signal.\n`;
}

function capital(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}`;
}

function cell(text: string): string {
  return text.replaceAll("|", String.raw`\|`);
}
