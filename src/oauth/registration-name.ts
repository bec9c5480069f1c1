import { hash } from "node:crypto";
import { isAgentName } from "../core/brand.ts";
import type { AgentName } from "../core/brand.ts";

/** Crockford's, lower case: no two of them look alike. */
const alphabet = "0123456789abcdefghjkmnpqrstvwxyz";

/**
 * The name of an agent that registers itself: what it calls itself, for people, and 40 random bits, so that it can
 * never be one that a policy already speaks of.
 */
export function newAgentName(called: string, random: (bytes: number) => Uint8Array): AgentName {
  return named(slug(called, 40), Array.from(random(8), (byte) => alphabet[byte % 32]).join(""));
}

/** The same for the same URL: the host, and 50 bits of its digest. */
export function documentAgentName(url: string): AgentName {
  const digest = hash("sha256", url, "buffer");
  return named(slug(new URL(url).hostname, 40), Array.from(digest.subarray(0, 10), (byte) => alphabet[byte % 32]).join(""));
}

function slug(text: string, length: number): string {
  const plain = text
    .normalize("NFKD")
    .toLowerCase()
    .replace(/[^a-z0-9.]+/g, "-");
  return plain.slice(0, length).replace(/^[-.]+|[-.]+$/g, "") || "agent";
}

function named(start: string, end: string): AgentName {
  const name = `${start}-${end}`;
  if (!isAgentName(name)) throw new TypeError("a slug is no agent name");
  return name;
}
