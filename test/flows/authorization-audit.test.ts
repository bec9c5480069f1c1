import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as pause } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { AuthorizationHouse } from "./authorization-house.ts";
import { basic, openAuthorizationHouse } from "./authorization-house.ts";
import type { Person } from "./person.ts";

let house: AuthorizationHouse;
let ada: Person;
beforeAll(async () => {
  house = await openAuthorizationHouse();
  ada = await house.person();
});
afterAll(() => house.close());

describe("too many requests", () => {
  it("of one address are put off; what is the same for everyone stays free", async () => {
    const busy = await openAuthorizationHouse({ extra: "oauth: { requestsPerMinute: 10 }" });
    const answers = await Promise.all(Array.from({ length: 12 }, () => busy.credentials()));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(10);
    const refused = answers.filter(({ status }) => status !== 200);
    for (const { status, headers, body } of refused) {
      expect([status, body["error"]]).toEqual([429, "temporarily_unavailable"]);
      expect(Number(headers.get("retry-after"))).toBeGreaterThan(0);
    }
    expect((await busy.send("/oauth/revoke", { token: "x" }, { authorization: basic("svc") })).status).toBe(429);
    for (const path of ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration", "/oauth/jwks"])
      for (let turn = 0; turn < 5; turn++) expect((await busy.get(path)).status).toBe(200);
    await busy.close();
  });
});

describe("the audit log", () => {
  function behindItsBack(statement: string): void {
    const store = new DatabaseSync(join(house.folder, "data", "leasehold.db"));
    store.exec(statement);
    store.close();
  }

  it("AU-03 P-1 when it cannot be written, no token leaves, and none that anybody could use is left", async () => {
    const { code, verifier } = await house.codeFor(ada);
    const given = await house.signIn(ada);
    const stored = () => {
      const store = new DatabaseSync(join(house.folder, "data", "leasehold.db"), { readOnly: true });
      const row = store.prepare("SELECT count(*) AS n FROM oauth_records WHERE model IN ('AccessToken', 'ClientCredentials')").get();
      store.close();
      return row?.["n"];
    };
    behindItsBack("ALTER TABLE audit_entries RENAME TO gone");
    const answers = [await house.credentials(), await house.redeem({ code, verifier }), await house.refresh(given.refresh_token)];
    behindItsBack("ALTER TABLE gone RENAME TO audit_entries");
    for (const { status, body, text } of answers) {
      expect([status, body["error"]]).toEqual([503, "temporarily_unavailable"]);
      expect(text).not.toMatch(/access_token|refresh_token|eyJ/);
    }
    expect(stored()).toBe(0);
    expect((await house.credentials()).status).toBe(200);
    expect((await house.call(given.access_token)).status).toBe(200);
    // They were told to come again, and that is no theft.
    expect([(await house.redeem({ code, verifier })).status, (await house.refresh(given.refresh_token)).status]).toEqual([200, 200]);
    expect(await house.eventsOf("token.replayed")).toEqual([]);
  });

  it("AU-03 when nothing at all can be written, that is what clients are told, and nothing is used up", async () => {
    const given = await house.signIn(ada);
    const code = await house.codeFor(ada);
    behindItsBack("ALTER TABLE oauth_records ADD COLUMN broken INTEGER NOT NULL DEFAULT 0");
    behindItsBack("CREATE TRIGGER full BEFORE UPDATE ON oauth_records BEGIN SELECT RAISE(ABORT, 'disk full'); END");
    const answers = [await house.refresh(given.refresh_token), await house.redeem(code)];
    behindItsBack("DROP TRIGGER full");
    behindItsBack("ALTER TABLE oauth_records DROP COLUMN broken");
    expect(answers.map(({ status, body }) => [status, body["error"]])).toEqual([
      [503, "temporarily_unavailable"],
      [503, "temporarily_unavailable"],
    ]);
    expect((await house.redeem(code)).status).toBe(200);
    expect((await house.refresh(given.refresh_token)).status).toBe(200);
  });

  it("has refused token requests, and a flood of them in sums", async () => {
    await pause(2_100);
    const before = (await house.eventsOf("token.refused")).length;
    const wrong = { authorization: basic("svc", "wrong") };
    await house.token({ grant_type: "client_credentials" }, wrong);
    await pause(100);
    expect((await house.eventsOf("token.refused")).slice(before)).toMatchObject([
      { error: "invalid_client", grant: "client_credentials", client: "svc", actor: { type: "client", ip: "127.0.0.1" } },
    ]);
    const started = performance.now();
    await Promise.all(Array.from({ length: 300 }, () => house.token({ grant_type: "client_credentials" }, wrong)));
    await pause(1_200);
    const lines = (await house.eventsOf("token.refused")).slice(before);
    expect(lines.length).toBeLessThanOrEqual(2 + Math.ceil((performance.now() - started) / 1000));
    expect(lines.map(({ why }) => Number(/\(the last of (\d+)\)$/.exec(String(why))?.[1] ?? 1)).reduce((sum, count) => sum + count)).toBe(
      301,
    );
    expect(JSON.stringify(lines)).not.toContain("wrong");
  });
});
