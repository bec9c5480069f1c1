import { readFile, stat } from "node:fs/promises";
import { open } from "node:fs/promises";
import type { AuditEntry } from "../../audit/entry.ts";
import { checkpointFor, exportLog, search as searchLog, tail as tailLog } from "../../audit/export.ts";
import { linesOfFile } from "../../audit/lines.ts";
import type { Verdict } from "../../audit/verify.ts";
import { verify as verifyLines, verifyStore } from "../../audit/verify.ts";
import type { EventKind } from "../../core/event.ts";
import type { Handler, Run } from "../command.ts";
import { CommandError } from "../exit.ts";
import type { Actor } from "../../core/event.ts";
import { unreachable } from "../../core/unreachable.ts";

export const tail: Handler = async (run) => {
  const { log } = await run.house();
  const count = run.given.count("lines");
  const from = count === undefined ? undefined : Math.max(0, (await log.head()).size - count);
  const entries = tailLog(log, { ...(from === undefined ? {} : { from }), follow: run.given.has("follow"), signal: run.interrupted });
  for await (const entry of entries) show(run, entry);
  return "ok";
};

export const search: Handler = async (run) => {
  const { given } = run;
  const text = (name: string): Record<string, string> => {
    const value = given.text(name);
    return value === undefined ? {} : { [name]: value };
  };
  const since = given.time("since", run.now());
  const until = given.time("until", run.now());
  const kind = given.text("kind");
  const { log } = await run.house();
  const most = given.count("limit") ?? Infinity;
  let found = 0;
  for await (const entry of searchLog(log, {
    ...text("agent"),
    ...text("credential"),
    ...text("lease"),
    ...text("correlation"),
    ...text("outcome"),
    ...(kind === undefined ? {} : { kind: kind as EventKind }),
    ...(since === undefined ? {} : { since }),
    ...(until === undefined ? {} : { until }),
  })) {
    show(run, entry);
    found += 1;
    if (found >= most || run.interrupted.aborted) break;
  }
  if (found === 0) run.screen.note("No entries match.");
  return "ok";
};

/** On a file, everything is checked with what is given: no store, no key of ours, nothing that could be in on it. */
export const verify: Handler = async (run) => {
  const [file] = run.args;
  const notes = await Promise.all(run.given.texts("checkpoint").map((path) => readText(path)));
  const key = run.given.text("key");
  const going = run.screen.progress("Verifying the audit log");
  const verdict = await (file === undefined ? ofStore(run, notes, key) : ofFile(file, notes, key)).finally(going.done);
  if (run.json) run.screen.json(verdict.ok ? { ...verdict, root: Buffer.from(verdict.root).toString("base64") } : verdict);
  else if (verdict.ok) {
    run.screen.print(
      { text: "verified  ", style: "green" },
      `${verdict.size} entries, root ${Buffer.from(verdict.root).toString("base64")}`,
    );
    if (verdict.checkedAgainst.length > 0)
      run.screen.print(`  entries before ${verdict.proven} are proven by signed checkpoints (${verdict.checkedAgainst.length} matched)`);
    else run.screen.print("  only the chain was checked: give --checkpoint and --key to prove that nobody rewrote it");
  } else run.screen.error([verdict.explanation]);
  return verdict.ok ? "ok" : "verification";
};

async function ofStore(run: Run, notes: readonly string[], key: string | undefined): Promise<Verdict> {
  const house = await run.house();
  return verifyStore(house.log, { notes, verifierKey: key === undefined ? house.checkpointer.verifierKey : await readKey(key) });
}

async function ofFile(file: string, notes: readonly string[], key: string | undefined): Promise<Verdict> {
  if (!(await stat(file).catch(() => undefined))?.isFile())
    throw new CommandError("notFound", `${file}: there is no such file`, "Write one with `leasehold audit export`.");
  if (notes.length > 0 && key === undefined)
    throw new CommandError(
      "usage",
      "--checkpoint needs --key",
      "The key is what `leasehold audit checkpoint` shows; keep it apart from the log.",
    );
  return verifyLines(linesOfFile(file), key === undefined ? undefined : { notes, verifierKey: await readKey(key) });
}

async function readKey(text: string): Promise<string> {
  const key = text.includes("+") ? text : (await readText(text)).trim();
  try {
    const { noteVerifier } = await import("../../audit/note.ts");
    noteVerifier(key);
  } catch {
    throw new CommandError("usage", "--key: expected a verifier key like leasehold/x+0123abcd+AR…, or a file with one");
  }
  return key;
}

export const exportEntries: Handler = async (run) => {
  const house = await run.house();
  const target = run.given.text("output");
  const range = bounds(run);
  const file = target === undefined ? undefined : await open(target, "w", 0o600);
  let bytes = 0;
  try {
    for await (const chunk of exportLog(house.log, range)) {
      bytes += chunk.length;
      if (file) await file.appendFile(chunk);
      else await write(chunk);
      if (run.interrupted.aborted) return "interrupted";
    }
    await file?.sync();
  } finally {
    await file?.close();
  }
  if (target !== undefined)
    run.screen.note(`Wrote ${bytes} bytes to ${target}. Prove it with \`leasehold audit verify ${target} --checkpoint FILE --key KEY\`.`);
  return "ok";
};

/** Signs the present head, and prints what to keep elsewhere. */
export const checkpoint: Handler = async (run) => {
  const house = await run.house();
  if (run.given.has("key")) {
    if (run.json) run.screen.json({ key: house.checkpointer.verifierKey });
    else run.screen.print(house.checkpointer.verifierKey);
    return "ok";
  }
  const note = run.given.has("last") ? await checkpointFor(house.log) : await house.checkpointer.sign();
  if (note === undefined) throw new CommandError("notFound", "nothing was signed yet", "Leave out --last to sign now.");
  if (run.json) run.screen.json({ checkpoint: note, key: house.checkpointer.verifierKey });
  else {
    // As it is: the newline at its end is part of what was signed.
    for (const line of note.replace(/\n$/, "").split("\n")) run.screen.print(line);
    run.screen.note(`Verifier key: ${house.checkpointer.verifierKey}`);
  }
  return "ok";
};

function bounds(run: Run): { readonly from?: number; readonly to?: number } {
  const from = run.given.count("from");
  const to = run.given.count("to");
  return { ...(from === undefined ? {} : { from }), ...(to === undefined ? {} : { to }) };
}

function show(run: Run, entry: AuditEntry): void {
  if (run.json) return run.screen.json(entry);
  const { kind, actor, ...rest } = entry.event;
  const who = sayActor(actor);
  const facts = factsOf(rest).toSorted(([one], [other]) => rank(one) - rank(other));
  const outcome = "outcome" in rest ? rest.outcome : undefined;
  const style = outcome === "deny" || kind === "lease.stuck" || kind === "token.replayed" ? "red" : "cyan";
  run.screen.print(
    { text: `${entry.at}  ${String(entry.seq).padStart(6)}  `, style: "dim" },
    { text: kind.padEnd(20), style },
    `  ${who}  ${facts.map(([name, value]) => `${name}=${value}`).join(" ")}`,
  );
}

function sayActor(actor: Actor): string {
  switch (actor.type) {
    case "agent":
      return actor.agent;
    case "operator":
      return `operator ${actor.name}`;
    case "user":
      return `user ${actor.name}`;
    case "client":
      return `client ${actor.client ?? "unknown"}`;
    case "broker":
      return "broker";
    default:
      return unreachable(actor);
  }
}

/** What a reader looks for first. Everything else follows in its own order. */
const foremost = ["outcome", "action", "credential", "lease", "policies", "reason", "operation.kind"];

function rank(name: string): number {
  const place = foremost.indexOf(name);
  return place === -1 ? foremost.length : place;
}

/** One level of nesting becomes `outer.inner`; digests are cut short, since whoever matches them works with `--json`. */
function factsOf(event: object, prefix = ""): readonly (readonly [string, string])[] {
  return Object.entries(event).flatMap(([key, value]: [string, unknown]) => {
    const name = prefix + key;
    if (name === "correlation" || value === undefined || name.startsWith("values.")) return [];
    if (Array.isArray(value)) return value.length === 0 ? [] : [[name, value.map(String).join(",")] as const];
    if (typeof value === "object" && value !== null) return factsOf(value, `${name}.`);
    const text = typeof value === "string" ? value : JSON.stringify(value);
    if (name === "bundle" || text.startsWith("hmac:")) return [[name, `${text.slice(0, 13)}…`] as const];
    return [[name, /\s/.test(text) ? JSON.stringify(text) : text] as const];
  });
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch {
    throw new CommandError("notFound", `${path}: this file cannot be read`);
  }
}

function write(chunk: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => process.stdout.write(chunk, (error) => (error ? reject(error) : resolve())));
}
