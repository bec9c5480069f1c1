import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { canonical } from "../../../src/audit/canonical.ts";
import { Secret } from "../../../src/core/secret.ts";

// RFC 8785 has no negative zero, and objects are compared as JSON.parse makes them.
const json = fc.jsonValue({ maxDepth: 5 }).map((value) => JSON.parse(JSON.stringify(value)) as unknown);
const wellFormed = json.filter((value) => !/\\ud[89a-f]/i.test(JSON.stringify(value)));

describe("RFC 8785, the published examples", () => {
  test("section 3.2.2: literals, numbers, strings", () => {
    const input = String.raw`{
      "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
      "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
      "literals": [null, true, false]
    }`;
    expect(canonical(JSON.parse(input))).toBe(
      String.raw`{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}`,
    );
  });

  test("section 3.2.3: keys sort by UTF-16 code units", () => {
    const input = String.raw`{"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew Letter Dalet With Dagesh","1":"One",
      "\ud83d\ude00":"Emoji: Grinning Face","\u0080":"Control","\u00f6":"Latin Small Letter O With Diaeresis"}`;
    const order = Object.values(JSON.parse(`{"x":${canonical(JSON.parse(input)).replaceAll('"1"', '"one"')}}`).x as Record<string, string>);
    expect(order).toEqual([
      "Carriage Return",
      "One",
      "Control",
      "Latin Small Letter O With Diaeresis",
      "Euro Sign",
      "Emoji: Grinning Face",
      "Hebrew Letter Dalet With Dagesh",
    ]);
  });

  test.for([
    ["0000000000000000", "0"],
    ["8000000000000000", "0"],
    ["0000000000000001", "5e-324"],
    ["8000000000000001", "-5e-324"],
    ["7fefffffffffffff", "1.7976931348623157e+308"],
    ["ffefffffffffffff", "-1.7976931348623157e+308"],
    ["4340000000000000", "9007199254740992"],
    ["c340000000000000", "-9007199254740992"],
    ["4430000000000000", "295147905179352830000"],
    ["44b52d02c7e14af5", "9.999999999999997e+22"],
    ["44b52d02c7e14af6", "1e+23"],
    ["44b52d02c7e14af7", "1.0000000000000001e+23"],
    ["444b1ae4d6e2ef4e", "999999999999999700000"],
    ["444b1ae4d6e2ef4f", "999999999999999900000"],
    ["444b1ae4d6e2ef50", "1e+21"],
    ["3eb0c6f7a0b5ed8c", "9.999999999999997e-7"],
    ["3eb0c6f7a0b5ed8d", "0.000001"],
    ["41b3de4355555553", "333333333.3333332"],
    ["41b3de4355555554", "333333333.33333325"],
    ["41b3de4355555555", "333333333.3333333"],
    ["41b3de4355555556", "333333333.3333334"],
    ["41b3de4355555557", "333333333.33333343"],
    ["becbf647612f3696", "-0.0000033333333333333333"],
    ["43143ff3c1cb0959", "1424953923781206.2"],
  ] as const)("appendix B: %s is %s", ([bits, text]) => {
    expect(canonical(Buffer.from(bits, "hex").readDoubleBE())).toBe(text);
  });
});

describe("properties", () => {
  test("what is read back is what was written", () => {
    fc.assert(
      fc.property(wellFormed, (value) => {
        expect(JSON.parse(canonical(value))).toEqual(value);
      }),
    );
  });

  test("canonical text is canonical already", () => {
    fc.assert(
      fc.property(wellFormed, (value) => {
        expect(canonical(JSON.parse(canonical(value)))).toBe(canonical(value));
      }),
    );
  });

  test("the order in which members were added does not show", () => {
    const members = fc.uniqueArray(fc.tuple(fc.string({ unit: "grapheme" }), fc.nat()), { selector: ([key]) => key });
    fc.assert(
      fc.property(members, (pairs) => {
        expect(canonical(Object.fromEntries(pairs))).toBe(canonical(Object.fromEntries(pairs.toReversed())));
      }),
    );
  });

  test("well-formed text is written exactly, and any other refused", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        expect(JSON.parse(canonical(text))).toBe(text);
        expect(() => canonical(`${text}\ud800`)).toThrow(TypeError);
      }),
    );
  });
});

describe("what JSON cannot say is refused, not approximated", () => {
  test.for<readonly [string, unknown]>([
    ["NaN", { a: Number.NaN }],
    ["Infinity", [Infinity]],
    ["undefined in an array", [undefined]],
    ["a hole in an array", Array(1)],
    ["undefined itself", undefined],
    ["a lone surrogate", { a: "\udc00" }],
    ["a lone surrogate in a key", { "\ud800": 1 }],
    ["a bigint", { a: 1n }],
    ["a function", { a: () => 1 }],
    ["a symbol", { a: Symbol("a") }],
    ["a date", { a: new Date(0) }],
    ["bytes", { a: new Uint8Array(1) }],
    ["a secret", { a: Secret.of("hunter2") }],
  ])("%s", ([, value]) => {
    expect(() => canonical(value)).toThrow(TypeError);
  });

  test("the refusal does not repeat the value", () => {
    expect(() => canonical({ password: "hunter2\ud800" })).toThrow(/^(?!.*hunter2)/);
  });

  test("members that are undefined are left out", () => {
    expect(canonical({ b: undefined, a: 1, c: { d: undefined } })).toBe('{"a":1,"c":{}}');
  });

  test("objects of many keys sort like those of few", () => {
    for (const count of [0, 1, 24, 25, 300]) {
      const keys = Array.from({ length: count }, (_, n) => `${(n * 7919) % 1_000}\u20ac`);
      const expected = [...keys].sort().map((key) => `"${key}":0`);
      expect(canonical(Object.fromEntries(keys.map((key) => [key, 0])))).toBe(`{${expected.join(",")}}`);
    }
  });

  test("MT-07: __proto__ is a key like any other", () => {
    const hostile: unknown = JSON.parse('{"b":1,"__proto__":{"polluted":true},"constructor":2}');
    expect(canonical(hostile)).toBe('{"__proto__":{"polluted":true},"b":1,"constructor":2}');
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
  });
});
