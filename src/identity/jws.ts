import { sign, verify } from "node:crypto";
import type { KeyObject } from "node:crypto";

/** What a compact JWS carries once its signature was found good. Nothing of it was judged yet. */
export interface Jws {
  readonly header: Readonly<Record<string, unknown>>;
  readonly payload: Readonly<Record<string, unknown>>;
}

const longest = 8 * 1024;
const base64url = /^[A-Za-z0-9_-]+$/;

/** A compact ES256 JWS (RFC 7515, RFC 7518 section 3.4) over `header` and `payload`. */
export function signJws(jws: Jws, privateKey: KeyObject): string {
  const signed = `${encode(jws.header)}.${encode(jws.payload)}`;
  const signature = sign("sha256", Buffer.from(signed), { key: privateKey, dsaEncoding: "ieee-p1363" });
  return `${signed}.${signature.toString("base64url")}`;
}

/**
 * Opens a compact ES256 JWS of at most 8 KiB, or throws. The header must be exactly `{ alg, kid, typ }`
 * with the expected values: what names another algorithm or key, or brings one along (`jwk`, `jku`,
 * `x5u`, `crit`, `b64`), is refused before any cryptography. Synchronous on purpose: 71 µs here, while
 * concurrent verifications through the thread pool queue for longer than that.
 */
export function openJws(token: string, expected: { readonly typ: string; readonly key: (kid: string) => KeyObject | undefined }): Jws {
  if (token.length > longest) throw new Error("token is too long");
  const parts = token.split(".");
  const [head, body, tail] = parts;
  if (parts.length !== 3 || !head || !body || !tail) throw new Error("not a compact JWS");

  const header = decodeObject(head);
  const { alg, kid, typ, ...more } = header;
  if (Object.keys(more).length > 0 || alg !== "ES256" || typeof kid !== "string" || typ !== expected.typ)
    throw new Error("unexpected token header");
  const publicKey = expected.key(kid);
  if (!publicKey) throw new Error("token is signed with an unknown key");

  const signature = decode(tail);
  const genuine = verify(
    "sha256",
    Buffer.from(token.slice(0, head.length + 1 + body.length)),
    { key: publicKey, dsaEncoding: "ieee-p1363" },
    signature,
  );
  if (signature.length !== 64 || !genuine) throw new Error("bad signature");
  return { header, payload: decodeObject(body) };
}

function encode(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}

/** Each value has one spelling: padding, foreign characters and stray low bits are refused (RFC 4648 section 3.5). */
function decode(text: string): Buffer {
  const bytes = Buffer.from(text, "base64url");
  if (!base64url.test(text) || bytes.toString("base64url") !== text) throw new Error("not canonical base64url");
  return bytes;
}

function decodeObject(text: string): Readonly<Record<string, unknown>> {
  const value = parse(decode(text).toString("utf8"));
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new Error("not a JSON object");
  return Object.fromEntries(Object.entries(value));
}

/** In our own words: the parser's would carry a piece of the token into the log. */
function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new Error("not JSON");
  }
}
