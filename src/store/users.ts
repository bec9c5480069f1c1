import type { Actor, AuditEvent } from "../core/event.ts";
import { unreachable } from "../core/unreachable.ts";
import { totpContext } from "../crypto/context.ts";
import type { SealedRecords } from "../crypto/key-store.ts";
import type { Account, UserRole } from "../identity/directory.ts";
import type { NewPasskey, Passkey, UserRecords, UserSwitch, VouchedUser } from "../identity/users.ts";
import type { Journal, Transaction } from "./journal.ts";
import { silent } from "./journal.ts";
import { prepared } from "./prepared.ts";
import type { PasskeyRow, UserRow } from "./schema.ts";
import type { Database } from "./sqlite.ts";

/** People's accounts, and what they prove themselves with. */
export function createUserRecords(database: Database, journal: Journal, now: () => number): UserRecords {
  const { read } = database;

  async function byName(name: string, db: Transaction = read): Promise<Account | undefined> {
    const row = await db.selectFrom("users").selectAll().where("name", "=", name).executeTakeFirst();
    return row && fromRow(row);
  }

  return {
    async find(account) {
      const [row] = (await findUser(read, { id: account })).rows;
      return row && fromRow(row);
    },

    byName: (name) => byName(name),

    list: async () => (await read.selectFrom("users").selectAll().orderBy("name").execute()).map(fromRow),

    async proofs(account) {
      const columns = ["password", "totp", "totp_step"] as const;
      const row = await read.selectFrom("users").select(columns).where("id", "=", account).executeTakeFirst();
      if (!row) return undefined;
      const { password, totp, totp_step: totpStep } = row;
      return { ...(password === null ? {} : { password }), ...(totp ? { totp } : {}), totpStep };
    },

    async add(account, actor) {
      const { result } = await journal.write(async (tx) => {
        if (await byName(account.name, tx)) return silent(false);
        await insert(tx, account, now());
        return { result: true, events: [added(account, actor)] };
      });
      return result;
    },

    async apply(account, change, actor) {
      await journal.write(async (tx) => {
        await tx.updateTable("users").set(columnsFor(change, now())).where("id", "=", account).execute();
        return { result: undefined, events: [{ kind: change, user: account, actor }] };
      });
    },

    async invite(account, digest, expiresAt, actor) {
      await journal.write(async (tx) => {
        await endLinks(tx, account, now());
        await tx.insertInto("enrolments").values({ digest, account, expires_at: expiresAt, used_at: null }).execute();
        return { result: undefined, events: [{ kind: "user.invited", user: account, actor }] };
      });
    },

    async invited(digest) {
      const link = read.selectFrom("enrolments").innerJoin("users", "users.id", "enrolments.account").selectAll("users");
      const good = link.where("digest", "=", digest).where("used_at", "is", null).where("expires_at", ">", now());
      const row = await good.where("disabled_at", "is", null).where("frozen_at", "is", null).executeTakeFirst();
      return row && fromRow(row);
    },

    async enrol(digest, account, { password, totp, passkey }, actor) {
      const { result } = await journal.write(async (tx) => {
        const at = now();
        const theirs = await tx
          .selectFrom("passkeys")
          .select("account")
          .where("id", "=", passkey?.id ?? new Uint8Array())
          .executeTakeFirst();
        if (!(await usable(tx, account)) || (theirs && theirs.account !== account)) return silent(false);
        const link = tx.updateTable("enrolments").set({ used_at: at }).where("digest", "=", digest).where("account", "=", account);
        const good = link.where("used_at", "is", null).where("expires_at", ">", at);
        if ((await good.executeTakeFirst()).numUpdatedRows !== 1n) return silent(false);
        await tx.deleteFrom("passkeys").where("account", "=", account).execute();
        if (passkey) await insertPasskey(tx, account, passkey, at);
        await tx
          .updateTable("users")
          // Whoever signed in with what was there before has to prove themselves anew.
          .set({ password: password ?? null, totp: totp?.sealed ?? null, totp_step: totp?.step ?? null, valid_from: at })
          .where("id", "=", account)
          .execute();
        const methods = { password, totp, passkey };
        const set = (["password", "totp", "passkey"] as const).filter((method) => methods[method] !== undefined);
        return { result: true, events: set.map((method): AuditEvent => ({ kind: "user.enrolled", user: account, method, actor })) };
      });
      return result;
    },

    async signedIn(account, by, actor) {
      const { result } = await journal.write(async (tx) => {
        const row = await usable(tx, account);
        if (!row) return silent(false);
        if (by.method === "passkey") {
          const set = { counter: by.to, used_at: now() };
          const used = tx.updateTable("passkeys").set(set).where("id", "=", by.passkey).where("account", "=", account);
          if ((await used.where("counter", "=", by.from).executeTakeFirst()).numUpdatedRows !== 1n) return silent(false);
        } else if (by.totpStep !== undefined) {
          if (row.totp_step !== null && row.totp_step >= by.totpStep) return silent(false);
          await tx.updateTable("users").set({ totp_step: by.totpStep }).where("id", "=", account).execute();
        }
        return { result: true, events: [{ kind: "user.signed-in", user: account, method: by.method, actor }] };
      });
      return result;
    },

    async vouched(user, id, ip) {
      const { result } = await journal.write(async (tx): Promise<{ result: Account | undefined; events: AuditEvent[] }> => {
        const of = tx.selectFrom("users").selectAll().where("issuer", "=", user.issuer).where("subject", "=", user.subject);
        const row = await of.executeTakeFirst();
        if (row && (row.disabled_at !== null || row.frozen_at !== null)) return { result: undefined, events: [] };
        const account = row ? { ...fromRow(row), ...describedBy(user) } : { ...fresh(user, id), name: await freeName(tx, user) };
        const actor: Actor = { type: "user", user: account.account, name: account.name, ip };
        const signedIn: AuditEvent = { kind: "user.signed-in", user: account.account, method: "openid", actor };
        if (!row) {
          await insert(tx, account, now());
          return { result: account, events: [added(account, actor), signedIn] };
        }
        const set = { email: user.email ?? null, teams: JSON.stringify(user.teams), role: account.role };
        await tx.updateTable("users").set(set).where("id", "=", row.id).execute();
        return { result: account, events: [signedIn] };
      });
      return result;
    },

    async rehash(account, from, to) {
      await journal.write(async (tx) => {
        await tx.updateTable("users").set({ password: to }).where("id", "=", account).where("password", "=", from).execute();
        return silent(undefined);
      });
    },

    async passkey(id) {
      const row = await read.selectFrom("passkeys").selectAll().where("id", "=", id).executeTakeFirst();
      return row && passkeyOf(row);
    },

    async passkeys(account) {
      return (await read.selectFrom("passkeys").selectAll().where("account", "=", account).orderBy("created_at").execute()).map(passkeyOf);
    },

    async addPasskey(account, passkey, actor) {
      const { result } = await journal.write(async (tx) => {
        if (!(await insertPasskey(tx, account, passkey, now()))) return silent(false);
        return { result: true, events: [{ kind: "user.enrolled", user: account, method: "passkey", actor }] };
      });
      return result;
    },

    async removePasskey(account, id) {
      const { result } = await journal.write(async (tx) => {
        const removal = tx.deleteFrom("passkeys").where("id", "=", id).where("account", "=", account);
        return silent((await removal.executeTakeFirst()).numDeletedRows === 1n);
      });
      return result;
    },
  };
}

/** The sealed keys of authenticator apps, for rotation. */
export function createTotpRecords(database: Database, journal: Journal): SealedRecords {
  return {
    async page(after, limit) {
      let query = database.read.selectFrom("users").select(["id", "totp"]).where("totp", "is not", null);
      if (after !== undefined) query = query.where("id", ">", after);
      const rows = await query.orderBy("id").limit(limit).execute();
      return rows.flatMap(({ id, totp }) => (totp ? [{ cursor: id, context: totpContext(id), sealed: totp }] : []));
    },

    async replace(record, sealed) {
      const { result } = await journal.write(async (tx) => {
        const update = tx.updateTable("users").set({ totp: sealed }).where("id", "=", record.cursor).where("totp", "=", record.sealed);
        return silent((await update.executeTakeFirst()).numUpdatedRows === 1n);
      });
      return result;
    },
  };
}

const findUser = prepared((db, { id }: { id: string }) => db.selectFrom("users").selectAll().where("id", "=", id));

function columnsFor(change: UserSwitch, at: number): Partial<UserRow> {
  switch (change) {
    case "user.disabled":
      // Enabled again, they sign in again: nothing from before comes back to life.
      return { disabled_at: at, valid_from: at + 1 };
    case "user.enabled":
      return { disabled_at: null };
    case "user.frozen":
      return { frozen_at: at };
    case "user.unfrozen":
      return { frozen_at: null };
    case "user.sessions-ended":
      return { valid_from: at + 1 };
    default:
      return unreachable(change);
  }
}

/** The account, unless it is disabled or frozen at this moment. */
function usable(tx: Transaction, account: string): Promise<UserRow | undefined> {
  const row = tx.selectFrom("users").selectAll().where("id", "=", account);
  return row.where("disabled_at", "is", null).where("frozen_at", "is", null).executeTakeFirst();
}

async function insert(tx: Transaction, account: Account, at: number): Promise<void> {
  const { account: id, issuer, subject, name, role, teams } = account;
  const row = { id, issuer, subject, name, role, email: account.email ?? null, teams: JSON.stringify(teams), created_at: at };
  const untouched = { password: null, totp: null, totp_step: null, disabled_at: null, frozen_at: null, valid_from: 0 };
  await tx
    .insertInto("users")
    .values({ ...row, ...untouched })
    .execute();
}

/** `false` when there is one of that id. */
async function insertPasskey(tx: Transaction, account: string, passkey: NewPasskey, at: number): Promise<boolean> {
  const { id, publicKey, algorithm, counter, name } = passkey;
  const row = { id, account, public_key: publicKey, algorithm, counter, name, created_at: at, used_at: null };
  const inserted = tx.insertInto("passkeys").values(row);
  return (await inserted.onConflict((conflict) => conflict.column("id").doNothing()).executeTakeFirst()).numInsertedOrUpdatedRows === 1n;
}

async function endLinks(tx: Transaction, account: string, at: number): Promise<void> {
  await tx.updateTable("enrolments").set({ used_at: at }).where("account", "=", account).where("used_at", "is", null).execute();
  await tx.deleteFrom("enrolments").where("expires_at", "<", at).execute();
}

/** Theirs, or theirs with a number when somebody else has it: an account is never taken over by its name. */
async function freeName(tx: Transaction, user: VouchedUser): Promise<string> {
  for (let number = 1; ; number += 1) {
    const name = number === 1 ? user.name : `${user.name.slice(0, 56)}-${number}`;
    if (!(await tx.selectFrom("users").select("id").where("name", "=", name).executeTakeFirst())) return name;
  }
}

function describedBy({ email, teams, role }: VouchedUser) {
  return { ...(email === undefined ? {} : { email }), teams, ...(role === undefined ? {} : { role }) };
}

function fresh(user: VouchedUser, id: string): Omit<Account, "name"> {
  const { issuer, subject } = user;
  return { account: id, issuer, subject, role: "member", ...describedBy(user), disabled: false, frozen: false, validFrom: 0 };
}

function added({ account, name, role }: Account, actor: Actor): AuditEvent {
  return { kind: "user.added", user: account, name, role, actor };
}

function fromRow(row: UserRow): Account {
  return {
    account: row.id,
    issuer: row.issuer,
    subject: row.subject,
    name: row.name,
    role: row.role as UserRole,
    ...(row.email === null ? {} : { email: row.email }),
    teams: JSON.parse(row.teams) as string[],
    disabled: row.disabled_at !== null,
    frozen: row.frozen_at !== null,
    validFrom: row.valid_from,
  };
}

function passkeyOf(row: PasskeyRow): Passkey {
  const { id, account, algorithm, counter, name } = row;
  const used = row.used_at === null ? {} : { usedAt: row.used_at };
  return { id, account, publicKey: row.public_key, algorithm, counter, name, createdAt: row.created_at, ...used };
}
