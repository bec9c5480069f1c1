import type { Handler } from "../command.ts";

export const serve: Handler = async (run) => {
  const house = await run.house("info");
  await house.serve(run.interrupted, (url) => {
    if (run.json) run.screen.json({ listening: url });
    else run.screen.print(`Leasehold serves MCP at ${url}/mcp. Stop it with Ctrl-C.`);
  });
  return "ok";
};
