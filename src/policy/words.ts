import type { PolicyJson } from "@cedar-policy/cedar-wasm/nodejs";

/** What an expression rests on: nothing that decides, verified facts, or what the agent says. */
type Ground = "nothing" | "facts" | "words";

const agentsWords = new Set(["purpose", "ticket"]);

/**
 * Whether a permit can come true by what the agent writes alone: its conditions test the content of
 * `purpose` or `ticket`, and no verified fact has to hold beside that.
 */
export function grantsOnWordsAlone(policy: PolicyJson): boolean {
  if (policy.effect !== "permit") return false;
  return both(policy.conditions.map((clause) => groundOf(clause.body, clause.kind === "unless"))) === "words";
}

/** Whether anything in the conditions reads the context, so that a decision holds for one request only. */
export function readsContext(policy: PolicyJson): boolean {
  return policy.conditions.some((clause) => mentions(clause.body, (node) => node["Var"] === "context"));
}

function groundOf(expression: unknown, negated: boolean): Ground {
  if (!isRecord(expression)) return "nothing";
  const { "&&": and, "||": or, "!": not, "if-then-else": choice } = expression;
  if (isRecord(not)) return groundOf(not["arg"], !negated);
  if (isRecord(and)) return join(and, negated, negated ? either : both);
  if (isRecord(or)) return join(or, negated, negated ? both : either);
  if (isRecord(choice)) {
    const test = choice["if"];
    return either([
      both([groundOf(test, false), groundOf(choice["then"], negated)]),
      both([groundOf(test, true), groundOf(choice["else"], negated)]),
    ]);
  }
  if (isTicketThere(expression["has"])) return "nothing";
  if (mentions(expression, isAgentsWord)) return "words";
  return mentions(expression, (node) => typeof node["Var"] === "string") ? "facts" : "nothing";
}

function join(sides: Record<string, unknown>, negated: boolean, rule: (grounds: readonly Ground[]) => Ground): Ground {
  return rule([groundOf(sides["left"], negated), groundOf(sides["right"], negated)]);
}

/** All have to hold: one fact among them is enough to stand on. */
function both(grounds: readonly Ground[]): Ground {
  return grounds.includes("facts") ? "facts" : grounds.includes("words") ? "words" : "nothing";
}

/** One has to hold: the weakest decides. */
function either(grounds: readonly Ground[]): Ground {
  return grounds.includes("words") ? "words" : grounds.includes("facts") ? "facts" : "nothing";
}

function isAgentsWord(node: Record<string, unknown>): boolean {
  const access = node["."];
  if (!isRecord(access) || !isRecord(access["left"])) return false;
  return access["left"]["Var"] === "context" && typeof access["attr"] === "string" && agentsWords.has(access["attr"]);
}

/** To require a ticket is not to believe it. */
function isTicketThere(test: unknown): boolean {
  return isRecord(test) && isRecord(test["left"]) && test["left"]["Var"] === "context" && [test["attr"]].flat().includes("ticket");
}

function mentions(expression: unknown, test: (node: Record<string, unknown>) => boolean): boolean {
  if (Array.isArray(expression)) return expression.some((one) => mentions(one, test));
  if (!isRecord(expression)) return false;
  return test(expression) || Object.values(expression).some((one) => mentions(one, test));
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
