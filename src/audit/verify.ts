import type { Checkpoint } from "./checkpoint.ts";
import { openCheckpoint } from "./checkpoint.ts";
import type { Diagnosis, Scene } from "./diagnose.ts";
import { diagnose } from "./diagnose.ts";
import { agreesWithUid, isAt, placeOf } from "./entry.ts";
import type { EntryBatches } from "./lines.ts";
import { linesOfStore } from "./lines.ts";
import type { LogStore } from "./log-store.ts";
import { noteVerifier } from "./note.ts";
import { emptyHead, rootOf } from "./append.ts";
import { leafHash, push, rootOfFrontier, sameHash } from "./tree.ts";

/** What to hold the log against. Without checkpoints only the chain is checked: that finds slips, not an author who rewrites the rest too. */
export interface Against {
  /** Signed checkpoints, in any order. Each must be good. */
  readonly notes: readonly string[];
  readonly verifierKey: string;
}

/** `root-mismatch`: the entries agree with each other, but not with what was signed. */
type Problem = Diagnosis["problem"] | "root-mismatch" | "checkpoint-signature" | "checkpoint-conflict" | "head-mismatch";

export type Verdict =
  | {
      readonly ok: true;
      readonly size: number;
      readonly root: Uint8Array;
      /** Entries before this number are proven; the rest are newer than the newest checkpoint. */
      readonly proven: number;
      /** Sizes of the checkpoints that matched. */
      readonly checkedAgainst: readonly number[];
    }
  | {
      readonly ok: false;
      readonly problem: Problem;
      /** The first number in whose place the log does not hold what was written. Absent when the fault is not in an entry. */
      readonly firstBad?: number;
      /** When only a range can be named: the first bad entry is not before `firstBad` and not after this. */
      readonly latest?: number;
      readonly proven: number;
      /** One or two sentences for a person. */
      readonly explanation: string;
    };

type Bad = Extract<Verdict, { ok: false }>;

/** Verifies a log from its first entry. Throws only what the source of the entries throws, and `TypeError` for a malformed verifier key. */
export async function verify(batches: EntryBatches, against?: Against): Promise<Verdict> {
  const checkpoints = against ? openAll(against) : [];
  if ("ok" in checkpoints) return checkpoints;
  const walk = startWalk(checkpoints);
  for await (const batch of batches) for (const line of batch) walk.step(asBuffer(line));
  return walk.end();
}

/** Verifies the log in the store, with the checkpoints that are saved there and those that were kept elsewhere. */
export async function verifyStore(store: LogStore, against: Against): Promise<Verdict> {
  // In this order, so that no checkpoint is newer than the head.
  const saved = await store.checkpoints();
  const head = await store.head();
  const verdict = await verify(linesOfStore(store, 0, head.size), {
    ...against,
    notes: [...saved.map(({ note }) => note), ...against.notes],
  });
  if (!verdict.ok) return verdict;
  const { size, proven } = verdict;
  if (size < head.size) return truncated(size, head.size, proven);
  if (sameHash(verdict.root, rootOf(head))) return verdict;
  return { ok: false, problem: "head-mismatch", proven, explanation: `The stored head of the log does not belong to its ${size} entries.` };
}

/** The checkpoints by size, or the first fault among them. */
function openAll({ notes, verifierKey }: Against): readonly Checkpoint[] | Bad {
  const verifier = noteVerifier(verifierKey);
  const bySize = new Map<number, Checkpoint>();
  for (const [i, note] of notes.entries()) {
    const checkpoint = openCheckpoint(note, verifier);
    if (!checkpoint) {
      const explanation = `Checkpoint ${i + 1} of ${notes.length} is malformed, or not signed by ${verifier.name}.`;
      return { ok: false, problem: "checkpoint-signature", proven: 0, explanation };
    }
    const other = bySize.get(checkpoint.size);
    if (other && !sameHash(other.root, checkpoint.root)) {
      const explanation = `${verifier.name} signed two different logs of ${checkpoint.size} entries: whoever holds the key shows different histories.`;
      return { ok: false, problem: "checkpoint-conflict", proven: 0, explanation };
    }
    bySize.set(checkpoint.size, checkpoint);
  }
  return [...bySize.values()].sort((a, b) => a.size - b.size);
}

/** The walk from entry to entry: 3 µs for one of 600 bytes (one core), most of it the two hashes. */
function startWalk(checkpoints: readonly Checkpoint[]): { step(line: Buffer): void; end(): Verdict } {
  const frontier: Uint8Array[] = [];
  const matched: number[] = [];
  let size = 0;
  let prev = asBuffer(emptyHead.last).toString("base64");
  let previous: Buffer | undefined;
  /** A checkpoint that did not match. The next entry may still tell which one it was. */
  let unmatched: Checkpoint | undefined;
  let search: ReturnType<typeof startSearch> | undefined;

  const proven = (): number => matched.at(-1) ?? 0;
  const due = (): Checkpoint | undefined => checkpoints[matched.length];

  function compare(): void {
    const checkpoint = due();
    if (checkpoint?.size !== size || unmatched) return;
    if (sameHash(rootOfFrontier(frontier), checkpoint.root)) matched.push(size);
    else unmatched = checkpoint;
  }

  function mismatch({ size: signed }: Checkpoint): Bad {
    const from = proven();
    const fault: Bad = { ok: false, problem: "root-mismatch", firstBad: from, proven: from, explanation: "" };
    if (signed === size && previous && !agreesWithUid(previous))
      return {
        ...fault,
        problem: "edited",
        firstBad: size - 1,
        explanation: `Entry ${size - 1} was changed: it disagrees with its own uid.`,
      };
    const until =
      from === 0 ? "No earlier checkpoint proves a beginning." : `Entries before ${from} are proven by the checkpoint at ${from}.`;
    const between = signed - 1 > from ? `The first bad entry is between ${from} and ${signed - 1}.` : `The first bad entry is ${from}.`;
    const explanation = `The entries agree with each other, but not with the checkpoint at ${signed}: they were rewritten. ${until} ${between}`;
    return { ...fault, explanation, ...(signed - 1 > from ? { latest: signed - 1 } : {}) };
  }

  compare();
  return {
    step(line) {
      if (search) return search.step(line);
      // All that could still come after a mismatch is a broken link, which `end` weighs against it.
      if (!isAt(line, size, prev)) {
        search = startSearch(line, {
          seq: size,
          proven: proven(),
          disproven: unmatched !== undefined,
          before: { line: previous, hash: prev },
        });
        return;
      }
      const leaf = leafHash(line);
      push(frontier, size, leaf);
      size += 1;
      prev = asBuffer(leaf).toString("base64");
      previous = line;
      compare();
    },
    end() {
      const found = search?.end();
      if (unmatched && (!found || found.firstBad >= unmatched.size)) return mismatch(unmatched);
      if (found) return { ok: false, ...found, proven: proven() };
      const newest = checkpoints.at(-1);
      if (newest && newest.size > size) return truncated(size, newest.size, proven());
      return { ok: true, size, root: rootOfFrontier(frontier), proven: proven(), checkedAgainst: matched };
    },
  };
}

/** Reads on behind the first break, only to tell what was done there. */
function startSearch(line: Buffer, scene: Pick<Scene, "seq" | "proven" | "disproven" | "before">) {
  const found = placeOf(line)?.seq;
  let after: Buffer | undefined;
  let expectedLater = false;
  let foundLater = false;
  return {
    step(later: Buffer): void {
      after ??= later;
      const seq = placeOf(later)?.seq;
      expectedLater ||= seq === scene.seq;
      foundLater ||= seq !== undefined && seq === found;
    },
    end(): Diagnosis {
      return diagnose({ ...scene, line, hash: asBuffer(leafHash(line)).toString("base64"), after, expectedLater, foundLater });
    },
  };
}

function truncated(size: number, expected: number, proven: number): Bad {
  const explanation = `The log ends after ${size} entries, and ${expected} were written: entry ${size} and what followed are gone.`;
  return { ok: false, problem: "truncated", firstBad: size, proven, explanation };
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
