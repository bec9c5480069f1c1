import type { Outline } from "./outline.ts";

/** The reference page of the configuration, from the schema that the program runs on. */
export function configurationPage(outline: Outline): string {
  const sections = Object.entries(outline.properties ?? {}).map(([key, section]) => sectionOf(key, section));
  return `${intro}\n${sections.join("\n")}`;
}

const intro = `# Configuration

One file, \`leasehold.yaml\`. It is found in the working directory, or named with \`--config\` or \`LEASEHOLD_CONFIG\`.
Durations are written \`30s\`, \`15m\`, \`8h\`; paths are relative to the file. Unknown keys and wrong values are errors
that name file, line and what was expected, and nothing starts until they are mended. Secrets are never written here:
they are referred to, as \`{ vault: local, secret: NAME }\`.

Editors complete and check it with [leasehold.schema.json](leasehold.schema.json).
This page is generated from the schema: change \`src/config/\`, then run \`npm run docs\`.
`;

function sectionOf(key: string, section: Outline): string {
  const each = typeof section.additionalProperties === "object" ? section.additionalProperties : undefined;
  const path = each ? `${key}.<name>` : key;
  const heading = `## ${key}\n\n${section.description ?? ""}\n`;
  const kinds = kindsOf(each ?? section);
  if (kinds.length === 0) return `${heading}${factsOf(section)}\n`;
  return [
    heading,
    ...kinds.map(
      ({ title, node }) =>
        `${title === "" ? "" : `### ${title}\n\n${node.description ? `${node.description}\n\n` : ""}`}${table(path, node)}`,
    ),
  ].join("\n");
}

/** One table, or one for each adapter. */
function kindsOf(node: Outline): readonly { readonly title: string; readonly node: Outline }[] {
  if (node.oneOf) return node.oneOf.map((one) => ({ title: titleOf(one), node: one }));
  return node.properties ? [{ title: "", node }] : [];
}

function titleOf(node: Outline): string {
  const [key, fixed] = Object.entries(node.properties ?? {}).find(([, property]) => property.const !== undefined) ?? [];
  return key === undefined ? "" : `${key}: ${String(fixed?.const)}`;
}

function table(path: string, node: Outline): string {
  const rows = rowsOf(path, node);
  return ["| key | is | default | what it means |", "|---|---|---|---|", ...rows, ""].join("\n");
}

function rowsOf(path: string, node: Outline): readonly string[] {
  // What says which adapter it is comes first, as people write it.
  const properties = Object.entries(node.properties ?? {}).sort(([, left], [, right]) => rank(left) - rank(right));
  return properties.flatMap(([key, property]) => {
    const here = `${path}.${key}`;
    const shown =
      property.default === undefined || property.default === "" || inline(property.default) === "{}"
        ? ""
        : `\`${inline(property.default)}\``;
    const fallback = node.required?.includes(key) ? "required" : shown;
    const row = `| \`${here}\` | ${typeOf(property)} | ${fallback} | ${cell(property.description ?? "")} |`;
    const items = property.items;
    const below = property.properties ? rowsOf(here, property) : items ? listRows(`${here}[]`, items) : [];
    return [row, ...below];
  });
}

function rank(property: Outline): number {
  return property.const === undefined ? 1 : 0;
}

function listRows(path: string, items: Outline): readonly string[] {
  if (items.properties) return rowsOf(path, items);
  return (items.oneOf ?? []).flatMap((one) => rowsOf(path, one));
}

function factsOf(node: Outline): string {
  return `\nIs ${typeOf(node)}.${node.default === undefined ? "" : ` Default: \`${inline(node.default)}\`.`}\n`;
}

function typeOf(node: Outline): string {
  if (node.const !== undefined) return `\`${String(node.const)}\``;
  if (node.enum) return node.enum.map((one) => `\`${String(one)}\``).join(" or ");
  const several = node.anyOf ?? node.oneOf;
  if (several) return [...new Set(several.map(typeOf))].join(" or ");
  if (node.type === "string") return node.pattern?.includes("smhd") ? "duration" : "text";
  if (node.type === "integer") return "whole number";
  if (node.type === "array") return `list of ${node.items ? typeOf(node.items) : "anything"}`;
  if (node.type === "object") return node.properties ? `\`{ ${Object.keys(node.properties).join(", ")} }\`` : "keys and values";
  return node.type ?? "anything";
}

function inline(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}

function cell(text: string): string {
  return text.replaceAll("|", String.raw`\|`).replaceAll("\n", " ");
}
