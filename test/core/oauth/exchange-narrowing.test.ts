import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { within } from "../../../src/core/narrow.ts";
import { allScopes, covers } from "../../../src/core/scope.ts";
import type { Reach } from "../../../src/oauth/grants-narrowing.ts";
import { askedFor, common, narrow } from "../../../src/oauth/grants-narrowing.ts";

const folder = fc.constantFrom("a", "b", "a/b", "a/b/c", "ab");
const credential = fc.tuple(folder, fc.constantFrom("", "/*", "/x", "/x/*")).map(([start, end]) => `${start}${end}`);
const optional = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });
const reach: fc.Arbitrary<Reach> = fc
  .tuple(optional(fc.uniqueArray(fc.constantFrom(...allScopes))), optional(fc.uniqueArray(credential, { maxLength: 5 })))
  .map(([scopes, credentials]) => ({ ...(scopes ? { scopes } : {}), ...(credentials ? { credentials } : {}) }));
/** Everything that there could be to use. */
const things = ["a", "b", "ab", "a/x", "a/b", "a/b/x", "a/b/c", "a/b/c/x", "a/x/y", "b/x", "ab/x", "abc/x"];

/** That this is good for nothing that the other is not. */
function isWithin(child: Reach, parent: Reach): void {
  for (const scope of allScopes) if (covers(child.scopes, scope)) expect(covers(parent.scopes, scope)).toBe(true);
  for (const thing of things) if (within(child.credentials, thing)) expect(within(parent.credentials, thing)).toBe(true);
}

describe("what a token hands on", () => {
  it("PL-07 is never more than it has, however it is asked, and what was asked when it is granted", () => {
    fc.assert(
      fc.property(reach, reach, (parent, asked) => {
        let child: Reach;
        try {
          child = narrow(parent, asked);
        } catch {
          // Refused only when something of it was too much.
          const wide =
            asked.scopes?.some((scope) => !covers(parent.scopes, scope)) === true ||
            asked.credentials?.some((name) => !within(parent.credentials, name)) === true;
          expect(wide).toBe(true);
          return;
        }
        isWithin(child, parent);
        isWithin(child, asked);
        expect(child).toEqual({ ...parent, ...asked });
      }),
      { numRuns: 3_000 },
    );
  });

  it("by two tokens is what both are good for, and all of that", () => {
    fc.assert(
      fc.property(reach, reach, (a, b) => {
        const both = common(a, b);
        for (const scope of allScopes) expect(covers(both.scopes, scope)).toBe(covers(a.scopes, scope) && covers(b.scopes, scope));
        for (const thing of things)
          expect(within(both.credentials, thing)).toBe(within(a.credentials, thing) && within(b.credentials, thing));
      }),
      { numRuns: 3_000 },
    );
  });

  it("cannot be asked for in ways that mean nothing here", () => {
    expect(askedFor({})).toEqual({});
    expect(askedFor({ scope: "use use" })).toEqual({ scopes: ["use"] });
    const details = (value: unknown) => () => askedFor({ details: JSON.stringify(value) });
    const type = "leasehold_credentials";
    expect(details([{ type, credentials: [] }])()).toEqual({ credentials: [] });
    for (const odd of [
      [],
      {},
      [{ type }],
      [{ type, credentials: "a" }],
      [
        { type, credentials: ["a"] },
        { type, credentials: ["b"] },
      ],
      [{ type, credentials: ["a"], actions: ["read"] }],
      [{ type, credentials: ["*"] }],
      [{ type, credentials: ["A"] }],
      [{ type, credentials: ["a/*/b"] }],
      [{ type, credentials: Array.from({ length: 65 }, (_, index) => `c${index}`) }],
      [null],
    ])
      expect(details(odd)).toThrow(/odd authorization details/);
    for (const scope of ["", "use ", "Use", "use,leases:read", "toString"]) expect(() => askedFor({ scope })).toThrow();
  });
});
