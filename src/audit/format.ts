import type { AuditEvent } from "../core/event.ts";
import { decodeHead, emptyHead, encodeHead, extend } from "./append.ts";
import type { LogEntry } from "./append.ts";
import type { LogStore } from "./log-store.ts";

/** What the log makes of events, over a head that the store keeps as bytes and does not look into. */
export const logFormat = {
  extend(
    head: Uint8Array | undefined,
    events: readonly AuditEvent[],
    at: number,
  ): { readonly first: number; readonly entries: readonly LogEntry[]; readonly head: Uint8Array } {
    const before = head ? decodeHead(head) : emptyHead;
    const after = extend(before, events, at);
    return { first: before.size, entries: after.entries, head: encodeHead(after.head) };
  },
};

/** The log for those who read it, over rows whose head is kept as bytes. */
export function createLogStore(rows: Omit<LogStore, "head"> & { head(): Promise<Uint8Array | undefined> }): LogStore {
  return {
    async head() {
      const head = await rows.head();
      return head ? decodeHead(head) : emptyHead;
    },
    read: (from, limit) => rows.read(from, limit),
    saveCheckpoint: (size, note) => rows.saveCheckpoint(size, note),
    checkpoints: () => rows.checkpoints(),
  };
}
