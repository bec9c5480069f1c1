import { bridged, personParts } from "../bridge.ts";
import type { Handler } from "../command.ts";
import { CommandError } from "../exit.ts";

/** Ends the login at the broker and forgets it here. */
export const logout: Handler = async (run) => {
  const parts = await personParts(run);
  const { signOut } = await import("../../bridge/bridge.ts");
  const outcome = await bridged(signOut(parts));
  if (outcome === "none") throw new CommandError("notFound", `there is no login for ${parts.server.href}`);
  if (outcome === "unrevoked") {
    throw new CommandError(
      "unavailable",
      "the login is forgotten here, but the broker could not be told",
      "There it ends when it has not been used for a while; its operator can end it now.",
    );
  }
  if (run.json) run.screen.json({ server: parts.server.href, outcome });
  else run.screen.print(`Signed out of ${parts.server.href}.`);
  return "ok";
};
