import { createHash } from "node:crypto";
import type { LeaseId } from "../core/brand.ts";
import type { JsonObject, JsonValue } from "../core/json.ts";
import type { Material, Redactor } from "../core/ports.ts";
import { formsOf } from "./encodings.ts";
import { createPatternIndex } from "./patterns.ts";
import type { Pattern } from "./patterns.ts";
import { isSuspect, replacement, scrub } from "./scrub.ts";
import { isSearchable } from "./stream.ts";

/** One value that must not show up in a result, and the field of the material it comes from. */
interface KnownValue {
  readonly field: string;
  readonly bytes: Uint8Array;
}

export interface KnownRedactorParts {
  /** What of a material is secret. Only delivery may look into a `Secret`, so it is passed in. */
  readonly values: (material: Material) => readonly KnownValue[];
}

export interface KnownRedactor extends Redactor {
  /** Fields of this lease whose value cannot be looked for, being too short: whoever lends it must be told. */
  tooShort(lease: LeaseId): readonly string[];
  /** Whose values are looked for. */
  leases(): readonly LeaseId[];
  /** Distinct values looked for at this moment. */
  readonly size: number;
}

/** Results nested deeper than this are cut off there; what was not looked at is not passed on. */
const deepest = 200;

/** Looks for the values of every live lease in every result, whoever lent them and to whom. */
export function createKnownRedactor(parts: KnownRedactorParts): KnownRedactor {
  const index = createPatternIndex();
  const known = new Map<string, { readonly patterns: readonly Pattern[]; readonly leases: Set<LeaseId> }>();
  const lent = new Map<LeaseId, { readonly values: Set<string>; readonly tooShort: Set<string> }>();

  function scrubText(text: string): { readonly clean: string; readonly hits: number } {
    const { clean, hits } = scrub(index, Buffer.from(text), false);
    return { clean: hits === 0 ? text : clean.toString(), hits };
  }

  return {
    get size() {
      return known.size;
    },

    leases: () => [...lent.keys()],

    tooShort: (lease) => [...(lent.get(lease)?.tooShort ?? [])],

    remember(lease, material) {
      const mine = lent.get(lease) ?? { values: new Set(), tooShort: new Set() };
      lent.set(lease, mine);
      for (const { field, bytes } of parts.values(material)) {
        if (!isSearchable(bytes)) {
          mine.tooShort.add(field);
          continue;
        }
        const key = createHash("sha256").update(bytes).digest("base64");
        mine.values.add(key);
        const value = known.get(key);
        if (value) value.leases.add(lease);
        else known.set(key, { patterns: formsOf(bytes).map((form) => index.add(form)), leases: new Set([lease]) });
      }
    },

    forget(lease) {
      for (const key of lent.get(lease)?.values ?? []) {
        const value = known.get(key);
        value?.leases.delete(lease);
        if (!value || value.leases.size > 0) continue;
        for (const pattern of value.patterns) index.remove(pattern);
        known.delete(key);
      }
      lent.delete(lease);
    },

    scrub<T extends JsonObject>(result: T) {
      // All texts in one go first: nearly every result is clean, and a pass over each by itself costs three times as much.
      const text = index.size === 0 ? Buffer.alloc(0) : textOf(result);
      if (text && !isSuspect(index, text)) return { clean: result, hits: 0 };
      const walk = walker(scrubText);
      // Only text is replaced, by text: the shape is the caller's, but for a number that spelled a value.
      const clean = walk.value(result, 0) as T;
      return { clean, hits: walk.hits() };
    },
  };
}

/** Neither white space nor a part of any escape, so it cannot hide what it separates. */
const boundary = "\u0001";

/** Every text of a result as one; `undefined` when it is nested too deeply to say. */
function textOf(result: JsonObject): Buffer | undefined {
  const texts: string[] = [];
  const within = (value: JsonValue | undefined, depth: number): boolean => {
    if (typeof value === "string") texts.push(value);
    else if (typeof value === "number") texts.push(String(value));
    else if (typeof value === "object" && value !== null) {
      if (depth >= deepest) return false;
      if (!Array.isArray(value)) texts.push(...Object.keys(value));
      return Object.values(value).every((item: JsonValue | undefined) => within(item, depth + 1));
    }
    return true;
  };
  return within(result, 0) ? Buffer.from(texts.join(boundary)) : undefined;
}

/** Goes through a result and returns the very same parts where nothing was found. */
function walker(scrubText: (text: string) => { readonly clean: string; readonly hits: number }) {
  let hits = 0;

  function text(source: string): string {
    const scrubbed = scrubText(source);
    hits += scrubbed.hits;
    return scrubbed.clean;
  }

  function value(source: JsonValue, depth: number): JsonValue {
    if (typeof source === "string") return text(source);
    if (typeof source === "number") return number(source);
    if (source === null || typeof source === "boolean") return source;
    if (depth >= deepest) {
      hits++;
      return replacement;
    }
    if (isArray(source)) return list(source, depth + 1);
    return object(source, depth + 1);
  }

  /** A value of digits may come back as a number, e.g. in a column. */
  function number(source: number): JsonValue {
    if (Math.abs(source) < 100_000) return source;
    const before = hits;
    text(String(source));
    return hits === before ? source : replacement;
  }

  function list(source: readonly JsonValue[], depth: number): JsonValue {
    const before = hits;
    const clean = source.map((item) => value(item, depth));
    return hits === before ? source : clean;
  }

  function object(source: JsonObject, depth: number): JsonValue {
    const before = hits;
    const clean = new Map<string, JsonValue | undefined>();
    for (const [key, item] of Object.entries(source)) {
      clean.set(unused(text(key), clean), item === undefined ? undefined : value(item, depth));
    }
    return hits === before ? source : Object.fromEntries(clean);
  }

  return { value, hits: () => hits };
}

/** Two names may become the same once they are scrubbed; neither may take the other's place. */
function unused(name: string, taken: ReadonlyMap<string, unknown>): string {
  if (!taken.has(name)) return name;
  for (let n = 2; ; n++) if (!taken.has(`${name} ${n}`)) return `${name} ${n}`;
}

function isArray(value: JsonValue): value is readonly JsonValue[] {
  return Array.isArray(value);
}
