import type { LogEntry, LogHead } from "./append.ts";

/** What reading the log needs of the store. Writing happens inside the store's own transactions (see `extend`). */
export interface LogStore {
  head(): Promise<LogHead>;
  /** Entries `from` and following, in order, at most `limit`; fewer only at the end of the log. */
  read(from: number, limit: number): Promise<readonly LogEntry[]>;
  saveCheckpoint(size: number, note: string): Promise<void>;
  /** Oldest first. */
  checkpoints(): Promise<readonly { readonly size: number; readonly note: string }[]>;
}
