import { describe, expect, it } from "vitest";
import { Failure } from "../../../src/core/errors.ts";
import { createPasswords, passwordProblem, presentCost } from "../../../src/identity/password.ts";

const cheap = { name: "scrypt", cost: 1024, block: 8, parallel: 1 } as const;
const argon = { name: "argon2id", memoryKiB: 64, passes: 1, lanes: 1 } as const;

describe("passwords", () => {
  it.each([cheap, argon])("$name: the right one, and no other, and never the same hash twice", async (cost) => {
    const passwords = createPasswords({ cost });
    const stored = await passwords.hash("four quiet horses");
    expect(stored).toMatch(/^(scrypt:n=1024,r=8,p=1|argon2id:m=64,t=1,p=1):[\w-]{22}:[\w-]{43}$/);
    expect(await passwords.hash("four quiet horses")).not.toBe(stored);
    expect(await passwords.verify("four quiet horses", stored)).toEqual({ right: true, outdated: false });
    for (const wrong of ["four quiet horse", "Four quiet horses", "", "x".repeat(5_000)])
      expect((await passwords.verify(wrong, stored)).right).toBe(false);
  });

  it("cost RFC 9106 section 4 recommends, where there is Argon2", () => {
    expect(presentCost()).toEqual({ name: "argon2id", memoryKiB: 65_536, passes: 3, lanes: 4 });
  });

  it("the same characters are the same password, however they were composed", async () => {
    const passwords = createPasswords({ cost: cheap });
    expect((await passwords.verify("cafe\u0301 in the evening", await passwords.hash("caf\u00e9 in the evening"))).right).toBe(true);
  });

  it("with other parameters it still opens, and is reported as outdated", async () => {
    const stored = await createPasswords({ cost: cheap }).hash("four quiet horses");
    expect(await createPasswords({ cost: argon }).verify("four quiet horses", stored)).toEqual({ right: true, outdated: true });
  });

  it("without a stored one the same work is done, and it is never right", async () => {
    const passwords = createPasswords({ cost: { ...argon, memoryKiB: 32_768 } });
    const stored = await passwords.hash("four quiet horses");
    const took = async (hash: string | undefined): Promise<number> => {
      const from = performance.now();
      expect((await passwords.verify("a wrong password", hash)).right).toBe(false);
      return performance.now() - from;
    };
    const known = Math.min(await took(stored), await took(stored), await took(stored));
    const unknown = Math.min(await took(undefined), await took(undefined), await took(undefined));
    expect(unknown).toBeGreaterThan(known / 2);
  });

  it("two at once, a bounded number waiting, the rest sent away (429)", async () => {
    const passwords = createPasswords({ cost: cheap, waiting: 3 });
    const outcomes = await Promise.allSettled(Array.from({ length: 10 }, () => passwords.hash("four quiet horses")));
    const refused = outcomes.flatMap((one) => (one.status === "rejected" ? [one.reason as unknown] : []));
    expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(5);
    for (const reason of refused) expect(reason).toMatchObject({ code: "quota_exceeded" });
    expect(refused[0]).toBeInstanceOf(Failure);
    await passwords.hash("four quiet horses");
  });

  it("a stored one that was tampered with is refused before it costs anything", async () => {
    const passwords = createPasswords({ cost: cheap });
    const tail = `${"A".repeat(22)}:${"A".repeat(43)}`;
    for (const stored of ["", "x", `argon2id:m=9999999,t=99,p=99:${tail}`, `scrypt:n=1048577,r=8,p=1:${tail}`, `md5:n=1,r=1,p=1:${tail}`])
      await expect(passwords.verify("four quiet horses", stored)).rejects.toThrow("damaged");
  });
});

describe("choosing one", () => {
  it.each([
    ["four quiet horses", undefined],
    ["ﬁve-letter-words", undefined],
    ["elevenchars", /at least 12/],
    ["correcthorsebatterystaple", /first that anybody/],
    ["PassWord1234", /first that anybody/],
    ["abababababab", /first that anybody/],
    ["ada.lovelace", /your name/],
    ["ADA.LOVELACE99", /your name/],
    ["leaseholdleasehold", /your name|ours/],
    ["y".repeat(100) + "abcdefghijk".repeat(20), /at most 256/],
  ])("%s", (password, said) => {
    const problem = passwordProblem(password, "ada.lovelace@example.com");
    if (said === undefined) expect(problem).toBeUndefined();
    else expect(problem).toMatch(said);
  });
});
