import { createHash } from "node:crypto";
import type { AgentName } from "../core/brand.ts";
import { isAgentName } from "../core/brand.ts";
import { claimAt } from "./claim-pattern.ts";

const longestName = 63;
const placeholder = /\{\{([^{}]+)\}\}/g;
/** What a name that was hashed ends with: 60 bits, in characters that names have. */
const mark = /-[0-9a-v]{12}$/;

/** Where the agent's name comes from: text, with a claim for each `{{claim}}`. */
export interface AgentTemplate {
  readonly text: string;
  /** Claims that it takes, in order. */
  readonly claims: readonly string[];
}

/** Throws with what is wrong, in words for the operator. */
export function parseTemplate(text: string): AgentTemplate {
  const claims = [...text.matchAll(placeholder)].map(([, claim = ""]) => claim.trim());
  const fixed = text.replaceAll(placeholder, "");
  if (/[{}]/.test(fixed)) throw new Error("braces that are no {{claim}}");
  if (!/^[a-z0-9._-]*$/.test(fixed) || fixed.length > longestName / 2)
    throw new Error("only a–z, 0–9, dot, dash and underscore besides {{claim}}, at most 31 of them");
  if (claims.length === 0 && !isAgentName(text)) throw new Error("not a valid agent name");
  if (!/^(?:[a-z0-9]|\{\{)/.test(text)) throw new Error("a name starts with a letter or digit");
  return { text, claims };
}

/**
 * The agent that these claims name, or `undefined` when a claim is missing. Where the claims do not fit into a name as they are, or
 * could be read in two ways, the name ends in a hash of them: two different workloads never become one agent.
 */
export function agentOf(template: AgentTemplate, claims: Readonly<Record<string, unknown>>): AgentName | undefined {
  const values = template.claims.map((name) => claimAt(claims, name));
  if (values.some((value) => value === undefined || value === "")) return undefined;
  const said = [...values];
  const full = template.text.replaceAll(placeholder, () => said.shift() ?? "");
  const plain = isAgentName(full) && !mark.test(full) && values.length < 2;
  const name = plain || values.length === 0 ? full : hashed(full, values);
  return isAgentName(name) ? name : undefined;
}

function hashed(full: string, values: readonly unknown[]): string {
  const slug = full
    .toLowerCase()
    .replaceAll(/[^a-z0-9._-]/g, "-")
    .replace(/^[^a-z0-9]+/, "");
  const digest = createHash("sha256").update(JSON.stringify(values)).digest();
  const bits = digest.readBigUInt64BE() >> 4n;
  const suffix = bits.toString(32).padStart(12, "0");
  return `${slug.slice(0, longestName - 1 - suffix.length) || "workload"}-${suffix}`;
}

/** Whether two templates could name the same agent. It errs on the side of yes. */
export function mayMeet(a: AgentTemplate, b: AgentTemplate): boolean {
  const [fixed, other] = a.claims.length === 0 ? [a, b] : [b, a];
  const start = startOf(other);
  if (fixed.claims.length > 0) return startOf(fixed).startsWith(start) || start.startsWith(startOf(fixed));
  if (other.claims.length === 0) return fixed.text === other.text;
  // What a template ends with may have given way to the hash.
  const end = other.text.slice(other.text.lastIndexOf("}}") + 2);
  return fixed.text.startsWith(start) && (mark.test(fixed.text) || fixed.text.endsWith(end));
}

function startOf({ text }: AgentTemplate): string {
  return text.split("{{", 1)[0] ?? "";
}
