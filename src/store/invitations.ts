import type { AgentName } from "../core/brand.ts";
import type { Invitation, InvitationRecords } from "../identity/invitations.ts";
import type { Journal, Transaction } from "./journal.ts";
import { silent } from "./journal.ts";
import type { InvitationRow } from "./schema.ts";
import type { Database } from "./sqlite.ts";

/** Invitations, by the digest of their token. */
export function createInvitationRecords({ read }: Database, journal: Journal, now: () => number): InvitationRecords {
  return {
    async add(invitation, digest, by) {
      const { id, roles, usesLeft, expiresAt } = invitation;
      await journal.write(async (tx) => {
        await tx
          .insertInto("invitations")
          .values({ ...toRow(invitation), digest })
          .execute();
        return { result: undefined, events: [{ kind: "invitation.created", actor: by, invitation: id, roles, uses: usesLeft, expiresAt }] };
      });
    },

    async findByDigest(digest) {
      const row = await read.selectFrom("invitations").selectAll().where("digest", "=", digest).executeTakeFirst();
      return row && fromRow(row);
    },

    list: async () => (await read.selectFrom("invitations").selectAll().orderBy("created_at", "desc").execute()).map(fromRow),

    async revoke(id, by) {
      const { result } = await journal.write(async (tx) => {
        const update = tx.updateTable("invitations").set({ revoked_at: now() }).where("id", "=", id).where("revoked_at", "is", null);
        const done = (await update.executeTakeFirst()).numUpdatedRows === 1n;
        return { result: done, events: done ? [{ kind: "invitation.revoked", actor: by, invitation: id }] : [] };
      });
      return result;
    },

    async forget(before) {
      await journal.write(async (tx) => {
        await tx.deleteFrom("invitations").where("expires_at", "<", before).execute();
        return silent(undefined);
      });
    },
  };
}

/** Takes one use, or answers `false`: two registrations can never share the last one. */
export async function useInvitation(tx: Transaction, id: string, at: number): Promise<boolean> {
  const update = tx
    .updateTable("invitations")
    .set((row) => ({ uses_left: row("uses_left", "-", 1) }))
    .where("id", "=", id)
    .where("uses_left", ">", 0)
    .where("expires_at", ">", at)
    .where("revoked_at", "is", null);
  return (await update.executeTakeFirst()).numUpdatedRows === 1n;
}

function toRow({ id, roles, prefix, usesLeft, createdBy, createdAt, expiresAt }: Invitation): Omit<InvitationRow, "digest"> {
  return {
    id,
    roles: JSON.stringify(roles),
    prefix: prefix ?? null,
    uses_left: usesLeft,
    created_by: createdBy,
    created_at: createdAt,
    expires_at: expiresAt,
    revoked_at: null,
  };
}

function fromRow(row: InvitationRow): Invitation {
  return {
    id: row.id,
    roles: JSON.parse(row.roles) as string[],
    ...(row.prefix === null ? {} : { prefix: row.prefix as AgentName }),
    usesLeft: row.uses_left,
    createdBy: row.created_by,
    createdAt: row.created_at,
    expiresAt: row.expires_at,
    revoked: row.revoked_at !== null,
  };
}
