import type { Journal } from "./journal.ts";
import { silent } from "./journal.ts";
import { prepared } from "./prepared.ts";
import type { Database } from "./sqlite.ts";

const find = prepared((db, { jti }: { jti: string }) => db.selectFrom("revoked_tokens").select("jti").where("jti", "=", jti));

/** Access tokens that were revoked before their time, until they would have expired anyway. */
export function createTokenRecords(database: Database, journal: Journal, now: () => number) {
  return {
    async isRevoked(tokenId: string): Promise<boolean> {
      return (await find(database.read, { jti: tokenId })).rows.length > 0;
    },

    async revoke(tokenId: string, expiresAt: number): Promise<void> {
      await journal.write(async (tx) => {
        // A minute later than it says: clocks differ, and a token that is judged a little late must not live again.
        await tx
          .deleteFrom("revoked_tokens")
          .where("expires_at", "<", now() - 60_000)
          .execute();
        const row = tx.insertInto("revoked_tokens").values({ jti: tokenId, expires_at: expiresAt });
        await row.onConflict((conflict) => conflict.column("jti").doNothing()).execute();
        return silent(undefined);
      });
    },
  };
}
