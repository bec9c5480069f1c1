import { formatDuration } from "../../config/duration.ts";
import type { Account, UserRole } from "../../identity/directory.ts";
import { enrolmentPath, isUserName } from "../../identity/users.ts";
import type { Handler, Run } from "../command.ts";
import { CommandError } from "../exit.ts";
import { unknown } from "../given.ts";
import type { House } from "../house.ts";
import { operatorActor } from "../operator.ts";
import { instant } from "../when.ts";

const roles: readonly UserRole[] = ["member", "approver", "operator"];
/** Seconds that a link is good for. */
const linkFor = 24 * 3600;

/** The link is all that stdout gets, so that it can be piped on without being seen. */
export const add: Handler = async (run) => {
  const name = run.args[0] ?? "";
  if (!isUserName(name))
    throw new CommandError("usage", "not a valid user name: use a–z, 0–9, dot, dash, underscore and @, at most 63 characters");
  const role = run.given.choice("role", roles) ?? "member";
  const email = run.given.text("email");
  const house = await run.house();
  const added = await house.users.add({ name, role, ...(email === undefined ? {} : { email }) }, operatorActor());
  if (added === "taken")
    throw new CommandError("usage", `there is a user named ${name} already`, `A new link for them: leasehold user link ${name}`);
  return sayLink(run, house, added);
};

export const link: Handler = async (run) => {
  const house = await run.house();
  const user = await known(house, run);
  if (user.disabled || user.frozen)
    throw new CommandError("refused", `${user.name} is ${stateOf(user)}`, "A link would be of no use to them.");
  if (user.subject !== user.account)
    throw new CommandError("usage", `${user.name} signs in with ${user.issuer}`, "There is nothing to set up here.");
  return sayLink(run, house, user);
};

export const list: Handler = async (run) => {
  const users = await (await run.house()).users.list();
  if (run.json) run.screen.json(users.map(shape));
  else
    run.screen.table(
      ["USER", "ROLE", "TEAMS", "SIGNS IN WITH", "STATE"],
      users.map((user) => [
        user.name,
        user.role,
        user.teams.join(", "),
        user.subject === user.account ? "Leasehold" : user.issuer,
        { text: stateOf(user), style: stateOf(user) === "active" ? "green" : "red" },
      ]),
      "No users yet. Add one with `leasehold user add NAME`.",
    );
  return "ok";
};

export const show: Handler = async (run) => {
  const house = await run.house();
  const user = await known(house, run);
  const passkeys = await house.users.passkeys(user.account);
  if (run.json) run.screen.json({ ...shape(user), passkeys: passkeys.length });
  else {
    run.screen.print({ text: user.name, style: "bold" });
    for (const [key, value] of [
      ["account", user.account],
      ["role", user.role],
      ["email", user.email ?? ""],
      ["teams", user.teams.join(", ")],
      ["signs in with", user.subject === user.account ? "Leasehold" : user.issuer],
      ["passkeys", String(passkeys.length)],
      ["state", stateOf(user)],
      ["sign-ins before", user.validFrom === 0 ? "" : `${instant(user.validFrom)} are void`],
    ] as const)
      run.screen.print(`  ${key.padEnd(18)} ${value}`);
  }
  return "ok";
};

export const disable: Handler = async (run) => {
  const house = await run.house();
  const user = await known(house, run);
  await house.users.change(user.account, "user.disabled", operatorActor());
  return ended(run, house, user, `Disabled ${user.name}: no agent acts for them any more.`);
};

export const enable: Handler = async (run) => {
  const house = await run.house();
  const user = await known(house, run);
  await house.users.change(user.account, "user.enabled", operatorActor());
  if (run.json) run.screen.json(shape(await known(house, run)));
  else run.screen.print(`Enabled ${user.name}. They sign in again, and connect their agents again.`);
  return "ok";
};

export const signOut: Handler = async (run) => {
  const house = await run.house();
  const user = await known(house, run);
  await house.users.change(user.account, "user.sessions-ended", operatorActor());
  return ended(run, house, user, `Signed ${user.name} out everywhere, with all agents that acted for them.`);
};

/** Their right to them is gone first; then the leases end at their targets. */
async function ended(run: Run, house: House, user: Account, sentence: string): Promise<"ok"> {
  await house.signIns.endAllOf({ account: user.account }, operatorActor());
  const { revoked, pending } = await house.operator.end({ account: user.account }, operatorActor());
  if (run.json) run.screen.json({ ...shape(await known(house, run)), revoked, pending: pending.length });
  else {
    run.screen.print(revoked === 0 ? sentence : `${sentence} ${revoked} leases ended at their targets.`);
    if (pending.length > 0) run.screen.note(`${pending.length} leases are not yet gone there; a running broker retries until they are.`);
  }
  return "ok";
}

async function sayLink(run: Run, house: House, user: Account): Promise<"ok"> {
  const { token, expiresAt } = await house.users.invite(user.account, operatorActor(), linkFor);
  const url = `${house.config.server.publicUrl}${enrolmentPath(token)}`;
  if (run.json) run.screen.json({ ...shape(user), link: url, expires_at: instant(expiresAt) });
  else {
    run.screen.print(url);
    run.screen.note(`${user.name} sets a password or passkey there. Good once, for ${formatDuration(linkFor)}; it is shown once.`);
  }
  return "ok";
}

async function known(house: House, run: Run): Promise<Account> {
  const name = run.args[0] ?? "";
  const user = await house.users.byName(name);
  if (user) return user;
  const names = (await house.users.list()).map((one) => one.name);
  throw unknown("user", name, names, `Add them with \`leasehold user add ${isUserName(name) ? name : "NAME"}\`.`);
}

function shape({ account, name, role, email, teams, issuer, disabled, frozen }: Account) {
  return { account, name, role, ...(email === undefined ? {} : { email }), teams, issuer, disabled, frozen };
}

function stateOf(user: Account): string {
  if (user.disabled) return "disabled";
  return user.frozen ? "frozen" : "active";
}
