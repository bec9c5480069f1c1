export type Line = { readonly text: string } | { readonly problem: "too long" | "not UTF-8" };

const newline = 0x0a;

/**
 * The lines of a stream of bytes; empty ones are left out. One of more than `limit` bytes is read past without being
 * kept, so no peer can fill the memory.
 */
export async function* readLines(input: AsyncIterable<Uint8Array>, limit: number): AsyncGenerator<Line> {
  let parts: Uint8Array[] = [];
  let length = 0;

  function take(): Line | undefined {
    const whole = length > limit ? undefined : Buffer.concat(parts, length);
    parts = [];
    length = 0;
    return whole ? decode(whole) : { problem: "too long" };
  }

  function add(bytes: Uint8Array): void {
    length += bytes.length;
    if (length > limit) parts = [];
    else parts.push(bytes);
  }

  for await (const chunk of input) {
    let from = 0;
    for (let at = chunk.indexOf(newline); at >= 0; at = chunk.indexOf(newline, from)) {
      add(chunk.subarray(from, at));
      from = at + 1;
      const line = take();
      if (line) yield line;
    }
    add(chunk.subarray(from));
  }
  const last = take();
  if (last) yield last;
}

function decode(bytes: Uint8Array): Line | undefined {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes).trim();
    return text === "" ? undefined : { text };
  } catch {
    return { problem: "not UTF-8" };
  }
}
