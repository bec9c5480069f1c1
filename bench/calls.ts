/** Revisions of MCP that differ on the wire for a single `tools/call`. */
export const revisions = ["2026-07-28", "2025-11-25"] as const;
export type Revision = (typeof revisions)[number];

export interface ToolCall {
  readonly tool: string;
  readonly input: object;
}

interface Addressed extends ToolCall {
  readonly port: number;
  readonly revision: Revision;
  readonly token?: string;
}

/** A whole HTTP request with one `tools/call` in it, stateless in either revision, the same for every server. */
export function httpRequest({ port, revision, token, tool, input }: Addressed): string {
  const modern = revision === "2026-07-28";
  const meta = {
    "io.modelcontextprotocol/protocolVersion": revision,
    "io.modelcontextprotocol/clientInfo": { name: "bench", version: "1" },
    "io.modelcontextprotocol/clientCapabilities": {},
  };
  const params = { name: tool, arguments: input, ...(modern ? { _meta: meta } : {}) };
  const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/call", params });
  const headers = {
    Host: `127.0.0.1:${port}`,
    Accept: "application/json, text/event-stream",
    "Content-Type": "application/json",
    "Content-Length": Buffer.byteLength(body),
    "MCP-Protocol-Version": revision,
    ...(modern ? { "Mcp-Method": "tools/call", "Mcp-Name": tool } : {}),
    ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }),
  };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return `POST /mcp HTTP/1.1\r\n${lines.join("")}\r\n${body}`;
}
