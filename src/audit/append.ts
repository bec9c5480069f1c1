import type { AuditEvent } from "../core/event.ts";
import { canonical } from "./canonical.ts";
import { writeEntry } from "./entry.ts";
import { frontierLength, hashLength, leafHash, push, rootOfFrontier } from "./tree.ts";

/** All that appending needs to know of the log. Stored with it, in the same transaction as the entries. */
export interface LogHead {
  readonly size: number;
  /** Leaf hash of the last entry; 32 zero bytes when the log is empty. */
  readonly last: Uint8Array;
  /** Roots of the complete subtrees along the right edge, largest first (see `tree.ts`). */
  readonly frontier: readonly Uint8Array[];
}

export interface LogEntry {
  readonly seq: number;
  /** Canonical JSON (RFC 8785) in UTF-8, without a newline. */
  readonly bytes: Uint8Array;
  /** Leaf hash (RFC 6962): SHA-256(0x00 ‖ bytes). */
  readonly hash: Uint8Array;
}

export const emptyHead: LogHead = { size: 0, last: new Uint8Array(hashLength), frontier: [] };

/**
 * The entries for these events, and the head after them. Pure: what it returns is in the log once the
 * caller's transaction has committed it, and never was if not. `at` is milliseconds since the epoch.
 * Throws `TypeError` for an event that JSON cannot say exactly (see `canonical.ts`): whoever commits
 * many together has to keep one bad event from failing the others. 7 µs an event, a third of it its
 * canonical text and another its three hashes (one core, 600-byte entries).
 */
export function extend(head: LogHead, events: readonly AuditEvent[], at: number): { entries: LogEntry[]; head: LogHead } {
  const time = timestamp(at);
  const frontier = [...head.frontier];
  const entries: LogEntry[] = [];
  let { size, last } = head;
  for (const event of events) {
    const prev = Buffer.from(last.buffer, last.byteOffset, last.byteLength).toString("base64");
    const bytes = Buffer.from(writeEntry(canonical(event), { at: time, prev, seq: size }), "utf8");
    last = leafHash(bytes);
    entries.push({ seq: size, bytes, hash: last });
    push(frontier, size, last);
    size += 1;
  }
  return { entries, head: { size, last, frontier } };
}

/** The Merkle tree hash over all entries. */
export function rootOf(head: LogHead): Uint8Array {
  return rootOfFrontier(head.frontier);
}

const headVersion = 1;
const headPrefix = 1 + 8 + hashLength;

/** For a database column: version, size (64-bit big endian), last leaf hash, frontier. At most 41 + 53 × 32 bytes. */
export function encodeHead(head: LogHead): Uint8Array {
  const prefix = Buffer.alloc(1 + 8);
  prefix[0] = headVersion;
  prefix.writeBigUInt64BE(BigInt(head.size), 1);
  return Buffer.concat([prefix, head.last, ...head.frontier]);
}

/** Throws `RangeError` for anything that `encodeHead` did not write. */
export function decodeHead(bytes: Uint8Array): LogHead {
  const buffer = Buffer.from(bytes);
  const damaged = new RangeError("the stored head of the audit log is damaged");
  if (buffer.length < headPrefix || buffer[0] !== headVersion) throw damaged;
  const size = Number(buffer.readBigUInt64BE(1));
  if (!Number.isSafeInteger(size) || buffer.length !== headPrefix + frontierLength(size) * hashLength) throw damaged;
  const frontier: Uint8Array[] = [];
  for (let i = headPrefix; i < buffer.length; i += hashLength) frontier.push(buffer.subarray(i, i + hashLength));
  return { size, last: buffer.subarray(1 + 8, headPrefix), frontier };
}

const lastInstant = Date.UTC(9999, 11, 31, 23, 59, 59, 999);

function timestamp(at: number): string {
  if (!(at >= 0 && at <= lastInstant)) throw new RangeError("the clock is not between 1970 and 9999");
  return new Date(at).toISOString();
}
