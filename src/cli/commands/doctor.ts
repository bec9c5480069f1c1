import { stat } from "node:fs/promises";
import { dirname } from "node:path";
import type { Config } from "../../config/config.ts";
import { parseEntry } from "../../audit/entry.ts";
import type { JsonValue } from "../../core/json.ts";
import type { Handler, Run } from "../command.ts";
import { explain } from "../explain.ts";
import type { House } from "../house.ts";

type Health = "ok" | "warning" | "problem";

interface Finding {
  readonly check: string;
  readonly health: Health;
  readonly says: string;
  readonly fix?: string;
}

const deadline = 10_000;
const styles = { ok: "green", warning: "yellow", problem: "red" } as const;

/** Looks at everything that a lease will need, and changes nothing but the audit log. */
export const doctor: Handler = async (run) => {
  const findings: Finding[] = [];
  const going = run.screen.progress("Looking around");
  try {
    for await (const finding of examine(run)) findings.push(finding);
  } finally {
    going.done();
  }
  if (run.json) run.screen.json(findings);
  else {
    run.screen.table(
      ["CHECK", "", "FOUND"],
      findings.map(({ check, health, says }) => [check, { text: health, style: styles[health] }, says]),
      "",
    );
    for (const { check, fix } of findings) if (fix !== undefined) run.screen.note(`${check}: ${fix}`);
  }
  return findings.some(({ health }) => health === "problem") ? "verification" : "ok";
};

async function* examine(run: Run): AsyncGenerator<Finding> {
  let config: Config;
  try {
    config = await run.config();
  } catch (error) {
    yield failing("configuration", error);
    return;
  }
  yield fine("configuration", `${counted(config.credentials.length, "credential")}, ${counted(config.agents.length, "agent")}`);
  yield* permissions(run.configFile, config);
  yield await policies(config.policy.directory);

  let house: House;
  try {
    house = await run.house();
  } catch (error) {
    yield failing("seal and store", error);
    return;
  }
  yield fine("seal and store", "the key opens the store");
  yield* vaults(house);
  yield* secrets(house);
  yield* targets(house);
  yield await clock(house, run.now());
}

async function* permissions(file: string, config: Config): AsyncGenerator<Finding> {
  if (process.platform === "win32") return;
  const folder = config.store.path === ":memory:" ? [] : [[dirname(config.store.path), 0o077, "700"] as const];
  for (const [path, others, mode] of [[file, 0o022, "644"] as const, [config.policy.directory, 0o022, "755"] as const, ...folder]) {
    const found = await stat(path).catch(() => undefined);
    if (found && (found.mode & others) !== 0)
      yield {
        check: "permissions",
        health: "problem",
        says: `${path}: others may ${others === 0o022 ? "write to it" : "look into it"} (mode ${(found.mode & 0o777).toString(8).padStart(4, "0")})`,
        fix: `Run: chmod ${mode} ${path}`,
      };
  }
}

async function policies(directory: string): Promise<Finding> {
  const { checkPolicies } = await import("../../policy/check.ts");
  const { sayProblem } = await import("../../policy/problem.ts");
  const checked = await checkPolicies(directory);
  const [first] = [...checked.problems, ...checked.warnings];
  if (!first) return fine("policies", `${checked.policies} in ${directory}`);
  return {
    check: "policies",
    health: checked.ok ? "warning" : "problem",
    says: sayProblem(first),
    fix: "Run `leasehold policy check` for all of it.",
  };
}

async function* vaults(house: House): AsyncGenerator<Finding> {
  for (const [name, vault] of Object.entries(house.vaults)) {
    let count = 0;
    try {
      for await (const _ of vault.list("", AbortSignal.timeout(deadline))) count += 1;
      yield fine(`vault ${name}`, `${count} secrets`);
    } catch (error) {
      yield failing(`vault ${name}`, error);
    }
  }
}

/** Every secret that a credential refers to is there and opens. Its value is not looked at. */
async function* secrets(house: House): AsyncGenerator<Finding> {
  for (const entry of house.config.credentials) {
    for (const { vault, secret } of references(entry.spec)) {
      const check = `secret ${secret}`;
      try {
        const found = await house.vaults[vault]?.read(secret, AbortSignal.timeout(deadline));
        found?.value.destroy();
        yield found
          ? fine(check, `version ${found.version} in vault ${vault}`)
          : {
              check,
              health: "problem",
              says: `${entry.name} needs it, and vault ${vault} does not have it`,
              fix: `Run: leasehold secret put ${secret}`,
            };
      } catch (error) {
        yield failing(check, error);
      }
    }
  }
}

async function* targets(house: House): AsyncGenerator<Finding> {
  for (const { credential, problem, orphans, found } of await house.operator.sweep({ remove: false })) {
    const check = `target ${credential}`;
    if (problem !== undefined)
      yield { check, health: "problem", says: problem, fix: "Is it running, and are host, port and the admin secret right?" };
    else if (orphans.length > 0)
      yield { check, health: "warning", says: `${orphans.length} of ${found} there belong to no lease`, fix: "Run `leasehold sweep`." };
    else yield fine(check, `answers; ${found} leased now`);
  }
}

/** Leases and tokens live by the clock: it must not be behind what is already on record. */
async function clock(house: House, now: number): Promise<Finding> {
  const { size } = await house.log.head();
  const [last] = size === 0 ? [] : await house.log.read(size - 1, 1);
  const behind = last ? Date.parse(parseEntry(last.bytes).at) - now : 0;
  if (behind > 5_000)
    return {
      check: "clock",
      health: "problem",
      says: `the newest audit entry is ${Math.round(behind / 1000)} s in the future`,
      fix: "Set the clock right (NTP).",
    };
  return fine("clock", new Date(now).toISOString());
}

function* references(value: JsonValue | undefined): Generator<{ readonly vault: string; readonly secret: string }> {
  if (typeof value !== "object" || value === null) return;
  const { vault, secret } = Array.isArray(value) ? {} : (value as Readonly<Record<string, JsonValue | undefined>>);
  if (typeof vault === "string" && typeof secret === "string") yield { vault, secret };
  else for (const entry of Object.values(value)) yield* references(entry);
}

function fine(check: string, says: string): Finding {
  return { check, health: "ok", says };
}

function failing(check: string, error: unknown): Finding {
  const { lines, fix } = explain(error);
  return { check, health: "problem", says: lines.join("; "), ...(fix === undefined ? {} : { fix }) };
}

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}
