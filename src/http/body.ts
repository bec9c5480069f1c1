import { isUtf8 } from "node:buffer";
import type { IncomingMessage } from "node:http";
import { Refusal } from "./refusal.ts";

export interface BodyLimits {
  readonly bytes: number;
  /** How deep objects and arrays may nest. */
  readonly depth: number;
}

/**
 * The JSON in a request, or a refusal. Nothing is inflated: a compressed body is refused (415). Lengths are
 * checked while reading, whatever `Content-Length` claimed, and nesting before anything recursive sees it.
 */
export async function readJson(request: IncomingMessage, limits: BodyLimits): Promise<unknown> {
  const { headers } = request;
  const mediaType = headers["content-type"]?.split(";", 1)[0]?.trim().toLowerCase();
  if (mediaType !== "application/json") throw new Refusal(415, "unsupported_media_type", "Send application/json.");
  const encoding = headers["content-encoding"];
  if (encoding !== undefined && encoding !== "identity") throw new Refusal(415, "unsupported_encoding", "Send the body uncompressed.");
  if (Number(headers["content-length"] ?? 0) > limits.bytes) throw tooLarge(limits.bytes);

  const bytes = await collect(request, limits.bytes);
  if (!isUtf8(bytes)) throw unreadable("The body is not UTF-8.");
  if (deeperThan(bytes, limits.depth)) throw unreadable(`The body nests deeper than ${limits.depth} levels.`);
  try {
    return JSON.parse(bytes.toString("utf8")) as unknown;
  } catch {
    throw unreadable("The body is not JSON.");
  }
}

function collect(request: IncomingMessage, limit: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let length = 0;
    request.on("data", (chunk: Buffer) => {
      length += chunk.length;
      if (length > limit) {
        request.removeAllListeners("data").pause();
        reject(tooLarge(limit));
      } else chunks.push(chunk);
    });
    request.once("end", () => resolve(chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks, length)));
    request.once("error", reject);
    // Every request closes; an error is worth its stack only where nobody has an answer yet.
    request.once("close", () => request.readableEnded || reject(new Refusal(400, "incomplete", "The request ended early.")));
  });
}

function tooLarge(limit: number): Refusal {
  return new Refusal(413, "too_large", `The body is larger than ${limit} bytes.`, { connection: "close" });
}

function unreadable(problem: string): Refusal {
  return new Refusal(400, "parse_error", problem);
}

/** One pass over the bytes, without recursion: brackets outside of strings. */
function deeperThan(bytes: Uint8Array, limit: number): boolean {
  let depth = 0;
  let quoted = false;
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at];
    if (quoted) {
      if (byte === 0x5c) at++;
      else if (byte === 0x22) quoted = false;
    } else if (byte === 0x22) quoted = true;
    else if (byte === 0x7b || byte === 0x5b) {
      if (++depth > limit) return true;
    } else if (byte === 0x7d || byte === 0x5d) depth--;
  }
  return false;
}
