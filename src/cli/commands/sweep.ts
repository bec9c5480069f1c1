import type { Handler } from "../command.ts";
import { CommandError } from "../exit.ts";
import { credentialNamed, unknown } from "../given.ts";

export const sweep: Handler = async (run) => {
  const named = run.args[0];
  const remove = run.given.has("remove");
  const house = await run.house();
  const names = house.config.credentials.map((entry) => entry.name);
  if (named !== undefined && !names.some((name) => name === named)) throw unknown("credential", named, names);
  const going = run.screen.progress("Looking at the targets");
  const reports = await house.operator
    .sweep({ remove, ...(named === undefined ? {} : { credential: credentialNamed(named) }) })
    .finally(going.done);
  if (run.json) run.screen.json(reports);
  else
    run.screen.table(
      ["CREDENTIAL", "FOUND", "WITHOUT LEASE", "REMOVED", "PROBLEM"],
      reports.map((one) => [one.credential, String(one.found), one.orphans.join(" ") || "none", String(one.removed), one.problem ?? ""]),
      "No credential here leaves anything at a target.",
    );
  if (reports.some((one) => one.problem !== undefined)) throw new CommandError("unavailable", "not every target could be looked at");
  const left = reports.reduce((sum, one) => sum + one.orphans.length - one.removed, 0);
  if (left === 0) return "ok";
  throw new CommandError(
    "verification",
    `${left} credentials at targets belong to no lease`,
    remove ? "They could not be removed; look at them by hand." : "Remove them with `leasehold sweep --remove`.",
  );
};
