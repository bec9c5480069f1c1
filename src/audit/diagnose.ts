import { agreesWithUid, placeOf } from "./entry.ts";

/** The first place of a log where the chain does not hold, and what stands around it. */
export interface Scene {
  /** The sequence number that belongs here. */
  readonly seq: number;
  /** Entries before this number are proven by a checkpoint. */
  readonly proven: number;
  /** Whether a checkpoint contradicts the entries before this place. */
  readonly disproven: boolean;
  /** The entry before, and its leaf hash in base64. */
  readonly before: { readonly line: Buffer | undefined; readonly hash: string };
  /** What is found here. */
  readonly line: Buffer;
  readonly hash: string;
  /** What comes after it; `undefined` at the end of the log. */
  readonly after: Buffer | undefined;
  /** Whether an entry with the number that belongs here comes later. */
  readonly expectedLater: boolean;
  /** Whether an entry with the number that is found here comes again later. */
  readonly foundLater: boolean;
}

export interface Diagnosis {
  readonly problem: "edited" | "missing" | "reordered" | "duplicated" | "inserted" | "truncated";
  readonly firstBad: number;
  readonly explanation: string;
}

/** What was done to the log. Every break is certain; its name is the simplest change that leaves these marks. */
export function diagnose(scene: Scene): Diagnosis {
  const { seq, line } = scene;
  const place = placeOf(line);
  if (!place) {
    if (!scene.after && line.at(-1) !== 0x7d)
      return { problem: "truncated", firstBad: seq, explanation: `Entry ${seq} ends in the middle.` };
    return foreign(scene, "is not an entry");
  }
  if (place.seq === seq) return brokenLink(scene, place.prev);
  if (!agreesWithUid(line)) return foreign(scene, `says that it is entry ${place.seq}`);
  return place.seq > seq ? ahead(scene, place.seq) : behind(scene, place.seq);
}

/** The number is right, but the entry remembers another predecessor: one of the two was changed. */
function brokenLink(scene: Scene, prev: string): Diagnosis {
  const { seq, before, hash, after } = scene;
  const here: Diagnosis = {
    problem: "edited",
    firstBad: seq,
    explanation: `Entry ${seq} does not follow from entry ${seq - 1}: it was changed.`,
  };
  if (seq === 0) return { ...here, explanation: "Entry 0 claims to follow another entry: it was changed." };
  const previous: Diagnosis = {
    problem: "edited",
    firstBad: seq - 1,
    explanation: `Entry ${seq - 1} is not what entry ${seq} remembers of it: it was changed.`,
  };
  if (scene.proven >= seq) return here;
  if (before.line && !agreesWithUid(before.line)) return previous;
  if (!agreesWithUid(scene.line)) return here;
  // Both are whole in themselves. The one that the next entry vouches for is the genuine one.
  const next = after && placeOf(after);
  if (next?.seq === seq + 1 && next.prev !== hash) return here;
  return { ...previous, explanation: `${previous.explanation} It remembers ${prev}, and the hash is ${before.hash}.` };
}

/** Something that never was an entry of this log at this place. */
function foreign(scene: Scene, what: string): Diagnosis {
  const { seq, after } = scene;
  const shifted = after !== undefined && placeOf(after)?.seq === seq;
  const rest = shifted ? `the genuine entry ${seq} follows it` : `entry ${seq} was changed`;
  return {
    problem: shifted ? "inserted" : "edited",
    firstBad: seq,
    explanation: `The line in the place of entry ${seq} ${what}: ${rest}.`,
  };
}

/** A later entry stands here. */
function ahead(scene: Scene, found: number): Diagnosis {
  const { seq } = scene;
  if (!scene.expectedLater) {
    const gone = found === seq + 1 ? `Entry ${seq} is` : `Entries ${seq} to ${found - 1} are`;
    return { problem: "missing", firstBad: seq, explanation: `${gone} missing: entry ${found} stands in its place.` };
  }
  if (scene.foundLater)
    return { problem: "duplicated", firstBad: seq, explanation: `A second entry ${found} was put in the place of entry ${seq}.` };
  return { problem: "reordered", firstBad: seq, explanation: `Entry ${found} was moved to the place of entry ${seq}.` };
}

/** An entry with a number that already went by. */
function behind(scene: Scene, found: number): Diagnosis {
  const { seq, before, hash, after } = scene;
  if (found < seq - 1 || hash === before.hash)
    return { problem: "duplicated", firstBad: seq, explanation: `Entry ${found} comes a second time, in the place of entry ${seq}.` };
  // Two different entries with one number: the next entry says which of them it followed.
  const vouched = after && placeOf(after)?.prev;
  const firstIsForged = (before.line !== undefined && !agreesWithUid(before.line)) || vouched === hash || scene.disproven;
  const firstBad = firstIsForged && scene.proven < seq ? seq - 1 : seq;
  return {
    problem: "inserted",
    firstBad,
    explanation: `There are two entries ${found}; the one in the place of entry ${firstBad} was inserted.`,
  };
}
