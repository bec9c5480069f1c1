import { access, chmod, mkdir, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { createSealFile } from "../../crypto/key-file.ts";
import { starterPolicies } from "../../policy/starter.ts";
import { firstOperator } from "../../identity/users.ts";
import type { Handler, Run } from "../command.ts";
import { CommandError } from "../exit.ts";
import { operatorActor } from "../operator.ts";
import { starterConfig, starterIgnore } from "../starter.ts";

/** Writes what is missing and touches nothing that is there: a key or a policy that is overwritten is lost. */
export const init: Handler = async (run) => {
  const folder = run.args[0] ?? ".";
  const data = join(folder, "data");
  const key = join(data, "master.key");
  if ((await exists(join(data, "leasehold.db"))) && !(await exists(key)))
    throw new CommandError(
      "configuration",
      `${join(data, "leasehold.db")} is here, but ${key} is not: a new key could not open it`,
      "Put the key file back from your backup, or move the old store away.",
    );

  const written: string[] = [];
  await mkdir(folder, { recursive: true });
  for (const [name, text] of Object.entries({ "leasehold.yaml": starterConfig, ".gitignore": starterIgnore }))
    if (await writeNew(join(folder, name), text)) written.push(name);
  if (!(await exists(join(folder, "policies")))) {
    await mkdir(join(folder, "policies"));
    for (const [name, text] of Object.entries(starterPolicies()))
      if (await writeNew(join(folder, "policies", name), text)) written.push(`policies/${name}`);
  }
  if (!(await exists(data))) {
    await mkdir(data, { mode: 0o700 });
    await chmod(data, 0o700);
    written.push("data/");
  }
  if (!(await exists(key))) {
    await createSealFile(key);
    written.push("data/master.key");
  }

  // A store of our own making has nobody in it yet: the link lets the first operator in, once.
  const fresh = ["leasehold.yaml", "data/master.key"].every((name) => written.includes(name));
  const link = fresh ? await firstLink(run, join(folder, "leasehold.yaml")) : undefined;

  if (run.json) run.screen.json({ folder, written, ...(link === undefined ? {} : { operator_link: link }) });
  else if (written.length === 0) run.screen.print("Everything is here already; nothing was changed.");
  else {
    for (const name of written) run.screen.print({ text: "wrote  ", style: "green" }, join(folder, name));
    for (const line of next(folder, link)) run.screen.note(line);
  }
  return "ok";
};

async function firstLink(run: Run, file: string): Promise<string | undefined> {
  const house = await run.houseOf(file);
  const first = await firstOperator(house.users, operatorActor());
  return first && `${house.config.server.publicUrl}${first.path}`;
}

function next(folder: string, link: string | undefined): readonly string[] {
  const here = relative(".", folder) === "" ? "" : `cd ${folder} && `;
  return [
    "",
    "Back up data/master.key: without it, nobody can read the secrets. Then:",
    `  1. ${here}edit leasehold.yaml: where your database is, and what may be lent`,
    "  2. leasehold secret put billing-db/admin --field username --field password",
    "  3. edit policies/leasehold.cedar: who may use it",
    "  4. leasehold doctor && leasehold serve",
    ...(link === undefined
      ? []
      : ["", "People sign in to let agents act for them. You are the first; while it serves, open this within a day, once:", `  ${link}`]),
  ];
}

async function writeNew(path: string, text: string): Promise<boolean> {
  try {
    await writeFile(path, text, { flag: "wx" });
    return true;
  } catch (cause) {
    if (cause instanceof Error && "code" in cause && cause.code === "EEXIST") return false;
    throw cause;
  }
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
