import { formatDuration } from "../../config/duration.ts";
import type { Invitation } from "../../identity/invitations.ts";
import { isGood } from "../../identity/invitations.ts";
import type { Handler } from "../command.ts";
import { CommandError } from "../exit.ts";
import { agentNamed } from "../given.ts";
import { operatorActor, operatorName } from "../operator.ts";
import { instant } from "../when.ts";

const defaultTtl = 3600;
const longestTtl = 30 * 24 * 3600;
const mostUses = 10_000;
/** The name of an agent is this and a dash and eight characters more. */
const longestPrefix = 40;

/** The token is all that stdout gets, so that it can be piped on without being seen. */
export const invite: Handler = async (run) => {
  const roles = run.given.texts("role").flatMap((text) => text.split(","));
  if (roles.length === 0) throw new CommandError("usage", "--role: say what it may become", "An agent without roles needs no invitation.");
  for (const role of roles) agentNamed(role);
  const uses = run.given.count("uses") ?? 1;
  if (uses > mostUses) throw new CommandError("usage", `--uses: at most ${mostUses}`);
  const ttlSeconds = run.given.duration("ttl") ?? defaultTtl;
  if (ttlSeconds < 1 || ttlSeconds > longestTtl) throw new CommandError("usage", "--ttl: between 1s and 30d");
  const name = run.given.text("name");
  if (name !== undefined && name.length > longestPrefix) throw new CommandError("usage", `--name: at most ${longestPrefix} characters`);
  const prefix = name === undefined ? {} : { prefix: agentNamed(name) };

  const house = await run.house();
  const order = { roles, uses, ttlSeconds, createdBy: operatorName(), ...prefix };
  const { invitation, token } = await house.invitations.create(order, operatorActor());
  if (run.json) run.screen.json({ id: invitation.id, token, roles, uses, expires: instant(invitation.expiresAt) });
  else {
    run.screen.print(token);
    const often = uses === 1 ? "once" : `${uses} times`;
    run.screen.note(
      `Good ${often} within ${formatDuration(ttlSeconds)}, for roles: ${roles.join(", ")}. It is shown once. Register with it:\n` +
        `POST ${house.config.server.publicUrl}/oauth/register with the header "Authorization: Bearer TOKEN".`,
    );
  }
  return "ok";
};

export const list: Handler = async (run) => {
  const invitations = await (await run.house()).invitations.list();
  if (run.json) run.screen.json(invitations.map((one) => shape(one, run.now())));
  else
    run.screen.table(
      ["INVITATION", "ROLES", "NAME", "USES LEFT", "EXPIRES", "BY", "STATE"],
      invitations.map((one) => {
        const { id, roles, name, usesLeft, expires, createdBy, state } = shape(one, run.now());
        return [
          id,
          roles.join(", "),
          name ?? "",
          String(usesLeft),
          expires,
          createdBy,
          { text: state, style: state === "good" ? "green" : "dim" },
        ];
      }),
      "No invitations. Make one with `leasehold agent invite --role ROLE`.",
    );
  return "ok";
};

export const revoke: Handler = async (run) => {
  const id = run.args[0] ?? "";
  if (!(await (await run.house()).invitations.revoke(id, operatorActor())))
    throw new CommandError("notFound", "no such invitation, or it was revoked before", "`leasehold agent invitations` shows them.");
  if (run.json) run.screen.json({ invitation: id, revoked: true });
  else run.screen.print(`Invitation ${id} is revoked. Agents that it brought stay; \`leasehold client revoke\` removes them.`);
  return "ok";
};

function shape(invitation: Invitation, now: number) {
  const { id, roles, prefix, usesLeft, expiresAt, createdBy, revoked } = invitation;
  return {
    id,
    roles,
    ...(prefix === undefined ? {} : { name: prefix }),
    usesLeft,
    expires: instant(expiresAt),
    createdBy,
    state: isGood(invitation, now) ? "good" : revoked ? "revoked" : usesLeft === 0 ? "used up" : "expired",
  };
}
