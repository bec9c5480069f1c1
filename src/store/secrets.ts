import type { SecretRows } from "../vaults/embedded.ts";
import type { Journal } from "./journal.ts";
import { silent } from "./journal.ts";
import type { Database } from "./sqlite.ts";

/** The sealed secrets of one embedded vault. */
export function createSecretRows(database: Database, journal: Journal, vault: string): SecretRows {
  const { read } = database;
  const columns = ["name", "version", "sealed", "updated_at as updatedAt"] as const;

  return {
    async get(name, version) {
      let query = read.selectFrom("secrets").select(columns).where("vault", "=", vault).where("name", "=", name);
      if (version !== undefined) query = query.where("version", "=", version);
      return query.orderBy("version", "desc").limit(1).executeTakeFirst();
    },

    async put({ name, version, sealed, updatedAt }, oldest) {
      const { result } = await journal.write(async (tx) => {
        const newest = await tx
          .selectFrom("secrets")
          .select(({ fn }) => fn.max("version").as("version"))
          .where("vault", "=", vault)
          .where("name", "=", name)
          .executeTakeFirst();
        if ((newest?.version ?? 0) !== version - 1) return silent(false);
        await tx.insertInto("secrets").values({ vault, name, version, sealed, updated_at: updatedAt }).execute();
        await tx.deleteFrom("secrets").where("vault", "=", vault).where("name", "=", name).where("version", "<", oldest).execute();
        return silent(true);
      });
      return result;
    },

    async list(prefix) {
      const query = read
        .selectFrom("secrets")
        .select(({ fn }) => ["name", fn.max("version").as("version"), fn.max("updated_at").as("updatedAt")])
        .where("vault", "=", vault)
        .groupBy("name")
        .orderBy("name");
      return (await query.execute()).filter((row) => row.name.startsWith(prefix));
    },

    async remove(name) {
      const { result } = await journal.write(async (tx) => {
        const removal = tx.deleteFrom("secrets").where("vault", "=", vault).where("name", "=", name);
        return silent((await removal.executeTakeFirst()).numDeletedRows > 0n);
      });
      return result;
    },

    async all(after, limit) {
      let query = read.selectFrom("secrets").select(columns).where("vault", "=", vault);
      if (after)
        query = query.where((is) =>
          is.or([is("name", ">", after.name), is.and([is("name", "=", after.name), is("version", ">", after.version)])]),
        );
      return query.orderBy("name").orderBy("version").limit(limit).execute();
    },

    async replace({ name, version }, from, sealed) {
      const { result } = await journal.write(async (tx) => {
        const update = tx.updateTable("secrets").set({ sealed }).where("vault", "=", vault).where("name", "=", name);
        const one = update.where("version", "=", version).where("sealed", "=", from);
        return silent((await one.executeTakeFirst()).numUpdatedRows === 1n);
      });
      return result;
    },
  };
}
