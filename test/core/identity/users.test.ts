import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { firstOperator, isUserName } from "../../../src/identity/users.ts";
import type { VouchedUser } from "../../../src/identity/users.ts";
import { createTotpRecords } from "../../../src/store/users.ts";
import { hotp } from "../../../src/crypto/totp.ts";
import type { PeopleStore } from "../../flows/sign-in-house.ts";
import { openPeopleStore, operator } from "../../flows/sign-in-house.ts";

let store: PeopleStore;
beforeEach(async () => {
  store = await openPeopleStore();
});
afterEach(() => store.close());

async function added(name: string, role: "operator" | "member" = "member") {
  const account = await store.users.add({ name, role, email: `${name}@example.com` }, operator);
  if (account === "taken") throw new Error("taken");
  return account;
}

describe("accounts", () => {
  it("are added once by name, and found by id and by name; each change is in the audit log", async () => {
    const ada = await added("ada");
    expect(ada).toMatchObject({
      name: "ada",
      role: "member",
      email: "ada@example.com",
      issuer: "https://broker.example",
      subject: ada.account,
    });
    expect(ada.account).toMatch(/^[0-9a-hjkmnp-tv-z]{26}$/);
    expect(await store.users.add({ name: "ada", role: "operator" }, operator)).toBe("taken");
    expect(await store.users.find(ada.account)).toEqual(ada);
    expect(await store.users.byName("ada")).toEqual(ada);
    expect(await store.users.find("nobody")).toBeUndefined();
    expect(await store.users.change("nobody", "user.frozen", operator)).toBe(false);
    for (const change of ["user.frozen", "user.unfrozen", "user.disabled", "user.enabled", "user.sessions-ended"] as const)
      expect(await store.users.change(ada.account, change, operator)).toBe(true);
    expect((await store.events()).map(({ kind, user }) => [kind, user])).toEqual(
      ["user.added", "user.frozen", "user.unfrozen", "user.disabled", "user.enabled", "user.sessions-ended"].map((kind) => [
        kind,
        ada.account,
      ]),
    );
  });

  it("enabled again, nothing from before comes back; a freeze only pauses", async () => {
    const { account } = await added("ada");
    await store.users.change(account, "user.frozen", operator);
    expect(await store.users.find(account)).toMatchObject({ frozen: true, validFrom: 0 });
    await store.users.change(account, "user.unfrozen", operator);
    await store.users.change(account, "user.disabled", operator);
    await store.users.change(account, "user.enabled", operator);
    const user = await store.users.find(account);
    expect(user).toMatchObject({ disabled: false, frozen: false });
    expect(user?.validFrom).toBeGreaterThan(Date.now() - 5_000);
  });

  it("fifty of one name at once are one", async () => {
    const outcomes = await Promise.all(Array.from({ length: 50 }, () => store.users.add({ name: "ada", role: "member" }, operator)));
    expect(outcomes.filter((one) => one !== "taken")).toHaveLength(1);
  });

  it("have names of one form", () => {
    for (const name of ["ada", "ada@example.com", "a.b_c-d", "7"]) expect(isUserName(name)).toBe(true);
    for (const name of ["", "Ada", "-ada", "@x", "a b", "a/b", "ада", "a\n", "x".repeat(64)]) expect(isUserName(name)).toBe(false);
  });
});

describe("the first operator", () => {
  it("is made when there is nobody, with a link that is good once", async () => {
    const first = await firstOperator(store.users, operator);
    expect(first?.account).toMatchObject({ name: "admin", role: "operator" });
    expect(first?.path).toMatch(/^\/oauth\/enroll\/[\w-]{43}$/);
    expect(await store.users.invited(first?.path.split("/").at(-1) ?? "")).toMatchObject({ name: "admin" });
    expect(await firstOperator(store.users, operator)).toBeUndefined();
  });

  it("is one, however many begin at once", async () => {
    const all = await Promise.all(Array.from({ length: 10 }, () => firstOperator(store.users, operator)));
    expect(all.filter((one) => one !== undefined)).toHaveLength(1);
  });
});

describe("proofs", () => {
  it("a link starts over: what was there before opens nothing, and sign-ins from before are void", async () => {
    const ada = await added("ada");
    const enrol = async (password: string) =>
      store.users.enrol((await store.users.invite(ada.account, operator)).token, ada, { password }, "::1");
    const signIn = (password: string) => store.users.signInWithPassword({ name: "ada", password, code: "" }, "::1");
    expect(await enrol("four quiet horses")).toBe(true);
    expect((await signIn("four quiet horses")).account).toMatchObject({ name: "ada" });
    store.clock.ahead = 5_000;
    expect(await enrol("five loud donkeys")).toBe(true);
    expect(await signIn("four quiet horses")).toEqual({ why: "password", user: ada.account });
    expect((await signIn("five loud donkeys")).account).toBeDefined();
    expect((await store.users.find(ada.account))?.validFrom).toBeGreaterThan(Date.now() + 4_000);
  });

  it("an operator who has only a password does not get in with it", async () => {
    const op = await added("op", "operator");
    await store.users.enrol((await store.users.invite(op.account, operator)).token, op, { password: "four quiet horses" }, "::1");
    expect(await store.users.signInWithPassword({ name: "op", password: "four quiet horses", code: "" }, "::1")).toEqual({
      why: "code-missing",
      user: op.account,
    });
  });

  it("one code used ten times at once is one sign-in (RFC 6238 section 5.2)", async () => {
    const op = await added("op", "operator");
    const totp = { key: "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", step: 1 };
    await store.users.enrol((await store.users.invite(op.account, operator)).token, op, { password: "four quiet horses", totp }, "::1");
    const code = hotp(Buffer.from("12345678901234567890"), Math.floor(store.now() / 30_000));
    const signIn = () => store.users.signInWithPassword({ name: "op", password: "four quiet horses", code }, "::1");
    const outcomes = await Promise.all(Array.from({ length: 10 }, signIn));
    expect(outcomes.filter(({ account }) => account)).toHaveLength(1);
  });

  it("the key of an app is sealed for its account, and moves with the seal", async () => {
    const [op, other] = [await added("op", "operator"), await added("other", "operator")];
    const key = store.codes.newKey();
    const totp = { key, step: 1 };
    for (const user of [op, other])
      await store.users.enrol(
        (await store.users.invite(user.account, operator)).token,
        user,
        { password: "four quiet horses", totp },
        "::1",
      );
    const records = createTotpRecords(store.database, store.journal);
    const [first, second] = await records.page(undefined, 10);
    expect(await records.page(first?.cursor, 10)).toHaveLength(1);
    if (!first || !second) throw new Error("no records");
    expect(Buffer.from(first.sealed).includes(Buffer.from(key))).toBe(false);
    // Moved to the other account, it no longer opens.
    expect(await records.replace(second, first.sealed)).toBe(true);
    expect(await records.replace(second, first.sealed)).toBe(false);
    const code = hotp(Buffer.alloc(20), 1);
    await expect(store.users.signInWithPassword({ name: "other", password: "four quiet horses", code }, "::1")).rejects.toThrow(
      "not what was sealed",
    );
  });

  it("a passkey is one account's, and its counter moves by compare-and-set", async () => {
    const [ada, grace] = [await added("ada"), await added("grace")];
    const passkey = { id: new Uint8Array([1, 2, 3]), publicKey: new Uint8Array([4]), algorithm: -7, counter: 1, name: "passkey" };
    expect(await store.users.addPasskey(ada, passkey, "::1")).toBe(true);
    expect(await store.users.addPasskey(grace, passkey, "::1")).toBe(false);
    const { token } = await store.users.invite(grace.account, operator);
    expect(await store.users.enrol(token, grace, { passkey }, "::1")).toBe(false);
    expect(await store.users.invited(token)).toBeDefined();
    const found = await store.users.passkey(passkey.id);
    if (!found) throw new Error("no passkey");
    const outcomes = await Promise.all(Array.from({ length: 10 }, () => store.users.signInWithPasskey(found, 2, "::1")));
    expect(outcomes.filter(({ account }) => account)).toHaveLength(1);
    expect(await store.users.removePasskey(grace.account, passkey.id)).toBe(false);
    expect(await store.users.removePasskey(ada.account, passkey.id)).toBe(true);
  });
});

describe("people that a provider vouches for", () => {
  const vouched: VouchedUser = { issuer: "https://login.example", subject: "s", name: "ada", teams: ["staff"], role: "member" };

  it("never take over an account of the same name, and are one account per issuer and subject", async () => {
    const local = await added("ada");
    const first = await store.users.signInVouched(vouched, "::1");
    expect(first.account).toMatchObject({ name: "ada-2", issuer: "https://login.example" });
    expect(first.account?.account).not.toBe(local.account);
    const again = await store.users.signInVouched({ ...vouched, name: "other", teams: [] }, "::1");
    expect(again.account).toMatchObject({ account: first.account?.account, name: "ada-2", teams: [] });
    const elsewhere = await store.users.signInVouched({ ...vouched, issuer: "https://other.example" }, "::1");
    expect(elsewhere.account?.account).not.toBe(first.account?.account);
    const many = await Promise.all(
      Array.from({ length: 10 }, () => store.users.signInVouched({ ...vouched, subject: "t", name: "grace" }, "::1")),
    );
    expect(new Set(many.map(({ account }) => account?.account)).size).toBe(1);
  });

  it("keep the role that they have when nothing is said of it", async () => {
    await store.users.signInVouched({ ...vouched, role: "operator" }, "::1");
    const { role: _, ...silent } = vouched;
    expect((await store.users.signInVouched(silent, "::1")).account?.role).toBe("operator");
    expect((await store.users.signInVouched(vouched, "::1")).account?.role).toBe("member");
    expect((await store.users.signInVouched({ ...silent, subject: "new", name: "new" }, "::1")).account?.role).toBe("member");
  });

  it.each([
    ["Ada@Example.com", "ada@example.com"],
    ["auth0|5f7c", "auth0-5f7c"],
    ["-_-", /^user-[0-9a-f]{12}$/],
    ["名", /^user-[0-9a-f]{12}$/],
    ["x".repeat(300), "x".repeat(63)],
  ])("%j is called %s", async (name, called) => {
    expect((await store.users.signInVouched({ ...vouched, name }, "::1")).account?.name).toMatch(called);
  });
});
