import type { SealContext } from "./context.ts";

export interface DataKeyRow {
  /** 32 hex digits. */
  readonly id: string;
  /** Which key-encryption key it is wrapped under. The same for all rows, always. */
  readonly kek: string;
  readonly wrapped: Uint8Array;
  /** Milliseconds since the epoch. */
  readonly createdAt: number;
  /** Seals nothing new since then. It stays, because it may still open what a slow process wrote. */
  readonly retiredAt: number | null;
  /** How many records it sealed, as far as processes have reported. */
  readonly records: number;
}

/** Data keys at rest, wrapped. Every method is one durable transaction. */
export interface DataKeyStore {
  list(): Promise<readonly DataKeyRow[]>;
  /** Refuses (`false`) when the store holds keys under another `kek`: a rotation came first. */
  add(row: DataKeyRow): Promise<boolean>;
  /** Replaces `kek` and `wrapped` of all rows. Refuses when the store's rows are not exactly these ids, all of them under `from`. */
  rewrap(from: string, rows: readonly Pick<DataKeyRow, "id" | "kek" | "wrapped">[]): Promise<boolean>;
  retire(id: string, at: number): Promise<void>;
  /** Adds to `records`. */
  count(id: string, more: number): Promise<void>;
}

export interface SealedRecord {
  /** Where the next page starts; opaque. */
  readonly cursor: string;
  readonly context: SealContext;
  readonly sealed: Uint8Array;
}

/** A table with sealed values, as rotation walks through it. */
export interface SealedRecords {
  /** In a stable order, behind the cursor. Empty at the end. */
  page(after: string | undefined, limit: number): Promise<readonly SealedRecord[]>;
  /** Refuses (`false`) when the row is gone or no longer holds `record.sealed`. */
  replace(record: SealedRecord, sealed: Uint8Array): Promise<boolean>;
}
