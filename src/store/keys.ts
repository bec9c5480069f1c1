import type { LeaseId } from "../core/brand.ts";
import { leaseContext } from "../crypto/context.ts";
import type { DataKeyStore, SealedRecords } from "../crypto/key-store.ts";
import type { RotatingKeyRows } from "../crypto/key-set.ts";
import type { KeyRow } from "../crypto/keys.ts";
import type { Journal } from "./journal.ts";
import { silent } from "./journal.ts";
import type { Database } from "./sqlite.ts";

/** Data keys, wrapped under the key-encryption key. */
export function createDataKeyStore(database: Database, journal: Journal): DataKeyStore {
  const columns = ["id", "kek", "wrapped", "created_at as createdAt", "retired_at as retiredAt", "records"] as const;

  return {
    list: () => database.read.selectFrom("data_keys").select(columns).execute(),

    async add({ createdAt, retiredAt, ...row }) {
      const { result } = await journal.write(async (tx) => {
        const other = await tx.selectFrom("data_keys").select("id").where("kek", "!=", row.kek).limit(1).executeTakeFirst();
        if (other) return silent(false);
        await tx
          .insertInto("data_keys")
          .values({ ...row, created_at: createdAt, retired_at: retiredAt })
          .execute();
        return silent(true);
      });
      return result;
    },

    async rewrap(from, rows) {
      const { result } = await journal.write(async (tx) => {
        const present = await tx.selectFrom("data_keys").select(["id", "kek"]).execute();
        const ids = new Set(rows.map((row) => row.id));
        const same = present.length === rows.length && present.every((row) => row.kek === from && ids.has(row.id));
        if (!same) return silent(false);
        for (const { id, kek, wrapped } of rows) await tx.updateTable("data_keys").set({ kek, wrapped }).where("id", "=", id).execute();
        return silent(true);
      });
      return result;
    },

    async retire(id, at) {
      await journal.write(async (tx) => {
        await tx.updateTable("data_keys").set({ retired_at: at }).where("id", "=", id).execute();
        return silent(undefined);
      });
    },

    async count(id, more) {
      await journal.write(async (tx) => {
        await tx
          .updateTable("data_keys")
          .set((row) => ({ records: row("records", "+", more) }))
          .where("id", "=", id)
          .execute();
        return silent(undefined);
      });
    },
  };
}

/** The broker's own keys, sealed. */
export function createKeyRows(database: Database, journal: Journal): RotatingKeyRows {
  const columns = ["name", "kind", "sealed", "public_key as publicKey", "created_at as createdAt"] as const;
  const query = () => database.read.selectFrom("signing_keys").select(columns);

  return {
    async get(name) {
      const row = await query().where("name", "=", name).executeTakeFirst();
      return row && fromRow(row);
    },

    async add({ name, kind, sealed, publicKey, createdAt = 0 }) {
      const { result } = await journal.write(async (tx) => {
        const insert = tx.insertInto("signing_keys").values({ name, kind, sealed, public_key: publicKey, created_at: createdAt });
        const { numInsertedOrUpdatedRows } = await insert.onConflict((conflict) => conflict.column("name").doNothing()).executeTakeFirst();
        return silent(numInsertedOrUpdatedRows === 1n);
      });
      return result;
    },

    all: async () => (await query().execute()).map(fromRow),

    async remove(name) {
      await journal.write(async (tx) => {
        await tx.deleteFrom("signing_keys").where("name", "=", name).execute();
        return silent(undefined);
      });
    },

    async replace(name, from, sealed) {
      const { result } = await journal.write(async (tx) => {
        const update = tx.updateTable("signing_keys").set({ sealed }).where("name", "=", name).where("sealed", "=", from);
        return silent((await update.executeTakeFirst()).numUpdatedRows === 1n);
      });
      return result;
    },
  };
}

/** The sealed material of live leases, for rotation. */
export function createMaterialRecords(database: Database, journal: Journal): SealedRecords {
  return {
    async page(after, limit) {
      let query = database.read.selectFrom("leases").select(["id", "material"]).where("due_at", "is not", null);
      query = query.where("material", "is not", null);
      if (after !== undefined) query = query.where("id", ">", after);
      const rows = await query.orderBy("id").limit(limit).execute();
      return rows.flatMap(({ id, material }) => (material ? [{ cursor: id, context: leaseContext(id as LeaseId), sealed: material }] : []));
    },

    async replace(record, sealed) {
      const { result } = await journal.write(async (tx) => {
        const update = tx
          .updateTable("leases")
          .set({ material: sealed })
          .where("id", "=", record.cursor)
          .where("material", "=", record.sealed);
        return silent((await update.executeTakeFirst()).numUpdatedRows === 1n);
      });
      return result;
    },
  };
}

function fromRow(row: { name: string; kind: string; sealed: Uint8Array; publicKey: Uint8Array | null; createdAt: number }): KeyRow {
  return { ...row, kind: row.kind as KeyRow["kind"] };
}
