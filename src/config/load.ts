import { readFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { absolute } from "./absolute.ts";
import type { Config } from "./config.ts";
import { crossCheck } from "./cross.ts";
import { problemsOf, unsaid } from "./issues.ts";
import { outlineOf } from "./outline.ts";
import type { Problem } from "./problem.ts";
import { ConfigError } from "./problem.ts";
import type { ConfigTables } from "./schema.ts";
import { configSchema } from "./schema.ts";
import { settle } from "./settle.ts";
import { parseYaml } from "./yaml.ts";

/**
 * Reads and checks a configuration file. Throws `ConfigError` with everything that is wrong in it: there is no
 * partly valid configuration, because the part that is left out could be the one that protects.
 */
export async function loadConfig(file: string, tables: ConfigTables): Promise<Config> {
  return parseConfig(await read(file), file, tables);
}

/** The same for text that is at hand; relative paths are relative to the folder of `file`. */
export function parseConfig(text: string, file: string, tables: ConfigTables): Config {
  const source = parseYaml(text);
  if (!("data" in source)) throw new ConfigError(file, source);
  if (source.data === null) throw new ConfigError(file, [{ path: "", message: "this file is empty" }], { fix: startHere });

  const schema = configSchema(tables);
  const parsed = schema.safeParse(source.data, { error: () => unsaid });
  const crossed = crossCheck(source.data).map(({ path, message }) => ({ line: source.lineOf(path), path: path.join("."), message }));
  const found = parsed.success ? [] : problemsOf(parsed.error.issues, source, () => outlineOf(schema));
  if (!parsed.success || crossed.length > 0) throw new ConfigError(file, unique([...found, ...crossed]));
  return settle(absolute(parsed.data, dirname(resolve(file)), tables));
}

const startHere = "Run `leasehold init` to write one.";

async function read(file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
    if (code === "ENOENT")
      throw new ConfigError(file, [{ path: "", message: "there is no such file" }], {
        fix: "Run `leasehold init` to write one, or name yours with --config.",
        cause,
      });
    throw new ConfigError(file, [{ path: "", message: code === "EISDIR" ? "this is a folder" : "this file cannot be read" }], {
      fix: code === "EISDIR" ? "Name the file in it with --config." : "Check its permissions.",
      cause,
    });
  }
}

function unique(problems: readonly Problem[]): readonly Problem[] {
  return [...new Map(problems.map((problem) => [`${problem.path}\n${problem.message}`, problem])).values()];
}
