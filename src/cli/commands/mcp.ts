import { bridgeParts } from "../bridge.ts";
import type { Handler } from "../command.ts";
import { CommandError } from "../exit.ts";
import { agentNamed } from "../given.ts";

const example = "For example: leasehold mcp --agent reporter";

/** stdout belongs to the protocol from the first byte to the last. */
export const mcp: Handler = async (run) => {
  const name = run.given.text("agent");
  const server = run.given.text("server");
  if (name !== undefined && server !== undefined)
    throw new CommandError("usage", "say either --agent NAME, for the broker of this machine, or --server URL, for one elsewhere", example);
  if (server !== undefined) {
    const parts = await bridgeParts(run);
    const { runBridge } = await import("../../bridge/bridge.ts");
    await runBridge({ ...parts, input: process.stdin, output: process.stdout });
    return "ok";
  }
  if (name === undefined) throw new CommandError("usage", "--agent is missing: whom does this process speak for?", example);
  const { known } = await import("./agent.ts");
  const house = await run.house();
  const agent = await known(house, agentNamed(name));
  await house.speakStdio(agent.name, run.interrupted);
  return "ok";
};
