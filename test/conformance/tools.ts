import { setTimeout as pause } from "node:timers/promises";
import type { CallToolResult, InputRequiredResult, ServerContext, Tool } from "@modelcontextprotocol/server";
import type { ToolTable } from "../../src/mcp/definition.ts";
import { png, text, wav } from "./content.ts";
import { askingTools } from "./asking-tools.ts";

/** A tool of the suite. Without `context` in its hands it is a plain one, and may be answered without the SDK. */
export interface Fixture {
  readonly inputSchema?: Tool["inputSchema"];
  readonly plain?: () => CallToolResult;
  readonly run?: (input: Readonly<Record<string, unknown>>, context: ServerContext) => Promise<CallToolResult | InputRequiredResult>;
}

const uri = "test://embedded-resource";

const plainTools: Readonly<Record<string, Fixture>> = {
  test_simple_text: { plain: () => text("This is a simple text response for testing.") },
  test_image_content: { plain: () => ({ content: [{ type: "image", data: png, mimeType: "image/png" }] }) },
  test_audio_content: { plain: () => ({ content: [{ type: "audio", data: wav, mimeType: "audio/wav" }] }) },
  test_embedded_resource: {
    plain: () => ({
      content: [{ type: "resource", resource: { uri, mimeType: "text/plain", text: "This is an embedded resource content." } }],
    }),
  },
  test_multiple_content_types: {
    plain: () => ({
      content: [
        { type: "text", text: "Multiple content types test:" },
        { type: "image", data: png, mimeType: "image/png" },
        {
          type: "resource",
          resource: {
            uri: "test://mixed-content-resource",
            mimeType: "application/json",
            text: JSON.stringify({ test: "data", value: 123 }),
          },
        },
      ],
    }),
  },
  test_error_handling: { plain: () => ({ ...text("This tool intentionally returns an error for testing"), isError: true }) },
  json_schema_2020_12_tool: {
    plain: () => text("ok"),
    inputSchema: {
      $schema: "https://json-schema.org/draft/2020-12/schema",
      type: "object",
      $defs: {
        address: { $anchor: "addressDef", type: "object", properties: { street: { type: "string" }, city: { type: "string" } } },
      },
      properties: {
        name: { type: "string" },
        address: { $ref: "#/$defs/address" },
        contactMethod: { type: "string", enum: ["phone", "email"] },
        phone: { type: "string" },
        email: { type: "string" },
      },
      allOf: [{ anyOf: [{ required: ["phone"] }, { required: ["email"] }] }],
      if: { properties: { contactMethod: { const: "phone" } }, required: ["contactMethod"] },
      // oxlint-disable-next-line unicorn/no-thenable -- a keyword of JSON Schema
      then: { required: ["phone"] },
      else: { required: ["email"] },
      additionalProperties: false,
    },
  },
};

const streamingTools: Readonly<Record<string, Fixture>> = {
  test_tool_with_logging: { run: (_input, context) => logThrice(context) },
  test_logging_tool: { run: (_input, context) => logThrice(context) },
  test_tool_with_progress: {
    async run(_input, { mcpReq }) {
      const token = mcpReq["_meta"]?.["progressToken"];
      for (const progress of [0, 50, 100]) {
        if (typeof token === "string" || typeof token === "number")
          await mcpReq.notify({ method: "notifications/progress", params: { progressToken: token, progress, total: 100 } });
        await pause(50);
      }
      return text("done");
    },
  },
};

async function logThrice({ mcpReq }: ServerContext): Promise<CallToolResult> {
  for (const line of ["Tool execution started", "Tool processing data", "Tool execution completed"]) {
    await mcpReq.log("info", line);
    await pause(50);
  }
  return text("done");
}

const fixtures = new Map<string, Fixture>(Object.entries({ ...plainTools, ...streamingTools, ...askingTools }));

/** The tools that the suite calls by name. */
export const tools: ToolTable<unknown> = {
  isPlain: (name) => fixtures.get(name)?.run === undefined,

  list: async () =>
    [...fixtures].map(([name, { inputSchema }]) => ({
      name,
      description: `Conformance fixture ${name}`,
      inputSchema: inputSchema ?? { type: "object" },
    })),

  async call(_caller, { name, arguments: input, context }) {
    const fixture = fixtures.get(name);
    if (fixture?.run && context) return fixture.run({ ...(input as object) }, context);
    return fixture?.plain?.();
  },
};
