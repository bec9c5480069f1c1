import { eventKinds } from "./kinds.ts";

/** The page on audit events, as Markdown. */
export function eventsPage(): string {
  const rows = Object.entries(eventKinds).map(([kind, says]) => `| \`${kind}\` | ${says} |`);
  return [
    "# Audit events",
    "",
    "Every line of the audit log holds one event of one of these kinds. How a line is made, and how it is verified, is told in",
    "[the audit log](../explanation/audit-log.md). Values (arguments, statements, secrets) appear only as keyed digests.",
    "",
    "| kind | what it says |",
    "|---|---|",
    ...rows,
    "",
  ].join("\n");
}
