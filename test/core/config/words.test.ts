import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { formatDuration, parseDuration } from "../../../src/config/duration.ts";
import { isLoopback } from "../../../src/config/loopback.ts";
import { closest } from "../../../src/config/suggest.ts";

describe("durations", () => {
  test("one number, one unit", () => {
    expect(["30s", "15m", "8h", "2d"].map(parseDuration)).toEqual([30, 900, 28_800, 172_800]);
    const wrong = ["", "15", "m", "0s", "-5m", "1.5h", "15 m", "15M", "1h30m", "99999999s", "1e3s", "Infinitys", "15m\n"];
    expect(wrong.filter((text) => parseDuration(text) !== undefined)).toEqual([]);
  });

  test("what is written is what was meant", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 9_999_999 }), (seconds) => {
        expect(parseDuration(formatDuration(seconds))).toBe(seconds);
      }),
    );
  });
});

test("did you mean: a slip or two, and never a wild guess", () => {
  const commands = ["secret", "seal", "serve", "sweep"];
  expect(closest("secrt", commands)).toBe("secret");
  expect(closest("sceret", commands)).toBe("secret");
  expect(closest("SECRET", commands)).toBe("secret");
  expect(closest("hunter2", commands)).toBeUndefined();
  expect(closest("x", ["a", "b"])).toBeUndefined();
  expect(closest("s".repeat(10_000), commands)).toBeUndefined();
});

test("loopback is this machine and nothing that could be another (MT-01)", () => {
  const here = ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost"];
  const there = ["0.0.0.0", "::", "10.0.0.1", "localhost.example.com", "127.0.0.1.example.com", "2130706433", "::ffff:10.0.0.1", ""];
  expect([...here, ...there].filter(isLoopback)).toEqual(here);
});
