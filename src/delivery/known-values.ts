import type { Material } from "../core/ports.ts";
import { Secret } from "../core/secret.ts";

/** Members of a JSON secret that are shorter are names of things (`admin`, `postgres`), not secrets. */
const shortestMember = 8;

/**
 * Every byte string of a material that must not show up anywhere: each field that is a `Secret` and,
 * where that holds JSON, each text in it. Copies: they live as long as whoever looks for them needs them.
 */
export function knownValues(material: Material): readonly { readonly field: string; readonly bytes: Buffer }[] {
  return Object.entries(material.fields).flatMap(([field, value]) =>
    value instanceof Secret ? value.use((bytes) => [whole(bytes), ...members(bytes)].map((each) => ({ field, bytes: each }))) : [],
  );
}

/** Without the line break that a file or a pipe leaves at the end: an echo rarely has it. */
function whole(bytes: Buffer): Buffer {
  return Buffer.from(bytes.toString("latin1").replace(/[\r\n]+$/, ""), "latin1");
}

function members(bytes: Buffer): readonly Buffer[] {
  if (bytes[0] !== 0x7b && bytes[0] !== 0x5b) return [];
  try {
    return textsIn(JSON.parse(bytes.toString()))
      .filter((text) => text.length >= shortestMember)
      .map((text) => Buffer.from(text));
  } catch {
    return [];
  }
}

function textsIn(value: unknown): readonly string[] {
  if (typeof value === "string") return [value];
  return typeof value === "object" && value !== null ? Object.values(value).flatMap(textsIn) : [];
}
