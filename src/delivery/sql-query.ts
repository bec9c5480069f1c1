import type { Connection, FieldDef, Submittable } from "pg";

export interface ReadOnlyQuery {
  readonly statement: string;
  readonly parameters: readonly (string | null)[];
  readonly maxRows: number;
  /** Bytes off the wire after which the connection is cut: one cell may be a gigabyte, and would be held in memory whole. */
  readonly maxWireBytes: number;
}

export interface Answer {
  readonly fields: readonly FieldDef[];
  readonly rows: readonly (readonly (string | null)[])[];
  /** There was more than `maxRows`. */
  readonly more: boolean;
}

/** Thrown when an answer is larger than `maxWireBytes`. The connection is gone. */
export class AnswerTooLarge extends Error {
  override readonly name = "AnswerTooLarge";
}

/**
 * What goes out around the query. DISCARD ALL first, so that nothing of an earlier query is left, and the
 * settings are those of the connection; the empty SELECT because from the first query on a transaction cannot
 * be made writable any more (25001).
 */
const before = ["DISCARD ALL", "BEGIN READ ONLY", "SELECT"];
const after = ["ROLLBACK"];

/**
 * One query in a read-only transaction, in one round trip: all statements go out together, with a single Sync
 * behind them. After an error the server skips everything up to a Sync, so the query runs only where what
 * stands before it succeeded (PostgreSQL manual, 54.2.3 and 54.2.4). Sent the usual way, it is six round trips.
 *
 * After an error the transaction is still open: roll back before the connection is used again.
 */
export function readOnlyQuery(query: ReadOnlyQuery): { readonly submittable: Submittable; readonly answer: Promise<Answer> } {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  const asked = before.length;
  const rows: (string | null)[][] = [];
  let fields: readonly FieldDef[] = [];
  let step = 0;
  let stopCounting = (): void => {};

  const submittable = {
    submit(connection: Connection): void {
      const { stream } = connection;
      let received = 0;
      const count = (chunk: Buffer): void => {
        received += chunk.length;
        if (received > query.maxWireBytes) stream.destroy(new AnswerTooLarge());
      };
      stream.on("data", count);
      stopCounting = () => stream.off("data", count);
      stream.cork();
      for (const text of before) send(connection, text);
      send(connection, query.statement, query);
      for (const text of after) send(connection, text);
      connection.sync();
      stream.uncork();
    },
    handleRowDescription(message: { readonly fields: readonly FieldDef[] }): void {
      fields = message.fields;
    },
    handleDataRow(message: { readonly fields: (string | null)[] }): void {
      if (step === asked) rows.push(message.fields);
    },
    handleCommandComplete(): void {
      step += 1;
    },
    handlePortalSuspended(): void {
      step += 1;
    },
    handleEmptyQuery(): void {
      step += 1;
    },
    handleReadyForQuery(): void {
      stopCounting();
      const more = rows.length > query.maxRows;
      resolve({ fields, rows: more ? rows.slice(0, query.maxRows) : rows, more });
    },
    handleError(problem: Error): void {
      stopCounting();
      reject(problem);
    },
    // A COPY cannot get here past the statement's judgement; left unanswered it would hang.
    handleCopyInResponse(connection: Connection): void {
      connection.stream.destroy();
    },
    handleCopyData(): void {},
  };
  return { submittable, answer: promise };
}

function send(connection: Connection, text: string, query?: ReadOnlyQuery): void {
  connection.parse({ name: "", text, types: [] }, true);
  connection.bind({ values: query ? [...query.parameters] : [] }, true);
  if (query) connection.describe({ type: "P" }, true);
  connection.execute({ rows: String(query ? query.maxRows + 1 : 0) }, true);
}
