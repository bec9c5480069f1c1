import { formsOf, minimumBytes } from "./encodings.ts";
import { createPatternIndex } from "./patterns.ts";
import { replacement, scrub } from "./scrub.ts";

/** Scrubs a byte stream. What it holds back is the possible beginning of a value and nothing else. */
interface ScrubStream {
  push(chunk: Uint8Array): Buffer;
  /** The rest, when the stream is complete. */
  end(): Buffer;
  readonly hits: number;
}

/** Scrubs what one operation answers with of the values that the operation used. */
export interface Scrubber {
  text(text: string): { readonly clean: string; readonly hits: number };
  /** A stream that is cut off is dropped without `end`: the last bytes may be half a value. */
  stream(): ScrubStream;
}

/** Values of fewer than `minimumBytes` bytes are not looked for. */
export function createScrubber(values: readonly Uint8Array[]): Scrubber {
  const index = createPatternIndex();
  for (const value of values) if (isSearchable(value)) for (const form of formsOf(value)) index.add(form);

  return {
    text(text) {
      const { clean, hits } = scrub(index, Buffer.from(text), false);
      return { clean: hits === 0 ? text : clean.toString(), hits };
    },

    stream() {
      let held: Buffer = Buffer.alloc(0);
      let hits = 0;
      const take = (source: Buffer, more: boolean): Buffer => {
        const scrubbed = scrub(index, source, more);
        held = scrubbed.held;
        hits += scrubbed.hits;
        return scrubbed.clean;
      };
      return {
        push: (chunk) => take(held.length === 0 ? Buffer.from(chunk) : Buffer.concat([held, chunk]), true),
        end: () => take(held, false),
        get hits() {
          return hits;
        },
      };
    },
  };
}

/** Whether a value can be looked for: long enough, and not a part of what would take its place. */
export function isSearchable(value: Uint8Array): boolean {
  return value.length >= minimumBytes && !Buffer.from(replacement).includes(Buffer.from(value));
}
