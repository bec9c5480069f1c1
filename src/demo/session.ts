/**
 * The process beside the agent: it finds a database URL in its environment, opens a session and keeps
 * it, and says on standard output what becomes of it. Run by `leasehold run`, which redeemed the handle.
 */
import { setTimeout as pause } from "node:timers/promises";
import { Client } from "pg";

const connectionString = process.env["DATABASE_URL"] ?? "";
const say = (line: string): void => void process.stdout.write(`${line}\n`);
const codeOf = (problem: unknown): string => (problem instanceof Error && "code" in problem ? String(problem.code) : "closed");

const client = new Client({ connectionString });
// The server ending the session arrives here between two queries.
client.on("error", () => undefined);
await client.connect();
const { rows } = await client.query<{ who: string; invoices: number }>(
  "SELECT current_user AS who, count(*)::int AS invoices FROM invoices",
);
say(`open ${rows[0]?.who} ${rows[0]?.invoices}`);

for (;;) {
  try {
    await client.query("SELECT 1");
    await pause(25);
  } catch (problem) {
    say(`session-ended ${codeOf(problem)}`);
    break;
  }
}

try {
  const again = new Client({ connectionString });
  await again.connect();
  say("login-accepted");
  await again.end();
} catch (problem) {
  say(`login-refused ${codeOf(problem)}`);
}
