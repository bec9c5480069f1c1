/** One escape sequence: how long it is in the text, and the bytes it stands for. */
interface Escape {
  readonly length: number;
  readonly bytes: Uint8Array;
}

/** The text ends within what may become an escape. */
export const unfinishedEscape = Symbol("unfinished escape");

type Found = Escape | typeof unfinishedEscape | undefined;

/**
 * The escape that starts at this `%`, `\` or `&`, if one does: percent-encoding (RFC 3986 §2.1), the
 * escapes of JSON (RFC 8259 §7) with `\xXX` and `\'` of its relatives, and HTML character references.
 */
export function escapeAt(text: Buffer, at: number): Found {
  switch (text[at] ?? 0) {
    case 0x25:
      return hexEscape(text, at, 1, 2, (code) => byteOf(code));
    case 0x5c:
      return backslashEscape(text, at);
    case 0x26:
      return reference(text, at);
    default:
      return undefined;
  }
}

function backslashEscape(text: Buffer, at: number): Found {
  const kind = text[at + 1];
  if (kind === undefined) return unfinishedEscape;
  if (kind === 0x78) return hexEscape(text, at, 2, 2, (code) => byteOf(code));
  if (kind === 0x75) return unicodeEscape(text, at);
  const plain = simple.get(kind);
  return plain === undefined ? undefined : { length: 2, bytes: byteOf(plain) };
}

/** `\uXXXX`, two of them for what lies beyond the basic plane. */
function unicodeEscape(text: Buffer, at: number): Found {
  const first = hexEscape(text, at, 2, 4, utf8);
  if (first === undefined || first === unfinishedEscape) return first;
  const high = hexValue(text, at + 2, 4);
  if (high < 0xd800 || high > 0xdbff) return first;
  const next = at + first.length;
  if (text.length === next || (text.length === next + 1 && text[next] === 0x5c)) return unfinishedEscape;
  if (text[next] !== 0x5c || text[next + 1] !== 0x75) return first;
  const second = hexEscape(text, next, 2, 4, utf8);
  if (second === undefined || second === unfinishedEscape) return second ?? first;
  const low = hexValue(text, next + 2, 4);
  if (low < 0xdc00 || low > 0xdfff) return first;
  return { length: first.length + second.length, bytes: utf8(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)) };
}

function hexEscape(text: Buffer, at: number, skip: number, digits: number, decode: (code: number) => Uint8Array): Found {
  let code = 0;
  for (let i = 0; i < digits; i++) {
    const byte = text[at + skip + i];
    if (byte === undefined) return unfinishedEscape;
    const digit = hexDigit(byte);
    if (digit < 0) return undefined;
    code = code * 16 + digit;
  }
  return { length: skip + digits, bytes: decode(code) };
}

function hexValue(text: Buffer, at: number, digits: number): number {
  return Number.parseInt(text.toString("latin1", at, at + digits), 16);
}

function hexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const letter = byte | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1;
}

/** `&name;`, `&#38;` and `&#x26;`, of at most twelve characters. */
function reference(text: Buffer, at: number): Found {
  for (let end = at + 1; end < at + 12; end++) {
    const byte = text[end];
    if (byte === undefined) return unfinishedEscape;
    if (byte === 0x3b) return named(text.toString("latin1", at + 1, end), end + 1 - at);
    if (!inName(byte)) return undefined;
  }
  return undefined;
}

function inName(byte: number): boolean {
  const letter = byte | 0x20;
  return byte === 0x23 || (byte >= 0x30 && byte <= 0x39) || (letter >= 0x61 && letter <= 0x7a);
}

function named(name: string, length: number): Found {
  const numeric = /^#(?:(\d{1,7})|x([0-9a-f]{1,6}))$/i.exec(name);
  if (numeric) {
    const code = numeric[1] === undefined ? Number.parseInt(numeric[2] ?? "", 16) : Number(numeric[1]);
    return { length, bytes: utf8(code) };
  }
  const character = references[name];
  return character === undefined ? undefined : { length, bytes: Buffer.from(character) };
}

function byteOf(code: number): Uint8Array {
  return Uint8Array.of(code);
}

/** Half a surrogate pair, or a number beyond Unicode, is the replacement character, as everywhere. */
function utf8(code: number): Uint8Array {
  if (code < 0x80) return byteOf(code);
  return Buffer.from(code <= 0x10ffff ? String.fromCodePoint(code) : "\ufffd");
}

const simple = new Map(
  Object.entries({ '"': '"', "'": "'", "\\": "\\", "/": "/", b: "\b", f: "\f", n: "\n", r: "\r", t: "\t" }).map(([name, character]) => [
    name.charCodeAt(0),
    character.charCodeAt(0),
  ]),
);

/** The references of HTML for ASCII punctuation: what an escaper may write in place of a character of a token. */
const references: Readonly<Record<string, string | undefined>> = Object.assign(Object.create(null), {
  amp: "&",
  AMP: "&",
  apos: "'",
  ast: "*",
  bsol: "\\",
  colon: ":",
  comma: ",",
  commat: "@",
  dollar: "$",
  equals: "=",
  excl: "!",
  grave: "`",
  gt: ">",
  GT: ">",
  Hat: "^",
  lbrace: "{",
  lbrack: "[",
  lcub: "{",
  lowbar: "_",
  lpar: "(",
  lsqb: "[",
  lt: "<",
  LT: "<",
  nbsp: "\u00a0",
  num: "#",
  percnt: "%",
  period: ".",
  plus: "+",
  quest: "?",
  quot: '"',
  QUOT: '"',
  rbrace: "}",
  rbrack: "]",
  rcub: "}",
  rpar: ")",
  rsqb: "]",
  semi: ";",
  sol: "/",
  Tab: "\t",
  NewLine: "\n",
  verbar: "|",
  vert: "|",
});
