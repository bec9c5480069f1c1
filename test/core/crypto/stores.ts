import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { DataKeyRow, DataKeyStore } from "../../../src/crypto/key-store.ts";
import type { KeyKind, KeyRow, KeyRows } from "../../../src/crypto/keys.ts";
import type { SecretRow, SecretRows } from "../../../src/vaults/embedded.ts";

export interface Stores {
  readonly db: DatabaseSync;
  readonly dataKeys: DataKeyStore;
  readonly secrets: SecretRows;
  readonly keys: KeyRows;
}

export function temporaryFolder(): string {
  return mkdtempSync(join(tmpdir(), "leasehold-seal-"));
}

/** The ports over a database in memory, each method one transaction. */
export function openStores(): Stores {
  const db = new DatabaseSync(":memory:");
  db.exec(`
    create table data_keys (id text primary key, kek text not null, wrapped blob not null, created_at integer not null, retired_at integer, records integer not null);
    create table secrets (name text, version integer, sealed blob not null, updated_at integer not null, primary key (name, version));
    create table keys (name text primary key, kind text not null, sealed blob not null, public_key blob);
  `);
  return { db, dataKeys: dataKeyStore(db), secrets: secretRows(db), keys: keyRows(db) };
}

function inTransaction<T>(db: DatabaseSync, work: () => T): T {
  db.exec("begin immediate");
  try {
    const result = work();
    db.exec("commit");
    return result;
  } catch (error) {
    db.exec("rollback");
    throw error;
  }
}

function dataKeyStore(db: DatabaseSync): DataKeyStore {
  const list = () => db.prepare("select * from data_keys order by id").all().map(dataKeyRow);
  return {
    async list() {
      return list();
    },
    async add(row) {
      return inTransaction(db, () => {
        if (list().some((other) => other.kek !== row.kek)) return false;
        db.prepare("insert into data_keys values (?, ?, ?, ?, ?, ?)").run(
          row.id,
          row.kek,
          row.wrapped,
          row.createdAt,
          row.retiredAt,
          row.records,
        );
        return true;
      });
    },
    async rewrap(from, rows) {
      return inTransaction(db, () => {
        const present = list();
        const ids = new Set(rows.map((row) => row.id));
        if (present.length !== ids.size || present.some((row) => row.kek !== from || !ids.has(row.id))) return false;
        for (const row of rows) db.prepare("update data_keys set kek = ?, wrapped = ? where id = ?").run(row.kek, row.wrapped, row.id);
        return true;
      });
    },
    async retire(id, at) {
      db.prepare("update data_keys set retired_at = ? where id = ? and retired_at is null").run(at, id);
    },
    async count(id, more) {
      db.prepare("update data_keys set records = records + ? where id = ?").run(more, id);
    },
  };
}

function secretRows(db: DatabaseSync): SecretRows {
  return {
    async get(name, version) {
      const row =
        version === undefined
          ? db.prepare("select * from secrets where name = ? order by version desc limit 1").get(name)
          : db.prepare("select * from secrets where name = ? and version = ?").get(name, version);
      return row && secretRow(row);
    },
    async put(row, oldest) {
      return inTransaction(db, () => {
        const newest = db.prepare("select coalesce(max(version), 0) as newest from secrets where name = ?").get(row.name);
        if (Number(newest?.["newest"]) !== row.version - 1) return false;
        db.prepare("insert into secrets values (?, ?, ?, ?)").run(row.name, row.version, row.sealed, row.updatedAt);
        db.prepare("delete from secrets where name = ? and version < ?").run(row.name, oldest);
        return true;
      });
    },
    async list(prefix) {
      const rows = db.prepare("select name, max(version) as version, sealed, updated_at from secrets group by name order by name").all();
      return rows.map(secretRow).filter((row) => row.name.startsWith(prefix));
    },
    async remove(name) {
      return db.prepare("delete from secrets where name = ?").run(name).changes > 0;
    },
    async all(after, limit) {
      const rows = db.prepare("select * from secrets where (name, version) > (?, ?) order by name, version limit ?");
      return rows.all(after?.name ?? "", after?.version ?? 0, limit).map(secretRow);
    },
    async replace(row, from, sealed) {
      const update = db.prepare("update secrets set sealed = ? where name = ? and version = ? and sealed = ?");
      return update.run(sealed, row.name, row.version, from).changes > 0;
    },
  };
}

function keyRows(db: DatabaseSync): KeyRows {
  return {
    async get(name) {
      const row = db.prepare("select * from keys where name = ?").get(name);
      return row && keyRow(row);
    },
    async add(row) {
      return db.prepare("insert or ignore into keys values (?, ?, ?, ?)").run(row.name, row.kind, row.sealed, row.publicKey).changes > 0;
    },
    async all() {
      return db.prepare("select * from keys").all().map(keyRow);
    },
    async replace(name, from, sealed) {
      return db.prepare("update keys set sealed = ? where name = ? and sealed = ?").run(sealed, name, from).changes > 0;
    },
  };
}

type Columns = Record<string, unknown>;

function bytes(value: unknown): Uint8Array {
  if (value instanceof Uint8Array) return value;
  throw new TypeError("not a blob");
}

function dataKeyRow(row: Columns): DataKeyRow {
  return {
    id: String(row["id"]),
    kek: String(row["kek"]),
    wrapped: bytes(row["wrapped"]),
    createdAt: Number(row["created_at"]),
    retiredAt: row["retired_at"] === null ? null : Number(row["retired_at"]),
    records: Number(row["records"]),
  };
}

function secretRow(row: Columns): SecretRow {
  return { name: String(row["name"]), version: Number(row["version"]), sealed: bytes(row["sealed"]), updatedAt: Number(row["updated_at"]) };
}

function keyRow(row: Columns): KeyRow {
  return {
    name: String(row["name"]),
    kind: String(row["kind"]) as KeyKind,
    sealed: bytes(row["sealed"]),
    publicKey: row["public_key"] === null ? null : bytes(row["public_key"]),
  };
}
