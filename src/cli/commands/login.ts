import { bridged, personParts } from "../bridge.ts";
import type { Handler } from "../command.ts";

/** Signs in before a client needs it. */
export const login: Handler = async (run) => {
  const parts = await personParts(run);
  const { signIn } = await import("../../bridge/bridge.ts");
  const kept = await bridged(signIn(parts));
  if (run.json) run.screen.json({ server: parts.server.href, kept });
  else run.screen.print(`Signed in to ${parts.server.href}. The login is kept in ${kept}.`);
  return "ok";
};
