import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { requirements } from "../requirements.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
/** Ours, and sections of the specifications that are listed by section. */
const idForm =
  /\b(?:P-\d|(?:OA|MT|PL|EX|AU|RD)-\d\d)\b|\bRFC (?:6749|6750|7009|7591|7592|7636|7662|8252|8414|8693|8707|9068|9207|9449|9700|9728) §\d+(?:\.\d+)*/g;

/** Ids in titles of tests: in the first argument of `it`, `test` and `describe`, and in the remarks of command-line scripts. */
function cited(): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const folder of ["test", "testing"]) {
    for (const entry of readdirSync(join(root, folder), { recursive: true, withFileTypes: true })) {
      const path = join(entry.parentPath, entry.name);
      if (entry.isFile() && folder === "test" && entry.name.endsWith(".txt"))
        for (const [remark] of readFileSync(path, "utf8").matchAll(/^# .*$/gm))
          for (const id of remark.match(idForm) ?? []) found.set(id, path);
      if (!entry.isFile() || !entry.name.endsWith(".ts") || entry.name.startsWith("requirements")) continue;
      const titles = readFileSync(path, "utf8").matchAll(/\b(?:it|test|describe)(?:\.\w+(?:\([^)]*\))?)*\(\s*(["'`])((?:(?!\1).)*)\1/gs);
      for (const [, , title = ""] of titles) for (const id of title.match(idForm) ?? []) found.set(id, path);
    }
  }
  return found;
}

describe("requirements", () => {
  const tests = cited();

  it("every clause is cited by a test, or says why not", () => {
    const bare = Object.entries(requirements).filter(([id, clause]) => !clause.notYet && !tests.has(id));
    expect(bare.map(([id, { says }]) => `${id} ${says}`)).toEqual([]);
  });

  it("every id that a test cites is a clause", () => {
    expect([...tests.keys()].filter((id) => requirements[id] === undefined)).toEqual([]);
  });

  it("a clause that is marked as not covered has no test", () => {
    expect(Object.keys(requirements).filter((id) => requirements[id]?.notYet && tests.has(id))).toEqual([]);
  });
});
