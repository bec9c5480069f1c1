import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createLogStore, logFormat } from "../../src/audit/format.ts";
import { verify } from "../../src/audit/verify.ts";
import type { AgentName } from "../../src/core/brand.ts";
import { Failure } from "../../src/core/errors.ts";
import type { AuditEvent } from "../../src/core/event.ts";
import { createAuditLog, createLogRows } from "../../src/store/audit-log.ts";
import type { Journal } from "../../src/store/journal.ts";
import { createJournal, silent } from "../../src/store/journal.ts";
import type { Database } from "../../src/store/sqlite.ts";
import { openSqlite } from "../../src/store/sqlite.ts";
import { removeFolder } from "./house.ts";

const child = fileURLToPath(new URL("./journal.child.ts", import.meta.url));
const event: AuditEvent = { kind: "agent.frozen", actor: { type: "operator", name: "test" }, agent: "reporter" as AgentName };

let folder: string;
let file: string;
let database: Database;
let journal: Journal;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "leasehold-journal-"));
  file = join(folder, "leasehold.db");
  database = await openSqlite(file, Date.now);
  journal = createJournal(database, logFormat, Date.now);
});
afterEach(async () => {
  await journal.drain();
  await database.close();
  await removeFolder(folder);
});

const logOf = (from: Database) => createLogStore(createLogRows(from, createJournal(from, logFormat, Date.now)));

describe("the journal", () => {
  it("AU-06 killed at any moment, no acknowledged entry is lost and the log opens", async () => {
    let acknowledged = -1;
    for (let round = 0; round < 4; round += 1) {
      const writer = spawn(process.execPath, [child, file], { stdio: ["ignore", "pipe", "inherit"] });
      let output = "";
      writer.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
      await once(writer.stdout, "data");
      await new Promise((resolve) => setTimeout(resolve, 20 + round * 37));
      writer.kill("SIGKILL");
      await once(writer, "close");
      // The last line may be torn; whole ones were acknowledged.
      for (const line of output.split("\n").slice(0, -1)) acknowledged = Math.max(acknowledged, Number(line));
      const { size } = await logOf(database).head();
      expect(size).toBeGreaterThan(acknowledged);
      const entries = await logOf(database).read(0, size);
      expect(await verify([entries.map((entry) => Buffer.from(entry.bytes))])).toMatchObject({ ok: true, size });
    }
    expect(acknowledged).toBeGreaterThan(20);
  });

  it("one that cannot be written fails alone: the others of its group are written", async () => {
    const good = (): Promise<unknown> => journal.write(async () => ({ result: undefined, events: [event] }));
    const bad = journal.write(async () => {
      throw new Error("of no use");
    });
    const unwritable = journal.write(async () => ({ result: undefined, events: [{ ...event, agent: "\ud800" as AgentName }] }));
    const outcomes = await Promise.allSettled([good(), bad, good(), unwritable, good()]);
    expect(outcomes.map((one) => one.status)).toEqual(["fulfilled", "rejected", "fulfilled", "rejected", "fulfilled"]);
    const codes = outcomes.flatMap((one) => (one.status === "rejected" && one.reason instanceof Failure ? [one.reason.code] : []));
    expect(codes).toEqual(["audit_unavailable", "audit_unavailable"]);
    expect((await logOf(database).head()).size).toBe(3);
  });

  it("answers with the position of its own entry", async () => {
    const audit = createAuditLog(journal);
    const seqs = await Promise.all(Array.from({ length: 40 }, () => audit.append(event)));
    expect(seqs.map(({ seq }) => Number(seq))).toEqual(Array.from({ length: 40 }, (_, index) => index));
  });

  it("readers see what is committed and nothing else", async () => {
    let seen: number | undefined;
    await journal.write(async (tx) => {
      await tx.insertInto("exposures").values({ credential: "a/b", lease: "x", at: 1 }).execute();
      seen = (await database.read.selectFrom("exposures").selectAll().execute()).length;
      return silent(undefined);
    });
    expect(seen).toBe(0);
    expect(await database.read.selectFrom("exposures").selectAll().execute()).toHaveLength(1);
  });

  it("two brokers on one store append to one log", async () => {
    const second = await openSqlite(file, Date.now);
    const other = createAuditLog(createJournal(second, logFormat, Date.now));
    const own = createAuditLog(journal);
    const seqs = await Promise.all(Array.from({ length: 30 }, (_, index) => (index % 2 ? own : other).append(event)));
    expect(new Set(seqs.map(({ seq }) => Number(seq))).size).toBe(30);
    expect((await logOf(database).head()).size).toBe(30);
    await second.close();
  });
});

describe("a store", () => {
  it("that is no database says so, in one sentence with what to do", async () => {
    const { writeFile } = await import("node:fs/promises");
    const broken = join(folder, "broken.db");
    await writeFile(broken, "this is no database, and long enough to be looked at as one".repeat(200));
    await expect(openSqlite(broken, Date.now)).rejects.toThrow(/cannot be opened .*\. The file is damaged\. Keep it/);
  });

  it("of an unreleased or newer version is refused, and left alone", async () => {
    const { DatabaseSync } = await import("node:sqlite");
    const raw = new DatabaseSync(file);
    raw.exec("UPDATE migrations SET digest = 'other' WHERE id = 0");
    await expect(openSqlite(file, Date.now)).rejects.toThrow(/different history/);
    raw.exec("INSERT INTO migrations VALUES (99, 'later', 'x', 0)");
    raw.exec("UPDATE migrations SET digest = (SELECT digest FROM migrations WHERE id = 0) WHERE id = 99");
    raw.close();
    await expect(openSqlite(file, Date.now)).rejects.toThrow(/different history|newer Leasehold/);
  });

  it("is readable by its owner only", async () => {
    const { stat } = await import("node:fs/promises");
    expect(((await stat(file)).mode & 0o777).toString(8)).toBe("600");
  });
});
