import type { AgentName } from "../core/brand.ts";
import type { Actor, AuditEvent } from "../core/event.ts";
import type { JsonObject } from "../core/json.ts";
import { oauthClientContext } from "../crypto/context.ts";
import type { SealedRecords } from "../crypto/key-store.ts";
import type { SealedJson } from "../crypto/sealed-json.ts";
import type { ClientRecords, KnownClient, NewClient } from "../identity/clients.ts";
import type { Client } from "../identity/directory.ts";
import { insertAgent, putAgent, voidTokens } from "./agent-records.ts";
import { useInvitation } from "./invitations.ts";
import type { Journal, Transaction } from "./journal.ts";
import { silent } from "./journal.ts";
import { prepared } from "./prepared.ts";
import type { ClientRow } from "./schema.ts";
import type { Database } from "./sqlite.ts";

export interface ClientRecordsParts {
  readonly database: Database;
  readonly journal: Journal;
  readonly sealed: SealedJson;
  readonly now: () => number;
}

/** OAuth clients and the agents that they are. */
export function createClientRecords({ database, journal, sealed, now }: ClientRecordsParts): ClientRecords {
  const { read } = database;
  const seal = (id: string, metadata: JsonObject): Uint8Array => sealed.seal(oauthClientContext(id), metadata);

  function toRow({ id, agent, source, name, metadata, invitation, voucher }: NewClient): ClientRow {
    const none = { last_used_at: null, frozen_at: null, removed_at: null };
    const came = { invitation: invitation ?? null, voucher: voucher ?? null };
    return { id, agent, source, name: name ?? null, sealed: seal(id, metadata), ...came, created_at: now(), ...none };
  }

  /** Its own tokens are asked about at every call; those of agents that act for it are known by the agent alone. */
  async function voidTokensOf(tx: Transaction, id: string): Promise<void> {
    const [row] = (await findClient(tx, { id })).rows;
    if (row) await voidTokens(tx, row.agent, now());
  }

  return {
    async find(id) {
      const [row] = (await findClient(read, { id })).rows;
      return row && fromRow(row);
    },

    list: async () => (await read.selectFrom("clients").select(columns).orderBy("id").execute()).map(fromRow),

    async metadata(id) {
      const row = await read.selectFrom("clients").select("sealed").where("id", "=", id).executeTakeFirst();
      return row && sealed.open(oauthClientContext(id), row.sealed);
    },

    async register(client, limit, registeredBy, by) {
      const { invitation, voucher, roles } = client;
      const { result } = await journal.write(async (tx) => {
        if ((await findClient(tx, { id: client.id })).rows.length > 0) return silent("taken" as const);
        if (invitation !== undefined && !(await useInvitation(tx, invitation, now()))) return silent("spent" as const);
        if (invitation === undefined && voucher === undefined && (await countUnvouched(tx)) >= limit) return silent("full" as const);
        await tx.insertInto("clients").values(toRow(client)).execute();
        await insertAgent(tx, client.agent, { roles, registeredBy }, now());
        return { result: "registered" as const, events: [added(client.agent, by), registered(client, by)] };
      });
      return result;
    },

    async put(client, by) {
      const { result } = await journal.write(async (tx) => {
        const there = await tx.selectFrom("clients").select(["source", "removed_at"]).where("id", "=", client.id).executeTakeFirst();
        if (there && there.source !== "operator") return silent(false);
        const row = toRow(client);
        const { agent, name } = row;
        const insert = tx.insertInto("clients").values(row);
        await insert.onConflict((on) => on.column("id").doUpdateSet({ agent, name, sealed: row.sealed, removed_at: null })).execute();
        await putAgent(tx, client.agent, { roles: client.roles, ...(client.owner === undefined ? {} : { owner: client.owner }) }, now());
        const known = there && there.removed_at === null;
        const event: AuditEvent = known ? { kind: "client.updated", actor: by, client: client.id } : registered(client, by);
        return { result: true, events: [added(client.agent, by), event] };
      });
      return result;
    },

    async update(id, { name, metadata }, by) {
      const { result } = await journal.write(async (tx) => {
        const update = tx.updateTable("clients").set({ name: name ?? null, sealed: seal(id, metadata) });
        const live = update.where("id", "=", id).where("removed_at", "is", null).where("frozen_at", "is", null);
        return outcome(await live.executeTakeFirst(), { kind: "client.updated", actor: by, client: id });
      });
      return result;
    },

    async remove(id, why, by) {
      const { result } = await journal.write(async (tx) => {
        const update = tx.updateTable("clients").set({ removed_at: now() }).where("id", "=", id).where("removed_at", "is", null);
        const done = outcome(await update.executeTakeFirst(), { kind: "client.removed", actor: by, client: id, why });
        if (done.result) await voidTokensOf(tx, id);
        if (done.result) await forget(tx, [id]);
        return done;
      });
      return result;
    },

    async freeze(id, frozen, by) {
      const { result } = await journal.write(async (tx) => {
        const update = tx.updateTable("clients").set({ frozen_at: frozen ? now() : null });
        const live = update.where("id", "=", id).where("removed_at", "is", null);
        const done = outcome(await live.executeTakeFirst(), { kind: frozen ? "client.frozen" : "client.unfrozen", actor: by, client: id });
        if (done.result && frozen) await voidTokensOf(tx, id);
        return done;
      });
      return result;
    },

    async touch(id, at) {
      await journal.write(async (tx) => {
        await tx.updateTable("clients").set({ last_used_at: at }).where("id", "=", id).execute();
        return silent(undefined);
      });
    },

    async prune(before) {
      const { result } = await journal.write(async (tx) => {
        const gone = await stale(tx, before);
        const ids = gone.map(({ id }) => id);
        if (ids.length > 0) {
          await forget(tx, ids);
          await tx.deleteFrom("clients").where("id", "in", ids).execute();
        }
        // One that named itself by a URL would come again: it stays removed.
        await tx.deleteFrom("clients").where("removed_at", "<", before.removed).where("source", "=", "dcr").execute();
        const actor: Actor = { type: "broker" };
        return { result: gone, events: ids.map((client) => ({ kind: "client.removed", actor, client, why: "idle" }) as const) };
      });
      return result;
    },
  };
}

/** The sealed metadata of clients, for rotation. */
export function createSealedClients(database: Database, journal: Journal): SealedRecords {
  return {
    async page(after, limit) {
      let query = database.read.selectFrom("clients").select(["id", "sealed"]).orderBy("id").limit(limit);
      if (after !== undefined) query = query.where("id", ">", after);
      return (await query.execute()).map(({ id, sealed }) => ({ cursor: id, context: oauthClientContext(id), sealed }));
    },

    async replace(record, sealed) {
      const { result } = await journal.write(async (tx) => {
        const update = tx.updateTable("clients").set({ sealed }).where("id", "=", record.cursor).where("sealed", "=", record.sealed);
        return silent((await update.executeTakeFirst()).numUpdatedRows === 1n);
      });
      return result;
    },
  };
}

/** All but the sealed metadata: asked for on every call. */
const columns = [
  "id",
  "agent",
  "source",
  "name",
  "invitation",
  "voucher",
  "created_at",
  "last_used_at",
  "frozen_at",
  "removed_at",
] as const;

const findClient = prepared((db, { id }: { id: string }) => db.selectFrom("clients").select(columns).where("id", "=", id));

async function countUnvouched(tx: Transaction): Promise<number> {
  const live = tx.selectFrom("clients").where("removed_at", "is", null).where("source", "!=", "operator");
  const alone = live.where("invitation", "is", null).where("voucher", "is", null);
  const row = await alone.select(({ fn }) => fn.countAll<number>().as("count")).executeTakeFirst();
  return row?.count ?? 0;
}

/** Clients that came by themselves and are of no use to anyone. What was frozen stays: coming again must not thaw it. */
async function stale(tx: Transaction, before: { readonly unused: number; readonly idle: number }): Promise<readonly Client[]> {
  const rows = await tx
    .selectFrom("clients")
    .leftJoin("agents", "agents.name", "clients.agent")
    .select(columns.map((column) => `clients.${column}` as const))
    .where("clients.source", "!=", "operator")
    .where("clients.removed_at", "is", null)
    .where("clients.frozen_at", "is", null)
    .where("agents.frozen_at", "is", null)
    .where("agents.disabled_at", "is", null)
    .where((is) =>
      is.or([
        is.and([is("clients.last_used_at", "is", null), is("clients.created_at", "<", before.unused)]),
        is("clients.last_used_at", "<", before.idle),
      ]),
    )
    .limit(500)
    .execute();
  return rows.map(fromRow);
}

/** What hangs on these clients: their refresh tokens and registration access tokens, and the agents that were made for them. */
async function forget(tx: Transaction, ids: readonly string[]): Promise<void> {
  await tx.deleteFrom("oauth_records").where("client", "in", ids).execute();
  const theirs = tx.selectFrom("clients").select("agent").where("id", "in", ids).where("source", "!=", "operator");
  await tx.deleteFrom("agents").where("source", "in", ["dcr", "cimd"]).where("name", "in", theirs).execute();
}

function outcome(changed: { readonly numUpdatedRows: bigint }, event: AuditEvent) {
  const result = changed.numUpdatedRows === 1n;
  return { result, events: result ? [event] : [] };
}

function added(agent: AgentName, actor: Actor): AuditEvent {
  return { kind: "agent.added", actor, agent };
}

function registered({ id, agent, source, invitation, name }: NewClient, actor: Actor): AuditEvent {
  const more = { ...(invitation === undefined ? {} : { invitation }), ...(name === undefined ? {} : { name }) };
  return { kind: "client.registered", actor, client: id, agent, source, ...more };
}

type FoundRow = Pick<ClientRow, (typeof columns)[number]>;

function fromRow(row: FoundRow): KnownClient {
  return {
    id: row.id,
    agent: row.agent as AgentName,
    source: row.source as Client["source"],
    ...(row.name === null ? {} : { name: row.name }),
    createdAt: row.created_at,
    ...(row.last_used_at === null ? {} : { lastUsedAt: row.last_used_at }),
    frozen: row.frozen_at !== null,
    removed: row.removed_at !== null,
    vouched: row.source === "operator" || row.invitation !== null || row.voucher !== null,
  };
}
