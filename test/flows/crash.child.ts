/**
 * A broker that dies: SIGKILL just before or just after its n-th durable step, where a step is a commit
 * of the store or a statement sent to the target. Without CRASH_AT it lives, and says how many steps it took.
 */
import { DatabaseSync, StatementSync } from "node:sqlite";
import { Client } from "pg";
import { agent, correlation, openHouse, readonly, request } from "./house.ts";

const input = JSON.parse(process.env["CRASH_INPUT"] ?? "{}") as {
  folder: string;
  database: { port: number; superuser: { username: string; password: string } };
  scenario: "grant" | "revoke";
};
const crashAt = Number(process.env["CRASH_AT"] ?? Infinity);
let armed = false;
let steps = 0;

function step(): void {
  if (!armed) return;
  steps += 1;
  if (steps === crashAt) process.kill(process.pid, "SIGKILL");
}

const prepared = new WeakMap<StatementSync, string>();
const prepare = DatabaseSync.prototype.prepare;
DatabaseSync.prototype.prepare = function (sql: string, ...more: never[]): StatementSync {
  const statement = prepare.call(this, sql, ...more);
  prepared.set(statement, sql);
  return statement;
};
const run = StatementSync.prototype.run;
StatementSync.prototype.run = function (this: StatementSync, ...values: Parameters<StatementSync["run"]>) {
  const durable = /^commit$/i.test(prepared.get(this) ?? "");
  if (durable) step();
  const result = run.apply(this, values);
  if (durable) step();
  return result;
} as StatementSync["run"];

const query = Client.prototype.query as unknown as (this: Client, ...words: unknown[]) => unknown;
Client.prototype.query = function (this: Client, ...words: unknown[]): unknown {
  step();
  const result = query.apply(this, words);
  if (result instanceof Promise) return result.then((value: unknown) => (step(), value));
  return result;
} as unknown as typeof Client.prototype.query;

const { house } = await openHouse({ database: input.database, folder: input.folder });
const reporter = agent("reporter");
if (input.scenario === "grant") {
  armed = true;
  await house.broker.grant(reporter, request(readonly));
} else {
  const { lease } = await house.broker.grant(reporter, request(readonly));
  armed = true;
  await house.broker.revoke(reporter, lease.id, correlation());
}
armed = false;
process.stdout.write(`steps ${steps}\n`);
process.exit(0);
