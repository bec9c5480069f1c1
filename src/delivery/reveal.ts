import type { Material } from "../core/ports.ts";
import { Secret } from "../core/secret.ts";

/**
 * The one place where secrets become plain strings: for the result of a `reveal`, or the environment
 * of a process. Bytes that are not UTF-8 come out as base64, marked by the prefix `base64:`.
 */
export function revealMaterial(material: Material): Record<string, string> {
  return Object.fromEntries(Object.entries(material.fields).map(([name, value]) => [name, value instanceof Secret ? plain(value) : value]));
}

function plain(secret: Secret): string {
  return secret.use((bytes) => {
    const text = bytes.toString();
    return Buffer.from(text).equals(bytes) ? text : `base64:${bytes.toString("base64")}`;
  });
}
