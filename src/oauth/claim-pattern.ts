/** Longer values match nothing: no platform writes such, and the work of a match stays bounded. */
const longestValue = 2048;

/**
 * Whether `value` is what the pattern says, all of it and case for case: `*` stands for any text without `/`, also none,
 * `**` for any text. Patterns are never compiled into regular expressions. Work is bounded by length of pattern × length
 * of value, for the worst of both: all places that the pattern may have come to are followed side by side.
 */
export function matches(pattern: string, value: string): boolean {
  if (value.length > longestValue) return false;
  const steps = stepsOf(pattern);
  let here = new Uint8Array(steps.length + 1);
  let next = new Uint8Array(steps.length + 1);
  here[0] = 1;
  for (const unit of value) {
    next.fill(0);
    for (const [at, step] of steps.entries()) {
      if (!here[at]) continue;
      if (isStar(step)) {
        // A star may stand for nothing: whoever is at it is behind it as well.
        here[at + 1] = 1;
        if (step === any || unit !== "/") next[at] = 1;
      } else if (step === unit) next[at + 1] = 1;
    }
    [here, next] = [next, here];
  }
  for (const [at, step] of steps.entries()) if (here[at] && isStar(step)) here[at + 1] = 1;
  return here[steps.length] === 1;
}

const any = Symbol("**");
const segment = Symbol("*");
type Step = string | typeof any | typeof segment;

function stepsOf(pattern: string): readonly Step[] {
  return [...pattern.matchAll(/\*+|[^*]/gsu)].map(([text]) => (text.startsWith("**") ? any : text === "*" ? segment : text));
}

function isStar(step: Step): boolean {
  return step === any || step === segment;
}

/** Whether the pattern says anything: `**` and the like are true of everything. */
export function isOpen(pattern: string): boolean {
  return /^[*/]*$/.test(pattern);
}

/** What a pattern asks for before its first star. */
export function literalStart(pattern: string): string {
  return pattern.split("*", 1)[0] ?? "";
}

/**
 * The claim of that name, or the member of a claim: `kubernetes.io/namespace` is `namespace` within `kubernetes.io`. Names with
 * slashes of their own are found first, the longest first. Numbers and booleans count as their JSON text; lists and objects are nothing.
 */
export function claimAt(claims: Readonly<Record<string, unknown>>, name: string): string | undefined {
  const value = find(claims, name);
  if (typeof value === "string") return value;
  return typeof value === "boolean" || Number.isSafeInteger(value) ? String(value) : undefined;
}

function find(within: unknown, name: string): unknown {
  if (typeof within !== "object" || within === null || Array.isArray(within)) return undefined;
  const members = new Map<string, unknown>(Object.entries(within));
  if (members.has(name)) return members.get(name);
  for (let slash = name.lastIndexOf("/"); slash > 0; slash = name.lastIndexOf("/", slash - 1)) {
    const found = find(members.get(name.slice(0, slash)), name.slice(slash + 1));
    if (found !== undefined) return found;
  }
  return undefined;
}
