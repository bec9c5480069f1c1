import type { AuditLog } from "../core/ports.ts";
import type { Journal } from "./journal.ts";
import { silent } from "./journal.ts";
import type { Database } from "./sqlite.ts";

/** The log for those who write to it. */
export function createAuditLog(journal: Journal): AuditLog {
  return {
    async append(event) {
      const { seq } = await journal.write(async () => ({ result: undefined, events: [event] }));
      return { seq };
    },
  };
}

/** The log for those who read it: opaque head, entries as stored, signed checkpoints. */
export function createLogRows(database: Database, journal: Journal) {
  const { read } = database;
  return {
    async head(): Promise<Uint8Array | undefined> {
      return (await read.selectFrom("audit_head").select("head").where("id", "=", 0).executeTakeFirst())?.head;
    },
    async read(from: number, limit: number) {
      return read.selectFrom("audit_entries").selectAll().where("seq", ">=", from).orderBy("seq").limit(limit).execute();
    },
    async saveCheckpoint(size: number, note: string) {
      await journal.write(async (tx) => {
        const row = tx.insertInto("audit_checkpoints").values({ size, note });
        await row.onConflict((conflict) => conflict.column("size").doNothing()).execute();
        return silent(undefined);
      });
    },
    async checkpoints() {
      return read.selectFrom("audit_checkpoints").selectAll().orderBy("size").execute();
    },
  };
}

/** How far each audit sink got. */
export function createPositions(database: Database, journal: Journal) {
  return {
    async load(sink: string) {
      const row = await database.read.selectFrom("sink_positions").select("position").where("sink", "=", sink).executeTakeFirst();
      return row?.position ?? 0;
    },
    async save(sink: string, position: number) {
      await journal.write(async (tx) => {
        const row = tx.insertInto("sink_positions").values({ sink, position });
        await row.onConflict((conflict) => conflict.column("sink").doUpdateSet({ position })).execute();
        return silent(undefined);
      });
    },
  };
}
