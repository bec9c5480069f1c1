import { styleText } from "node:util";

/** One thing that the demo does, and what was seen of it. `tell` throws when that is not what it should be. */
export interface Step {
  readonly name: string;
  readonly title: string;
  /** What was seen, for a person: one line each. */
  tell(): Promise<readonly string[]>;
}

export interface StoryOptions {
  readonly json: boolean;
  readonly out: NodeJS.WritableStream & { readonly isTTY?: boolean };
}

/** Tells the steps in order and ends with a summary. Stops at the first that is not as it should be: those after it build on it. */
export async function tellStory(steps: readonly Step[], { json, out }: StoryOptions): Promise<boolean> {
  const began = performance.now();
  const paint = (format: Parameters<typeof styleText>[0], text: string): string => styleText(format, text, { stream: out });
  const print = (line: string): void => void out.write(`${line}\n`);
  let done = 0;

  for (const step of steps) {
    const started = performance.now();
    const outcome = await attempt(step);
    const milliseconds = Math.round(performance.now() - started);
    if (json) print(JSON.stringify({ step: step.name, ok: outcome.ok, title: step.title, seen: outcome.lines, milliseconds }));
    else {
      print(`${outcome.ok ? paint("green", "✓") : paint("red", "✗")} ${paint("bold", step.title)} ${paint("dim", `${milliseconds} ms`)}`);
      for (const line of outcome.lines) print(`    ${line}`);
    }
    if (!outcome.ok) break;
    done += 1;
  }

  const ok = done === steps.length;
  const seconds = ((performance.now() - began) / 1000).toFixed(1);
  if (json) print(JSON.stringify({ step: "summary", ok, done, steps: steps.length, seconds: Number(seconds) }));
  else
    print(
      `\n${ok ? paint("green", `All ${done} steps are as they should be`) : paint("red", `Step ${done + 1} of ${steps.length} is not as it should be`)}, in ${seconds} s.`,
    );
  return ok;
}

async function attempt(step: Step): Promise<{ readonly ok: boolean; readonly lines: readonly string[] }> {
  try {
    return { ok: true, lines: await step.tell() };
  } catch (problem) {
    return { ok: false, lines: [problem instanceof Error ? problem.message : String(problem)] };
  }
}

/** Throws, with what was expected in words, unless the condition holds. */
export function expect(condition: boolean, otherwise: string): asserts condition {
  if (!condition) throw new Error(otherwise);
}
