import type { ServerResponse } from "node:http";
import { Readable } from "node:stream";

/** On every answer: nothing of it is for a cache, and it is what it says it is. No CORS header is ever sent. */
export const always = { "cache-control": "no-store", "x-content-type-options": "nosniff" };

export function sendJson(response: ServerResponse, status: number, text: string, headers: Readonly<Record<string, string>> = {}): void {
  response.writeHead(status, {
    ...always,
    ...headers,
    "content-type": "application/json",
    "content-length": Buffer.byteLength(text),
  });
  response.end(text);
}

/** Streams a web response out, at the pace of the client; a client that hangs up cancels the stream. */
export function sendResponse(response: ServerResponse, from: Response): void {
  const headers: Record<string, string> = { ...Object.fromEntries(from.headers), ...always };
  if (headers["content-type"]?.startsWith("text/event-stream")) headers["cache-control"] = "no-store, no-transform";
  response.writeHead(from.status, headers);
  if (from.body === null) {
    response.end();
    return;
  }
  // An event stream may be silent for long, and its client waits for the headers.
  response.flushHeaders();
  const body = Readable.fromWeb(from.body);
  response.once("close", () => body.destroy());
  body.once("error", () => response.destroy());
  body.pipe(response);
}
