import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createLogStore, logFormat } from "../../../src/audit/format.ts";
import type { AgentName, CredentialName } from "../../../src/core/brand.ts";
import type { AuditEvent } from "../../../src/core/event.ts";
import type { Lease, LeaseState } from "../../../src/core/lease.ts";
import { liveStates, transitions } from "../../../src/core/lease.ts";
import type { LeaseBook } from "../../../src/core/ports.ts";
import { isGone, newLeaseId } from "../../../src/lease/identifier.ts";
import { createLogRows } from "../../../src/store/audit-log.ts";
import { createJournal } from "../../../src/store/journal.ts";
import { createLeaseBook } from "../../../src/store/leases.ts";
import type { Database } from "../../../src/store/sqlite.ts";
import { openSqlite } from "../../../src/store/sqlite.ts";

let folder: string;
let count = 0;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "leasehold-book-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function openBook() {
  count += 1;
  const database = await openSqlite(join(folder, `${count}.db`), Date.now);
  const journal = createJournal(database, logFormat, Date.now);
  return { database, journal, book: createLeaseBook(database, journal), log: createLogStore(createLogRows(database, journal)) };
}

const states = Object.keys(transitions) as LeaseState[];
const event: AuditEvent = { kind: "agent.frozen", actor: { type: "broker" }, agent: "a" as AgentName };
const generous = { perAgent: 1_000, perCredential: 1_000 };

function leaseOf(agent: number, credential: number): Lease<"issuing"> {
  return {
    id: newLeaseId(Date.now(), crypto.getRandomValues(new Uint8Array(10))),
    state: "issuing",
    version: 0,
    agent: `agent-${agent}` as AgentName,
    session: "s",
    credential: `x/${credential}` as CredentialName,
    engine: "static",
    delivery: "use",
    createdAt: 1,
    expiresAt: 2,
    maxExpiresAt: 3,
    handle: { some: "recipe" },
    purpose: "test",
    oneTime: false,
    instance: "h/1/n",
    attempts: 0,
    dueAt: 2,
  };
}

/** The move as anyone could try it, whether the types allow it or not. */
const attempt = (book: LeaseBook, lease: Lease, to: LeaseState) =>
  (book.move as unknown as (...words: unknown[]) => Promise<Lease | undefined>)(lease, to, {}, event);

async function liveCounts(database: Database): Promise<Record<string, number>> {
  const rows = await database.read.selectFrom("lease_counts").selectAll().where("live", ">", 0).execute();
  return Object.fromEntries(rows.map((row) => [row.subject, row.live]));
}

const command = fc.oneof(
  { weight: 2, arbitrary: fc.record({ do: fc.constant("open" as const), agent: fc.nat(1), credential: fc.nat(1) }) },
  {
    weight: 6,
    arbitrary: fc.record({ do: fc.constant("move" as const), which: fc.nat(9), to: fc.constantFrom(...states), stale: fc.boolean() }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("extend" as const), which: fc.nat(9) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("postpone" as const), which: fc.nat(9) }) },
);

describe("the lease machine", () => {
  it("does only what its table allows, counts what is live, and writes one event for each change", { timeout: 60_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(command, { minLength: 1, maxLength: 40 }), async (commands) => {
        const { database, book, log } = await openBook();
        const model: Lease[] = [];
        let events = 0;
        for (const one of commands) {
          if (one.do === "open") {
            const lease = leaseOf(one.agent, one.credential);
            expect(await book.open(lease, generous, event)).toBe("opened");
            model.push(lease);
            events += 1;
            continue;
          }
          const index = model.length === 0 ? -1 : one.which % model.length;
          const lease = model[index];
          if (!lease) continue;
          if (one.do === "move") {
            const legal = (transitions[lease.state] as readonly string[]).includes(one.to);
            const moved = await attempt(book, one.stale ? { ...lease, version: lease.version - 1 } : lease, one.to).catch(() => undefined);
            expect(moved !== undefined).toBe(legal && !one.stale);
            if (!moved) continue;
            expect(moved.version).toBe(lease.version + 1);
            model[index] = moved;
            events += 1;
          } else if (one.do === "extend") {
            const extended = await book.extend(lease as Lease<"active">, lease.expiresAt + 5, event).catch(() => undefined);
            expect(extended !== undefined).toBe(lease.state === "active");
            if (!extended) continue;
            model[index] = extended;
            events += 1;
          } else {
            const live = (liveStates as readonly string[]).includes(lease.state);
            const postponed = await book.postpone(lease, 99, lease.attempts + 1);
            expect(postponed !== undefined).toBe(live);
            if (postponed) model[index] = postponed;
          }
        }
        const expected: Record<string, number> = {};
        for (const lease of model) {
          const stored = await book.find(lease.id);
          expect([stored?.state, stored?.version]).toEqual([lease.state, lease.version]);
          if (!(liveStates as readonly string[]).includes(lease.state)) continue;
          for (const subject of [`agent:${lease.agent}`, `credential:${lease.credential}`])
            expected[subject] = (expected[subject] ?? 0) + 1;
        }
        expect(await liveCounts(database)).toEqual(expected);
        expect((await book.list({ live: true })).length).toBe(
          Object.entries(expected).reduce((sum, [key, n]) => sum + (key.startsWith("agent:") ? n : 0), 0),
        );
        expect((await log.head()).size).toBe(events);
        await database.close();
      }),
      { numRuns: 40 },
    );
  });

  it("lets exactly one of those win who move the same lease at once", async () => {
    const { database, book } = await openBook();
    const lease = leaseOf(0, 0);
    await book.open(lease, generous, event);
    const moves = await Promise.all(
      Array.from({ length: 20 }, (_, n) => (n % 2 ? book.move(lease, "active", {}, event) : book.move(lease, "revoking", {}, event))),
    );
    expect(moves.filter((one) => one !== undefined)).toHaveLength(1);
    await database.close();
  });

  it("keeps a quota however many ask at once", async () => {
    const { database, book } = await openBook();
    const opened = await Promise.all(
      Array.from({ length: 30 }, (_, n) => book.open(leaseOf(0, n % 2), { perAgent: 7, perCredential: 5 }, event)),
    );
    expect(opened.filter((one) => one === "opened")).toHaveLength(7);
    await database.close();
  });

  it("forgets the sealed material when a lease ends", async () => {
    const { database, book } = await openBook();
    const lease = leaseOf(0, 0);
    await book.open(lease, generous, event);
    const active = await book.move(lease, "active", { material: new Uint8Array([1, 2, 3]) }, event);
    expect(await book.material(lease.id)).toEqual(new Uint8Array([1, 2, 3]));
    const revoking = active && (await book.move(active, "revoking", {}, event));
    if (revoking) await book.move(revoking, "revoked", {}, event);
    expect(await book.material(lease.id)).toBeUndefined();
    await database.close();
  });
});

describe("lease ids", () => {
  it("sort by time, and look like nothing else", () => {
    const early = newLeaseId(1_000_000, new Uint8Array(10));
    const late = newLeaseId(1_000_001, new Uint8Array(10).fill(255));
    expect(early < late).toBe(true);
    expect(late).toMatch(/^[0-9a-hjkmnp-tv-z]{26}$/);
    expect(newLeaseId(2 ** 48 - 1, new Uint8Array(10).fill(255))).toBe("7zzzzzzzzzzzzzzzzzzzzzzzzz");
  });

  it("an instance is gone when its process is, and never for another host", () => {
    const self = `${process.env["HOSTNAME"] ?? "h"}/${process.pid}/now`;
    const host = self.split("/")[0];
    expect(isGone(self, self)).toBe(false);
    expect(isGone(`${host}/${process.pid}/before`, self)).toBe(true);
    expect(isGone(`${host}/1/x`, self)).toBe(false);
    expect(isGone(`${host}/4194999/x`, self)).toBe(true);
    expect(isGone("elsewhere/4194999/x", self)).toBe(false);
  });
});
