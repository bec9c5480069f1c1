import type { Handler } from "../command.ts";
import { CommandError } from "../exit.ts";
import { operatorActor } from "../operator.ts";

/** Ids of tokens and of sessions look alike and are told apart by nobody: revoking what does not exist does no harm. */
export const revoke: Handler = async (run) => {
  const id = run.args[0] ?? "";
  if (!/^[\w-]{16,128}$/.test(id))
    throw new CommandError(
      "usage",
      "That is no id of a token or session",
      "It stands in the audit log: `leasehold audit search --kind token.minted`.",
    );
  const house = await run.house();
  const longest = Math.max(house.config.oauth.refreshTokenTtl, house.config.oauth.accessTokenTtl, 3_600);
  await house.revocations.revoke(id, run.now() + (longest + 60) * 1000);
  await house.audit.append({ kind: "token.revoked", actor: operatorActor(), token: id });
  const { revoked, pending } = await house.operator.end({ session: id }, operatorActor());
  if (run.json) run.screen.json({ id, revoked, pending: pending.length });
  else
    run.screen.print(
      `Revoked. ${revoked} leases ended at their targets${pending.length > 0 ? `, ${pending.length} go on being retried` : ""}.`,
    );
  return "ok";
};
