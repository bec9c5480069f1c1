import { readFile, readdir, stat } from "node:fs/promises";
import { join, relative } from "node:path";

import type { Bundle, Parsed, PolicyFile } from "./bundle.ts";
import { compare, parseBundle } from "./bundle.ts";
import type { Problem } from "./problem.ts";

/** Levels of folders below the policy directory; a symbolic link that leads back up ends here. */
const maxLevels = 16;

/** A file of policies, and a mark that differs once the file was written again. */
export interface Seen {
  readonly path: string;
  readonly mark: string;
}

/** All `*.cedar` below the directory, sorted by path. Names that start with a dot are left out: they are editors' and mounts' own. */
export async function listPolicyFiles(directory: string, levels = maxLevels): Promise<readonly Seen[]> {
  const found: Seen[] = [];
  for (const name of await readdir(directory)) {
    if (name.startsWith(".")) continue;
    const path = join(directory, name);
    // `stat` follows links: a Kubernetes mount is made of nothing else.
    const facts = await stat(path, { bigint: true });
    if (facts.isDirectory() && levels > 0) found.push(...(await listPolicyFiles(path, levels - 1)));
    else if (facts.isFile() && name.endsWith(".cedar"))
      found.push({ path, mark: `${facts.ino} ${facts.size} ${facts.mtimeNs} ${facts.ctimeNs}` });
  }
  return found.sort((a, b) => compare(a.path, b.path));
}

/** Reads, parses and validates a directory of policies. Never throws: what cannot be read is a problem like any other. */
export async function loadBundle(directory: string, known?: Bundle): Promise<Parsed> {
  let seen: readonly Seen[];
  try {
    seen = await listPolicyFiles(directory);
  } catch (error) {
    return { ok: false, problems: [unreadable(directory, error)] };
  }

  const problems: Problem[] = [];
  const files: PolicyFile[] = [];
  for (const { path } of seen) {
    try {
      const text = new TextDecoder("utf-8", { fatal: true }).decode(await readFile(path));
      files.push({ file: shown(path), text });
    } catch (error) {
      problems.push(unreadable(shown(path), error));
    }
  }

  const parsed = await parseBundle(files, known);
  if (problems.length === 0) return parsed;
  return { ok: false, problems: parsed.ok ? problems : [...problems, ...parsed.problems] };
}

/** As one would type it: relative to where the process runs, unless that leads out of there. */
function shown(path: string): string {
  const short = relative(".", path);
  return short.startsWith("..") ? path : short;
}

function unreadable(path: string, error: unknown): Problem {
  return { file: path, line: 1, problem: `cannot be read: ${error instanceof Error ? error.message : String(error)}` };
}
