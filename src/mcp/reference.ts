import { z } from "zod";
import { failureSentences } from "../core/errors.ts";
import { tools } from "./leasehold.ts";

const schemaOf = z.looseObject({
  properties: z.record(z.string(), z.looseObject({ description: z.string().optional() })).default({}),
  required: z.array(z.string()).default([]),
});

/** The page on MCP tools and errors, as Markdown. */
export function toolsPage(): string {
  return [
    "# MCP tools",
    "",
    "An agent sees the tools that policy could let it use, and no others. Results come as structured content and, the same, as text.",
    "",
    "An access token may be narrowed by scopes. A tool that takes another one is listed all the same, so that a client can ask for more; calling it is",
    "refused with `insufficient_scope`, over HTTP with status 403 and the scopes to ask for in `WWW-Authenticate` (RFC 6750 section 3.1).",
    "",
    ...tools.flatMap(({ wire, scope }) => {
      const { properties, required } = schemaOf.parse(wire.inputSchema);
      const hints = Object.entries(wire.annotations ?? {}).flatMap(([name, value]) => (value === true ? [`\`${name}\``] : []));
      return [
        `## ${wire.name}`,
        "",
        wire.description ?? "",
        "",
        scope === undefined ? "Scope: none." : `Scope: \`${scope}\`.`,
        "",
        `Annotated: ${hints.length > 0 ? hints.join(", ") : "nothing"}.`,
        "",
        ...argumentTable(properties, required),
      ];
    }),
    "## Errors",
    "",
    "A call that does not succeed has `isError: true` and `{ error: { code, message, correlation_id, … } }`. Codes are stable; messages are not.",
    "The correlation id stands in the audit log and in the broker's own log.",
    "",
    "| code | says |",
    "|---|---|",
    ...failureSentences().map(([code, sentence]) => `| \`${code}\` | ${sentence} |`),
    "",
  ].join("\n");
}

function argumentTable(properties: z.output<typeof schemaOf>["properties"], required: readonly string[]): readonly string[] {
  const rows = Object.entries(properties).map(
    ([name, { description = "" }]) => `| \`${name}\` | ${required.includes(name) ? "yes" : ""} | ${description.replaceAll("|", "\\|")} |`,
  );
  return rows.length === 0 ? ["No arguments.", ""] : ["| argument | required | what it is |", "|---|---|---|", ...rows, ""];
}
