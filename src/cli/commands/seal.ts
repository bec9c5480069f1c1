import type { Handler } from "../command.ts";
import { CommandError } from "../exit.ts";
import { operatorActor } from "../operator.ts";

export const rotate: Handler = async (run) => {
  const house = await run.house();
  const going = run.screen.progress("Rotating the seal");
  let key: string | undefined;
  let records = 0;
  let unreadable: readonly string[] = [];
  try {
    for await (const step of house.rotateSeal()) {
      run.screen.detail(step.step);
      if (step.step === "adopted") {
        key = step.key;
        await house.audit.append({ kind: "seal.rotated", actor: operatorActor(), key: step.key });
      } else if (step.step === "resealed") records += step.records;
      else if (step.step === "retired") unreadable = step.unreadable;
    }
  } finally {
    going.done();
  }
  if (run.json) run.screen.json({ key, records, unreadable });
  else run.screen.print(`The seal has a new key, and ${records} records moved to it. Back up the key file now.`);
  if (unreadable.length === 0) return "ok";
  throw new CommandError("verification", `${unreadable.length} records cannot be opened and stayed as they are: ${unreadable.join(", ")}`);
};
