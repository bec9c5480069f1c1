import { minimumBytes } from "./encodings.ts";
import { isSpace } from "./views.ts";

/** One byte string to look for. Also the token by which it is taken out again. */
export interface Pattern {
  readonly bytes: Buffer;
  /** Hash of the six bytes by which it is recognised, and where they start in it. */
  readonly anchor: number;
  readonly offset: number;
}

/**
 * Many patterns, looked for at once. Costs one table look-up per byte of text whatever their number:
 * a hash of the last six bytes rolls along, a filter says whether any pattern is recognised by it
 * (one in sixteen at worst says so falsely), and only then are bytes compared. Each pattern is
 * recognised by its least common six bytes, so that a thousand keys that begin with the same prefix
 * do not share one bucket.
 */
export interface PatternIndex {
  add(bytes: Buffer): Pattern;
  remove(pattern: Pattern): void;
  /** Tells every occurrence, overlapping ones too. */
  find(text: Uint8Array, hit: (start: number, end: number) => void): void;
  /**
   * Whether `find` could tell anything of the text, or of the text without its white space. One pass
   * for both: the two hashes differ only near white space. Says yes in error where a pattern lies across
   * more white space than a match may, and never no.
   */
  suspects(text: Uint8Array): boolean;
  /** Where the longest ending of the text starts that is an unfinished pattern; the text's length when there is none. */
  unfinished(text: Buffer): number;
  readonly size: number;
}

const gram = minimumBytes;
const smallest = 12;

export function createPatternIndex(): PatternIndex {
  const buckets = new Map<number, Pattern[]>();
  let byFirstByte: Map<number, Pattern[]> | undefined;
  let size = 0;
  let bits = smallest;
  let filter = new Int32Array(1 << (bits - 5));

  function grow(): void {
    if (buckets.size * 16 <= 1 << bits) return;
    bits += 2;
    filter = new Int32Array(1 << (bits - 5));
    for (const anchor of buckets.keys()) mark(anchor);
  }

  /** One bit per hash, by its highest bits: they depend on all six bytes. */
  function mark(anchor: number): void {
    const word = anchor >>> (32 - bits + 5);
    filter[word] = (filter[word] ?? 0) | (1 << (anchor >>> (32 - bits)));
  }

  function rarest(bytes: Buffer): { anchor: number; offset: number } {
    let best = { anchor: 0, offset: 0, company: Infinity };
    let hash = 0;
    for (let i = 0; i < bytes.length && best.company > 0; i++) {
      hash = roll(hash, bytes[i] ?? 0);
      if (i < gram - 1) continue;
      const company = buckets.get(hash)?.length ?? 0;
      if (company < best.company) best = { anchor: hash, offset: i - gram + 1, company };
    }
    return best;
  }

  function compare(text: Uint8Array, start: number, pattern: Pattern): boolean {
    const { bytes } = pattern;
    if (start < 0 || start + bytes.length > text.length) return false;
    for (let i = 0; i < bytes.length; i++) if (text[start + i] !== bytes[i]) return false;
    return true;
  }

  /** Whether the text without its white space has the pattern around the anchor that ends here. */
  function compareFolded(text: Uint8Array, end: number, { bytes, offset }: Pattern): boolean {
    for (let at = offset + gram - 1, i = end; at >= 0; at--, i--) {
      while (isSpace(text[i] ?? 1)) i--;
      if (text[i] !== bytes[at]) return false;
    }
    for (let at = offset + gram, i = end + 1; at < bytes.length; at++, i++) {
      while (isSpace(text[i] ?? 1)) i++;
      if (text[i] !== bytes[at]) return false;
    }
    return true;
  }

  function listed(): Map<number, Pattern[]> {
    byFirstByte ??= Map.groupBy([...buckets.values()].flat(), (pattern) => pattern.bytes[0] ?? 0);
    return byFirstByte;
  }

  return {
    get size() {
      return size;
    },

    add(bytes) {
      if (bytes.length < gram) throw new RangeError(`a pattern has at least ${gram} bytes`);
      const { anchor, offset } = rarest(bytes);
      const pattern: Pattern = { bytes, anchor, offset };
      const bucket = buckets.get(anchor);
      if (bucket) bucket.push(pattern);
      else buckets.set(anchor, [pattern]);
      mark(anchor);
      size++;
      byFirstByte = undefined;
      grow();
      return pattern;
    },

    // The filter keeps its mark: another anchor may share it, and a false one costs a look-up only.
    remove(pattern) {
      const left = buckets.get(pattern.anchor)?.filter((other) => other !== pattern) ?? [];
      if (left.length > 0) buckets.set(pattern.anchor, left);
      else buckets.delete(pattern.anchor);
      pattern.bytes.fill(0);
      size--;
      byFirstByte = undefined;
      if (size === 0) filter.fill(0);
    },

    find(text, hit) {
      const shift = 32 - bits;
      const marks = filter;
      let hash = 0;
      for (let i = 0; i < text.length; i++) {
        hash = roll(hash, text[i] ?? 0);
        if (((marks[hash >>> (shift + 5)] ?? 0) & (1 << (hash >>> shift))) === 0) continue;
        for (const pattern of buckets.get(hash) ?? []) {
          const start = i - gram + 1 - pattern.offset;
          if (compare(text, start, pattern)) hit(start, start + pattern.bytes.length);
        }
      }
    },

    suspects(text) {
      const shift = 32 - bits;
      const marks = filter;
      let hash = 0;
      let folded = 0;
      for (let i = 0; i < text.length; i++) {
        const byte = text[i] ?? 0;
        hash = roll(hash, byte);
        if (((marks[hash >>> (shift + 5)] ?? 0) & (1 << (hash >>> shift))) !== 0)
          for (const pattern of buckets.get(hash) ?? [])
            if (compare(text, i - gram + 1 - pattern.offset, pattern) || compareFolded(text, i, pattern)) return true;
        if (isSpace(byte)) continue;
        folded = roll(folded, byte);
        if (folded === hash) continue;
        if (((marks[folded >>> (shift + 5)] ?? 0) & (1 << (folded >>> shift))) !== 0)
          for (const pattern of buckets.get(folded) ?? []) if (compareFolded(text, i, pattern)) return true;
      }
      return false;
    },

    unfinished(text) {
      const patterns = listed();
      const longest = Math.max(0, ...[...patterns.values()].flat().map((pattern) => pattern.bytes.length));
      for (let start = Math.max(0, text.length - longest + 1); start < text.length; start++) {
        const rest = text.length - start;
        for (const { bytes } of patterns.get(text[start] ?? 0) ?? [])
          if (bytes.length > rest && bytes.compare(text, start, text.length, 0, rest) === 0) return start;
      }
      return text.length;
    },
  };
}

/** 32 bits that depend on the last six bytes alone: what is older has been shifted out. */
function roll(hash: number, byte: number): number {
  return ((hash << 6) + (spread[byte] ?? 0)) | 0;
}

/** A fixed, well-mixed word per byte value (xorshift32). */
const spread = Int32Array.from({ length: 256 }, (_, byte) => {
  let word = (byte + 1) * 0x9e3779b1;
  for (let round = 0; round < 4; round++) {
    word ^= word << 13;
    word ^= word >>> 17;
    word ^= word << 5;
  }
  return word;
});
