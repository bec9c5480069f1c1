import type { Command } from "commander";
import { expect, test } from "vitest";
import { commandGroups } from "../../src/cli/commands.ts";
import { createProgram } from "../../src/cli/program.ts";

function everyHelp(command: Command): string {
  return [command.helpInformation(), ...command.commands.map(everyHelp)].join("\n");
}

test("the help of every command is pinned: `npx vitest -u` after a change that is meant", async () => {
  await expect(everyHelp(createProgram(() => undefined))).toMatchFileSnapshot("cli-help.txt");
});

test("every command has an example that is itself a valid command line", () => {
  const rows = commandGroups.flatMap((group) => group.commands);
  const called: string[] = [];
  for (const { example } of rows) {
    const words = example
      .replace(/ > .*$/, "")
      .split(" ")
      .slice(1);
    createProgram((call) => called.push(call.row.name)).parse(words, { from: "user" });
  }
  expect(called).toEqual(rows.map((row) => row.name));
});
