import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { formsOf, minimumBytes } from "../../../src/redact/encodings.ts";
import { createScrubber } from "../../../src/redact/stream.ts";

const value = `Tk9/+x"q<&>'z é\\ü%41~🔑=End`;

const jsonEscape = (text: string): string => JSON.stringify(text).slice(1, -1);
const fullPercent = (text: string): string => Array.from(Buffer.from(text), (byte) => `%${byte.toString(16).padStart(2, "0")}`).join("");
const units = (text: string): number[] => Array.from({ length: text.length }, (_, i) => text.charCodeAt(i));
const unicode = (text: string): string =>
  units(text)
    .map((unit) => `\\u${unit.toString(16).padStart(4, "0")}`)
    .join("");
const html = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;").replaceAll("'", "&#39;");
const base64 = (text: string): string => Buffer.from(text).toString("base64");
const base64url = (text: string): string => Buffer.from(text).toString("base64url");
const hex = (text: string): string => Buffer.from(text).toString("hex");

/** Every form that docs/reference/redaction.md promises. */
const encodings: Readonly<Record<string, (text: string) => string>> = {
  raw: (text) => text,
  base64,
  "base64 without padding": (text) => base64(text).replace(/=+$/, ""),
  base64url,
  "base64, second alignment": (text) => base64(`x${text}yz`),
  "base64, third alignment": (text) => base64(`xy${text}z`),
  "base64url, second alignment": (text) => base64url(`x${text}yz`),
  "base64url, third alignment": (text) => base64url(`xy${text}z`),
  "base64, wrapped": (text) => base64(`${"-".repeat(50)}${text}`).replace(/(.{8})/g, "$1\r\n"),
  "base64, wrapped at 20": (text) => base64(text).replace(/(.{20})/g, "$1\n    "),
  "base64 in a URL": (text) => encodeURIComponent(base64(text)),
  hex,
  HEX: (text) => hex(text).toUpperCase(),
  "hex dump": (text) => hex(text).replace(/(..)/g, "$1 "),
  "hex escapes": (text) => hex(text).replace(/(..)/g, "\\x$1"),
  percent: encodeURIComponent,
  "percent, lower case": (text) => encodeURIComponent(text).replace(/%../g, (escape) => escape.toLowerCase()),
  "percent, every byte": fullPercent,
  "percent, every byte, upper case": (text) => fullPercent(text).toUpperCase(),
  "percent, twice": (text) => encodeURIComponent(encodeURIComponent(text)),
  form: (text) => new URLSearchParams({ k: text }).toString(),
  json: jsonEscape,
  "json, slashes escaped": (text) => jsonEscape(text).replaceAll("/", "\\/"),
  "json, ASCII only": (text) => jsonEscape(text).replace(/[^\x20-\x7e]/g, unicode),
  "json, every character": unicode,
  "json, every character, upper case": (text) => unicode(text).replace(/\\u..../g, (escape) => `\\u${escape.slice(2).toUpperCase()}`),
  "json in json": (text) => jsonEscape(JSON.stringify({ t: text })),
  "json in json in json": (text) => JSON.stringify(JSON.stringify({ t: JSON.stringify(text) })),
  html,
  "html, numeric": (text) => Array.from(text, (c) => `&#${c.codePointAt(0)};`).join(""),
  "html, hexadecimal": (text) => Array.from(text, (c) => `&#x${c.codePointAt(0)?.toString(16)};`).join(""),
  "html in json": (text) => jsonEscape(html(text)),
  "UTF-16": (text) => Buffer.from(text, "utf16le").toString("latin1"),
};

/** What a reader of the result could still make out: the value in any form that we claim to find. */
function survives(text: string, secret: string): string | undefined {
  const lower = text.toLowerCase();
  const telling = Object.entries(encodings).find(([, encode]) => {
    const encoded = encode(secret);
    return text.includes(encoded) || lower.includes(encoded.toLowerCase());
  });
  return (
    telling?.[0] ??
    formsOf(Buffer.from(secret))
      .map(String)
      .find((form) => text.includes(form))
  );
}

describe("EX-05: a value is found in every form it may come back in", () => {
  for (const [name, encode] of Object.entries(encodings)) {
    // UTF-16 of ASCII only: see docs/reference/redaction.md.
    const secret = name === "UTF-16" ? "sk_live 4fXc0Pq1Zz" : value;

    test(`${name}, whole`, () => {
      const { clean, hits } = createScrubber([Buffer.from(secret)]).text(`before ${encode(secret)} after`);
      expect(hits).toBeGreaterThan(0);
      expect(clean).toMatch(/^before .*after$/s);
      expect(clean).toContain("[redacted]");
      expect(survives(clean, secret)).toBeUndefined();
    });

    test(`${name}, split at every byte`, () => {
      const text = Buffer.from(`before ${encode(secret)} after`);
      const scrubber = createScrubber([Buffer.from(secret)]);
      for (let at = 0; at <= text.length; at++) {
        const stream = scrubber.stream();
        const clean = Buffer.concat([stream.push(text.subarray(0, at)), stream.push(text.subarray(at)), stream.end()]).toString();
        expect(clean).toContain("[redacted]");
        expect(survives(clean, secret)).toBeUndefined();
      }
    });
  }
});

/** As tokens look, and as people write passwords. */
const secrets = fc.oneof(
  fc.string({
    minLength: 8,
    maxLength: 48,
    unit: fc.constantFrom(...Array.from("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./+=")),
  }),
  fc
    .string({ minLength: 8, maxLength: 24, unit: fc.constantFrom(...Array.from("aB3\"'\\/<>&%+=;:,!#~ é€🔑")) })
    .filter((text) => text.trim() === text),
);
const contexts = fc.string({ maxLength: 20, unit: "grapheme-ascii" });
const encoders = fc.constantFrom(...Object.values(encodings).filter((encode) => encode !== encodings["UTF-16"]));

describe("properties", () => {
  test("whatever the value, the form, the context and the cuts, nothing survives", () => {
    fc.assert(
      fc.property(secrets, encoders, contexts, contexts, fc.array(fc.nat(400), { maxLength: 6 }), (secret, encode, before, after, cuts) => {
        const text = Buffer.from(`${before}\n${encode(secret)}\n${after}`);
        const scrubber = createScrubber([Buffer.from(secret)]);
        const whole = scrubber.text(text.toString());
        expect(whole.hits).toBeGreaterThan(0);
        expect(whole.clean.includes(encode(secret))).toBe(false);

        const stream = scrubber.stream();
        const out: Buffer[] = [];
        let from = 0;
        for (const cut of [...cuts].sort((a, b) => a - b)) {
          out.push(stream.push(text.subarray(from, Math.max(from, cut))));
          from = Math.max(from, cut);
        }
        out.push(stream.push(text.subarray(from)), stream.end());
        const clean = Buffer.concat(out).toString();
        expect(stream.hits).toBeGreaterThan(0);
        expect(clean.includes(encode(secret))).toBe(false);
        expect(createScrubber([Buffer.from(secret)]).text(clean).hits).toBe(0);
      }),
      { numRuns: 2_000 },
    );
  });

  test("a stream comes to the same as the whole text, among escapes, beginnings of values and white space", () => {
    const secret = "s\\k%4_li&ve/4fX";
    const unit = fc.oneof(
      fc.constantFrom(
        "%",
        "%4",
        "%41",
        "\\",
        "\\\\",
        "\\u",
        "\\u0073",
        "\\ud83d",
        "&",
        "&amp;",
        "&#x73",
        "&#x73;",
        " ",
        "\n",
        "s",
        "s\\",
        "s\\k%4",
        "x",
      ),
      encoders.map((encode) => encode(secret)),
      fc.tuple(encoders, fc.nat(20)).map(([encode, length]) => encode(secret).slice(0, length)),
    );
    fc.assert(
      fc.property(fc.array(unit, { maxLength: 12 }), fc.array(fc.nat(400), { maxLength: 8 }), (parts, cuts) => {
        const text = Buffer.from(parts.join(""));
        const scrubber = createScrubber([Buffer.from(secret)]);
        const stream = scrubber.stream();
        const edges = [0, ...[...cuts].sort((a, b) => a - b).map((cut) => Math.min(cut, text.length)), text.length];
        const out = edges.slice(1).map((edge, i) => stream.push(text.subarray(edges[i], edge)));
        expect(Buffer.concat([...out, stream.end()]).toString()).toBe(scrubber.text(text.toString()).clean);
      }),
      { numRuns: 3_000 },
    );
  });

  test("what holds no value passes byte for byte, however it is cut", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.array(fc.nat(300), { maxLength: 8 }), (bytes, cuts) => {
        const stream = createScrubber([Buffer.from("4fXc0Pq1ZzT7"), Buffer.from("%41\\u0041&amp;")]).stream();
        const edges = [0, ...[...cuts].sort((a, b) => a - b).map((cut) => Math.min(cut, bytes.length)), bytes.length];
        const out = edges.slice(1).map((edge, i) => stream.push(bytes.subarray(edges[i], edge)));
        expect(Buffer.concat([...out, stream.end()]).equals(bytes)).toBe(true);
        expect(stream.hits).toBe(0);
      }),
      { numRuns: 1_000 },
    );
  });

  test("escapes and white space alone pass unchanged, one byte at a time", () => {
    const unit = fc.constantFrom(
      "%",
      "%4",
      "%41",
      "\\",
      "\\u",
      "\\u00e9",
      "\\ud83d",
      "\\udd11",
      "&",
      "&amp;",
      "&#",
      "&#x41;",
      " ",
      "\n",
      "\0",
      "a",
    );
    fc.assert(
      fc.property(fc.array(unit, { maxLength: 30 }), (parts) => {
        const text = Buffer.from(parts.join(""));
        const stream = createScrubber([Buffer.from("never-in-there")]).stream();
        const out = Array.from(text, (byte) => stream.push(Uint8Array.of(byte)));
        expect(Buffer.concat([...out, stream.end()]).equals(text)).toBe(true);
      }),
      { numRuns: 500 },
    );
  });
});

describe("matches beside and inside of each other", () => {
  test("the longer of two values that begin alike goes as a whole, also when it arrives in two chunks", () => {
    const scrubber = createScrubber([Buffer.from("abcdef"), Buffer.from("abcdefghij")]);
    expect(scrubber.text("<abcdefghij>").clean).toBe("<[redacted]>");
    const stream = scrubber.stream();
    const clean = Buffer.concat([stream.push(Buffer.from("<abcdef")), stream.push(Buffer.from("ghij>")), stream.end()]);
    expect(clean.toString()).toBe("<[redacted]>");
  });

  test("overlapping values leave no piece of either", () => {
    expect(createScrubber([Buffer.from("abcdefgh"), Buffer.from("efghijkl")]).text("<abcdefghijkl>").clean).toBe("<[redacted]>");
  });

  test("a replacement does not put together another value", () => {
    const values = ["secret-one", "]tail-of-two", "start-of[reda"].map((text) => Buffer.from(text));
    const { clean } = createScrubber(values).text("start-ofsecret-onetail-of-two");
    for (const each of values) expect(clean).not.toContain(each.toString());

    const stream = createScrubber(values).stream();
    const streamed = Array.from("secret-onetail-of-two", (c) => stream.push(Buffer.from(c)).toString()).join("") + stream.end().toString();
    for (const each of values) expect(streamed).not.toContain(each.toString());
  });

  test("a value that is part of the replacement does not make it grow", () => {
    expect(createScrubber([Buffer.from("redacted"), Buffer.from("sk_live_1")]).text("sk_live_1").clean).toBe("[redacted]");
  });
});

describe("a stream", () => {
  test("holds back what may be the beginning of a value, and nothing else", () => {
    const stream = createScrubber([Buffer.from("sk_live_4fXc")]).stream();
    expect(stream.push(Buffer.from("data: 1\n")).toString()).toBe("data: 1\n");
    expect(stream.push(Buffer.from("data: sk_l")).toString()).toBe("data: ");
    expect(stream.push(Buffer.from("ong\n")).toString()).toBe("sk_long\n");
    expect(stream.push(Buffer.from("sk_live_4fX")).toString()).toBe("");
    expect(stream.push(Buffer.from("c!")).toString()).toBe("[redacted]!");
    expect(stream.end().toString()).toBe("");
  });

  test("does not hold back without end where white space follows a beginning", () => {
    const stream = createScrubber([Buffer.from("sk_live_4fXc")]).stream();
    const out = stream.push(Buffer.from(`sk_live${" ".repeat(5_000)}`));
    expect(out.length).toBeGreaterThan(4_900);
  });

  test("values that are too short are left alone", () => {
    expect(minimumBytes).toBe(6);
    expect(createScrubber([Buffer.from("admin")]).text("admin").clean).toBe("admin");
  });
});
