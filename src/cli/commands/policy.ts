import { stat } from "node:fs/promises";
import { randomUUID } from "node:crypto";
import type { Question } from "../../core/decision.ts";
import { localPeer } from "../../identity/local-peer.ts";
import type { Handler } from "../command.ts";
import { CommandError } from "../exit.ts";
import { agentNamed, credentialNamed, unknown } from "../given.ts";
import { known } from "./agent.ts";

/** Needs a folder and nothing else, so that it also runs where policies are reviewed: no store, no key. */
export const check: Handler = async (run) => {
  const directory = run.args[0] ?? (await run.config()).policy.directory;
  if (!(await isDirectory(directory)))
    throw new CommandError("configuration", `${directory}: there is no such folder`, "Name the folder with the .cedar files.");
  const { checkPolicies } = await import("../../policy/check.ts");
  const { sayProblem } = await import("../../policy/problem.ts");
  const checked = await checkPolicies(directory);
  if (run.json) run.screen.json({ directory, ...checked });
  else {
    for (const warning of checked.warnings) run.screen.print({ text: "warning: ", style: "yellow" }, sayProblem(warning));
    if (checked.ok) run.screen.print(`${checked.policies} ${checked.policies === 1 ? "policy" : "policies"} in ${directory}: sound.`);
    else run.screen.error(checked.problems.map(sayProblem));
  }
  return checked.ok ? "ok" : "verification";
};

const actions = ["list", "use", "inject", "reveal"] as const;

/** The very code of a live decision, on facts that are given here. */
export const explain: Handler = async (run) => {
  const { given } = run;
  const action = given.choice("action", actions) ?? "use";
  const wanted = credentialNamed(required(given.text("credential"), "--credential billing-db/readonly"));
  const name = agentNamed(required(given.text("agent"), "--agent reporter"));
  const now = instantOf(given.text("at")) ?? run.now();
  const ticket = given.text("ticket");
  const ttl = given.duration("ttl");
  const house = await run.house();
  const agent = await known(house, name);
  const entries = house.config.credentials;
  const entry = entries.find((one) => one.name === wanted);
  if (!entry)
    throw unknown(
      "credential",
      wanted,
      entries.map((one) => one.name),
    );
  const question: Question = {
    principal: { ...localPeer({ agent: name, transport: "cli", now: () => now }), session: randomUUID() },
    agent,
    action,
    entry,
    exposed: await house.exposures.isExposed(entry.name),
    purpose: given.text("purpose") ?? "",
    ...(ticket === undefined ? {} : { ticket }),
    ttl: ttl ?? entry.ttl.default,
    session: { startedAt: now, leases: 0, lentLabels: [], calledTools: [] },
    approvals: [],
    now,
  };
  const { explain: why } = await import("../../policy/explain.ts");
  const told = await why(await house.policies(), question);
  const allowed = told.decision.outcome === "allow";
  if (run.json) run.screen.json({ allowed, ...told });
  else {
    run.screen.print({ text: allowed ? "allowed  " : "denied  ", style: allowed ? "green" : "red" }, told.sentence);
    for (const one of told.weighed)
      run.screen.print(
        `  ${one.decided ? "→" : " "} ${one.effect.padEnd(6)} ${one.id}  ${one.file}:${one.line}  conditions ${one.conditions}`,
      );
    for (const near of told.nearMisses) run.screen.print(`    close: ${near.id}  ${near.file}:${near.line}  is for another ${near.misses}`);
  }
  return allowed ? "ok" : "refused";
};

function required(text: string | undefined, example: string): string {
  if (text !== undefined) return text;
  throw new CommandError(
    "usage",
    `${example.split(" ")[0] ?? ""} is missing`,
    `For example: leasehold policy explain --agent reporter --action use --credential billing-db/readonly`,
  );
}

function instantOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const at = /^\d{4}-\d\d-\d\dT/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(at)) throw new CommandError("usage", "--at: expected a time like 2026-11-22T09:00:00Z");
  return at;
}

async function isDirectory(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}
