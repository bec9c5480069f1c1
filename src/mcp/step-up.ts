import type { Scope } from "../core/scope.ts";
import { covers } from "../core/scope.ts";
import type { ToolTable } from "./definition.ts";

/**
 * The scopes that the calls in a body take, all of them, when its caller's token is not good for every one; the refusal was
 * written down by then. `undefined` at once: go on. Whatever the message turns out to be, nothing of it has run yet.
 */
export type StepUp<Caller> = (body: unknown, caller: Caller) => Promise<readonly Scope[]> | undefined;

export function createStepUp<Caller>({ scopes }: ToolTable<Caller>): StepUp<Caller> {
  if (!scopes) return () => undefined;

  async function refuse(caller: Caller, refused: readonly string[], all: readonly string[]): Promise<readonly Scope[]> {
    for (const tool of refused) await scopes?.refused(caller, tool);
    return [...new Set(all.flatMap((tool) => scopes?.of(tool) ?? []))];
  }

  return (body, caller) => {
    const held = scopes.held(caller);
    if (held === undefined) return undefined;
    const called = Array.isArray(body) ? body.flatMap(toolCalledBy) : toolCalledBy(body);
    const lacking = called.filter((tool) => {
      const needed = scopes.of(tool);
      return needed !== undefined && !covers(held, needed);
    });
    return lacking.length === 0 ? undefined : refuse(caller, lacking, called);
  };
}

function toolCalledBy(message: unknown): readonly string[] {
  if (!isObject(message) || message["method"] !== "tools/call") return [];
  const params = message["params"];
  return isObject(params) && typeof params["name"] === "string" ? [params["name"]] : [];
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}
