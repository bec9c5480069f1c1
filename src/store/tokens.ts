import type { Revocations } from "../identity/directory.ts";
import type { Journal } from "./journal.ts";
import { silent } from "./journal.ts";
import { prepared } from "./prepared.ts";
import type { Database } from "./sqlite.ts";

const find = prepared((db, { jti }: { jti: string }) => db.selectFrom("revoked_tokens").select("jti").where("jti", "=", jti));

/** What was revoked before its time (token ids and sessions), until all of it would have expired anyway. */
export function createRevocations(database: Database, journal: Journal, now: () => number): Revocations {
  return {
    async isRevoked(id: string): Promise<boolean> {
      return (await find(database.read, { jti: id })).rows.length > 0;
    },

    async revoke(id: string, until: number): Promise<void> {
      await journal.write(async (tx) => {
        // A minute later than it says: clocks differ, and a token that is judged a little late must not live again.
        await tx
          .deleteFrom("revoked_tokens")
          .where("expires_at", "<", now() - 60_000)
          .execute();
        const row = tx.insertInto("revoked_tokens").values({ jti: id, expires_at: until });
        await row.onConflict((conflict) => conflict.column("jti").doUpdateSet({ expires_at: until })).execute();
        return silent(undefined);
      });
    },
  };
}
