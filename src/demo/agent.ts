import type { Client } from "@modelcontextprotocol/client";
import { program } from "./broker.ts";

/** An agent's MCP client: the SDK's own, as any agent would use it. */
export interface AgentClient {
  readonly revision: string;
  tools(): Promise<readonly string[]>;
  call(tool: string, input: Record<string, unknown>): Promise<Called>;
  close(): Promise<void>;
}

export interface Called {
  readonly failed: boolean;
  readonly output: Record<string, unknown>;
  /** All that the model would read. */
  readonly text: string;
}

export async function overHttp(url: string, token: string): Promise<AgentClient> {
  const { Client, StreamableHTTPClientTransport } = await import("@modelcontextprotocol/client");
  const client = new Client({ name: "demo-agent", version: "1.0.0" });
  const headers = { authorization: `Bearer ${token}` };
  await client.connect(new StreamableHTTPClientTransport(new URL(`${url}/mcp`), { requestInit: { headers } }));
  return wrap(client);
}

export async function overStdio(folder: string, agent: string): Promise<AgentClient> {
  const { Client } = await import("@modelcontextprotocol/client");
  const { StdioClientTransport } = await import("@modelcontextprotocol/client/stdio");
  const client = new Client({ name: "demo-agent", version: "1.0.0" });
  await client.connect(
    new StdioClientTransport({ command: process.execPath, args: [program, "mcp", "--agent", agent], cwd: folder, stderr: "ignore" }),
  );
  return wrap(client);
}

function wrap(client: Client): AgentClient {
  return {
    revision: client.getNegotiatedProtocolVersion() ?? "",
    async tools() {
      return (await client.listTools()).tools.map((tool) => tool.name);
    },
    async call(name, input) {
      const result = await client.callTool({ name, arguments: input }).catch(refusedTool);
      const output = isRecord(result.structuredContent) ? result.structuredContent : {};
      return { failed: result.isError === true, output, text: JSON.stringify(result) };
    },
    close: () => client.close(),
  };
}

/** A tool that the agent does not see answers like one that does not exist: with an error of the protocol. */
function refusedTool(problem: unknown) {
  const message = problem instanceof Error ? problem.message : String(problem);
  return { isError: true, structuredContent: { error: { code: "protocol error", message } } };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}
