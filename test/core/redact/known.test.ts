import { describe, expect, test } from "vitest";
import type { JsonValue } from "../../../src/core/json.ts";
import type { LeaseId } from "../../../src/core/brand.ts";
import { isLeaseId } from "../../../src/core/brand.ts";
import { Secret } from "../../../src/core/secret.ts";
import { knownValues } from "../../../src/delivery/known-values.ts";
import { createKnownRedactor } from "../../../src/redact/known.ts";

function lease(n: number): LeaseId {
  const id = String(n).padStart(26, "0");
  if (!isLeaseId(id)) throw new Error("not a lease id");
  return id;
}

/** Milliseconds of processor time, the least of a few runs: other work on the machine does not count. */
function cost(work: () => unknown): number {
  const runs = Array.from({ length: 5 }, () => {
    const before = process.cpuUsage();
    work();
    const { user, system } = process.cpuUsage(before);
    return (user + system) / 1_000;
  });
  return Math.min(...runs);
}

const token = "sk_live_4fXc0Pq1ZzT7";
const redactor = () => createKnownRedactor({ values: knownValues });
const material = (fields: Record<string, string | Secret>) => ({ fields });

describe("known values", () => {
  test("every text, every name and every number of a result", () => {
    const known = redactor();
    known.remember(lease(1), material({ secret: Secret.of(token), pin: Secret.of("123456789") }));
    const { clean, hits } = known.scrub({
      rows: [[`Bearer ${token}`, 1, null, true], [{ [token]: Buffer.from(`u:${token}`).toString("base64") }]],
      [`x-${token}`]: 1,
      id: 123_456_789,
      url: `postgres://u:${encodeURIComponent(token)}@h/`,
    });
    expect(hits).toBe(6);
    expect(clean).toEqual({
      rows: [["Bearer [redacted]", 1, null, true], [{ "[redacted]": "dTp[redacted]w==" }]],
      "x-[redacted]": 1,
      id: "[redacted]",
      url: "postgres://u:[redacted]@h/",
    });
  });

  test("a clean result is passed on as it is", () => {
    const known = redactor();
    const result = { rows: [["a\\b%20c&amp;", 1.5e300, "\ud800"]], n: 1 };
    expect(known.scrub(result)).toEqual({ clean: result, hits: 0 });
    known.remember(lease(1), material({ secret: Secret.of(token) }));
    expect(known.scrub(result).clean).toBe(result);
    const dirty = known.scrub({ clean: result, dirty: token });
    expect(dirty.clean.clean).toBe(result);
  });

  test("two names that become one keep both their values", () => {
    const known = redactor();
    known.remember(lease(1), material({ a: Secret.of("first-secret"), b: Secret.of("other-secret") }));
    expect(known.scrub({ "first-secret": 1, "other-secret": 2 }).clean).toEqual({ "[redacted]": 1, "[redacted] 2": 2 });
  });

  test("a name that means something to JavaScript stays a name", () => {
    const known = redactor();
    known.remember(lease(1), material({ secret: Secret.of(token) }));
    const clean = known.scrub(JSON.parse(`{"__proto__":{"polluted":"${token}"}}`)).clean;
    expect(Object.keys(clean)).toEqual(["__proto__"]);
    expect(Object.getPrototypeOf(clean)).toBe(Object.prototype);
    expect(JSON.stringify(clean)).toBe('{"__proto__":{"polluted":"[redacted]"}}');
  });

  test("what is nested too deeply to be looked at is not passed on", () => {
    const known = redactor();
    known.remember(lease(1), material({ secret: Secret.of(token) }));
    let deep: JsonValue = "harmless";
    for (let i = 0; i < 5_000; i++) deep = [deep];
    const { clean, hits } = known.scrub({ deep });
    expect(hits).toBe(1);
    expect(JSON.stringify(clean)).not.toContain("harmless");
  });

  test("only fields that are secret are looked for, and each text of one that is JSON", () => {
    const known = redactor();
    known.remember(
      lease(1),
      material({ username: "reporter-login", secret: Secret.of('{"username":"lh_admin","password":"p4ss\\"word-x","port":5432}') }),
    );
    expect(known.scrub({ a: 'reporter-login, lh_admin, p4ss"word-x' }).clean).toEqual({ a: "reporter-login, [redacted], [redacted]" });
  });

  test("the line break that a file leaves behind a value does not hide it", () => {
    const known = redactor();
    known.remember(lease(1), material({ secret: Secret.of(`${token}\n`) }));
    expect(known.scrub({ a: token }).hits).toBe(1);
  });

  test("a key in PEM form is found however its lines are broken", () => {
    const body = Buffer.from("0123456789abcdefghij".repeat(20)).toString("base64");
    const pem = `-----BEGIN PRIVATE KEY-----\n${body.replace(/(.{64})/g, "$1\n")}\n-----END PRIVATE KEY-----\n`;
    const known = redactor();
    known.remember(lease(1), material({ secret: Secret.of(pem) }));
    for (const form of [pem, pem.replaceAll("\n", "\r\n"), JSON.stringify(pem), pem.replaceAll("\n", ""), pem.replaceAll("\n", "\\n")])
      expect(known.scrub({ form: `<${form}>` }).clean.form).not.toContain(body.slice(0, 40));
  });
});

describe("what is remembered, and for how long", () => {
  test("a value that was lent twice is forgotten with its last lease", () => {
    const known = redactor();
    for (const n of [1, 2]) known.remember(lease(n), material({ secret: Secret.of(token) }));
    known.remember(lease(2), material({ secret: Secret.of(token) }));
    expect(known.size).toBe(1);
    known.forget(lease(1));
    expect(known.scrub({ a: token }).hits).toBe(1);
    known.forget(lease(2));
    known.forget(lease(2));
    expect(known.size).toBe(0);
    expect(known.scrub({ a: token }).hits).toBe(0);
  });

  test("a value that changed in the vault while it was lent: the old one and the new one", () => {
    const known = redactor();
    known.remember(lease(1), material({ secret: Secret.of("old-value-1") }));
    known.remember(lease(1), material({ secret: Secret.of("new-value-2") }));
    expect(known.scrub({ a: "old-value-1 new-value-2" }).hits).toBe(2);
  });

  test("a value that is too short is named, never silently left out", () => {
    const known = redactor();
    known.remember(lease(1), material({ pin: Secret.of("1234"), part: Secret.of("redacted"), secret: Secret.of(token) }));
    expect(known.tooShort(lease(1))).toEqual(["pin", "part"]);
    expect(known.tooShort(lease(2))).toEqual([]);
    expect(known.scrub({ a: "1234 redacted" })).toEqual({ clean: { a: "1234 redacted" }, hits: 0 });
  });

  test("thousands of values that begin alike: each is found, each is forgotten, and clean text stays cheap", () => {
    const known = redactor();
    const values = Array.from({ length: 5_000 }, (_, i) => `ghp_sameBeginning${(i * 2_654_435_761).toString(36)}End`);
    values.forEach((value, i) => known.remember(lease(i), material({ secret: Secret.of(value) })));
    for (const value of values.filter((_, i) => i % 100 === 0))
      expect(known.scrub({ a: `<${Buffer.from(value).toString("hex")}>` }).clean).toEqual({ a: "<[redacted]>" });

    const single = redactor();
    single.remember(lease(1), material({ secret: Secret.of(token) }));
    const text = `ghp_same text, clean "as" it can be, &c. `.repeat(5_000);
    expect(known.scrub({ text }).hits).toBe(0);
    expect(cost(() => known.scrub({ text }))).toBeLessThan(4 * cost(() => single.scrub({ text })) + 20);

    values.forEach((_, i) => i % 2 === 0 && known.forget(lease(i)));
    expect(known.scrub({ a: values[0] ?? "" }).hits).toBe(0);
    expect(known.scrub({ a: values[1] ?? "" }).hits).toBe(1);
  });
});
