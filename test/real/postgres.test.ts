import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { JsonObject } from "../../src/core/json.ts";
import type { Material, Order } from "../../src/core/ports.ts";
import { Secret } from "../../src/core/secret.ts";
import { engineContract, orderFor } from "../../testing/engine-contract.ts";
import type { Target } from "./postgres-target.ts";
import { limitedPassword, loginWith, startTarget } from "./postgres-target.ts";

const tools = { describe, it, expect, beforeAll, afterAll };

for (const admin of ["super", "limited"] as const) {
  engineContract(`postgres, ${admin} admin`, tools, async () => {
    const target = await startTarget();
    return {
      engine: target.engine,
      entry: target.entry(admin),
      changed: target.entry(admin, { target: { host: "203.0.113.1", database: "elsewhere" }, grants: ["GRANT x TO {{role}}"] }),
      async login(material) {
        try {
          const client = await loginWith(target, material);
          await client.end();
          return "ok";
        } catch {
          return "refused";
        }
      },
      async openSession(material) {
        const client = await loginWith(target, material);
        const alive = () =>
          client
            .query("SELECT 1")
            .then(() => true)
            .catch(() => false);
        return { alive, close: () => client.end().catch(() => {}) };
      },
      canaries: [limitedPassword, target.database.superuser.password],
      stop: () => target.stop(),
    };
  });
}

describe("postgres engine", () => {
  let target: Target;
  beforeAll(async () => {
    target = await startTarget();
  });
  afterAll(async () => target.stop());

  const soon = (): AbortSignal => AbortSignal.timeout(15_000);
  async function mint(admin: "super" | "limited", spec?: JsonObject) {
    const order: Order = orderFor(target.entry(admin, spec));
    const handle = target.engine.plan(order);
    const material: Material = await target.engine.mint(order, handle, soon());
    return { order, handle, material, role: target.engine.nameOf(handle) };
  }
  const roleExists = async (role: string): Promise<boolean> =>
    (await target.sql(`SELECT FROM pg_roles WHERE rolname = '${role}'`)).length > 0;

  it("lends a role without any power of its own, that ends by itself", async () => {
    const { handle, order, role } = await mint("limited", { connectionLimit: 2, statementTimeout: "30s" });
    const [row] = await target.sql(
      `SELECT rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls, rolconnlimit, rolvaliduntil, rolconfig FROM pg_roles WHERE rolname = '${role}'`,
    );
    expect(row).toMatchObject({
      rolsuper: false,
      rolcreatedb: false,
      rolcreaterole: false,
      rolreplication: false,
      rolbypassrls: false,
      rolconnlimit: 2,
      rolconfig: ["statement_timeout=30000"],
    });
    expect(new Date(String(row?.["rolvaliduntil"])).getTime()).toBe(Math.ceil(order.expiresAt / 1000) * 1000);
    await target.engine.extend(handle, order.expiresAt + 60_000, soon());
    const [later] = await target.sql(`SELECT rolvaliduntil FROM pg_roles WHERE rolname = '${role}'`);
    expect(new Date(String(later?.["rolvaliduntil"])).getTime()).toBe(Math.ceil((order.expiresAt + 60_000) / 1000) * 1000);
    await target.engine.undo(handle, soon());
    await expect(target.engine.extend(handle, order.expiresAt, soon())).rejects.toMatchObject({ code: "lease_ended" });
  });

  it("refuses a login after the expiry, also when nobody undoes it", async () => {
    const order = orderFor(target.entry("limited"), undefined, Date.now() - 5_000);
    const handle = target.engine.plan(order);
    const material = await target.engine.mint(order, handle, soon());
    await expect(loginWith(target, material)).rejects.toMatchObject({ code: "28P01" });
    await target.engine.undo(handle, soon());
  });

  it("hands the server a verifier and never the password, with every statement in its log (EX-07)", async () => {
    const { handle, material } = await mint("super");
    const { password, url } = material.fields;
    if (!(password instanceof Secret) || !(url instanceof Secret)) throw new TypeError("expected secrets");
    const client = await target.database.connect({ database: "shop" });
    await client.end();
    await target.engine.undo(handle, soon());
    const log = target.database.log();
    expect(log).toContain("PASSWORD 'SCRAM-SHA-256$4096:");
    password.use((bytes) => expect(log.includes(bytes.toString("utf8"))).toBe(false));
    expect(url.use((bytes) => bytes.toString("utf8"))).toContain(`@127.0.0.1:${target.database.port}/shop?sslmode=disable`);
  });

  for (const admin of ["super", "limited"] as const) {
    it(`drops what the role made, in its own database and in another (${admin} admin)`, async () => {
      const { handle, material, role } = await mint(admin);
      for (const database of ["shop", "other"]) {
        const client = await loginWith(target, material, database);
        await client.query("CREATE TABLE souvenir (id int); CREATE FUNCTION souvenir() RETURNS int LANGUAGE sql AS 'SELECT 1'");
        await client.end();
      }
      await target.engine.undo(handle, soon());
      expect(await roleExists(role)).toBe(false);
      for (const database of ["shop", "other"]) {
        expect(await target.sql("SELECT FROM pg_class WHERE relname = 'souvenir'", database)).toEqual([]);
        expect(await target.sql("SELECT FROM pg_proc WHERE proname = 'souvenir'", database)).toEqual([]);
      }
    });

    it(`hands what the role made to the group, when so configured (${admin} admin)`, async () => {
      const { handle, material } = await mint(admin, { onEnd: "reassign", owner: "shop_rw" });
      const client = await loginWith(target, material);
      await client.query("CREATE TABLE heirloom (id int)");
      await client.end();
      await target.engine.undo(handle, soon());
      const owner = await target.sql("SELECT pg_get_userbyid(relowner) AS owner FROM pg_class WHERE relname = 'heirloom'");
      expect(owner).toEqual([{ owner: "shop_rw" }]);
      await target.sql("DROP TABLE heirloom");
    });

    it(`rolls back a prepared transaction, which would outlive the role and keep its locks (${admin} admin)`, async () => {
      const { handle, material, role } = await mint(admin);
      for (const database of ["shop", "other"]) {
        const client = await loginWith(target, material, database);
        await client.query("BEGIN");
        await client.query("CREATE TABLE left_open (id int)");
        await client.query(`PREPARE TRANSACTION 'it''s "${database}"'`);
        await client.end();
      }
      await target.engine.undo(handle, soon());
      expect(await target.sql("SELECT gid FROM pg_prepared_xacts")).toEqual([]);
      expect(await roleExists(role)).toBe(false);
    });
  }

  it("keeps the login dead when others depend on what the role made, and finishes once they do not (PL-09)", async () => {
    const { handle, material, role } = await mint("super");
    const client = await loginWith(target, material);
    await client.query("CREATE TABLE base (id int)");
    await target.sql("CREATE VIEW depends AS SELECT * FROM base");
    await expect(target.engine.undo(handle, soon())).rejects.toMatchObject({ code: "target_unavailable", cause: { code: "2BP01" } });
    await expect(client.query("SELECT 1")).rejects.toThrow(/terminat|queryable/);
    await expect(loginWith(target, material)).rejects.toMatchObject({ code: "28000" });
    await target.sql("DROP VIEW depends");
    await target.engine.undo(handle, soon());
    expect(await roleExists(role)).toBe(false);
  });

  it("ends clients that log in again and again while it is undone (PL-11)", async () => {
    const { handle, material, role } = await mint("limited", { connectionLimit: 50 });
    const [found] = await target.sql(`SELECT oid::text AS oid FROM pg_roles WHERE rolname = '${role}'`);
    const open = new Set<{ end(): Promise<void> }>();
    const stopped = new AbortController();
    const loop = async (): Promise<void> => {
      while (!stopped.signal.aborted) {
        try {
          const client = await loginWith(target, material);
          open.add(client);
          await client.query("SELECT 1");
        } catch {
          await new Promise((done) => setTimeout(done, 1));
        }
      }
    };
    const loops = [loop(), loop()];
    await new Promise((done) => setTimeout(done, 100));
    await target.engine.undo(handle, soon());
    const survivors = async () => target.sql(`SELECT pid FROM pg_stat_activity WHERE usesysid = ${String(found?.["oid"])}`);
    expect(await survivors()).toEqual([]);
    await new Promise((done) => setTimeout(done, 100));
    stopped.abort();
    await Promise.all(loops);
    expect(await survivors()).toEqual([]);
    expect(open.size).toBeGreaterThan(2);
    for (const client of open) await client.end().catch(() => {});
  });

  it("waits for a mint that is still in flight, so that an undo cannot overtake it (PL-08)", async () => {
    const order = orderFor(target.entry("limited"));
    const handle = target.engine.plan(order);
    const role = target.engine.nameOf(handle);
    // The mint of a broker that died: its transaction has the lock and the role, and commits later.
    const dead = await target.database.connect({ database: "shop" });
    await dead.query("BEGIN");
    await dead.query("SELECT pg_advisory_xact_lock(hashtextextended('leasehold:' || $1, 0))", [role]);
    await dead.query(`CREATE ROLE "${role}" LOGIN`);
    await dead.query(`GRANT "${role}" TO "bro""ker" WITH ADMIN OPTION`);
    let undone = false;
    const undoing = target.engine.undo(handle, soon()).then(() => (undone = true));
    await new Promise((done) => setTimeout(done, 200));
    expect(undone).toBe(false);
    await dead.query("COMMIT");
    await undoing;
    await dead.end();
    expect(await roleExists(role)).toBe(false);
  });

  it("quotes every name: groups, owners and databases that carry SQL (EX-12)", async () => {
    const hostile = `x"; DROP TABLE invoices; --`;
    const quoted = `"${hostile.replaceAll('"', '""')}"`;
    await target.sql(`CREATE ROLE ${quoted}; GRANT SELECT ON invoices TO ${quoted}; GRANT CREATE ON SCHEMA public TO ${quoted}`);
    await target.sql(`CREATE DATABASE "a'b""c"`);
    const hostileTarget = { host: target.database.host, port: target.database.port, database: `a'b"c` };
    const { handle, material } = await mint("super", {
      target: hostileTarget,
      grants: [],
      inRole: [hostile],
      onEnd: "reassign",
      owner: hostile,
    });
    const client = await loginWith(target, material);
    await client.query("SELECT 1");
    await client.end();
    await target.engine.undo(handle, soon());
    expect(await target.sql("SELECT count(*)::int AS n FROM invoices")).toEqual([{ n: 500 }]);
  });

  it("mints nothing when a grant fails, or carries a second statement", async () => {
    for (const grant of ["GRANT no_such_group TO {{role}}", "GRANT SELECT ON no_such_table TO {{role}}"]) {
      await expect(mint("super", { grants: [grant] })).rejects.toMatchObject({ code: "target_unavailable" });
    }
    const order = orderFor(target.entry("super"));
    const smuggled = {
      ...order,
      entry: { ...order.entry, spec: { ...order.entry.spec, grants: ["GRANT shop_rw TO {{role}}; DROP TABLE invoices"] } },
    };
    await expect(target.engine.mint(smuggled, target.engine.plan(order), soon())).rejects.toThrow(/one statement/);
    expect(await target.engine.survey(target.entry("super"), soon())).toEqual([]);
  });

  it("says only that the target cannot be reached, and keeps the reason for the log (EX-06)", async () => {
    const down = target.entry("super", { target: { host: "127.0.0.1", port: 1, database: "shop" } });
    const order = orderFor(down);
    const failure = await target.engine.mint(order, target.engine.plan(order), soon()).catch((problem: unknown) => problem);
    expect(failure).toMatchObject({ code: "target_unavailable", message: "The target cannot be reached right now. Try again later." });
    await expect(target.engine.undo(target.engine.plan(order), soon())).rejects.toMatchObject({ code: "target_unavailable" });
  });

  it("reads the admin's password anew for every connection, and survives the loss of idle ones", async () => {
    await mint("limited").then(({ handle }) => target.engine.undo(handle, soon()));
    await target.sql(`ALTER ROLE "bro""ker" PASSWORD 'rotated-4b'`);
    target.secrets.set("limited", JSON.stringify({ username: 'bro"ker', password: "rotated-4b" }));
    await target.sql(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'leasehold' AND pid <> pg_backend_pid()`,
    );
    await new Promise((done) => setTimeout(done, 50));
    await mint("limited").then(({ handle }) => target.engine.undo(handle, soon()));
    target.secrets.set("limited", "not JSON, but canary-2c");
    const fresh = target.entry("limited", { target: { host: "localhost", port: target.database.port, database: "shop" } });
    const order = orderFor(fresh);
    const failure = await target.engine.mint(order, target.engine.plan(order), soon()).catch((problem: unknown) => problem);
    expect(failure).toMatchObject({ code: "vault_unavailable" });
    expect(String((failure as Error).cause)).not.toContain("canary");
  });

  it("finds out beforehand what would keep an entry from being lent, and leaves no trace of it", async () => {
    const found = async (admin: "super" | "limited", spec?: JsonObject) =>
      (await target.engine.diagnose(target.entry(admin, spec), soon())).map(({ level, message }) => `${level}: ${message}`).join("\n");
    await target.sql(`ALTER ROLE "bro""ker" PASSWORD '${limitedPassword}'`);
    target.secrets.set("limited", JSON.stringify({ username: 'bro"ker', password: limitedPassword }));
    const fine = await found("limited");
    expect(fine).toMatch(/^ok: PostgreSQL 18/);
    expect(fine).not.toMatch(/problem|warning/);
    expect(await found("super")).toMatch(/warning: postgres is a superuser/);
    expect(await found("limited", { grants: ["GRANT pg_monitor TO {{role}}"] })).toMatch(
      /problem: A role with these grants cannot be created/,
    );
    expect(await found("limited", { onEnd: "reassign", owner: "nobody" })).toMatch(/problem: There is no role nobody/);
    expect(await found("limited", { target: { host: "127.0.0.1", port: 1, database: "shop" } })).toMatch(
      /problem: The admin cannot connect/,
    );
    await target.sql(`ALTER ROLE "bro""ker" NOCREATEROLE`);
    expect(await found("limited")).toMatch(/problem: .* lacks CREATEROLE/);
    await target.sql(`ALTER ROLE "bro""ker" CREATEROLE`);
    expect(await target.sql("SELECT FROM pg_roles WHERE rolname LIKE 'lh_rehearsal%'")).toEqual([]);
  });
});
