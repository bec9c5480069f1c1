import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { open, readdir, rename, unlink } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { SetupError } from "../core/setup-error.ts";
import type { Kek, KekSource } from "./kek.ts";
import { createKek, keyCheck } from "./kek.ts";

const header = /^leasehold-seal-key v1 ([0-9a-f]{32})$/;
const armoured = /^[A-Za-z0-9_-]{43}$/;
const largest = 4096;

/** Writes a new random key, readable by its owner only and durable on return. Never overwrites: throws `SetupError`. */
export async function createSealFile(path: string): Promise<{ readonly id: string }> {
  return { id: (await writeKey(randomBytes(32), () => path)).id };
}

/**
 * A key file, and beside it, during a rotation, the next one as `<path>.next-<id>`. The next file exists
 * before the store needs it and takes the place of the present one after, so whenever the power goes,
 * one of the two opens the store; `find` knows which from the id.
 */
export function createFileSource(path: string): KekSource {
  const nextPath = (id: string) => `${path}.next-${id.replace("file:", "")}`;

  return {
    async first() {
      return (await readKey(path)) ?? missing(path);
    },

    async find(id) {
      if (!id.startsWith("file:"))
        throw new SetupError({ what: "The store is sealed with a passphrase", fix: "Set seal.type to passphrase." });
      const present = await readKey(path);
      if (present?.id === id) return present;
      const next = await readKey(nextPath(id));
      if (next?.id === id) return next;
      if (!present) return missing(path);
      throw new SetupError({
        file: path,
        what: "this key does not belong to this store",
        fix: `Put back the key file with the id ${id.replace("file:", "")}, or restore the database that belongs to this one.`,
      });
    },

    async next() {
      // What an interrupted rotation left is used up first, so that keys nobody needs do not pile up.
      for (const name of (await readdir(dirname(path))).toSorted()) {
        if (!name.startsWith(`${basename(path)}.next-`)) continue;
        const left = await readKey(join(dirname(path), name)).catch(() => undefined);
        if (left && nextPath(left.id) === join(dirname(path), name)) return left;
      }
      return writeKey(randomBytes(32), nextPath);
    },

    async adopt(id) {
      try {
        await rename(nextPath(id), path);
      } catch (error) {
        if (!hasCode(error, "ENOENT")) throw failed(path, "cannot be replaced by the next key", error);
        return;
      }
      await syncDirectory(path);
    },
  };
}

/** Reads a file that only its owner (this user or root) may read. `undefined` when there is none. */
export async function readPrivateFile(path: string): Promise<Buffer | undefined> {
  let file: FileHandle;
  try {
    file = await open(path, constants.O_RDONLY);
  } catch (error) {
    if (hasCode(error, "ENOENT")) return undefined;
    throw failed(path, "cannot be read", error);
  }
  try {
    // Of the opened file, not of the path: what is checked is what is read.
    const stat = await file.stat();
    if (!stat.isFile()) throw new SetupError({ file: path, what: "is not a file", fix: "Name the file itself." });
    const uid = process.getuid?.();
    if (uid !== undefined) {
      if (stat.uid !== uid && stat.uid !== 0) {
        throw new SetupError({ file: path, what: `belongs to another user (uid ${stat.uid})`, fix: `Run: chown ${uid} ${quoted(path)}` });
      }
      if ((stat.mode & 0o077) !== 0) {
        const mode = (stat.mode & 0o777).toString(8).padStart(4, "0");
        throw new SetupError({
          file: path,
          what: `others than its owner have access to it (mode ${mode})`,
          fix: `Run: chmod 600 ${quoted(path)}`,
        });
      }
    }
    if (stat.size > largest) throw new SetupError({ file: path, what: `is longer than ${largest} bytes`, fix: "Name the right file." });
    return await file.readFile();
  } finally {
    await file.close();
  }
}

async function readKey(path: string): Promise<Kek | undefined> {
  const bytes = await readPrivateFile(path);
  if (!bytes) return undefined;
  const [first, second, ...rest] = bytes.toString("latin1").split("\n");
  bytes.fill(0);
  const check = header.exec(first ?? "")?.[1];
  if (check === undefined) throw damaged(path, 1, "is not a Leasehold seal key");
  if (second === undefined || !armoured.test(second) || rest.join("").trim() !== "")
    throw damaged(path, 2, "the key is not 32 bytes of base64url");
  const material = Buffer.from(second, "base64url");
  try {
    if (keyCheck(material) !== check) throw damaged(path, 2, "the key does not match its id, so it was changed");
    return createKek((id) => `file:${id}`, material);
  } finally {
    material.fill(0);
  }
}

async function writeKey(material: Buffer, place: (id: string) => string): Promise<Kek> {
  const kek = createKek((id) => `file:${id}`, material);
  const path = place(kek.id);
  const text = Buffer.from(`leasehold-seal-key v1 ${keyCheck(material)}\n${material.toString("base64url")}\n`);
  material.fill(0);
  try {
    const file = await open(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600);
    try {
      await file.writeFile(text);
      await file.sync();
    } catch (error) {
      // Half a key is worse than none: it would stand in the way of the next try.
      await unlink(path);
      throw error;
    } finally {
      await file.close();
    }
    await syncDirectory(path);
  } catch (error) {
    if (hasCode(error, "EEXIST"))
      throw new SetupError({ file: path, what: "there is a file already", fix: "Keep it: it may be the only key to your secrets." });
    throw failed(path, "cannot be written", error);
  } finally {
    text.fill(0);
  }
  return kek;
}

/** A new name is durable only once its directory is (fsync(2)). */
async function syncDirectory(path: string): Promise<void> {
  if (process.platform === "win32") return;
  const directory = await open(dirname(path), constants.O_RDONLY);
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

function missing(file: string): never {
  throw new SetupError({
    file,
    what: "there is no seal key here",
    fix: "Put it back from your backup; for a new installation run: leasehold init",
  });
}

function damaged(file: string, line: number, what: string): SetupError {
  return new SetupError({ file, line, what, fix: "Put the key file back from your backup." });
}

function failed(file: string, what: string, cause: unknown): SetupError {
  const code = cause instanceof Error && "code" in cause ? ` (${String(cause.code)})` : "";
  return new SetupError({ file, what: `${what}${code}`, fix: "Check the path and its permissions.", cause });
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}

/** For a shell, as part of a command that a person will paste. */
function quoted(path: string): string {
  return /^[\w@%+=:,./-]+$/.test(path) ? path : `'${path.replaceAll("'", String.raw`'\''`)}'`;
}
