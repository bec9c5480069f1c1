import { isUtf8 } from "node:buffer";
import { pipeline } from "node:stream";
import type { Readable } from "node:stream";
import { createBrotliDecompress, createGunzip, createInflate, createZstdDecompress } from "node:zlib";
import { Failure } from "../core/errors.ts";

/** As `redact/stream.ts` makes them; passed in, because delivery knows the values and not how they are found. */
export interface ScrubStream {
  push(chunk: Uint8Array): Buffer;
  end(): Buffer;
  readonly hits: number;
}

export interface ReadBody {
  readonly bytes: Buffer;
  readonly truncated: boolean;
}

/**
 * Reads a response up to `limit` bytes, decoded and scrubbed on the way. We ask for `identity`; what
 * is encoded all the same is decoded, because a compressed echo cannot be searched. The limit counts
 * decoded bytes, so a bomb stops there. What cannot be decoded is refused.
 */
export async function readBody(body: Readable, encoding: string | undefined, limit: number, scrub: ScrubStream): Promise<ReadBody> {
  // Destroying it early makes it emit an error of its own, which without a listener ends the process.
  body.on("error", () => undefined);
  const plain = decoded(body, encoding);
  const parts: Buffer[] = [];
  let room = limit;
  try {
    for await (const chunk of plain) {
      const bytes = asBytes(chunk);
      parts.push(scrub.push(bytes.subarray(0, room)));
      room -= bytes.length;
      // What the scrubber still holds may be half a value: it goes nowhere.
      if (room < 0) return { bytes: Buffer.concat(parts), truncated: true };
    }
  } finally {
    // Ends the transfer where we stopped early; without it the rest would be read for nobody.
    plain.destroy();
    body.destroy();
  }
  return { bytes: Buffer.concat([...parts, scrub.end()]), truncated: false };
}

/** Text as text, anything else as base64. A character that was cut in two at the end does not make it binary. */
export function presentable({ bytes, truncated }: ReadBody): { readonly body: string; readonly bodyEncoding: "utf8" | "base64" } {
  const text = truncated ? bytes.subarray(0, bytes.length - unfinishedCharacter(bytes)) : bytes;
  return isUtf8(text) ? { body: text.toString(), bodyEncoding: "utf8" } : { body: bytes.toString("base64"), bodyEncoding: "base64" };
}

function decoded(body: Readable, encoding: string | undefined): Readable {
  const name = (encoding ?? "").trim().toLowerCase();
  if (name === "" || name === "identity") return body;
  const decoder = decoders[name]?.();
  if (!decoder) {
    body.destroy();
    throw new Failure("target_refused", { code: "content-encoding", problem: "the response is encoded in a way that cannot be searched." });
  }
  // Failures surface in the iteration of the decoder.
  return pipeline(body, decoder, () => undefined);
}

const decoders: Readonly<Record<string, (() => ReturnType<typeof createGunzip> | ReturnType<typeof createBrotliDecompress>) | undefined>> =
  {
    gzip: createGunzip,
    "x-gzip": createGunzip,
    deflate: createInflate,
    br: createBrotliDecompress,
    zstd: createZstdDecompress,
  };

/** How many bytes at the end begin a UTF-8 character that is not complete. */
function unfinishedCharacter(bytes: Buffer): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back] ?? 0;
    if (byte < 0x80) return 0;
    if (byte >= 0xc0) return back < (byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2) ? back : 0;
  }
  return 0;
}

function asBytes(chunk: unknown): Buffer {
  if (chunk instanceof Uint8Array) return Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
  throw new TypeError("expected bytes");
}
