import { setTimeout } from "node:timers/promises";
import { DatabaseSync } from "node:sqlite";
import { SetupError } from "../core/setup-error.ts";

/**
 * One process at a time. The lock is one of the operating system's, held through an empty database file, so it is gone
 * the moment its holder is, however that ends: there is no age at which a lock counts as stale, and none to get wrong.
 */
export async function locked<T>(file: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  const database = open(file);
  try {
    while (!take(database, file)) await setTimeout(50 + Math.random() * 50, undefined, { signal });
    return await work();
  } finally {
    database.close();
  }
}

function open(file: string): DatabaseSync {
  try {
    return new DatabaseSync(file, { timeout: 0 });
  } catch (cause) {
    throw unlockable(file, cause);
  }
}

const busy = 5;

function take(database: DatabaseSync, file: string): boolean {
  try {
    // There is nothing to roll back, so nothing is left behind either.
    database.exec("PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE");
    return true;
  } catch (thrown) {
    if (thrown instanceof Error && "errcode" in thrown && thrown.errcode === busy) return false;
    throw unlockable(file, thrown);
  }
}

function unlockable(file: string, cause: unknown): SetupError {
  return new SetupError({
    file,
    what: "cannot be locked",
    fix: "Its folder must be one that you can write to, on a disk of this machine.",
    cause,
  });
}
