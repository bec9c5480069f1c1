import { createReadStream } from "node:fs";
import type { LogStore } from "./log-store.ts";

/** Entries as bytes without newline, in order, many at a time: one `await` per entry would cost more than its hashes. */
export type EntryBatches = AsyncIterable<readonly Uint8Array[]> | Iterable<readonly Uint8Array[]>;

const newline = 0x0a;
const chunkSize = 1 << 20;
const longestLine = 16 << 20;
const pageSize = 1_000;

/** The lines of an exported log. */
export function linesOfFile(path: string): AsyncIterable<readonly Uint8Array[]> {
  return splitLines(createReadStream(path, { highWaterMark: chunkSize }));
}

/** Lines from chunks of bytes that end anywhere. Throws `RangeError` for a line beyond 16 MiB, which no entry is. */
export async function* splitLines(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<readonly Uint8Array[]> {
  let rest: Uint8Array[] = [];
  let resting = 0;
  for await (const chunk of chunks) {
    const lines: Uint8Array[] = [];
    let start = 0;
    for (let end = chunk.indexOf(newline); end >= 0; end = chunk.indexOf(newline, start)) {
      const part = chunk.subarray(start, end);
      lines.push(resting > 0 ? Buffer.concat([...rest, part]) : part);
      if (resting > 0) [rest, resting] = [[], 0];
      start = end + 1;
    }
    if (start < chunk.length) {
      rest.push(chunk.subarray(start));
      resting += chunk.length - start;
    }
    if (resting > longestLine) throw new RangeError("a line of more than 16 MiB: this is not an exported audit log");
    if (lines.length > 0) yield lines;
  }
  if (resting > 0) yield [Buffer.concat(rest)];
}

/** Entries `from` to `to - 1` of the store. */
export async function* linesOfStore(store: LogStore, from: number, to: number): AsyncGenerator<readonly Uint8Array[]> {
  for (let next = from; next < to;) {
    const page = await store.read(next, Math.min(pageSize, to - next));
    const inside = page.filter((entry) => entry.seq < to);
    const last = inside.at(-1);
    if (!last) return;
    yield inside.map((entry) => entry.bytes);
    next = last.seq + 1;
  }
}
