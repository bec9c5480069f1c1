import type { PatternIndex } from "./patterns.ts";
import { levelsOf, sourceEnd, sourceStart, viewsOf } from "./views.ts";

export const replacement = "[redacted]";

interface Range {
  readonly start: number;
  readonly end: number;
}

export interface Scrubbed {
  /** Free of known values, whatever follows. */
  readonly clean: Buffer;
  /** The possible beginning of a value; nothing when no more input follows. */
  readonly held: Buffer;
  readonly hits: number;
}

/** Passes after which a text that keeps showing matches is given up as a whole. */
const patience = 8;

/**
 * Replaces every match, then looks again: a replacement puts new neighbours together, and they must
 * not spell a value either. With `more` to come, what may be the beginning of a match is held back.
 */
export function scrub(index: PatternIndex, source: Buffer, more: boolean): Scrubbed {
  if (index.size === 0 || (!isSuspect(index, source) && (!more || isComplete(index, source))))
    return { clean: source, held: Buffer.alloc(0), hits: 0 };
  let text = source;
  let hits = 0;
  for (let pass = 0; ; pass++) {
    const { ranges, hold } = look(index, text, more);
    if (ranges.length === 0) return { clean: text.subarray(0, hold), held: text.subarray(hold), hits };
    if (pass === patience) return { clean: Buffer.from(replacement), held: text.subarray(hold), hits: hits + 1 };
    hits += ranges.length;
    text = replace(text, ranges);
  }
}

/** Whether it is worth looking closely: the one pass that clean text pays for. */
export function isSuspect(index: PatternIndex, text: Buffer): boolean {
  return index.size > 0 && levelsOf(text, { more: false, origins: false }).some((view) => index.suspects(view.bytes));
}

/** Whether no value and no escape can have begun at the end: the common case, and found out at half the cost of where. */
function isComplete(index: PatternIndex, text: Buffer): boolean {
  return viewsOf(text, { more: true, origins: false }).every(
    (view) => view.open === text.length && index.unfinished(view.bytes) === view.bytes.length,
  );
}

/** Matches that nothing to come can lengthen, in order and apart from each other, and where what must wait begins. */
function look(index: PatternIndex, text: Buffer, more: boolean): { readonly ranges: readonly Range[]; readonly hold: number } {
  const found: Range[] = [];
  let hold = text.length;
  for (const view of viewsOf(text, { more, origins: true })) {
    index.find(view.bytes, (start, end) => found.push({ start: sourceStart(view, start), end: sourceEnd(view, end) }));
    if (more) hold = Math.min(hold, view.open, sourceStart(view, index.unfinished(view.bytes)));
  }
  const ranges = merge(found);
  // A match that reaches into what waits may be the first part of a longer one.
  for (const range of ranges) if (range.end > hold) hold = Math.min(hold, range.start);
  return { ranges: ranges.filter((range) => range.end <= hold), hold };
}

function merge(found: readonly Range[]): readonly Range[] {
  const merged: { start: number; end: number }[] = [];
  for (const { start, end } of found.toSorted((a, b) => a.start - b.start)) {
    const last = merged.at(-1);
    if (last && start < last.end) last.end = Math.max(last.end, end);
    else merged.push({ start, end });
  }
  return merged;
}

function replace(text: Buffer, ranges: readonly Range[]): Buffer {
  const parts: Buffer[] = [];
  let from = 0;
  for (const { start, end } of ranges) {
    parts.push(text.subarray(from, start), Buffer.from(replacement));
    from = end;
  }
  return Buffer.concat([...parts, text.subarray(from)]);
}
