import type { CallToolResult } from "@modelcontextprotocol/server";

/** One pixel, and half a second of nothing: what the suite needs of media. */
export const png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==";
export const wav = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA=";

export function text(content: string): CallToolResult {
  return { content: [{ type: "text", text: content }] };
}
