import { hash } from "node:crypto";
import type { AuditEvent } from "../core/event.ts";
import type { JsonObject } from "../core/json.ts";
import { oauthRecordContext } from "../crypto/context.ts";
import type { SealedRecords } from "../crypto/key-store.ts";
import type { SealedJson } from "../crypto/sealed-json.ts";
import type { Journal, Transaction } from "./journal.ts";
import { silent } from "./journal.ts";
import { prepared } from "./prepared.ts";
import type { OAuthRecordRow } from "./schema.ts";
import type { Database } from "./sqlite.ts";

/** What a record is found by, beside its id. */
export interface RecordFacts {
  /** The sign-in that it belongs to, and with which it goes. */
  readonly grant?: string;
  /** A second id: a user code, the uid of a session. Secret like the first. */
  readonly lookup?: string;
  readonly client?: string;
  readonly account?: string;
  /** Milliseconds since the epoch. */
  readonly expiresAt?: number;
}

/** The grant itself is a record of this model, whose id is the id of the grant. */
const grantModel = "Grant";
/** Milliseconds for which something expired is still known as expired, which is another answer than unknown. */
const expiredFor = 10 * 60_000;
/** Milliseconds for which a used code or refresh token is known as used. After that it is unknown, and refused as such. */
const usedFor = 7 * 24 * 3_600_000;

/**
 * Codes, refresh tokens, grants, sign-ins. Ids are secrets: only their digests are kept, and what
 * belongs to them is sealed. Whether something has expired is for the caller to see. A write is durable when it returns, or throws `audit_unavailable`.
 */
export function createOAuthRecords(parts: {
  readonly database: Database;
  readonly journal: Journal;
  readonly sealed: SealedJson;
  readonly now: () => number;
}) {
  const { database, journal, sealed, now } = parts;

  async function read(row: OAuthRecordRow | undefined): Promise<JsonObject | undefined> {
    if (!row) return undefined;
    const payload = await sealed.open(contextOf(row.model, row.digest), row.sealed);
    return row.consumed_at === null ? payload : { ...payload, consumed: Math.floor(row.consumed_at / 1000) };
  }

  function rowOf(model: string, id: string, payload: JsonObject, facts: RecordFacts): OAuthRecordRow {
    const digest = digestOf(id);
    return {
      model,
      digest,
      sealed: sealed.seal(contextOf(model, digest), payload),
      grant_id: facts.grant ?? null,
      lookup: facts.lookup === undefined ? null : digestOf(facts.lookup),
      client: facts.client ?? null,
      account: facts.account ?? null,
      consumed_at: null,
      expires_at: facts.expiresAt ?? null,
    };
  }

  return {
    find: async (model: string, id: string) => read((await byId(database.read, { model, digest: digestOf(id) })).rows[0]),

    findByLookup: async (model: string, lookup: string) =>
      read((await byLookup(database.read, { model, lookup: digestOf(lookup) })).rows[0]),

    /**
     * Adds it, or replaces what it holds; that it was used stays. What belongs to a grant that is gone is
     * not kept: whoever is just being given it holds something dead.
     */
    async put(model: string, id: string, payload: JsonObject, facts: RecordFacts): Promise<void> {
      const row = rowOf(model, id, payload, facts);
      const { consumed_at: _, model: __, digest: ___, ...change } = row;
      await journal.write(async (tx) => {
        if (facts.grant !== undefined && model !== grantModel && !(await exists(tx, grantModel, facts.grant))) return silent(undefined);
        const insert = tx.insertInto("oauth_records").values(row);
        await insert.onConflict((conflict) => conflict.columns(["model", "digest"]).doUpdateSet(change)).execute();
        return silent(undefined);
      });
    },

    /** Replaces what it holds if it still exists. */
    async update(model: string, id: string, payload: JsonObject, facts: RecordFacts): Promise<void> {
      const { consumed_at: _, model: __, digest, ...change } = rowOf(model, id, payload, facts);
      await journal.write(async (tx) => {
        await tx.updateTable("oauth_records").set(change).where("model", "=", model).where("digest", "=", digest).execute();
        return silent(undefined);
      });
    },

    /** Of all that try, one succeeds; to the others it is as if it were used or gone. */
    async consume(model: string, id: string): Promise<boolean> {
      const { result } = await journal.write(async (tx) =>
        silent((await markUsed(tx, { model, digest: digestOf(id), at: now() })).numAffectedRows === 1n),
      );
      return result;
    },

    /** As if it had not been used. Whoever used it a second time meanwhile has ended it, and it stays gone. */
    async release(model: string, id: string): Promise<void> {
      await journal.write(async (tx) => {
        const update = tx.updateTable("oauth_records").set({ consumed_at: null });
        await update.where("model", "=", model).where("digest", "=", digestOf(id)).execute();
        return silent(undefined);
      });
    },

    /** Takes an id that is good once, e.g. of an assertion. Answers whether it was free. */
    async claim(model: string, id: string, expiresAt: number, payload: JsonObject = {}): Promise<boolean> {
      const row = rowOf(model, id, payload, { expiresAt });
      const { result } = await journal.write(async (tx) => {
        const insert = tx.insertInto("oauth_records").values(row);
        const taken = await insert.onConflict((conflict) => conflict.doNothing()).executeTakeFirst();
        return silent(taken.numInsertedOrUpdatedRows === 1n);
      });
      return result;
    },

    async remove(model: string, id: string): Promise<void> {
      await journal.write(async (tx) => {
        await tx.deleteFrom("oauth_records").where("model", "=", model).where("digest", "=", digestOf(id)).execute();
        return silent(undefined);
      });
    },

    /** Removes a grant and all that belongs to it, and writes that down if there was any. */
    async endGrant(grant: string, event: AuditEvent): Promise<boolean> {
      const { result } = await journal.write(async (tx) => {
        const { numDeletedRows } = await tx.deleteFrom("oauth_records").where("grant_id", "=", grant).executeTakeFirst();
        return { result: numDeletedRows > 0n, events: numDeletedRows > 0n ? [event] : [] };
      });
      return result;
    },

    /** Ids of the grants that a client has, or that let anybody act for an account. */
    async grants(of: { readonly client: string } | { readonly account: string }): Promise<readonly string[]> {
      const query = database.read.selectFrom("oauth_records").select("grant_id").where("model", "=", grantModel);
      const rows = await ("client" in of ? query.where("client", "=", of.client) : query.where("account", "=", of.account)).execute();
      return rows.flatMap((row) => row.grant_id ?? []);
    },

    /** Removes the sign-ins in browsers and all else of this model that belongs to an account. */
    async removeOfAccount(model: string, account: string): Promise<void> {
      await journal.write(async (tx) => {
        await tx.deleteFrom("oauth_records").where("model", "=", model).where("account", "=", account).execute();
        return silent(undefined);
      });
    },

    /** Forgets what has expired, or was used long ago. To be called every minute or so. */
    async prune(): Promise<void> {
      const time = now();
      await journal.write(async (tx) => {
        await tx
          .deleteFrom("oauth_records")
          .where("expires_at", "<", time - expiredFor)
          .execute();
        await tx
          .deleteFrom("oauth_records")
          .where("consumed_at", "<", time - usedFor)
          .execute();
        return silent(undefined);
      });
    },

    /** For the rotation of the seal. */
    sealedRecords: (): SealedRecords => ({
      async page(after, limit) {
        const [model = "", digest = ""] = after?.split("/") ?? [];
        const rows = await database.read
          .selectFrom("oauth_records")
          .select(["model", "digest", "sealed"])
          .where((row) =>
            row.or([row("model", ">", model), row.and([row("model", "=", model), row("digest", ">", Buffer.from(digest, "base64url"))])]),
          )
          .orderBy("model")
          .orderBy("digest")
          .limit(limit)
          .execute();
        return rows.map((row) => ({
          cursor: `${row.model}/${Buffer.from(row.digest).toString("base64url")}`,
          context: contextOf(row.model, row.digest),
          sealed: row.sealed,
        }));
      },

      async replace(record, fresh) {
        const [model = "", digest = ""] = record.cursor.split("/");
        const { result } = await journal.write(async (tx) => {
          const update = tx.updateTable("oauth_records").set({ sealed: fresh });
          const one = update
            .where("model", "=", model)
            .where("digest", "=", Buffer.from(digest, "base64url"))
            .where("sealed", "=", record.sealed);
          return silent((await one.executeTakeFirst()).numUpdatedRows === 1n);
        });
        return result;
      },
    }),
  };
}

export type OAuthRecords = ReturnType<typeof createOAuthRecords>;

type Key = { model: string; digest: Uint8Array };

const byId = prepared((db, { model, digest }: Key) =>
  db.selectFrom("oauth_records").selectAll().where("model", "=", model).where("digest", "=", digest),
);

const byLookup = prepared((db, { model, lookup }: { model: string; lookup: Uint8Array }) =>
  db.selectFrom("oauth_records").selectAll().where("model", "=", model).where("lookup", "=", lookup),
);

const markUsed = prepared((db, { model, digest, at }: Key & { at: number }) =>
  db
    .updateTable("oauth_records")
    .set({ consumed_at: at })
    .where("model", "=", model)
    .where("digest", "=", digest)
    .where("consumed_at", "is", null),
);

async function exists(tx: Transaction, model: string, id: string): Promise<boolean> {
  return (await byId(tx, { model, digest: digestOf(id) })).rows.length > 0;
}

function digestOf(id: string): Buffer {
  return hash("sha256", id, "buffer");
}

function contextOf(model: string, digest: Uint8Array) {
  return oauthRecordContext(model, Buffer.from(digest).toString("base64url"));
}
