import { hash } from "node:crypto";
import type { AuditEvent } from "../core/event.ts";

/**
 * One line of the log, in canonical JSON:
 *
 *     {"at":"…","event":{…},"prev":"…","seq":12,"uid":"…","v":1}
 *
 * The event has a member of its own, so that the envelope is a frame of known shape around it: what
 * stands where can be told from the two ends of the line, whatever text an agent put into the event.
 */
export interface AuditEntry {
  /** RFC 3339, UTC, milliseconds. */
  readonly at: string;
  readonly event: AuditEvent;
  /** Base64 of the leaf hash of the entry before; of 32 zero bytes for the first. */
  readonly prev: string;
  /** Counts from 0, without gaps. */
  readonly seq: number;
  /**
   * First 22 characters of the base64url SHA-256 of the line up to `,"uid"`. The same in every copy of an
   * entry and in no other entry of any log; and a check of the entry on itself that needs no neighbour.
   */
  readonly uid: string;
  readonly v: 1;
}

const uidLength = 22;
const prevLength = 44;
const beforeUid = ',"uid":"';
const ending = '","v":1}';
/** From `,"uid":"` to the end. */
const closing = beforeUid.length + uidLength + ending.length;

/** The line for an event whose canonical text is given. */
export function writeEntry(event: string, place: { readonly at: string; readonly prev: string; readonly seq: number }): string {
  const body = `{"at":"${place.at}","event":${event},"prev":"${place.prev}","seq":${place.seq}`;
  return `${body}${beforeUid}${uidOf(body)}${ending}`;
}

/** Whether the line ends as the entry number `seq` after the entry with leaf hash `prev` must. The happy path of verification. */
export function isAt(line: Buffer, seq: number, prev: string): boolean {
  const expected = `,"prev":"${prev}","seq":${seq}`;
  const end = line.length - closing;
  return (
    end > expected.length &&
    line.toString("latin1", end - expected.length, end + beforeUid.length) === expected + beforeUid &&
    line.toString("latin1", line.length - ending.length) === ending
  );
}

const frame = /,"prev":"([A-Za-z0-9+/]{43}=)","seq":(0|[1-9][0-9]{0,15}),"uid":"[A-Za-z0-9_-]{22}","v":1\}$/;

/** Where the line says that it stands; `undefined` when it is not an entry. Read from its end, where no event reaches. */
export function placeOf(line: Buffer): { readonly seq: number; readonly prev: string } | undefined {
  const longest = closing + `,"prev":"","seq":`.length + prevLength + 16;
  const match = frame.exec(line.toString("latin1", Math.max(0, line.length - longest)));
  return match?.[1] !== undefined && match[2] !== undefined ? { prev: match[1], seq: Number(match[2]) } : undefined;
}

/** Whether the entry agrees with its own uid. Careless edits show here at once; careful ones show in the chain and the tree. */
export function agreesWithUid(line: Buffer): boolean {
  const body = line.subarray(0, Math.max(0, line.length - closing));
  return line.toString("latin1", body.length) === `${beforeUid}${uidOf(body)}${ending}`;
}

/** Throws `SyntaxError` for what is not an entry. */
export function parseEntry(line: Uint8Array): AuditEntry {
  const parsed: unknown = JSON.parse(Buffer.from(line.buffer, line.byteOffset, line.byteLength).toString("utf8"));
  if (!isEntry(parsed)) throw new SyntaxError("not an entry of the audit log");
  return parsed;
}

function isEntry(value: unknown): value is AuditEntry {
  if (typeof value !== "object" || value === null || !("event" in value && "seq" in value && "at" in value && "v" in value)) return false;
  const { event } = value;
  return value.v === 1 && typeof value.seq === "number" && typeof value.at === "string" && isEvent(event);
}

function isEvent(value: unknown): value is AuditEvent {
  return typeof value === "object" && value !== null && "kind" in value && typeof value.kind === "string" && "actor" in value;
}

function uidOf(body: string | Uint8Array): string {
  return hash("sha256", body, "base64url").slice(0, uidLength);
}
