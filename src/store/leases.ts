import type { Insertable, Selectable } from "kysely";
import type { AgentName, CredentialName, LeaseId } from "../core/brand.ts";
import type { AuditEvent } from "../core/event.ts";
import type { JsonObject } from "../core/json.ts";
import type { EndReason, Lease, LeasePatch, LeaseState, Next } from "../core/lease.ts";
import { isIn, liveStates, transitions } from "../core/lease.ts";
import type { LeaseBook } from "../core/ports.ts";
import type { Delivery } from "../core/request.ts";
import type { Journal, Transaction } from "./journal.ts";
import { prepared } from "./prepared.ts";
import type { LeaseRow } from "./schema.ts";
import type { Database } from "./sqlite.ts";

const columns = [
  "id",
  "state",
  "version",
  "agent",
  "session",
  "token",
  "account",
  "chain",
  "credential",
  "engine",
  "delivery",
  "created_at",
  "expires_at",
  "max_expires_at",
  "handle",
  "purpose",
  "ticket",
  "one_time",
  "instance",
  "end_reason",
  "attempts",
  "due_at",
] as const satisfies readonly (keyof LeaseRow)[];

type Opened = Awaited<ReturnType<LeaseBook["open"]>>;

const live: ReadonlySet<string> = new Set(liveStates);

export function createLeaseBook(database: Database, journal: Journal): LeaseBook {
  const { read } = database;

  /** Compare and set: a lease that moved since it was read is left alone, and no event is written. */
  async function change(lease: Lease, next: Lease, event: AuditEvent | undefined, material?: Uint8Array | null): Promise<boolean> {
    const { id, state, version } = lease;
    const moved = { id, state, version, ...changesIn(next) };
    const { result } = await journal.write(async (tx) => {
      const { numAffectedRows } = await (material === undefined ? update(tx, moved) : updateWithMaterial(tx, { ...moved, material }));
      if (numAffectedRows !== 1n) return { result: false, events: [] };
      if (live.has(lease.state) && !live.has(next.state)) await count(tx, lease, -1);
      return { result: true, events: event ? [event] : [] };
    });
    return result;
  }

  return {
    async open(lease, quota, event) {
      const { result } = await journal.write<Opened>(async (tx) => {
        const [ofAgent, ofCredential] = subjects(lease);
        const { rows } = await countsOf(tx, { ofAgent, ofCredential });
        const held = (subject: string): number => rows.find((row) => row.subject === subject)?.live ?? 0;
        if (held(ofAgent) >= quota.perAgent) return { result: { exceeded: "agent" }, events: [] };
        if (held(ofCredential) >= quota.perCredential) return { result: { exceeded: "credential" }, events: [] };
        await insert(tx, toRow(lease));
        await count(tx, lease, 1);
        return { result: "opened", events: [event] };
      });
      return result;
    },

    async move<From extends LeaseState, To extends Next<From>>(lease: Lease<From>, to: To, patch: LeasePatch, event: AuditEvent) {
      if (!isLegal(lease.state, to)) throw new Error(`a lease does not go from ${lease.state} to ${to}`);
      const { material, ...rest } = patch;
      const next: Lease<To> = { ...lease, ...rest, state: to, version: lease.version + 1 };
      // Only an active lease is of any use, so nothing else keeps its credential.
      const kept = to === "active" ? (material ?? null) : null;
      return (await change(lease, next, event, kept)) ? next : undefined;
    },

    async extend(lease, expiresAt, event) {
      // The type says so too; a lease that ended must not live again, whoever casts.
      if (!isIn(lease, "active")) return undefined;
      const next: Lease<"active"> = { ...lease, expiresAt, dueAt: expiresAt, version: lease.version + 1 };
      return (await change(lease, next, event)) ? next : undefined;
    },

    async postpone(lease, dueAt, attempts) {
      if (!live.has(lease.state)) return undefined;
      const next: Lease = { ...lease, dueAt, attempts, version: lease.version + 1 };
      return (await change(lease, next, undefined)) ? next : undefined;
    },

    async find(id) {
      const [row] = (await find(read, { id })).rows;
      return row && fromRow(row);
    },

    async material(id) {
      const row = await read.selectFrom("leases").select("material").where("id", "=", id).executeTakeFirst();
      return row?.material ?? undefined;
    },

    async list(filter) {
      let query = read
        .selectFrom("leases")
        .select(columns)
        .orderBy("id", "desc")
        .limit(filter.limit ?? 100);
      if (filter.agent) query = query.where("agent", "=", filter.agent);
      if (filter.account !== undefined) query = query.where("account", "=", filter.account);
      const { actingFor } = filter;
      if (actingFor !== undefined) query = query.where((row) => row(row.fn<number>("instr", ["chain", row.val(` ${actingFor} `)]), ">", 0));
      if (filter.session !== undefined) {
        const { session } = filter;
        query = query.where((row) => row.or([row("session", "=", session), row("token", "=", session)]));
      }
      if (filter.credential) query = query.where("credential", "=", filter.credential);
      if (filter.engine) query = query.where("engine", "=", filter.engine);
      if (filter.live) query = query.where("due_at", "is not", null);
      if (filter.states) query = query.where("state", "in", filter.states);
      if (filter.before) query = query.where("id", "<", filter.before);
      return (await query.execute()).map(fromRow);
    },

    async due(now, limit, except = []) {
      let query = read.selectFrom("leases").select(columns).where("due_at", "<=", now).orderBy("due_at").limit(limit);
      if (except.length > 0) query = query.where("credential", "not in", except);
      return (await query.execute()).map(fromRow);
    },
  };
}

function isLegal(from: LeaseState, to: LeaseState): boolean {
  const next: readonly LeaseState[] = transitions[from];
  return next.includes(to);
}

function subjects(lease: Lease): [agent: string, credential: string] {
  return [`agent:${lease.agent}`, `credential:${lease.credential}`];
}

async function count(tx: Transaction, lease: Lease, by: 1 | -1): Promise<void> {
  const [agent, credential] = subjects(lease);
  await add(tx, { agent, credential, by });
}

const find = prepared((db, { id }: { id: string }) => db.selectFrom("leases").select(columns).where("id", "=", id));

const countsOf = prepared((db, { ofAgent, ofCredential }: { ofAgent: string; ofCredential: string }) =>
  db.selectFrom("lease_counts").selectAll().where("subject", "in", [ofAgent, ofCredential]),
);

const add = prepared((db, { agent, credential, by }: { agent: string; credential: string; by: number }) =>
  db
    .insertInto("lease_counts")
    .values([
      { subject: agent, live: by },
      { subject: credential, live: by },
    ])
    .onConflict((conflict) => conflict.column("subject").doUpdateSet((row) => ({ live: row("lease_counts.live", "+", by) }))),
);

/** Every column, each of them a parameter. */
type Row = { [Column in keyof LeaseRow]: Exclude<Insertable<LeaseRow>[Column], undefined> };

const insert = prepared((db, row: Row) =>
  db.insertInto("leases").values(Object.fromEntries([...columns, "material" as const].map((column) => [column, row[column]])) as Row),
);

type Moved = Pick<Lease, "id" | "state" | "version"> & ReturnType<typeof changesIn>;

/** All that may change in the life of a lease, but for its material. */
function changesIn(next: Lease) {
  return {
    nextState: next.state,
    nextVersion: next.version,
    expiresAt: next.expiresAt,
    endReason: next.endReason ?? null,
    attempts: next.attempts,
    dueAt: live.has(next.state) ? next.dueAt : null,
  };
}

const update = prepared((db, moved: Moved) => updateOf(db, moved));
const updateWithMaterial = prepared((db, moved: Moved & { material: Uint8Array | null }) =>
  updateOf(db, moved).set({ material: moved.material }),
);

function updateOf(db: Transaction, { id, state, version, nextState, nextVersion, expiresAt, endReason, attempts, dueAt }: Moved) {
  return db
    .updateTable("leases")
    .set({ state: nextState, version: nextVersion, expires_at: expiresAt, end_reason: endReason, attempts, due_at: dueAt })
    .where("id", "=", id)
    .where("version", "=", version)
    .where("state", "=", state);
}

function toRow(lease: Lease): Row {
  return {
    id: lease.id,
    state: lease.state,
    version: lease.version,
    agent: lease.agent,
    session: lease.session,
    token: lease.token ?? null,
    account: lease.account ?? null,
    chain: lease.chain ? ` ${lease.chain.join(" ")} ` : null,
    credential: lease.credential,
    engine: lease.engine,
    delivery: lease.delivery,
    created_at: lease.createdAt,
    expires_at: lease.expiresAt,
    max_expires_at: lease.maxExpiresAt,
    handle: JSON.stringify(lease.handle),
    purpose: lease.purpose,
    ticket: lease.ticket ?? null,
    one_time: lease.oneTime ? 1 : 0,
    instance: lease.instance,
    end_reason: lease.endReason ?? null,
    attempts: lease.attempts,
    due_at: lease.dueAt,
    material: null,
  };
}

/** What cannot be read becomes a recipe that no engine takes: its lease gets stuck and alarms, and holds up no other. */
function handleIn(text: string): JsonObject {
  try {
    return JSON.parse(text) as JsonObject;
  } catch {
    return {};
  }
}

/** The one place where what the database holds is taken at its word: every row was written by `toRow`. */
function fromRow(row: Pick<Selectable<LeaseRow>, (typeof columns)[number]>): Lease {
  return {
    id: row.id as LeaseId,
    state: row.state as LeaseState,
    version: row.version,
    agent: row.agent as AgentName,
    session: row.session,
    ...(row.token === null ? {} : { token: row.token }),
    ...(row.account === null ? {} : { account: row.account }),
    ...(row.chain === null ? {} : { chain: row.chain.trim().split(" ") as AgentName[] }),
    credential: row.credential as CredentialName,
    engine: row.engine,
    delivery: row.delivery as Delivery,
    createdAt: row.created_at,
    expiresAt: row.expires_at,
    maxExpiresAt: row.max_expires_at,
    handle: handleIn(row.handle),
    purpose: row.purpose,
    ...(row.ticket === null ? {} : { ticket: row.ticket }),
    oneTime: row.one_time === 1,
    instance: row.instance,
    ...(row.end_reason === null ? {} : { endReason: row.end_reason as EndReason }),
    attempts: row.attempts,
    dueAt: row.due_at ?? 0,
  };
}
