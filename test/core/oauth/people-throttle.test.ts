import { describe, expect, it, vi } from "vitest";
import { judge } from "../../../src/oauth/openid-rules.ts";
import { createRefusals, createThrottle } from "../../../src/oauth/sign-in-throttle.ts";

describe("the delay between attempts", () => {
  it("grows by doubling up to a minute, and is never a lockout", () => {
    let time = 0;
    const throttle = createThrottle({ free: 5, longest: 60, now: () => time });
    for (let attempt = 0; attempt < 5; attempt += 1) expect(throttle.take("ada")).toBe(0);
    const waits: number[] = [];
    for (let attempt = 0; attempt < 9; attempt += 1) {
      const wait = throttle.take("ada");
      waits.push(wait);
      time += wait * 1000;
      expect(throttle.take("ada")).toBe(0);
    }
    expect(waits).toEqual([1, 2, 4, 8, 16, 32, 60, 60, 60]);
    expect(throttle.take("grace")).toBe(0);
  });

  it("asking while one has to wait does not prolong it", () => {
    let time = 0;
    const throttle = createThrottle({ free: 1, longest: 60, now: () => time });
    throttle.take("ada");
    for (let attempt = 0; attempt < 1_000; attempt += 1) expect(throttle.take("ada")).toBe(1);
    time = 1_000;
    expect(throttle.take("ada")).toBe(0);
  });

  it("is forgotten after success, and after a quiet quarter of an hour", () => {
    let time = 0;
    const throttle = createThrottle({ free: 1, longest: 60, now: () => time });
    throttle.take("ada");
    throttle.right("ada", true);
    expect(throttle.take("ada")).toBe(0);
    expect(throttle.take("ada")).toBe(1);
    time = 15 * 60_000;
    expect(throttle.take("ada")).toBe(0);
  });

  it("remembers a bounded number", () => {
    const throttle = createThrottle({ free: 1, longest: 60, now: () => 0, keys: 10 });
    throttle.take("first");
    for (let key = 0; key < 10; key += 1) throttle.take(String(key));
    expect(throttle.take("first")).toBe(0);
    expect(throttle.take("9")).toBe(1);
  });
});

describe("refusals", () => {
  it("are told one at once, then in sums, and quiet ones are forgotten", () => {
    vi.useFakeTimers();
    try {
      const told: object[] = [];
      const refusals = createRefusals((refusal) => void told.push(refusal), 60_000);
      for (let attempt = 0; attempt < 100; attempt += 1) refusals.note("password", "u1");
      refusals.note("unknown");
      expect(told).toEqual([
        { why: "password", count: 1, user: "u1" },
        { why: "unknown", count: 1 },
      ]);
      vi.advanceTimersByTime(60_000);
      expect(told.slice(2)).toEqual([{ why: "password", count: 99, user: "u1" }]);
      vi.advanceTimersByTime(60_000);
      refusals.note("code", "u1");
      expect(told.at(-1)).toEqual({ why: "code", count: 1, user: "u1" });
      refusals.note("code", "u1");
      refusals.flush();
      expect(told.at(-1)).toEqual({ why: "code", count: 1, user: "u1" });
      expect(told).toHaveLength(5);
      expect(vi.getTimerCount()).toBe(0);
    } finally {
      vi.useRealTimers();
    }
  });
});

describe("whom the rules let in", () => {
  const rules = {
    issuer: "https://login.example",
    teams: "groups",
    allow: { emails: ["*@Example.com"], teams: ["staff"] },
    operators: ["admins"],
  };

  it("nobody, until something is there", () => {
    expect(
      judge({ sub: "s", email: "a@example.com", email_verified: true, groups: ["staff"] }, { ...rules, allow: { emails: [], teams: [] } }),
    ).toBeUndefined();
  });

  it("an address whatever its case, a team alone or in a list", () => {
    expect(judge({ sub: "s", email: "A@EXAMPLE.COM", email_verified: true }, rules)).toMatchObject({
      name: "a@example.com",
      role: "member",
    });
    expect(judge({ sub: "auth0|5f7c", groups: "staff" }, rules)).toMatchObject({ name: "auth0|5f7c", teams: ["staff"] });
    expect(judge({ sub: "s", groups: ["staff", "admins"] }, rules)).toMatchObject({ role: "operator" });
  });

  it.each([
    { sub: "", groups: ["staff"] },
    { sub: 7, groups: ["staff"] },
    { sub: "x".repeat(256), groups: ["staff"] },
    { sub: "s", groups: { staff: true } },
    { sub: "s", email: "x@evil.example@example.com", email_verified: true },
    { sub: "s", email: "a@example.com\n", email_verified: true },
    { sub: "s", email: ["a@example.com"], email_verified: true },
  ])("not %j", (claims) => {
    expect(judge(claims, rules)).toBeUndefined();
  });
});
