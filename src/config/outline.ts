import { z } from "zod";
import type { Path } from "./yaml.ts";

/** The part of a JSON Schema that is read here. */
export interface Outline {
  readonly type?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly const?: string | number | boolean;
  readonly enum?: readonly (string | number)[];
  readonly pattern?: string;
  readonly properties?: Readonly<Record<string, Outline>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: Outline | boolean;
  readonly items?: Outline;
  readonly oneOf?: readonly Outline[];
  readonly anyOf?: readonly Outline[];
}

/** The configuration as a JSON Schema of what a person writes: the ground for editors, the reference page and "did you mean". */
export function outlineOf(schema: z.ZodType): Outline {
  return withoutNumberNoise(z.toJSONSchema(schema, { io: "input", unrepresentable: "any", reused: "inline" })) as Outline;
}

/** Keys that are known at a path, given what is written there: of several adapters, those of the one that was chosen. */
export function keysAt(outline: Outline, path: Path, data: unknown): readonly string[] {
  const [step, ...rest] = path;
  const nodes = alternatives(outline, data);
  if (step === undefined) return nodes.flatMap((node) => Object.keys(node.properties ?? {}));
  const below = typeof data === "object" && data !== null ? Object.entries(data).find(([key]) => key === String(step))?.[1] : undefined;
  return [...new Set(nodes.flatMap((node) => descend(node, step)).flatMap((node) => keysAt(node, rest, below)))];
}

function descend(outline: Outline, step: string | number): readonly Outline[] {
  if (typeof step === "number") return outline.items ? [outline.items] : [];
  const named = outline.properties?.[step];
  if (named) return [named];
  return typeof outline.additionalProperties === "object" ? [outline.additionalProperties] : [];
}

function alternatives(outline: Outline, data: unknown): readonly Outline[] {
  const all = outline.oneOf ?? outline.anyOf;
  if (!all) return [outline];
  const chosen = all.filter((one) => matches(one, data));
  return (chosen.length > 0 ? chosen : all).flatMap((one) => alternatives(one, data));
}

function matches(outline: Outline, data: unknown): boolean {
  const written: Readonly<Record<string, unknown>> = typeof data === "object" && data !== null ? { ...data } : {};
  const fixed = Object.entries(outline.properties ?? {}).filter(([, property]) => property.const !== undefined);
  return fixed.length > 0 && fixed.every(([key, property]) => property.const === written[key]);
}

/** "Any safe integer" is no limit that a person wants to read. */
function withoutNumberNoise(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNumberNoise);
  if (typeof value !== "object" || value === null) return value;
  const kept = Object.entries(value).filter(
    ([, entry]) => Math.abs(Number(entry)) !== Number.MAX_SAFE_INTEGER || typeof entry !== "number",
  );
  return Object.fromEntries(kept.map(([key, entry]) => [key, withoutNumberNoise(entry)]));
}
