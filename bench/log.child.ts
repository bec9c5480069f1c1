import { generateKeyPairSync, randomUUID } from "node:crypto";
import { createWriteStream } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { z } from "zod";
import { createCheckpointer } from "../src/audit/checkpointer.ts";
import { exportLog } from "../src/audit/export.ts";
import { createLogStore, logFormat } from "../src/audit/format.ts";
import { linesOfFile, linesOfStore } from "../src/audit/lines.ts";
import { verify } from "../src/audit/verify.ts";
import type { AgentName, CorrelationId, CredentialName } from "../src/core/brand.ts";
import type { AuditEvent } from "../src/core/event.ts";
import { createAuditLog, createLogRows } from "../src/store/audit-log.ts";
import { createJournal } from "../src/store/journal.ts";
import { openSqlite } from "../src/store/sqlite.ts";
import { answerAsks } from "./ask.ts";

/** The audit log by itself: the journal, the store and the tree that the broker appends to. */
const folder = await mkdtemp(join(tmpdir(), "leasehold-bench-"));
const database = await openSqlite(join(folder, "log.db"), Date.now);
const journal = createJournal(database, logFormat, Date.now);
const audit = createAuditLog(journal);
const log = createLogStore(createLogRows(database, journal));

function event(): AuditEvent {
  return {
    kind: "access.decided",
    actor: {
      type: "agent",
      agent: "worker" as AgentName,
      kind: "oauth",
      token: "4f1c2a34-0d7c-4e55-9d7c-1a2b3c4d5e6f",
      session: "4f1c2a34-0d7c-4e55-9d7c-1a2b3c4d5e6f",
      transport: "http",
      ip: "127.0.0.1",
    },
    correlation: randomUUID() as CorrelationId,
    action: "use",
    credential: "billing-db/readonly" as CredentialName,
    delivery: "use",
    outcome: "allow",
    policies: ["support-reads-billing"],
    obligations: {},
    bundle: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    ttl: 600,
    purpose: "nightly report",
  };
}

const running = z.object({ milliseconds: z.number(), connections: z.number() });

async function append(input: unknown) {
  const { milliseconds, connections } = running.parse(input);
  const latencies: number[] = [];
  const start = performance.now();
  const writer = async (): Promise<void> => {
    for (let begin = performance.now(); begin - start < milliseconds;) {
      await audit.append(event());
      const end = performance.now();
      latencies.push((end - begin) * 1000);
      begin = end;
    }
  };
  await Promise.all(Array.from({ length: connections }, writer));
  return { milliseconds: performance.now() - start, latencies: Float64Array.from(latencies), failed: 0 };
}

const keys = generateKeyPairSync("ed25519");
const checkpointer = createCheckpointer({ store: log, key: keys.privateKey, origin: "leasehold/bench" });
const exported = join(folder, "export.jsonl");

/** Fills the log up to so many entries, signs it, and exports it. */
async function fill(input: unknown): Promise<number> {
  const wanted = z.number().parse(input);
  for (let { size } = await log.head(); size < wanted; { size } = await log.head())
    await Promise.all(Array.from({ length: Math.min(1_000, wanted - size) }, () => audit.append(event())));
  await checkpointer.sign();
  await pipeline(exportLog(log), createWriteStream(exported));
  return (await log.head()).size;
}

/** Verifies everything once, against the signed checkpoint. */
async function check(source: "file" | "store") {
  const notes = (await log.checkpoints()).map(({ note }) => note);
  const { size } = await log.head();
  const start = performance.now();
  const batches = source === "file" ? linesOfFile(exported) : linesOfStore(log, 0, size);
  const verdict = await verify(batches, { notes, verifierKey: checkpointer.verifierKey });
  if (!verdict.ok || verdict.proven !== size) throw new Error("the log does not verify");
  return { entries: size, milliseconds: performance.now() - start };
}

answerAsks({ append, fill, checkFile: () => check("file"), checkStore: () => check("store") }, async () => {
  await journal.drain();
  await database.close();
  await rm(folder, { recursive: true });
});
