import { isLeaseId } from "../../core/brand.ts";
import type { LeaseId } from "../../core/brand.ts";
import type { Lease } from "../../core/lease.ts";
import type { Handler } from "../command.ts";
import { CommandError } from "../exit.ts";
import { agentNamed, credentialNamed } from "../given.ts";
import { operatorName } from "../operator.ts";
import { instant, span } from "../when.ts";

export const list: Handler = async (run) => {
  const agent = run.given.text("agent");
  const credential = run.given.text("credential");
  const house = await run.house();
  const leases = await house.operator.list({
    ...(agent === undefined ? {} : { agent: agentNamed(agent) }),
    ...(credential === undefined ? {} : { credential: credentialNamed(credential) }),
    ...(run.given.has("all") ? {} : { live: true }),
    limit: run.given.count("limit") ?? 100,
  });
  if (run.json) run.screen.json(leases.map(shape));
  else
    run.screen.table(
      ["LEASE", "AGENT", "CREDENTIAL", "BY", "STATE", "LEFT", "PURPOSE"],
      leases.map((lease) => [
        lease.id,
        lease.agent,
        lease.credential,
        lease.delivery,
        { text: lease.state, style: lease.state === "stuck" ? "red" : "reset" },
        lease.state === "active" ? span(lease.expiresAt - run.now()) : "",
        lease.purpose.slice(0, 60),
      ]),
      "No leases.",
    );
  return "ok";
};

export const show: Handler = async (run) => {
  const lease = await (await run.house()).operator.find(leaseId(run.args[0]));
  if (!lease) throw missing();
  if (run.json) run.screen.json(shape(lease));
  else for (const [key, value] of Object.entries(shape(lease))) run.screen.print(`${key.padEnd(14)} ${String(value)}`);
  return "ok";
};

export const revoke: Handler = async (run) => {
  const id = leaseId(run.args[0]);
  const house = await run.house();
  const going = run.screen.progress(`Ending ${id} at its target`);
  const lease = await house.operator.revoke(id, operatorName()).finally(going.done);
  if (!lease) throw missing();
  const gone = lease.state === "revoked" || lease.state === "failed";
  if (run.json) run.screen.json(shape(lease));
  else if (gone) run.screen.print(`Lease ${id} is revoked: gone at its target.`);
  if (gone) return "ok";
  throw new CommandError(
    "unavailable",
    `lease ${id} is ${lease.state}: not yet gone at its target`,
    "A running broker retries until it is. `leasehold lease show` tells.",
  );
};

export function shape(lease: Lease) {
  const { id, state, agent, credential, engine, delivery, purpose, ticket, endReason, attempts, oneTime } = lease;
  return {
    id,
    state,
    agent,
    credential,
    engine,
    delivery,
    created: instant(lease.createdAt),
    expires: instant(lease.expiresAt),
    latest: instant(lease.maxExpiresAt),
    purpose,
    ...(ticket === undefined ? {} : { ticket }),
    ...(endReason === undefined ? {} : { endReason }),
    attempts,
    oneTime,
  };
}

function leaseId(text = ""): LeaseId {
  if (isLeaseId(text)) return text;
  throw new CommandError("usage", "not a lease id: 26 characters, as `leasehold lease list` shows them");
}

function missing(): CommandError {
  return new CommandError("notFound", "no such lease", "`leasehold lease list --all` shows those that ended, too.");
}
