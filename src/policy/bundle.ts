import { createHash } from "node:crypto";
import { setImmediate as pause } from "node:timers/promises";

import { policyToJson, schemaToJson, validate } from "@cedar-policy/cedar-wasm/nodejs";
import type { Effect, PolicyJson, Schema, ValidationError } from "@cedar-policy/cedar-wasm/nodejs";

import type { Obligations } from "../core/decision.ts";
import { readAnnotations } from "./annotations.ts";
import type { Problem } from "./problem.ts";
import { lineAt, sayCedar } from "./problem.ts";
import { schemaText } from "./schema.ts";
import type { Scope } from "./scope.ts";
import { anything, scopeOf } from "./scope.ts";
import { splitPolicies } from "./split.ts";
import type { Written } from "./split.ts";
import { grantsOnWordsAlone, readsContext } from "./words.ts";

export interface Policy {
  readonly id: string;
  readonly effect: Effect;
  readonly text: string;
  readonly file: string;
  readonly line: number;
  readonly scope: Scope;
  readonly obligations: Obligations;
  /** Holds, or not, for one request only: what it decides is not kept. */
  readonly readsContext: boolean;
  readonly unconditional: boolean;
  readonly onWordsAlone: boolean;
}

/** A set of policies that validated. Nothing but `parseBundle` makes one. */
export interface Bundle {
  /** SHA-256 (hex) over the sorted ids and texts. */
  readonly hash: string;
  readonly policies: readonly Policy[];
}

export interface PolicyFile {
  readonly file: string;
  readonly text: string;
}

export type Parsed = { readonly ok: true; readonly bundle: Bundle } | { readonly ok: false; readonly problems: readonly Problem[] };

// Cedar traps, and answers nothing more in this process, when its evaluator goes 300 to 400 steps deep or
// its parser meets about 110 open brackets (4.13). A file must not be able to do that to a running broker.
const maxOperators = 256;
const maxDepth = 32;
const maxLength = 65_536;

/** Parsing and validating take 0.2 to 0.4 ms a policy, so they hold up the event loop for one portion at a time. */
const portion = 50;

let schema: Schema | undefined;

/** Cedar reads the schema anew on every validation; as JSON that costs a sixth of what it costs as text. */
function schemaForValidation(): Schema {
  if (schema) return schema;
  const answer = schemaToJson(schemaText);
  if (answer.type === "failure") throw new Error(`the policy schema does not parse: ${answer.errors.map(sayCedar).join("; ")}`);
  schema = answer.json;
  return schema;
}

/**
 * Reads, checks and validates policies, all of them or none. Texts that `known` already holds are not
 * parsed again, so a small change to a large bundle is a small piece of work.
 */
export async function parseBundle(files: readonly PolicyFile[], known?: Bundle): Promise<Parsed> {
  const before = new Map(known?.policies.map((policy) => [policy.text, policy]));
  const problems: Problem[] = [];
  const byId = new Map<string, Policy>();
  const fresh: Fresh[] = [];
  let read = 0;

  for (const { file, text } of files) {
    for (const written of splitPolicies(text)) {
      if ((read += 1) % portion === 0) await pause();
      const kept = before.get(written.text);
      const parsed = kept ? undefined : readPolicy(file, written, problems);
      if (parsed) fresh.push(parsed);
      const policy = kept ? { ...kept, file, line: written.line } : parsed?.policy;
      if (!policy) continue;
      const other = byId.get(policy.id);
      if (other)
        problems.push({ file, line: policy.line, problem: `@id(${JSON.stringify(policy.id)}) is taken by ${other.file}:${other.line}` });
      else byId.set(policy.id, policy);
    }
  }

  for (let from = 0; from < fresh.length; from += portion) {
    problems.push(...validatePolicies(fresh.slice(from, from + portion)));
    await pause();
  }

  if (problems.length > 0) return { ok: false, problems: problems.sort((a, b) => compare(a.file, b.file) || a.line - b.line) };
  const policies = [...byId.values()].sort((a, b) => compare(a.id, b.id));
  return { ok: true, bundle: { hash: hashOf(policies), policies } };
}

/** A policy that is not validated yet, with what Cedar read it as. */
interface Fresh {
  readonly policy: Policy;
  readonly json: PolicyJson;
}

function readPolicy(file: string, written: Written, problems: Problem[]): Fresh | undefined {
  const report = (problem: string, line = written.line): undefined => void problems.push({ file, line, problem });

  if (written.template) return report("policy templates (?principal, ?resource) come later; name the principal and the resource");
  if (written.text.length > maxLength) return report(`a policy is at most ${maxLength} characters long; split it`);
  if (written.depth > maxDepth) return report(`more than ${maxDepth} brackets inside one another; split the policy`);
  if (written.operators > maxOperators)
    return report(`more than ${maxOperators} operators in one policy; split it, or compare with a set: ["a", "b"].contains(…)`);

  const answer = policyToJson(written.text);
  if (answer.type === "failure") {
    for (const error of answer.errors) report(sayCedar(error), lineOf(written, error.sourceLocations?.[0]?.start));
    return undefined;
  }
  const { json } = answer;
  const { id, obligations, problems: complaints } = readAnnotations(json.effect, json.annotations ?? {});
  for (const complaint of complaints) report(id === undefined ? complaint : `${id}: ${complaint}`);
  return id === undefined ? undefined : { policy: compiled(id, json, obligations, file, written), json };
}

function compiled(id: string, json: PolicyJson, obligations: Obligations, file: string, written: Written): Policy {
  return {
    id,
    effect: json.effect,
    text: written.text,
    file,
    line: written.line,
    scope: scopeOf(json),
    obligations,
    readsContext: readsContext(json),
    unconditional: json.conditions.length === 0,
    onWordsAlone: grantsOnWordsAlone(json),
  };
}

/** Strict. What Cedar only warns of (above all: a policy that can never be true) is refused as well, for it protects or grants nothing. */
function validatePolicies(fresh: readonly Fresh[]): readonly Problem[] {
  if (isSound(fresh)) return [];
  const byId = new Map(fresh.map(({ policy }) => [policy.id, policy]));
  const answer = validate({ schema: schemaForValidation(), policies: { staticPolicies: textsOf([...byId.values()]) } });
  if (answer.type === "failure") {
    const [first] = byId.values();
    return answer.errors.map((error) => ({ file: first?.file ?? "", line: first?.line ?? 1, problem: sayCedar(error) }));
  }
  // A policy with an error is often called impossible too; that would only hide what is to be mended.
  const wrong = new Set(answer.validationErrors.map((found) => found.policyId));
  const warnings = answer.validationWarnings.filter((found) => !wrong.has(found.policyId));
  return [...answer.validationErrors, ...warnings].map((found) => located(found, byId.get(found.policyId)));
}

/** What was parsed already validates in two thirds of the time, but has no lines to report: good for the usual case, that there is nothing to. */
function isSound(fresh: readonly Fresh[]): boolean {
  try {
    const staticPolicies = Object.fromEntries(fresh.map(({ policy, json }) => [policy.id, json]));
    const answer = validate({ schema: schemaForValidation(), policies: { staticPolicies } });
    return answer.type === "success" && answer.validationErrors.length + answer.validationWarnings.length === 0;
  } catch {
    // Cedar reads JSON no deeper than 128 levels. It reads text.
    return false;
  }
}

function located(found: ValidationError, policy: Policy | undefined): Problem {
  const problem = `${found.policyId}: ${sayCedar(found.error)}`;
  if (!policy) return { file: "", line: 1, problem };
  return { file: policy.file, line: lineOf(policy, found.error.sourceLocations?.[0]?.start), problem };
}

function lineOf(written: { readonly text: string; readonly line: number }, byteOffset = 0): number {
  return written.line + lineAt(written.text, byteOffset) - 1;
}

/** As a record, for only then Cedar answers with our ids. */
export function textsOf(policies: readonly Policy[]): Record<string, string> {
  return Object.fromEntries(policies.map((policy) => [policy.id, policy.text]));
}

/** What is allowed, and still worth a second look. */
export function warningsOf(bundle: Bundle): readonly Problem[] {
  return bundle.policies.flatMap((policy) =>
    suspicions(policy).map((problem) => ({ file: policy.file, line: policy.line, problem: `${policy.id}: ${problem}` })),
  );
}

function suspicions(policy: Policy): readonly string[] {
  const found: string[] = [];
  if (policy.onWordsAlone) {
    found.push("grants on the content of purpose or ticket alone, which is whatever the agent writes; add a condition on a verified fact");
  }
  if (policy.effect === "permit" && policy.scope.actions.includes(anything)) {
    found.push("permits every action; reveal is granted only where a permit names it, so this one never does");
  }
  return found;
}

function hashOf(policies: readonly Policy[]): string {
  const hash = createHash("sha256");
  for (const { id, text } of policies) hash.update(JSON.stringify([id, text]));
  return hash.digest("hex");
}

/** By code unit: the same order on every machine, whatever its locale. */
export function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
