import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { claimAt, isOpen, literalStart, matches } from "../../../src/oauth/claim-pattern.ts";

describe("patterns over claims", () => {
  it.each([
    ["acme/shop", "acme/shop", true],
    ["acme/shop", "acme/shop2", false],
    ["acme/shop", "Acme/shop", false],
    ["acme/*", "acme/shop", true],
    ["acme/*", "acme/", true],
    ["acme/*", "acme/shop/sub", false],
    ["acme/*", "evil-acme/shop", false],
    ["acme/**", "acme/shop/sub", true],
    ["acme/**", "acme", false],
    ["refs/heads/release-*", "refs/heads/release-1", true],
    ["refs/heads/release-*", "refs/heads/release-1/../main", false],
    ["*/shop", "acme/shop", true],
    ["*/shop", "a/b/shop", false],
    ["**/shop", "a/b/shop", true],
    ["*", "", true],
    ["a.c", "abc", false],
    ["[a-z]+", "abc", false],
    ["(a+)+$", "aaaa", false],
    ["a***b", "a/x/b", true],
    ["*ab*ab*", "xabyabz", true],
    ["*ab*ab*", "xabyaz", false],
    ["naïve-😀*", "naïve-😀x", true],
    ["x", "x\n", false],
  ])("%s over %s is %s", (pattern, value, expected) => {
    expect(matches(pattern, value)).toBe(expected);
  });

  it("means what the same expression written out means", () => {
    const piece = fc.constantFrom("a", "b", "/", "*", "**", ".");
    const text = fc.array(fc.constantFrom("a", "b", "/", "."), { maxLength: 10 }).map((units) => units.join(""));
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 6 }), text, (pieces, value) => {
        const pattern = pieces.join("");
        const written = pattern.replaceAll(/\*+|\./g, (found) => (found === "." ? "\\." : found === "*" ? "[^/]*" : "[^]*"));
        expect(matches(pattern, value)).toBe(new RegExp(`^${written}$`).test(value));
      }),
      { numRuns: 2_000 },
    );
  });

  it("MT-13 takes no time over hostile patterns and values", () => {
    const hostile = [
      ["**a".repeat(170), "a".repeat(2_047) + "b"],
      ["*a*".repeat(170), "a".repeat(2_048)],
      ["*".repeat(512), "/".repeat(2_048)],
      ["**", "x".repeat(1_000_000)],
    ] as const;
    for (const [pattern, value] of hostile) {
      const started = performance.now();
      matches(pattern, value);
      expect(performance.now() - started).toBeLessThan(50);
    }
    expect(matches("**", "x".repeat(2_049))).toBe(false);
  });

  it("knows those that say nothing", () => {
    for (const pattern of ["*", "**", "*/*", "**/**", "/"]) expect(isOpen(pattern)).toBe(true);
    for (const pattern of ["a*", "*a", "*/main"]) expect(isOpen(pattern)).toBe(false);
    expect(literalStart("acme/*")).toBe("acme/");
    expect(literalStart("**/shop")).toBe("");
  });
});

describe("claims by name", () => {
  const claims = {
    "kubernetes.io": { namespace: "ci", serviceaccount: { name: "deployer" } },
    "https://example.com/team": "blue",
    "https://example.com": { team: "red" },
    ref_protected: true,
    run_attempt: 3,
    groups: ["a"],
    nothing: null,
  };

  it.each([
    ["kubernetes.io/namespace", "ci"],
    ["kubernetes.io/serviceaccount/name", "deployer"],
    ["https://example.com/team", "blue"],
    ["ref_protected", "true"],
    ["run_attempt", "3"],
  ])("%s is %s", (name, value) => {
    expect(claimAt(claims, name)).toBe(value);
  });

  it.each([
    "kubernetes.io",
    "kubernetes.io/",
    "kubernetes/io",
    "kubernetes.io.namespace",
    "groups",
    "groups/0",
    "nothing",
    "constructor",
    "__proto__/toString",
    "",
  ])("%s is nothing", (name) => {
    expect(claimAt(claims, name)).toBeUndefined();
  });
});
