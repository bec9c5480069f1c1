import type { Handler } from "../command.ts";
import { CommandError } from "../exit.ts";
import { agentNamed } from "../given.ts";
import { operatorName } from "../operator.ts";
import { known } from "./agent.ts";
import { shape } from "./lease.ts";

export const freeze: Handler = async (run) => {
  const house = await run.house();
  const { name } = await known(house, agentNamed(run.args[0] ?? ""));
  const going = run.screen.progress(`Ending every lease of ${name}`);
  const report = await house.operator.freeze(name, operatorName()).finally(going.done);
  const pending = report?.pending ?? [];
  if (run.json) run.screen.json({ agent: name, revoked: report?.revoked ?? 0, pending: pending.map(shape) });
  else run.screen.print(`Frozen ${name}: its next call is refused. ${report?.revoked ?? 0} leases ended at their targets.`);
  if (pending.length === 0) return "ok";
  throw new CommandError(
    "unavailable",
    `${pending.length} leases of ${name} are not yet gone at their targets: ${pending.map((lease) => lease.id).join(", ")}`,
    "A running broker retries until they are.",
  );
};

export const unfreeze: Handler = async (run) => {
  const house = await run.house();
  const { name } = await known(house, agentNamed(run.args[0] ?? ""));
  await house.operator.unfreeze(name, operatorName());
  if (run.json) run.screen.json({ agent: name, frozen: false });
  else run.screen.print(`Unfrozen ${name}. Leases that were ended stay ended.`);
  return "ok";
};
