import type { Handler } from "../command.ts";
import { CommandError } from "../exit.ts";
import { agentNamed } from "../given.ts";
import { known } from "./agent.ts";

/** stdout belongs to the protocol from the first byte to the last. */
export const mcp: Handler = async (run) => {
  const name = run.given.text("agent");
  if (name === undefined)
    throw new CommandError("usage", "--agent is missing: whom does this process speak for?", "For example: leasehold mcp --agent reporter");
  const house = await run.house();
  const agent = await known(house, agentNamed(name));
  await house.speakStdio(agent.name, run.interrupted);
  return "ok";
};
