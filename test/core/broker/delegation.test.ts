import { assert, constantFrom, property, subarray } from "fast-check";
import { describe, expect, it } from "vitest";
import type { AgentName, CredentialName } from "../../../src/core/brand.ts";
import type { Decision } from "../../../src/core/decision.ts";
import { combine, within } from "../../../src/core/narrow.ts";
import type { Principal } from "../../../src/core/principal.ts";
import type { Scope } from "../../../src/core/scope.ts";
import { allScopes, covers, unfold } from "../../../src/core/scope.ts";
import { newCorrelation, principal, tinyHouse } from "../mcp/tiny-house.ts";

const api = "crm/api" as CredentialName;
const db = "billing-db/readonly" as CredentialName;
const [child, parent] = ["child", "parent"] as AgentName[] as [AgentName, AgentName];
const both = { [db]: ["use"], [api]: ["use", "inject"] } as const;

function ask(credential: CredentialName, delivery: "use" | "inject" = "use") {
  return { credential, delivery, purpose: "test", correlation: newCorrelation() };
}

function call(kind: "sql" | "http", credential: CredentialName) {
  return { kind, credential, input: {}, purpose: "test", correlation: newCorrelation(), signal: AbortSignal.timeout(5_000) };
}

function user(account: string): Pick<Principal, "onBehalfOf"> {
  return { onBehalfOf: { account, issuer: "https://broker.example", subject: account, teams: [] } };
}

describe("an agent that acts for another", () => {
  it("can do what both could, and no more", async () => {
    const { broker } = tinyHouse({ child: both, parent: { [api]: ["use"] } });
    const caller = principal(child, { chain: [parent] });
    await expect(broker.grant(caller, ask(api))).resolves.toMatchObject({ lease: { agent: child } });
    await expect(broker.grant(caller, ask(api, "inject"))).rejects.toMatchObject({ code: "denied" });
    await expect(broker.use(caller, call("sql", db))).rejects.toMatchObject({ code: "denied" });
    expect((await broker.outlook(caller)).visible.map(({ entry, deliveries }) => [entry.name, deliveries])).toEqual([[api, ["use"]]]);
  });

  it("does not gain what only its parent may do", async () => {
    const { broker } = tinyHouse({ child: {}, parent: both });
    await expect(broker.grant(principal(child, { chain: [parent] }), ask(api))).rejects.toMatchObject({ code: "denied" });
  });

  it("RD-01: is refused as soon as an agent of its chain is frozen, disabled or gone, and that is on record", async () => {
    for (const change of [{ frozen: true }, { disabled: true }]) {
      const house = tinyHouse({ child: both, parent: both });
      const caller = principal(child, { chain: [parent] });
      await house.broker.grant(caller, ask(api));
      house.set(parent, change);
      await expect(house.broker.grant(caller, ask(api))).rejects.toMatchObject({ code: "denied" });
      await expect(house.broker.outlook(caller)).rejects.toMatchObject({ code: "denied" });
      expect(house.events.at(-1)).toMatchObject({ kind: "agent.refused", agent: parent, actor: { agent: child, chain: [parent] } });
    }
    const { broker } = tinyHouse({ child: both });
    await expect(broker.grant(principal(child, { chain: [parent] }), ask(api))).rejects.toMatchObject({ code: "denied" });
  });
});

describe("a narrowed token", () => {
  it("is good for its credentials only, on every path", async () => {
    const house = tinyHouse({ child: both });
    const wide = principal(child);
    const narrow = principal(child, { credentials: ["billing-db/*"] });
    const { lease } = await house.broker.grant(wide, ask(api));
    await expect(house.broker.grant(narrow, ask(api))).rejects.toMatchObject({ code: "denied" });
    expect(house.events.at(-1)).toMatchObject({ kind: "access.decided", outcome: "deny", reason: "narrowed" });
    await expect(house.broker.use(narrow, call("http", api))).rejects.toMatchObject({ code: "denied" });
    await expect(house.broker.revoke(narrow, lease.id, newCorrelation())).rejects.toMatchObject({ code: "not_found" });
    await expect(house.broker.renew(narrow, lease.id, 60, newCorrelation())).rejects.toMatchObject({ code: "not_found" });
    expect(await house.broker.leases(narrow)).toEqual([]);
    expect((await house.broker.find(narrow, newCorrelation())).map(({ entry }) => entry.name)).toEqual([db]);
    await expect(house.broker.use(narrow, call("sql", db))).resolves.toBeDefined();
  });

  it("is good for what its scopes say only, inside the broker too", async () => {
    const { broker } = tinyHouse({ child: both });
    const sql = principal(child, { scopes: ["use:sql"] });
    await expect(broker.use(sql, call("sql", db))).resolves.toBeDefined();
    await expect(broker.use(sql, call("http", api))).rejects.toMatchObject({ code: "denied" });
    await expect(broker.grant(sql, ask(api))).rejects.toMatchObject({ code: "denied" });
    await expect(broker.grant(principal(child, { scopes: ["leases:write"] }), ask(api))).resolves.toBeDefined();
    await expect(broker.grant(principal(child, { scopes: [] }), ask(api))).rejects.toMatchObject({ code: "denied" });
  });

  it("a folder is a folder, and not whatever starts alike", () => {
    expect(within(["billing-db/*"], "billing-db/readonly")).toBe(true);
    expect(within(["billing-db/*"], "billing-db-2/readonly")).toBe(false);
    expect(within(["billing-db"], "billing-db/readonly")).toBe(false);
    expect(within(["*"], "billing-db/readonly")).toBe(false);
    expect(within([], "a")).toBe(false);
    expect(within(undefined, "a")).toBe(true);
  });
});

describe("MT-04: a lease that was lent for one person", () => {
  it("is not the agent's own when it acts for another, or for nobody", async () => {
    const { broker } = tinyHouse({ child: both });
    const ada = principal(child, user("ada"));
    const { lease } = await broker.grant(ada, ask(api));
    expect(lease.account).toBe("ada");
    for (const other of [principal(child, user("bob")), principal(child)]) {
      await expect(broker.revoke(other, lease.id, newCorrelation())).rejects.toMatchObject({ code: "not_found" });
      await expect(broker.use(other, { ...call("http", api), lease: lease.id })).rejects.toMatchObject({ code: "not_found" });
      expect(await broker.leases(other)).toEqual([]);
      // Of its own session, too: what it holds for one person is not used for the next.
      await broker.use(other, call("http", api));
      expect((await broker.leases(other)).map(({ account }) => account)).toEqual([other.onBehalfOf?.account]);
    }
    expect((await broker.leases(ada)).map(({ id }) => id)).toEqual([lease.id]);
  });

  it("a handle is redeemed for the same person only", async () => {
    const { broker } = tinyHouse({ child: both });
    const { delivered } = await broker.grant(principal(child, user("ada")), ask(api, "inject"));
    if (delivered.by !== "inject") throw new Error("no handle");
    await expect(broker.redeem(principal(child, user("bob")), delivered.handle, newCorrelation())).rejects.toMatchObject({
      code: "lease_ended",
    });
  });
});

describe("scopes", () => {
  it("imply what is below them and nothing else", () => {
    expect(unfold(["use"])).toEqual(["use", "use:http", "use:sql"]);
    expect(covers(["use:http"], "use:sql")).toBe(false);
    expect(covers(["leases:read"], "leases:write")).toBe(false);
    expect(covers(undefined, "use")).toBe(true);
    expect(covers([], "leases:read")).toBe(false);
  });

  it("fewer scopes never cover more", () => {
    const some = subarray([...allScopes]);
    assert(
      property(some, some, constantFrom(...allScopes), (a: Scope[], b: Scope[], needed) => {
        const fewer = a.filter((scope) => b.includes(scope));
        expect(!covers(fewer, needed) || covers(a, needed)).toBe(true);
      }),
    );
  });
});

describe("several decisions on one request", () => {
  const allow = (maxTtl?: number): Decision => ({ outcome: "allow", policies: ["a"], obligations: maxTtl === undefined ? {} : { maxTtl } });
  const deny: Decision = { outcome: "deny", policies: ["d"], reason: "forbid" };
  const wait: Decision = { outcome: "needs-approval", policies: [], groups: ["security"] };

  it("come to the strictest of them", () => {
    expect(combine(allow(60), [allow(30), allow()])).toEqual({ outcome: "allow", policies: ["a"], obligations: { maxTtl: 30 } });
    expect(combine(allow(), [wait])).toMatchObject({ outcome: "needs-approval", groups: ["security"] });
    expect(combine(wait, [deny])).toBe(deny);
    expect(combine(allow(), [allow(), deny])).toBe(deny);
  });
});
