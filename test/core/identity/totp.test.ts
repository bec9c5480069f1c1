import { describe, expect, it } from "vitest";
import { createTotp, hotp } from "../../../src/crypto/totp.ts";
import type { SealContext } from "../../../src/crypto/context.ts";
import { Secret } from "../../../src/core/secret.ts";

/** RFC 6238 appendix B, SHA-1. */
const vectors = [
  [59, "94287082"],
  [1_111_111_109, "07081804"],
  [1_111_111_111, "14050471"],
  [1_234_567_890, "89005924"],
  [2_000_000_000, "69279037"],
  [20_000_000_000, "65353130"],
] as const;
const key = Buffer.from("12345678901234567890");
const base32 = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

/** Bytes as they are, bound to their context all the same. */
const seal = {
  encrypt: ({ name }: SealContext, plaintext: Secret | Uint8Array) =>
    Buffer.concat([Buffer.from(`${name}|`), plaintext instanceof Secret ? Buffer.alloc(0) : plaintext]),
  async open({ name }: SealContext, sealed: Uint8Array) {
    const bytes = Buffer.from(sealed);
    if (!bytes.toString("latin1").startsWith(`${name}|`)) throw new Error("altered");
    return Secret.of(bytes.subarray(name.length + 1));
  },
};

describe("one-time codes", () => {
  it.each(vectors)("RFC 6238 appendix B at %i s", (seconds, code) => {
    expect(hotp(key, Math.floor(seconds / 30), 8)).toBe(code);
  });

  it("RFC 4226 appendix D", () => {
    expect(Array.from({ length: 10 }, (_, counter) => hotp(key, counter))).toEqual([
      "755224",
      "287082",
      "359152",
      "969429",
      "338314",
      "254676",
      "287922",
      "162583",
      "399871",
      "520489",
    ]);
  });

  it("one step early or late is right, two are not (RFC 6238 section 5.2)", () => {
    const time = 1_111_111_109_000;
    const codes = createTotp({ seal, now: () => time });
    const step = Math.floor(time / 30_000);
    for (const drift of [-1, 0, 1]) expect(codes.stepOf(base32, hotp(key, step + drift))).toBe(step + drift);
    for (const drift of [-2, 2]) expect(codes.stepOf(base32, hotp(key, step + drift))).toBeUndefined();
    expect(codes.stepOf(base32, `${hotp(key, step).slice(0, 3)} ${hotp(key, step).slice(3)}`)).toBe(step);
    for (const wrong of ["", "12345", `${hotp(key, step)}0`, "١٢٣٤٥٦", "      "]) expect(codes.stepOf(base32, wrong)).toBeUndefined();
  });

  it("a code is good once, and so is every one before it", async () => {
    let time = 1_111_111_109_000;
    const codes = createTotp({ seal, now: () => time });
    const sealed = codes.seal("account", base32);
    const code = hotp(key, Math.floor(time / 30_000));
    const step = await codes.match("account", sealed, code, null);
    expect(step).toBe(Math.floor(time / 30_000));
    expect(await codes.match("account", sealed, code, step ?? null)).toBeUndefined();
    expect(await codes.match("account", sealed, hotp(key, (step ?? 0) - 1), step ?? null)).toBeUndefined();
    time += 30_000;
    expect(await codes.match("account", sealed, hotp(key, (step ?? 0) + 1), step ?? null)).toBe((step ?? 0) + 1);
    await expect(codes.match("other", sealed, code, null)).rejects.toThrow();
  });

  it("keys are 160 bits in base32, and what an app gets is what is stored", async () => {
    const codes = createTotp({ seal, now: () => 60_000 });
    const fresh = codes.newKey();
    expect(fresh).toMatch(/^[A-Z2-7]{32}$/);
    expect(codes.newKey()).not.toBe(fresh);
    const step = codes.stepOf(fresh, hotp(Buffer.from(codes.seal("a", fresh)).subarray(2), 2));
    expect(step).toBe(2);
    for (const wrong of ["", "A".repeat(31), "a".repeat(32), "1".repeat(32), `${fresh}A`])
      expect(codes.stepOf(wrong, "000000")).toBeUndefined();
    expect(codes.uri(fresh, { issuer: "Leasehold a.b", name: "ada&x" })).toBe(
      `otpauth://totp/Leasehold%20a.b:ada%26x?secret=${fresh}&issuer=Leasehold%20a.b`,
    );
  });
});
