import { expect, test } from "vitest";
import { configTables } from "../../src/compose.ts";
import type { Outline } from "../../src/config/outline.ts";
import { outlineOf } from "../../src/config/outline.ts";
import { configSchema } from "../../src/config/schema.ts";

function keys(path: string, node: Outline): readonly string[] {
  const several = node.oneOf ?? node.anyOf;
  if (several) return several.flatMap((one) => keys(path, one));
  const own = Object.entries(node.properties ?? {}).flatMap(([key, property]) => [`${path}${key}`, ...keys(`${path}${key}.`, property)]);
  const each = typeof node.additionalProperties === "object" ? keys(`${path}*.`, node.additionalProperties) : [];
  return [...own, ...each, ...(node.items ? keys(path, node.items) : [])];
}

test("configuration keys are API: a key that goes, breaks someone's file", async () => {
  const found = [...new Set(keys("", outlineOf(configSchema(configTables))))].sort();
  await expect(`${found.join("\n")}\n`).toMatchFileSnapshot("config-keys.txt");
});
