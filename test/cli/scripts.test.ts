import { readdirSync, readFileSync } from "node:fs";
import { createServer } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { fits, parseScript, perform, workbench } from "./script.ts";

/** A port that is taken, and one where nobody answers. */
const taken = createServer();
const silent = createServer();
let env: Readonly<Record<string, string>> = {};

beforeAll(async () => {
  for (const server of [taken, silent]) await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  env = { TAKEN_PORT: portOf(taken), SILENT_PORT: portOf(silent) };
  await new Promise((resolve) => silent.close(resolve));
});
afterAll(() => void taken.close());

const scripts = readdirSync(import.meta.dirname).filter((file) => file.endsWith(".txt"));

test.each(scripts)("the command line does as %s says", { timeout: 180_000 }, async (name) => {
  const bench = await workbench();
  try {
    for (const step of parseScript(readFileSync(`${import.meta.dirname}/${name}`, "utf8"))) {
      const { output, exit } = await perform(step.command, bench.folder, env);
      const place = `${name}:${step.line}: ${step.command.split("\n")[0] ?? ""}`;
      const found = fits(step.expected, output) ? step.expected : output;
      expect([place, ...found, `exit ${exit}`].join("\n")).toBe([place, ...step.expected, `exit ${step.exit}`].join("\n"));
    }
  } finally {
    await bench.remove();
  }
});

function portOf(server: typeof taken): string {
  const address = server.address();
  return String(typeof address === "object" && address ? address.port : 0);
}
