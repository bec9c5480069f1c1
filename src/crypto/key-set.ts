import type { KeyObject } from "node:crypto";
import { hash } from "node:crypto";
import type { KeyRow, KeyRows } from "./keys.ts";
import { createKey, openKey } from "./keys.ts";
import type { Seal } from "./seal.ts";

export interface RotatingKeyRows extends KeyRows {
  remove(name: string): Promise<void>;
}

export interface KeySetParts {
  readonly rows: RotatingKeyRows;
  readonly seal: Seal;
  /** Name of the first key; those after it are `<name>/1`, `<name>/2`, … */
  readonly name: string;
  /** Milliseconds for which a key signs. */
  readonly every: number;
  /** Milliseconds for which a key is kept after it stopped signing: until nothing that it signed is valid any more. */
  readonly keep: number;
  /** Milliseconds from when a key is published until it signs, so that whoever caches the set knows it by then. */
  readonly lead?: number;
  readonly now: () => number;
  /** Writes down that a key was made. */
  readonly rotated: (kid: string) => Promise<unknown>;
}

interface PublishedKey {
  /** Thumbprint (RFC 7638). */
  readonly kid: string;
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
}

/** P-256 keys that take turns, for all processes of one store. When each of them signs follows from when it was made. */
export interface KeySet {
  /** Signs now. */
  current(): PublishedKey;
  /** Public half of a key that signs, will sign soon, or whose signatures may still be valid. */
  find(kid: string): KeyObject | undefined;
  /** Everything that `find` finds; the one that signs is the first. */
  published(): readonly PublishedKey[];
  /** Looks for keys that another process made; at most every ten seconds, however often it is asked. */
  refresh(): Promise<void>;
  /** To be called every minute or so: makes the next key when it is time, and deletes what nobody needs. Answers whether the set changed. */
  rotate(): Promise<boolean>;
}

interface Held extends PublishedKey {
  readonly row: string;
  readonly turn: number;
  readonly signsFrom: number;
}

const defaultLead = 10 * 60_000;
const refreshPause = 10_000;

/** Loads the set, or makes its first key, which signs at once. Throws `SetupError`. */
export async function openKeySet(parts: KeySetParts): Promise<KeySet> {
  const { rows, seal, name, every, keep, lead = defaultLead, now } = parts;
  let held: readonly Held[] = [];
  let refreshing: Promise<void> | undefined;
  let refreshedAt = 0;

  async function load(): Promise<void> {
    const known = new Map(held.map((key) => [key.row, key]));
    const present = (await rows.all()).filter((row) => row.name === name || row.name.startsWith(`${name}/`));
    const opened = await Promise.all(present.map(async (row) => known.get(row.name) ?? open(row)));
    held = opened.toSorted((a, b) => a.turn - b.turn);
    refreshedAt = now();
  }

  async function open(row: KeyRow): Promise<Held> {
    const { privateKey, publicKey } = await openKey(seal, row, "es256");
    const turn = row.name === name ? 0 : Number(row.name.slice(name.length + 1));
    const signsFrom = (row.createdAt ?? 0) + (turn === 0 ? 0 : lead);
    return { row: row.name, turn, signsFrom, kid: thumbprint(publicKey), privateKey, publicKey };
  }

  /** What is needed at this time, oldest first. */
  function needed(): readonly Held[] {
    const time = now();
    return held.filter((_, index) => {
      const successor = held[index + 1];
      return successor === undefined || time < successor.signsFrom + keep;
    });
  }

  function signing(): Held {
    const time = now();
    const key = held.findLast((one) => one.signsFrom <= time) ?? held[0];
    if (!key) throw new Error("there is no signing key");
    return key;
  }

  await load();
  if (held.length === 0) {
    // Of processes that start together, one makes it.
    await createKey({ rows, seal, name, kind: "es256", createdAt: now() });
    await load();
  }

  return {
    current: signing,
    find: (kid) => needed().find((key) => key.kid === kid)?.publicKey,

    published() {
      const first = signing();
      return [first, ...needed().filter((key) => key !== first)];
    },

    async refresh() {
      if (refreshing === undefined && now() - refreshedAt < refreshPause) return;
      refreshing ??= load().finally(() => (refreshing = undefined));
      await refreshing;
    },

    async rotate() {
      await load();
      let changed = false;
      const newest = held.at(-1);
      if (newest && now() >= newest.signsFrom + every - lead) {
        const row = await createKey({ rows, seal, name: `${name}/${newest.turn + 1}`, kind: "es256", createdAt: now() });
        await load();
        const made = held.at(-1);
        // Without a row, another process was faster, and writes it down.
        if (row && made) await parts.rotated(made.kid);
        changed = true;
      }
      const still = new Set(needed());
      for (const key of held) {
        if (still.has(key)) continue;
        await rows.remove(key.row);
        changed = true;
      }
      held = held.filter((key) => still.has(key));
      return changed;
    },
  };
}

/** RFC 7638 section 3: the members that make up the key, in this order and without white space. */
function thumbprint(publicKey: KeyObject): string {
  const { crv, kty, x, y } = publicKey.export({ format: "jwk" });
  return hash("sha256", JSON.stringify({ crv, kty, x, y }), "base64url");
}
