import { didYouMean } from "../../config/suggest.ts";
import type { Vault } from "../../core/ports.ts";
import { Secret } from "../../core/secret.ts";
import type { Handler, Run } from "../command.ts";
import { CommandError } from "../exit.ts";
import { unknown } from "../given.ts";
import type { House } from "../house.ts";
import { operatorActor } from "../operator.ts";
import { instant } from "../when.ts";

const deadline = 30_000;

export const put: Handler = async (run) => {
  const [name = "", ...extra] = run.args;
  if (extra.length > 0)
    throw new CommandError(
      "usage",
      "a secret is never given as an argument: it would stay in the shell's history and show in process lists",
      "Run `leasehold secret put NAME` and type it, or pipe it in. If that was a real one, change it.",
    );
  const house = await run.house();
  const { name: vaultName, vault } = pick(house, run, (one) => one.write !== undefined);
  const value = await readValue(run);
  try {
    // On record first: a change that the log does not know of must not exist.
    await house.audit.append({ kind: "secret.written", actor: operatorActor(), vault: vaultName, secret: name });
    const written = await vault.write?.(name, value, AbortSignal.timeout(deadline));
    if (run.json) run.screen.json({ vault: vaultName, secret: name, version: written?.version });
    else run.screen.print(`Stored ${name} in vault ${vaultName}, version ${written?.version ?? "?"}.`);
  } finally {
    value.destroy();
  }
  return "ok";
};

export const list: Handler = async (run) => {
  const house = await run.house();
  const wanted = run.given.text("vault");
  const names = wanted === undefined ? Object.keys(house.vaults) : [pick(house, run, () => true).name];
  const found: { vault: string; secret: string; version: string; updatedAt?: string }[] = [];
  for (const name of names) {
    for await (const { secret, version, updatedAt } of house.vaults[name]?.list(run.args[0] ?? "", AbortSignal.timeout(deadline)) ?? [])
      found.push({ vault: name, secret, version, ...(updatedAt === undefined ? {} : { updatedAt: instant(updatedAt) }) });
  }
  if (run.json) run.screen.json(found);
  else
    run.screen.table(
      ["SECRET", "VAULT", "VERSION", "CHANGED"],
      found.map((one) => [one.secret, one.vault, one.version, one.updatedAt ?? ""]),
      "No secrets yet. Store one with `leasehold secret put NAME`.",
    );
  return "ok";
};

export const remove: Handler = async (run) => {
  const [name = ""] = run.args;
  const house = await run.house();
  const { name: vaultName, vault } = pick(house, run, (one) => one.remove !== undefined);
  const known: string[] = [];
  for await (const { secret } of vault.list("", AbortSignal.timeout(deadline))) known.push(secret);
  if (!known.includes(name)) throw unknown(`secret in vault ${vaultName}`, name, known);
  await house.audit.append({ kind: "secret.removed", actor: operatorActor(), vault: vaultName, secret: name });
  await vault.remove?.(name, AbortSignal.timeout(deadline));
  if (run.json) run.screen.json({ vault: vaultName, secret: name, removed: true });
  else run.screen.print(`Removed ${name} from vault ${vaultName}.`);
  return "ok";
};

/** The vault that was named; or the only one that can do it. */
function pick(house: House, run: Run, able: (vault: Vault) => boolean): { readonly name: string; readonly vault: Vault } {
  const wanted = run.given.text("vault");
  const all = Object.entries(house.vaults);
  if (wanted !== undefined) {
    const vault = house.vaults[wanted];
    if (!vault)
      throw new CommandError(
        "notFound",
        `no vault named "${wanted}"${didYouMean(wanted, Object.keys(house.vaults))}`,
        "Vaults are set up in the configuration.",
      );
    if (!able(vault)) throw new CommandError("usage", `vault ${wanted} is read-only here`, "Change the secret where the vault is managed.");
    return { name: wanted, vault };
  }
  const fitting = all.filter(([, vault]) => able(vault));
  const [only, another] = fitting;
  if (!only)
    throw new CommandError("usage", "no vault in the configuration can be written to", "Add one: `vaults: { local: { type: embedded } }`.");
  if (another)
    throw new CommandError("usage", `there are several vaults: ${fitting.map(([name]) => name).join(", ")}`, "Name one with --vault.");
  return { name: only[0], vault: only[1] };
}

async function readValue(run: Run): Promise<Secret> {
  const fields = run.given.texts("field");
  if (run.terminal.interactive) return fields.length === 0 ? nonEmpty(await run.terminal.askText("Secret value")) : ask(run, fields);
  const piped = await run.terminal.readPiped();
  try {
    if (piped.length === 0) throw empty();
    return fields.length === 0 ? Secret.of(piped) : fromLines(piped.toString("utf8").split(/\r?\n/), fields);
  } finally {
    piped.fill(0);
  }
}

async function ask(run: Run, fields: readonly string[]): Promise<Secret> {
  const values: string[] = [];
  for (const field of fields) values.push(await run.terminal.askText(field));
  return fromLines(values, fields);
}

/** One value per field, as the JSON object that engines read. */
function fromLines(values: readonly string[], fields: readonly string[]): Secret {
  if (values.length !== fields.length)
    throw new CommandError("usage", `expected ${fields.length} lines of input, one for each --field, and got ${values.length}`);
  if (values.includes("")) throw empty();
  return Secret.of(JSON.stringify(Object.fromEntries(fields.map((field, index) => [field, values[index]]))));
}

function nonEmpty(value: string): Secret {
  if (value === "") throw empty();
  return Secret.of(value);
}

function empty(): CommandError {
  return new CommandError("usage", "the value is empty, so nothing was stored", "Type it at the prompt, or pipe it in.");
}
