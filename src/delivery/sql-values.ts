import type { JsonValue } from "../core/json.ts";

/** UTF-8 bytes, roughly: counted in UTF-16 units. A longer cell is cut, and counted as clipped. */
const longestCell = 64 * 1024;

type Read = (text: string) => JsonValue;

const asIs: Read = (text) => text;
/** NaN and Infinity have no place in JSON numbers, and stay text. */
const number: Read = (text) => (Number.isFinite(Number(text)) ? Number(text) : text);
/** `2026-11-22 10:00:00.5+00` as RFC 3339. What does not look like it (infinity, BC) stays as PostgreSQL wrote it. */
const instant: Read = (text) =>
  text.replace(
    /^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d(?:\.\d+)?)(?:\+00)?$/,
    (all, day: string, time: string) => `${day}T${time}${all.endsWith("+00") ? "Z" : ""}`,
  );
const bytes: Read = (text) => Buffer.from(text.slice(2), "hex").toString("base64");
const json: Read = (text) => JSON.parse(text) as JsonValue;

interface Type {
  readonly name: string;
  readonly read: Read;
}

/**
 * PostgreSQL's built-in types by number (`pg_type.dat`). Numbers that JSON readers would round (int8, numeric)
 * are strings; bytea is base64; times are UTC.
 */
const builtIn: ReadonlyMap<number, Type> = new Map([
  [16, { name: "bool", read: (text) => text === "t" }],
  [17, { name: "bytea", read: bytes }],
  [18, { name: "char", read: asIs }],
  [19, { name: "name", read: asIs }],
  [20, { name: "int8", read: asIs }],
  [21, { name: "int2", read: number }],
  [23, { name: "int4", read: number }],
  [25, { name: "text", read: asIs }],
  [26, { name: "oid", read: number }],
  [114, { name: "json", read: json }],
  [700, { name: "float4", read: number }],
  [701, { name: "float8", read: number }],
  [1042, { name: "bpchar", read: asIs }],
  [1043, { name: "varchar", read: asIs }],
  [1082, { name: "date", read: asIs }],
  [1083, { name: "time", read: asIs }],
  [1114, { name: "timestamp", read: instant }],
  [1184, { name: "timestamptz", read: instant }],
  [1186, { name: "interval", read: asIs }],
  [1700, { name: "numeric", read: asIs }],
  [2950, { name: "uuid", read: asIs }],
  [3802, { name: "jsonb", read: json }],
]);

export function builtInName(oid: number): string | undefined {
  return builtIn.get(oid)?.name;
}

/** One cell as JSON. Types that are not known here (enums, domains, arrays, ranges) keep PostgreSQL's own text form. */
export function readCell(oid: number, text: string | null): { readonly value: JsonValue; readonly clipped: boolean } {
  if (text === null) return { value: null, clipped: false };
  if (text.length > longestCell) return { value: `${text.slice(0, longestCell).toWellFormed()}…`, clipped: true };
  return { value: (builtIn.get(oid)?.read ?? asIs)(text), clipped: false };
}

/** Formats that `readCell` relies on, whatever the server's or the role's settings say. */
export const formats = {
  DateStyle: "ISO, YMD",
  TimeZone: "UTC",
  IntervalStyle: "iso_8601",
  bytea_output: "hex",
  extra_float_digits: "1",
} as const;
