import { escapeAt, unfinishedEscape } from "./escapes.ts";

/**
 * A text as it reads once something was undone in it, with the way back to the source. A value that
 * was escaped, and escaped again, appears plainly in one of the views.
 */
export interface View {
  readonly bytes: Buffer;
  /** Per byte: where in the source what it came from starts, and where that ends. Absent when not asked for, or when equal. */
  readonly origin?: { readonly from: Uint32Array; readonly to: Uint32Array };
  /** Source offset from which more input could still change the view. */
  readonly open: number;
}

export interface Looking {
  /** More input may follow. */
  readonly more: boolean;
  /** Whether the way back is wanted; finding out *that* there is a match does without. */
  readonly origins: boolean;
}

/** JSON in a JSON string in a JSON string. */
const depth = 3;
/** White space longer than this ends a match: it bounds what a stream has to hold back. */
const longestGap = 16;

/** The source itself, the source with escapes undone (again and again), and each of these without white space. */
export function viewsOf(source: Buffer, looking: Looking): readonly View[] {
  return levelsOf(source, looking).flatMap((level) => [level, ...unfolded(level, looking)]);
}

/** The same without those, which `PatternIndex.suspects` makes unnecessary where nothing is found. */
export function levelsOf(source: Buffer, looking: Looking): readonly View[] {
  const views = [plain(source)];
  for (let level = 0; level < depth; level++) {
    const next = unescaped(views[level] ?? plain(source), looking);
    if (!next) break;
    views.push(next);
  }
  return views;
}

/** What is left out where white space is. */
export function isSpace(byte: number): boolean {
  return byte <= 32 && (byte === 32 || byte === 10 || byte === 13 || byte === 9 || byte === 0);
}

function plain(source: Buffer): View {
  return { bytes: source, open: source.length };
}

export function sourceStart(view: View, index: number): number {
  if (index >= view.bytes.length) return view.open;
  return view.origin ? (view.origin.from[index] ?? view.open) : index;
}

export function sourceEnd(view: View, index: number): number {
  return view.origin ? (view.origin.to[index - 1] ?? view.open) : index;
}

function unescaped(view: View, looking: Looking): View | undefined {
  const { bytes } = view;
  if (!bytes.includes(percent) && !bytes.includes(backslash) && !bytes.includes(ampersand)) return undefined;
  const draft = draftOf(view, looking);
  const { out } = draft;
  let length = 0;
  const copy = (start: number, end: number): void => {
    if (looking.origins) for (let i = start; i < end; i++) draft.trace(length + i - start, i, i + 1);
    bytes.copy(out, length, start, end);
    length += end - start;
  };
  let copied = 0;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i] ?? 0;
    if (byte !== percent && byte !== backslash && byte !== ampersand) continue;
    const escape = escapeAt(bytes, i);
    if (escape === undefined || (escape === unfinishedEscape && !looking.more)) continue;
    copy(copied, i);
    if (escape === unfinishedEscape) return draft.done(length, Math.min(view.open, sourceStart(view, i)));
    for (const decoded of escape.bytes) {
      if (looking.origins) draft.trace(length, i, i + escape.length);
      out[length++] = decoded;
    }
    copied = i + escape.length;
    i = copied - 1;
  }
  copy(copied, bytes.length);
  return draft.done(length, view.open);
}

/** Wrapped base64, a hex dump and UTF-16 become one run of characters. */
function unfolded(view: View, looking: Looking): readonly View[] {
  const { bytes } = view;
  if (!bytes.some(isSpace)) return [];
  const draft = draftOf(view, looking);
  const { out } = draft;
  let length = 0;
  let gap = 0;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i] ?? 0;
    gap = isSpace(byte) ? gap + 1 : 0;
    if (gap !== 0 && gap <= longestGap) continue;
    if (looking.origins) draft.trace(length, i, i + 1);
    out[length++] = byte;
  }
  return length === bytes.length ? [] : [draft.done(length, view.open)];
}

const percent = 0x25;
const backslash = 0x5c;
const ampersand = 0x26;

/** Nothing that is undone gets longer, so a view fits into the length of what it is made from. */
function draftOf(view: View, looking: Looking) {
  const room = view.bytes.length;
  const out = Buffer.allocUnsafe(room);
  const from = new Uint32Array(looking.origins ? room : 0);
  const to = new Uint32Array(looking.origins ? room : 0);
  const before = view.origin;
  return {
    out,
    trace(at: number, start: number, end: number): void {
      from[at] = before ? (before.from[start] ?? 0) : start;
      to[at] = before ? (before.to[end - 1] ?? 0) : end;
    },
    done(length: number, open: number): View {
      return { bytes: out.subarray(0, length), ...(looking.origins ? { origin: { from, to } } : {}), open };
    },
  };
}
