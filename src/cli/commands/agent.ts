import { formatDuration } from "../../config/duration.ts";
import type { AgentName } from "../../core/brand.ts";
import type { Agent } from "../../core/principal.ts";
import type { Handler, Run } from "../command.ts";
import { CommandError } from "../exit.ts";
import { agentNamed, unknown } from "../given.ts";
import type { House } from "../house.ts";
import { operatorActor } from "../operator.ts";
import { instant } from "../when.ts";
import { addClient } from "./client.ts";

export const add: Handler = async (run) => {
  const name = agentNamed(run.args[0] ?? "");
  const roles = run.given.texts("role").flatMap((text) => text.split(","));
  for (const role of roles) agentNamed(role);
  const owner = run.given.text("owner");
  const house = await run.house();
  if (await addClient(run, house, { name, roles, ...(owner === undefined ? {} : { owner }) })) return "ok";
  const before = await house.agents.find(name);
  const outcome = await house.agents.add(name, { roles, ...(owner === undefined ? {} : { owner }) }, operatorActor());
  if (outcome === "configured")
    throw new CommandError("usage", `${name} is in ${run.configFile}, which always wins`, "Change its roles there.");
  const sentence = before
    ? `Changed agent ${name}: ${roles.length === 0 ? "it has no roles" : `its roles are ${roles.join(", ")}`}.`
    : `Added agent ${name}. Next: leasehold agent token ${name}`;
  return report(run, await known(house, name), sentence);
};

export const list: Handler = async (run) => {
  const agents = await (await run.house()).agents.list();
  if (run.json) run.screen.json(agents.map(shape));
  else
    run.screen.table(
      ["AGENT", "ROLES", "OWNER", "STATE"],
      agents.map((agent) => [
        agent.name,
        agent.roles.join(", "),
        agent.owner ?? "",
        { text: stateOf(agent), style: stateOf(agent) === "active" ? "green" : "red" },
      ]),
      "No agents yet. Add one with `leasehold agent add NAME --role ROLE`.",
    );
  return "ok";
};

export const show: Handler = async (run) => {
  const house = await run.house();
  const agent = await known(house, agentNamed(run.args[0] ?? ""));
  const held = await house.operator.list({ agent: agent.name, live: true, limit: 1000 });
  if (run.json) run.screen.json({ ...shape(agent), leases: held.length });
  else {
    run.screen.print({ text: agent.name, style: "bold" });
    for (const [key, value] of [
      ["roles", agent.roles.join(", ")],
      ["owner", agent.owner ?? ""],
      ["state", stateOf(agent)],
      ["live leases", String(held.length)],
      ["tokens from before", agent.tokensValidFrom === 0 ? "" : `${instant(agent.tokensValidFrom)} are revoked`],
    ] as const)
      run.screen.print(`  ${key.padEnd(18)} ${value}`);
  }
  return "ok";
};

export const disable: Handler = async (run) => {
  const house = await run.house();
  const agent = await known(house, agentNamed(run.args[0] ?? ""));
  await house.agents.change(agent.name, "agent.disabled", operatorActor());
  return report(
    run,
    await known(house, agent.name),
    `Disabled ${agent.name}. Its leases run out; \`leasehold freeze ${agent.name}\` ends them now.`,
  );
};

export const enable: Handler = async (run) => {
  const house = await run.house();
  const agent = await known(house, agentNamed(run.args[0] ?? ""));
  await house.agents.change(agent.name, "agent.enabled", operatorActor());
  return report(run, await known(house, agent.name), `Enabled ${agent.name}.`);
};

/** The token is all that stdout gets, so that it can be piped on without being seen. */
export const token: Handler = async (run) => {
  const ttl = run.given.duration("ttl") ?? 600;
  const house = await run.house();
  const agent = await known(house, agentNamed(run.args[0] ?? ""));
  if (agent.disabled || agent.frozen)
    throw new CommandError("refused", `${agent.name} is ${stateOf(agent)}`, "A token would be of no use to it.");
  const { token: minted, tokenId, expiresAt } = house.tokens.mint({ agent: agent.name, ttlSeconds: ttl });
  await house.audit.append({ kind: "token.minted", actor: operatorActor(), agent: agent.name, token: tokenId, expiresAt });
  if (run.json) run.screen.json({ token: minted, expires_at: instant(expiresAt), jti: tokenId });
  else {
    run.screen.print(minted);
    run.screen.note(`Valid for ${formatDuration(ttl)} at ${house.config.server.publicUrl}/mcp. It is shown once.`);
  }
  return "ok";
};

export const revokeTokens: Handler = async (run) => {
  const house = await run.house();
  const agent = await known(house, agentNamed(run.args[0] ?? ""));
  await house.agents.change(agent.name, "token.revoked", operatorActor());
  for (const client of await house.clients.list())
    if (client.agent === agent.name) await house.signIns.endAllOf({ client: client.id }, operatorActor());
  const { revoked, pending } = await house.operator.end({ agent: agent.name }, operatorActor());
  const leases = `${revoked} leases ended${pending.length > 0 ? `, ${pending.length} go on being retried` : ""}`;
  return report(run, await known(house, agent.name), `Every token that ${agent.name} holds is revoked; ${leases}.`);
};

export async function known(house: House, name: AgentName): Promise<Agent> {
  const agent = await house.agents.find(name);
  if (agent) return agent;
  const names = (await house.agents.list()).map((one) => one.name);
  throw unknown("agent", name, names, `Add it under agents: in the configuration, or with \`leasehold agent add ${name}\`.`);
}

function report(run: Run, agent: Agent, sentence: string): "ok" {
  if (run.json) run.screen.json(shape(agent));
  else run.screen.print(sentence);
  return "ok";
}

function shape({ name, roles, owner, registeredBy, frozen, disabled }: Agent) {
  return { name, roles, ...(owner === undefined ? {} : { owner }), registeredBy, frozen, disabled };
}

function stateOf(agent: Agent): string {
  if (agent.disabled) return "disabled";
  return agent.frozen ? "frozen" : "active";
}
