import { DatabaseSync } from "node:sqlite";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Client } from "pg";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { LeaseId } from "../../src/core/brand.ts";
import { Failure } from "../../src/core/errors.ts";
import type { Database } from "../../src/demo/database.ts";
import { startDatabase } from "../../src/demo/database.ts";
import { startProxy } from "./tcp-proxy.ts";
import type { TestHouse } from "./house.ts";
import { agent, auditOf, correlation, openHouse, readonly, removeFolder, request, rolesAt } from "./house.ts";

let database: Database;
let open: TestHouse;

beforeAll(async () => {
  database = await startDatabase();
  const client = await database.connect();
  await client.query("CREATE TABLE invoices (id int PRIMARY KEY, cents int); INSERT INTO invoices VALUES (1, 100), (2, 250)");
  await client.end();
});
afterAll(() => database.stop());

beforeEach(async () => {
  open = await openHouse({ database });
});
afterEach(async () => {
  for (const lease of await open.house.leases.list({ live: true })) await open.house.operator.revoke(lease.id, "teardown");
  await open.close();
  await removeFolder(open.folder);
});

const reporter = agent("reporter");

async function failureOf(work: Promise<unknown>): Promise<Failure> {
  const thrown: unknown = await work.then(
    () => undefined,
    (problem: unknown) => problem,
  );
  if (thrown instanceof Failure) return thrown;
  throw new Error(`expected a Failure, got ${String(thrown)}`);
}

async function injected(who = reporter, ttl?: number) {
  const { broker } = open.house;
  const { lease, delivered } = await broker.grant(who, request(readonly, { delivery: "inject", ...(ttl ? { ttl } : {}) }));
  if (delivered.by !== "inject") throw new Error("not injected");
  return { lease, handle: delivered.handle };
}

async function loginOf(handle: string): Promise<{ user: string; password: string; port: number; host: string; database: string }> {
  const { material } = await open.house.broker.redeem(reporter, handle, correlation());
  const { revealMaterial } = await import("../../src/delivery/reveal.ts");
  const { username = "", password = "", host = "", port, database: name = "" } = revealMaterial(material);
  return { user: username, password, host, port: Number(port), database: name };
}

describe("a lease", () => {
  it("is on record before it exists, and its issue before anyone sees it", async () => {
    const { lease } = await open.house.broker.grant(reporter, request(readonly));
    expect(await rolesAt(database)).toEqual([`lh_${lease.id}`]);
    const kinds = (await auditOf(open.house)).filter((entry) => entry["lease"] === lease.id).map((entry) => entry["kind"]);
    expect(kinds).toEqual(["access.decided", "lease.issued"]);
    expect(lease.expiresAt - lease.createdAt).toBe(60_000);
  });

  it("P-3 PL-11 ends at the target when it is revoked: the open session is dead and the login refused", async () => {
    const { lease, handle } = await injected();
    const login = await loginOf(handle);
    const session = new Client(login);
    session.on("error", () => undefined);
    await session.connect();
    expect((await session.query("SELECT count(*)::int AS n FROM invoices")).rows).toEqual([{ n: 2 }]);

    const ended = await open.house.broker.revoke(reporter, lease.id, correlation());
    expect(ended.state).toBe("revoked");
    await expect(session.query("SELECT 1")).rejects.toThrow(/terminat|not queryable/i);
    await expect(new Client(login).connect()).rejects.toMatchObject({ code: expect.stringMatching(/^28/) });
    expect(await rolesAt(database)).toEqual([]);
  });

  it("ends by itself: expired, undone, revoked", async () => {
    const { lease } = await open.house.broker.grant(reporter, request(readonly, { ttl: 1 }));
    await new Promise((resolve) => setTimeout(resolve, 1_050));
    expect(await open.house.reaper.round()).toBe(1);
    expect((await open.house.leases.find(lease.id))?.state).toBe("revoked");
    expect(await rolesAt(database)).toEqual([]);
    const kinds = (await auditOf(open.house)).filter((entry) => entry["lease"] === lease.id).map((entry) => entry["kind"]);
    expect(kinds).toEqual(["access.decided", "lease.issued", "lease.expired", "lease.revoking", "lease.revoked"]);
  });

  it("an expired one cannot be used, before anyone has cleaned up", async () => {
    const { lease } = await open.house.broker.grant(reporter, request(readonly, { ttl: 1 }));
    await new Promise((resolve) => setTimeout(resolve, 1_050));
    expect((await failureOf(useSql("SELECT 1", { lease: lease.id }))).code).toBe("lease_ended");
  });

  it("MT-04 of someone else answers exactly like one that does not exist, and is audited", async () => {
    const { lease } = await open.house.broker.grant(reporter, request(readonly));
    const other = agent("debugger");
    const missing = "01aaaaaaaaaaaaaaaaaaaaaaaa" as LeaseId;
    const { broker } = open.house;
    for (const act of [
      (id: LeaseId) => broker.revoke(other, id, correlation()),
      (id: LeaseId) => broker.renew(other, id, 60, correlation()),
      (id: LeaseId) => useSql("SELECT 1", { lease: id }, other),
    ]) {
      const [foreign, absent] = [await failureOf(act(lease.id)), await failureOf(act(missing))];
      expect([foreign.code, foreign.message, foreign.facts]).toEqual([absent.code, absent.message, absent.facts]);
      expect(foreign.code).toBe("not_found");
    }
    expect(await broker.leases(other)).toEqual([]);
    const refused = (await auditOf(open.house)).filter((entry) => entry["kind"] === "lease.refused").map((entry) => entry["why"]);
    expect(refused).toEqual(["not-owner", "unknown", "not-owner", "unknown", "not-owner", "unknown"]);
    expect((await open.house.leases.find(lease.id))?.state).toBe("active");
  });

  it("PL-05 is renewed within the limit it was granted with, and by whole positive seconds only", async () => {
    const { lease } = await open.house.broker.grant(reporter, request(readonly));
    const renewed = await open.house.broker.renew(reporter, lease.id, 10_000, correlation());
    expect(renewed.expiresAt).toBe(lease.maxExpiresAt);
    expect(lease.maxExpiresAt - lease.createdAt).toBe(300_000);
    for (const ttl of [-1, 0, Number.NaN, 2 ** 63, 1.5])
      expect((await failureOf(open.house.broker.renew(reporter, lease.id, ttl, correlation()))).code).toBe("invalid_request");
    const client = await database.connect();
    const { rows } = await client.query<{ until: Date }>("SELECT rolvaliduntil AS until FROM pg_roles WHERE rolname = $1", [
      `lh_${lease.id}`,
    ]);
    await client.end();
    expect(rows[0]?.until.getTime()).toBeGreaterThanOrEqual(lease.maxExpiresAt);
  });

  it("longer than allowed is capped, never refused", async () => {
    const { lease } = await open.house.broker.grant(reporter, request(readonly, { ttl: 86_400 }));
    expect(lease.expiresAt - lease.createdAt).toBe(300_000);
  });
});

async function useSql(statement: string, on: { lease?: LeaseId } = {}, who = reporter) {
  const target = on.lease ? { lease: on.lease } : { credential: readonly };
  return open.house.broker.use(who, {
    kind: "sql",
    ...target,
    input: { statement },
    purpose: "a test",
    correlation: correlation(),
    signal: AbortSignal.timeout(10_000),
  });
}

describe("use", () => {
  it("takes a lease once and goes on with it", async () => {
    const first = await useSql("SELECT sum(cents)::int AS total FROM invoices");
    const second = await useSql("SELECT id FROM invoices ORDER BY id");
    expect(first.output["rows"]).toEqual([[350]]);
    expect(second.lease.id).toBe(first.lease.id);
    expect(await rolesAt(database)).toHaveLength(1);
  });

  it("another session of the same agent gets a lease of its own", async () => {
    const first = await useSql("SELECT 1");
    const second = await useSql("SELECT 1", {}, agent("reporter", "another"));
    expect(second.lease.id).not.toBe(first.lease.id);
  });

  it("what is wrong with an operation is told to those only who may use the credential", async () => {
    expect((await failureOf(useSql("DROP TABLE invoices"))).code).toBe("operation_refused");
    expect((await failureOf(useSql("DROP TABLE invoices", {}, agent("intern")))).code).toBe("denied");
    expect(await rolesAt(database)).toEqual([]);
  });

  it("a lease taken for injection is not for use", async () => {
    const { lease } = await injected();
    expect((await failureOf(useSql("SELECT 1", { lease: lease.id }))).code).toBe("lease_ended");
  });

  it("a one-time permit ends the lease with the operation", async () => {
    const { folder } = open;
    const policy = `@id("once") @one_time("true") permit (principal, action == Leasehold::Action::"use", resource);`;
    await writeFile(join(folder, "policies", "test.cedar"), policy);
    await open.close();
    open = await openHouse({ database, folder });
    const { lease } = await useSql("SELECT 1");
    expect((await open.house.leases.find(lease.id))?.state).toBe("revoked");
    expect(await rolesAt(database)).toEqual([]);
  });
});

describe("revocation and what stands in its way", () => {
  it("RD-01 freeze: the next call is refused, and every lease is gone at the target", async () => {
    const { handle } = await injected();
    const login = await loginOf(handle);
    await useSql("SELECT 1");
    const report = await open.house.operator.freeze(reporter.agent, "test");
    expect(report).toMatchObject({ revoked: 2, pending: [] });
    expect(await rolesAt(database)).toEqual([]);
    await expect(new Client(login).connect()).rejects.toThrow(/authentication|not permitted/i);
    const { broker } = open.house;
    for (const call of [
      () => broker.grant(reporter, request(readonly)),
      () => useSql("SELECT 1"),
      () => broker.leases(reporter),
      () => broker.find(reporter, correlation()),
      () => broker.redeem(reporter, handle, correlation()),
      () => broker.outlook(reporter),
    ])
      expect((await failureOf(call())).code).toBe("denied");
    await open.house.operator.unfreeze(reporter.agent, "test");
    await useSql("SELECT 1");
  });

  it("a freeze that comes while a credential is being minted leaves nothing behind", async () => {
    const grants = Array.from({ length: 8 }, () => open.house.broker.grant(reporter, request(readonly)));
    await new Promise((resolve) => setTimeout(resolve, 5));
    await open.house.operator.freeze(reporter.agent, "test");
    const outcomes = await Promise.allSettled(grants);
    // Whatever got through before the freeze was revoked by it; everything else was refused.
    await open.house.reaper.round();
    expect(await rolesAt(database)).toEqual([]);
    const live = await open.house.leases.list({ agent: reporter.agent, live: true });
    expect(live).toEqual([]);
    expect(outcomes.some((outcome) => outcome.status === "rejected")).toBe(true);
  });

  it("P-4 PL-02 a policy that is taken away while a credential is being minted takes the credential with it", async () => {
    const { house } = open;
    const granting = house.broker.grant(reporter, request(readonly));
    const { parseBundle } = await import("../../src/policy/bundle.ts");
    const text = `@id("nothing") permit (principal == Leasehold::Agent::"nobody", action, resource);`;
    const parsed = await parseBundle([{ file: "none.cedar", text }]);
    if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
    (await house.policies()).reload(parsed.bundle);
    expect((await failureOf(granting)).code).toBe("denied");
    expect(await rolesAt(database)).toEqual([]);
  });

  it("PL-09 a target that is down at revoke: shown as not revoked, alarmed, and finished when it is back", async () => {
    await open.close();
    const proxy = await startProxy(database.port);
    open = await openHouse({ database: { ...database, port: proxy.port }, folder: open.folder });
    const { lease } = await open.house.broker.grant(reporter, request(readonly));
    proxy.cut();
    expect((await open.house.broker.revoke(reporter, lease.id, correlation())).state).toBe("revoking");
    for (let attempt = 1; attempt < 6; attempt += 1) {
      const now = await open.house.leases.find(lease.id);
      if (now?.state === "revoking") await open.house.operator.revoke(lease.id, "test");
    }
    expect((await open.house.leases.find(lease.id))?.state).toBe("stuck");
    expect(open.log()).toContain("STUCK");
    expect((await auditOf(open.house)).some((entry) => entry["kind"] === "lease.stuck")).toBe(true);
    expect(await rolesAt(database)).toEqual([`lh_${lease.id}`]);

    proxy.mend();
    expect((await open.house.operator.revoke(lease.id, "test"))?.state).toBe("revoked");
    expect(await rolesAt(database)).toEqual([]);
    await proxy.close();
  });

  it("PL-10 a role that an administrator dropped by hand is a lease revoked", async () => {
    const { lease } = await open.house.broker.grant(reporter, request(readonly));
    const client = await database.connect();
    await client.query(`DROP OWNED BY "lh_${lease.id}"; DROP ROLE "lh_${lease.id}"`);
    await client.end();
    expect((await open.house.broker.revoke(reporter, lease.id, correlation())).state).toBe("revoked");
  });

  it("a lease outlives its catalogue entry, and is revoked all the same", async () => {
    const { lease } = await open.house.broker.grant(reporter, request(readonly));
    const { folder } = open;
    await open.close();
    const other = await startDatabase();
    // The entry now points elsewhere: the recipe in the lease must not.
    open = await openHouse({ database: { ...database, port: other.port }, folder });
    expect((await open.house.operator.revoke(lease.id, "test"))?.state).toBe("revoked");
    expect(await rolesAt(database)).toEqual([]);
    await other.stop();
  });

  it("a sweep reports what no lease knows, and removes it when told to", async () => {
    const client = await database.connect();
    await client.query(`CREATE ROLE "lh_01zzzzzzzzzzzzzzzzzzzzzzzz" LOGIN`);
    await client.end();
    const { lease } = await open.house.broker.grant(reporter, request(readonly));
    const [report] = await open.house.operator.sweep({ remove: false });
    expect(report).toMatchObject({ found: 2, orphans: ["lh_01zzzzzzzzzzzzzzzzzzzzzzzz"], removed: 0 });
    const [removing] = await open.house.operator.sweep({ remove: true });
    expect(removing).toMatchObject({ removed: 1 });
    expect(await rolesAt(database)).toEqual([`lh_${lease.id}`]);
  });
});

describe("promises", () => {
  it("P-1 AU-03 no audit, no credential: nothing is minted, released or performed when the log cannot be written", async () => {
    const { house, folder } = open;
    const { lease } = await house.broker.grant(reporter, request(readonly));
    const store = new DatabaseSync(join(folder, "data", "leasehold.db"));
    store.exec("ALTER TABLE audit_entries RENAME TO gone");
    try {
      expect((await failureOf(house.broker.grant(reporter, request(readonly)))).code).toBe("audit_unavailable");
      expect((await failureOf(useSql("SELECT 1", { lease: lease.id }))).code).toBe("audit_unavailable");
      expect((await failureOf(house.broker.grant(agent("intern"), request(readonly)))).code).toBe("audit_unavailable");
      expect(await rolesAt(database)).toEqual([`lh_${lease.id}`]);
      expect(await house.leases.list({ live: true })).toHaveLength(1);
    } finally {
      store.exec("ALTER TABLE gone RENAME TO audit_entries");
      store.close();
    }
    await useSql("SELECT 1", { lease: lease.id });
  });

  it("P-7 what cannot be read denies: the vault, the agents, the exposures", async () => {
    const { house, folder } = open;
    const store = new DatabaseSync(join(folder, "data", "leasehold.db"));
    for (const table of ["secrets", "agents", "exposures"]) {
      store.exec(`ALTER TABLE ${table} RENAME TO gone`);
      try {
        await expect(house.broker.grant(reporter, request(readonly)), table).rejects.toThrow(/no such table|vault|target/);
        expect(await rolesAt(database)).toEqual([]);
      } finally {
        store.exec(`ALTER TABLE gone RENAME TO ${table}`);
      }
    }
    store.close();
    await house.broker.grant(reporter, request(readonly));
  });

  it("sixteen agents that ask at once get sixteen roles", async () => {
    const grants = await Promise.all(Array.from({ length: 16 }, () => open.house.broker.grant(reporter, request(readonly))));
    expect(await rolesAt(database)).toEqual(grants.map(({ lease }) => `lh_${lease.id}`).toSorted());
  });

  it("PL-14 an agent that takes all leases is stopped alone", async () => {
    await open.close();
    open = await openHouse({ database, folder: open.folder, extra: "limits: { leasesPerAgent: 3 }" });
    const { broker } = open.house;
    const tries = await Promise.allSettled(Array.from({ length: 8 }, () => broker.grant(reporter, request(readonly))));
    const refused = tries.flatMap((one) => (one.status === "rejected" ? [one.reason as Failure] : []));
    expect(refused).toHaveLength(5);
    expect(new Set(refused.map((one) => one.code))).toEqual(new Set(["quota_exceeded"]));
    await broker.grant(agent("debugger"), request(readonly));
    const [held] = await broker.leases(reporter);
    if (held) await broker.revoke(reporter, held.id, correlation());
    await broker.grant(reporter, request(readonly));
  });

  it("PL-15 a handle is redeemed exactly once, by its owner, in time", async () => {
    const { handle } = await injected();
    const { broker } = open.house;
    expect((await failureOf(broker.redeem(agent("debugger"), handle, correlation()))).code).toBe("not_found");
    const tries = await Promise.allSettled(Array.from({ length: 50 }, () => broker.redeem(reporter, handle, correlation())));
    expect(tries.filter((one) => one.status === "fulfilled")).toHaveLength(1);
    expect((await failureOf(broker.redeem(reporter, "lhh_nonsense", correlation()))).code).toBe("not_found");
    const why = (await auditOf(open.house)).filter((entry) => entry["kind"] === "handle.refused").map((entry) => entry["why"]);
    expect(why.filter((one) => one === "used")).toHaveLength(49);
    expect(why).toContain("not-owner");
    expect(why).toContain("unknown");
  });

  it("a value is revealed only where a policy says so, and the credential is marked as exposed", async () => {
    const { broker, exposures } = open.house;
    expect((await failureOf(broker.grant(reporter, request(readonly, { delivery: "reveal" })))).code).toBe("denied");
    expect(await exposures.isExposed(readonly)).toBe(false);
    const { delivered } = await broker.grant(agent("debugger"), request(readonly, { delivery: "reveal" }));
    expect(delivered).toMatchObject({ by: "reveal", values: { username: expect.stringMatching(/^lh_/) } });
    expect(await exposures.isExposed(readonly)).toBe(true);
  });

  it("what does not exist is refused in the same words as what is not allowed", async () => {
    const { broker } = open.house;
    const absent = await failureOf(broker.grant(reporter, request("no/such" as typeof readonly)));
    const forbidden = await failureOf(broker.grant(agent("intern"), request(readonly)));
    expect([absent.code, absent.message, absent.facts]).toEqual([forbidden.code, forbidden.message, forbidden.facts]);
  });
});
