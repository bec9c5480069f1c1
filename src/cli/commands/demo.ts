import type { Handler } from "../command.ts";

export const demo: Handler = (run) => run.parts.demo({ json: run.json });
