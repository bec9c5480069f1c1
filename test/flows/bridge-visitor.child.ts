import { appendFileSync } from "node:fs";
import { visit } from "./bridge-visitor.ts";

/** Stands where `xdg-open` would: writes down what it was started with, and goes there as the person would. */
const [log = "", ...args] = process.argv.slice(2);
appendFileSync(log, `${JSON.stringify({ args, env: Object.keys(process.env) })}\n`);
await visit(args[0] ?? "");
