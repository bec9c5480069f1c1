import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { AgentName } from "../../core/brand.ts";
import type { JsonObject } from "../../core/json.ts";
import type { KnownClient } from "../../identity/clients.ts";
import { operatorMetadata, publicKeys } from "../../identity/operator-client.ts";
import type { Handler, Run } from "../command.ts";
import { CommandError } from "../exit.ts";
import { unknown } from "../given.ts";
import type { House } from "../house.ts";
import { operatorActor } from "../operator.ts";
import { instant, span } from "../when.ts";

export const list: Handler = async (run) => {
  const clients = (await (await run.house()).clients.list()).filter((client) => run.given.has("all") || !client.removed);
  if (run.json) run.screen.json(clients.map(shape));
  else
    run.screen.table(
      ["CLIENT", "AGENT", "SOURCE", "CREATED", "LAST USED", "STATE"],
      clients.map((client) => [
        client.id,
        client.agent,
        client.source,
        client.createdAt === 0 ? "" : instant(client.createdAt),
        client.lastUsedAt === undefined ? "" : `${span(run.now() - client.lastUsedAt)} ago`,
        { text: stateOf(client), style: stateOf(client) === "active" ? "green" : "red" },
      ]),
      "No OAuth clients. Agents that register themselves show up here; so do those of `leasehold agent add NAME --redirect-uri URI`.",
    );
  return "ok";
};

export const show: Handler = async (run) => {
  const house = await run.house();
  const client = await known(house, run.args[0] ?? "");
  const metadata = publicPart((await house.clients.metadata(client.id)) ?? {});
  if (run.json) run.screen.json({ ...shape(client), metadata });
  else {
    for (const [key, value] of Object.entries(shape(client))) run.screen.print(`${key.padEnd(12)} ${String(value)}`);
    for (const [key, value] of Object.entries(metadata)) run.screen.print(`  ${key.padEnd(28)} ${JSON.stringify(value)}`);
  }
  return "ok";
};

export const revoke: Handler = async (run) => {
  const house = await run.house();
  const client = await known(house, run.args[0] ?? "");
  const going = run.screen.progress(`Ending every lease of ${client.agent}`);
  const outcome = await house.clients.remove(client.id, "operator", operatorActor()).finally(going.done);
  if (outcome === "configured")
    throw new CommandError("usage", `${client.id} is in ${run.configFile}, which always wins`, "Remove it there, or freeze its agent.");
  if (outcome === "unknown") throw new CommandError("notFound", `client ${client.id} was removed already`);
  if (run.json) run.screen.json({ client: client.id, removed: true });
  else run.screen.print(`Removed client ${client.id}. Its tokens are refused from now on, and its leases end.`);
  return "ok";
};

/**
 * The part of `agent add` that makes the agent an OAuth client: `--redirect-uri`, `--key`, `--secret`, `--dpop`.
 * `false` when none of them is given. A secret is all that stdout gets, so that it can be piped on without being seen.
 */
export async function addClient(
  run: Run,
  house: House,
  agent: { readonly name: AgentName; readonly roles: readonly string[]; readonly owner?: string },
): Promise<boolean> {
  const { given } = run;
  const [redirectUris, keyFile, dpop] = [given.texts("redirect-uri"), given.text("key"), given.has("dpop")];
  if (redirectUris.length === 0 && keyFile === undefined && !given.has("secret") && !dpop) return false;
  const { name, roles, owner } = agent;
  // One of the configuration without OAuth keys is no client yet, and becomes one there.
  if (house.config.agents.some((one) => one.name === name))
    throw new CommandError("usage", `${name} is in ${run.configFile}, which always wins`, "Change it there.");
  const secret = given.has("secret") ? randomBytes(32).toString("base64url") : undefined;
  const jwks = keyFile === undefined ? undefined : await keysIn(keyFile);
  const metadata = usable(() =>
    operatorMetadata({ name, redirectUris, dpop, ...(jwks ? { jwks } : {}), ...(secret === undefined ? {} : { secret }) }),
  );
  const outcome = await house.clients.add(
    { id: name, agent: name, source: "operator", name, metadata, roles, ...(owner === undefined ? {} : { owner }) },
    operatorActor(),
  );
  if (outcome !== "added") throw new CommandError("usage", `${name} is a client that registered itself`, "Choose another name.");
  if (run.json) run.screen.json({ client_id: name, roles, ...(secret === undefined ? {} : { client_secret: secret }) });
  else if (secret === undefined) run.screen.print(`Added agent ${name}, an OAuth client with client_id ${name}.`);
  else {
    run.screen.print(secret);
    run.screen.note(`The secret of client_id ${name}. It is shown once.`);
  }
  return true;
}

async function keysIn(file: string): Promise<JsonObject> {
  const text = await readFile(file, "utf8").catch(() => undefined);
  if (text === undefined) throw new CommandError("usage", `--key: ${file} cannot be read`);
  return usable(() => publicKeys(text), `--key: ${file}: `);
}

function usable<T>(work: () => T, where = ""): T {
  try {
    return work();
  } catch (cause) {
    if (cause instanceof TypeError) throw new CommandError("usage", `${where}${cause.message}`);
    throw cause;
  }
}

async function known(house: House, id: string): Promise<KnownClient> {
  const client = await house.clients.find(id);
  if (client) return client;
  const ids = (await house.clients.list()).map((one) => one.id);
  throw unknown("client", id, ids, "`leasehold client list` shows them.");
}

/** Without what is secret. */
function publicPart(metadata: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(metadata).filter(([key]) => key !== "client_secret" && key !== "client_id"));
}

function shape(client: KnownClient) {
  const { id, agent, source, name, createdAt, lastUsedAt } = client;
  return {
    id,
    agent,
    source,
    ...(name === undefined ? {} : { name }),
    ...(createdAt === 0 ? {} : { created: instant(createdAt) }),
    ...(lastUsedAt === undefined ? {} : { lastUsed: instant(lastUsedAt) }),
    state: stateOf(client),
  };
}

function stateOf({ removed, frozen }: KnownClient): "removed" | "frozen" | "active" {
  if (removed) return "removed";
  return frozen ? "frozen" : "active";
}
