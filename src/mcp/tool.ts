import type { Tool as WireTool, ToolAnnotations } from "@modelcontextprotocol/server";
import { z } from "zod";
import type { Broker, Outlook } from "../core/broker.ts";
import type { CorrelationId } from "../core/brand.ts";
import { Failure } from "../core/errors.ts";
import type { JsonObject } from "../core/json.ts";
import type { Principal } from "../core/principal.ts";
import type { Scope } from "../core/scope.ts";

/** One call of one tool. */
export interface Call {
  readonly broker: Broker;
  readonly principal: Principal;
  readonly correlation: CorrelationId;
  readonly signal: AbortSignal;
}

export interface Tool<Input extends z.ZodType, Output extends z.ZodObject> {
  readonly name: string;
  readonly title: string;
  /** For a model: what it does, what comes back, what to do when it is refused. */
  readonly description: string;
  /** What an access token must be good for to call it. Absent: any token will do. */
  readonly scope?: Scope;
  readonly input: Input;
  readonly output: Output;
  readonly annotations: Required<Omit<ToolAnnotations, "title">>;
  /** Whether a caller with this outlook gets to see the tool at all. */
  listed(outlook: Outlook): boolean;
  run(call: Call, input: z.output<Input>): Promise<z.output<Output> & JsonObject>;
}

/** A tool with everything done that can be done once, at start. */
export interface PreparedTool {
  readonly name: string;
  readonly wire: WireTool;
  readonly scope?: Scope;
  listed(outlook: Outlook): boolean;
  /** Throws `invalid_request` for arguments that do not fit. */
  run(call: Call, input: unknown): Promise<JsonObject>;
}

export function prepare<Input extends z.ZodType, Output extends z.ZodObject>(tool: Tool<Input, Output>): PreparedTool {
  const { name, title, description, annotations } = tool;
  return {
    name,
    wire: { name, title, description, annotations, inputSchema: inputSchema(tool.input), outputSchema: outputSchema(tool.output) },
    ...(tool.scope === undefined ? {} : { scope: tool.scope }),
    listed: (outlook) => tool.listed(outlook),
    run(call, input) {
      if (!isWellFormed(input))
        throw new Failure("invalid_request", { problem: "The arguments hold text that is not well-formed Unicode." });
      const parsed = tool.input.safeParse(input ?? {});
      if (!parsed.success) throw new Failure("invalid_request", { problem: problemIn(parsed.error) });
      return tool.run(call, parsed.data);
    },
  };
}

function inputSchema(input: z.ZodType): WireTool["inputSchema"] {
  return { ...z.toJSONSchema(input, { io: "input" }), type: "object" } as WireTool["inputSchema"];
}

/** Clients hold every structured result against this, so it says that an answer is either whole or an error. */
function outputSchema(output: z.ZodObject): NonNullable<WireTool["outputSchema"]> {
  const { properties, required = [], $schema } = z.toJSONSchema(output);
  return {
    ...($schema ? { $schema } : {}),
    type: "object",
    properties: { ...properties, error: errorSchema },
    additionalProperties: false,
    anyOf: [{ required }, { required: ["error"] }],
  };
}

const errorSchema = z.toJSONSchema(
  z
    .looseObject({ code: z.string(), message: z.string(), correlation_id: z.string() })
    .describe("Present instead of everything else when the call did not succeed."),
);
delete errorSchema.$schema;

/** Half a surrogate pair has no UTF-8: neither the audit log nor a target could take it. Faces bound how deep this goes. */
function isWellFormed(value: unknown): boolean {
  if (typeof value === "string") return value.isWellFormed();
  if (typeof value !== "object" || value === null) return true;
  return Object.entries(value).every(([key, item]) => key.isWellFormed() && isWellFormed(item));
}

/** Names the argument and what was expected of it; never repeats what was sent. */
function problemIn(error: z.ZodError): string {
  const [issue] = error.issues;
  if (!issue) return "The arguments do not fit.";
  const place = issue.path.map((step) => printable(String(step))).join(".");
  if (issue.code === "unrecognized_keys") {
    const names = issue.keys.slice(0, 5).map(printable).join(", ");
    return `Unknown argument${issue.keys.length === 1 ? "" : "s"}${place ? ` in ${place}` : ""}: ${names}.`;
  }
  return place ? `${place}: ${issue.message}` : issue.message;
}

function printable(name: string): string {
  return /^[\w.-]{1,64}$/.test(name) ? name : "(unprintable name)";
}
