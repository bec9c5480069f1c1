import type { JsonObject, JsonValue } from "../core/json.ts";
import { didYouMean } from "./suggest.ts";
import type { Path } from "./yaml.ts";

/**
 * What no single key can know. Runs on what was written, so that it reports even when the schema found other
 * problems: a credential that names a vault which does not exist, and keys that a plain object would swallow.
 */
export function crossCheck(data: JsonValue): readonly { readonly path: Path; readonly message: string }[] {
  const vaults = isObject(data) && isObject(data["vaults"]) ? Object.keys(data["vaults"]) : ["local"];
  return [...walk(data, [])].flatMap(({ path, value }) => {
    const vault = path[0] === "credentials" && path.length > 2 && isReference(value) ? value.vault : undefined;
    if (vault !== undefined && !vaults.includes(vault))
      return [
        {
          path: [...path, "vault"],
          message: `no vault of this name under vaults: (there is ${vaults.join(", ") || "none"})${didYouMean(vault, vaults)}`,
        },
      ];
    return path.at(-1) === "__proto__" ? [{ path, message: "not a usable name" }] : [];
  });
}

function* walk(value: JsonValue | undefined, path: Path): Iterable<{ readonly path: Path; readonly value: JsonValue }> {
  if (value === undefined) return;
  yield { path, value };
  if (Array.isArray(value)) for (const [index, item] of value.entries()) yield* walk(item, [...path, index]);
  else if (isObject(value)) for (const [key, entry] of Object.entries(value)) yield* walk(entry, [...path, key]);
}

function isReference(value: JsonValue): value is { readonly vault: string; readonly secret: string } {
  return isObject(value) && typeof value["vault"] === "string" && typeof value["secret"] === "string";
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
