import { randomUUID } from "node:crypto";
import { constants } from "node:fs";
import { mkdir, open, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { SetupError } from "../core/setup-error.ts";
import { locked } from "./lock.ts";
import type { Login, LoginPlace } from "./login.ts";
import { isLogin } from "./login.ts";

const largest = 1_048_576;

/** Logins in a file that only its owner may read (0600), in a folder that only its owner may enter (0700). */
export function createLoginFile(parts: { readonly file: string; readonly signal: AbortSignal }): LoginPlace {
  const { file } = parts;

  async function all(): Promise<Readonly<Record<string, unknown>>> {
    const handle = await open(file, constants.O_RDONLY | constants.O_NOFOLLOW).catch((cause: unknown) => {
      if (cause instanceof Error && "code" in cause && cause.code === "ENOENT") return undefined;
      throw new SetupError({ file, what: "cannot be read", fix: "It must be a file of your own.", cause });
    });
    if (!handle) return {};
    try {
      const { mode, uid, size } = await handle.stat();
      // Windows has no such modes: there, the folder of the user is what protects it.
      if (process.getuid && ((mode & 0o077) !== 0 || uid !== process.getuid()))
        throw new SetupError({
          file,
          what: "others can read it, or own it",
          fix: `Run \`chmod 600 ${file}\`, and sign in anew if others could.`,
        });
      if (size > largest) throw new SetupError({ file, what: "is too long for a file of logins", fix: "Remove it, and sign in anew." });
      const parsed: unknown = parse(await handle.readFile("utf8"));
      if (
        typeof parsed !== "object" ||
        parsed === null ||
        !("logins" in parsed) ||
        typeof parsed.logins !== "object" ||
        parsed.logins === null
      )
        throw new SetupError({ file, what: "is not a file of logins", fix: "Remove it, and sign in anew." });
      return { ...parsed.logins };
    } finally {
      await handle.close();
    }
  }

  /** The old file or the new one is there, whatever happens in between. */
  async function replace(logins: Readonly<Record<string, unknown>>): Promise<void> {
    const folder = dirname(file);
    const fresh = join(folder, `.logins-${randomUUID()}.tmp`);
    try {
      const handle = await open(fresh, "wx", 0o600);
      try {
        await handle.writeFile(`${JSON.stringify({ version: 1, logins }, undefined, 2)}\n`);
        await handle.sync();
      } finally {
        await handle.close();
      }
      await rename(fresh, file);
    } catch (thrown) {
      await rm(fresh, { force: true });
      throw thrown;
    }
    if (process.platform === "win32") return;
    const directory = await open(folder, constants.O_RDONLY);
    try {
      await directory.sync();
    } finally {
      await directory.close();
    }
  }

  async function change(edit: (logins: Record<string, unknown>) => void): Promise<void> {
    await ownFolder(dirname(file));
    await locked(join(dirname(file), ".logins.lock"), parts.signal, async () => {
      const logins: Record<string, unknown> = Object.assign(Object.create(null), await all());
      edit(logins);
      await replace(logins);
    });
  }

  return {
    words: file,
    async read(name) {
      const logins = await all();
      const login = Object.hasOwn(logins, name) ? logins[name] : undefined;
      return isLogin(login) ? login : undefined;
    },
    write: (name, login: Login) => change((logins) => void (logins[name] = login)),
    async remove(name) {
      if (Object.hasOwn(await all(), name)) await change((logins) => void delete logins[name]);
    },
  };
}

/** Makes the folder for its owner alone; one that others may write to is refused, since they could put a file of theirs there. */
export async function ownFolder(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 }).catch((cause: unknown) => {
    throw new SetupError({
      file: folder,
      what: "cannot be made",
      fix: "Logins are kept there; set XDG_CONFIG_HOME to a place that you can write to.",
      cause,
    });
  });
  const { mode, uid } = await stat(folder);
  if (process.getuid && ((mode & 0o022) !== 0 || uid !== process.getuid()))
    throw new SetupError({ file: folder, what: "others can write to this folder, or own it", fix: `Run \`chmod 700 ${folder}\`.` });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
