import type { CredentialName, LeaseId } from "../core/brand.ts";
import type { Exposures } from "../core/ports.ts";
import type { Journal } from "./journal.ts";
import { silent } from "./journal.ts";
import { prepared } from "./prepared.ts";
import type { Database } from "./sqlite.ts";

/** One-time handles at rest, by digest. */
export function createHandleRows(database: Database, journal: Journal) {
  return {
    async add(digest: Uint8Array, lease: LeaseId, expiresAt: number) {
      await journal.write(async (tx) => {
        await tx.insertInto("handles").values({ digest, lease, expires_at: expiresAt, redeemed_at: null }).execute();
        return silent(undefined);
      });
    },

    async find(digest: Uint8Array) {
      const query = database.read.selectFrom("handles").innerJoin("leases", "leases.id", "handles.lease");
      const columns = ["handles.lease", "handles.expires_at", "leases.agent"] as const;
      const row = await query.select(columns).where("handles.digest", "=", digest).executeTakeFirst();
      return row && { lease: row.lease as LeaseId, agent: row.agent, expiresAt: row.expires_at };
    },

    async redeem(digest: Uint8Array, at: number) {
      const { result } = await journal.write(async (tx) => {
        const update = tx.updateTable("handles").set({ redeemed_at: at }).where("digest", "=", digest).where("redeemed_at", "is", null);
        return silent((await update.executeTakeFirst()).numUpdatedRows === 1n);
      });
      return result;
    },

    /** Forgets handles that can no longer be redeemed. */
    async prune(before: number) {
      await journal.write(async (tx) => {
        await tx.deleteFrom("handles").where("expires_at", "<", before).execute();
        return silent(undefined);
      });
    },
  };
}

const findExposure = prepared((db, { credential }: { credential: string }) =>
  db.selectFrom("exposures").select("at").where("credential", "=", credential),
);

/** Which credentials were ever revealed to an agent. */
export function createExposures(database: Database, journal: Journal, now: () => number): Exposures {
  return {
    async isExposed(credential: CredentialName) {
      return (await findExposure(database.read, { credential })).rows.length > 0;
    },

    async mark(credential: CredentialName, lease: LeaseId) {
      await journal.write(async (tx) => {
        const row = tx.insertInto("exposures").values({ credential, lease, at: now() });
        await row.onConflict((conflict) => conflict.column("credential").doNothing()).execute();
        return silent(undefined);
      });
    },
  };
}
