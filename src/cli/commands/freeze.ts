import type { Handler, Run } from "../command.ts";
import { CommandError } from "../exit.ts";
import { agentNamed, unknown } from "../given.ts";
import type { House } from "../house.ts";
import { operatorActor, operatorName } from "../operator.ts";
import { known } from "./agent.ts";
import { shape } from "./lease.ts";

type Ended = Awaited<ReturnType<House["operator"]["end"]>>;

/** Whom a freeze is for, and how it is begun and lifted. The refusal comes first: a lease that is granted in between would escape the other order. */
interface Subject {
  readonly kind: "agent" | "user" | "client";
  readonly name: string;
  freeze(): Promise<Ended>;
  unfreeze(): Promise<unknown>;
}

export const freeze: Handler = async (run) => {
  const subject = await subjectOf(run, "freeze");
  const going = run.screen.progress(`Ending every lease of ${subject.name}`);
  const { revoked, pending } = await subject.freeze().finally(going.done);
  if (run.json) run.screen.json({ [subject.kind]: subject.name, revoked, pending: pending.map(shape) });
  else run.screen.print(`Frozen ${subject.name}: its next call is refused. ${revoked} leases ended at their targets.`);
  if (pending.length === 0) return "ok";
  throw new CommandError(
    "unavailable",
    `${pending.length} leases of ${subject.name} are not yet gone at their targets: ${pending.map((lease) => lease.id).join(", ")}`,
    "A running broker retries until they are.",
  );
};

export const unfreeze: Handler = async (run) => {
  const subject = await subjectOf(run, "unfreeze");
  await subject.unfreeze();
  if (run.json) run.screen.json({ [subject.kind]: subject.name, frozen: false });
  else run.screen.print(`Unfrozen ${subject.name}. Leases that were ended stay ended.`);
  return "ok";
};

/** Exactly one of an agent, a user and a client. */
async function subjectOf(run: Run, verb: "freeze" | "unfreeze"): Promise<Subject> {
  const [agent, user, client] = [run.args[0], run.given.text("user"), run.given.text("client")];
  if ([agent, user, client].filter((one) => one !== undefined).length !== 1)
    throw new CommandError("usage", `Name one agent, or one --user, or one --client`, `For example: leasehold ${verb} reporter`);
  const house = await run.house();
  if (user !== undefined) return userNamed(house, user);
  if (client !== undefined) return clientNamed(house, client);
  const { name } = await known(house, agentNamed(agent ?? ""));
  return {
    kind: "agent",
    name,
    freeze: async () => (await house.operator.freeze(name, operatorName())) ?? { revoked: 0, pending: [] },
    unfreeze: () => house.operator.unfreeze(name, operatorName()),
  };
}

async function userNamed({ users, operator, signIns }: House, name: string): Promise<Subject> {
  const account = await users.byName(name);
  if (!account)
    throw unknown(
      "user",
      name,
      (await users.list()).map((one) => one.name),
      "Add them with `leasehold user add`.",
    );
  return {
    kind: "user",
    name,
    async freeze() {
      await users.change(account.account, "user.frozen", operatorActor());
      // Whoever sits at a browser of theirs, or holds a token for them, is not let in again by the thaw.
      await users.change(account.account, "user.sessions-ended", operatorActor());
      await signIns.endAllOf({ account: account.account }, operatorActor());
      return operator.end({ account: account.account }, operatorActor());
    },
    unfreeze: () => users.change(account.account, "user.unfrozen", operatorActor()),
  };
}

async function clientNamed({ clients, operator }: House, id: string): Promise<Subject> {
  const client = await clients.find(id);
  if (!client || client.removed)
    throw unknown(
      "client",
      id,
      (await clients.list()).map((one) => one.id),
      "See `leasehold client list`.",
    );
  return {
    kind: "client",
    name: id,
    async freeze() {
      if ((await clients.freeze(id, operatorActor())) === "configured")
        throw new CommandError("usage", `${id} is in the configuration`, `Freeze its agent: leasehold freeze ${client.agent}`);
      return operator.end({ agent: client.agent }, operatorActor());
    },
    unfreeze: () => clients.unfreeze(id, operatorActor()),
  };
}
