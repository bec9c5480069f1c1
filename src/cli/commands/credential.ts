import { formatDuration } from "../../config/duration.ts";
import type { Handler } from "../command.ts";
import { unknown } from "../given.ts";

/** Reads the catalogue only: no store, no key, no vault. */
export const list: Handler = async (run) => {
  const { credentials } = await run.config();
  if (run.json)
    run.screen.json(
      credentials.map(({ name, engine, description, labels, ttl, maxLeases }) => ({ name, engine, description, labels, ttl, maxLeases })),
    );
  else
    run.screen.table(
      ["CREDENTIAL", "ENGINE", "TTL", "LABELS", "DESCRIPTION"],
      credentials.map((one) => [one.name, one.engine, ttlOf(one.ttl), labelsOf(one.labels), one.description]),
      "No credentials in the configuration yet.",
    );
  return "ok";
};

export const show: Handler = async (run) => {
  const [name = ""] = run.args;
  const { credentials } = await run.config();
  const entry = credentials.find((one) => one.name === name);
  if (!entry)
    throw unknown(
      "credential",
      name,
      credentials.map((one) => one.name),
      "`leasehold credential list` shows what there is.",
    );
  if (run.json) {
    run.screen.json(entry);
    return "ok";
  }
  run.screen.print({ text: entry.name, style: "bold" });
  for (const [key, value] of Object.entries({
    description: entry.description,
    engine: entry.engine,
    labels: labelsOf(entry.labels),
    ttl: ttlOf(entry.ttl),
    maxLeases: String(entry.maxLeases),
    ...Object.fromEntries(
      Object.entries(entry.spec).map(([field, part]) => [field, typeof part === "string" ? part : JSON.stringify(part)]),
    ),
  }))
    run.screen.print(`  ${key.padEnd(18)} ${value}`);
  return "ok";
};

function ttlOf(ttl: { readonly default: number; readonly max: number }): string {
  return `${formatDuration(ttl.default)}, at most ${formatDuration(ttl.max)}`;
}

function labelsOf(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .join(" ");
}
