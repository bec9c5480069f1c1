import type { LogHead } from "./append.ts";
import { rootOf } from "./append.ts";
import type { NoteSigner, NoteVerifier } from "./note.ts";
import { decodeBase64, parseNote } from "./note.ts";
import { hashLength } from "./tree.ts";

/** A signed statement "this log has this many entries and this root" (c2sp.org/tlog-checkpoint). */
export interface Checkpoint {
  /** Which log, e.g. `leasehold/production`. The name of its key. */
  readonly origin: string;
  readonly size: number;
  readonly root: Uint8Array;
}

/** The signed note for the present head. Its origin is the signer's name. */
export function signCheckpoint(head: LogHead, signer: NoteSigner): string {
  return signer.sign(`${signer.name}\n${head.size}\n${Buffer.from(rootOf(head)).toString("base64")}\n`);
}

/** What a note claims, whoever signed it; `undefined` when it is not a checkpoint. To be believed only through `openCheckpoint`. */
export function parseCheckpoint(note: string): Checkpoint | undefined {
  const parsed = parseNote(note);
  return parsed && parseBody(parsed.text);
}

/**
 * The checkpoint, when the key signed it; `undefined` otherwise. The origin must be the key's name, so that
 * a key that signs for two logs cannot have one passed off as the other.
 */
export function openCheckpoint(note: string, verifier: NoteVerifier): Checkpoint | undefined {
  const text = verifier.open(note);
  const checkpoint = text === undefined ? undefined : parseBody(text);
  return checkpoint?.origin === verifier.name ? checkpoint : undefined;
}

const decimal = /^(?:0|[1-9][0-9]{0,15})$/;

/** Three lines, and then extension lines, which are opaque and may be there. */
function parseBody(text: string): Checkpoint | undefined {
  const lines = text.slice(0, -1).split("\n");
  const [origin, size, root] = lines;
  if (!origin || size === undefined || root === undefined || !decimal.test(size) || lines.includes("")) return undefined;
  const hash = decodeBase64(root);
  if (hash?.length !== hashLength || !Number.isSafeInteger(Number(size))) return undefined;
  return { origin, size: Number(size), root: hash };
}
