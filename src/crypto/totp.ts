import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { totpContext } from "./context.ts";
import type { Seal } from "./seal.ts";

/** Codes of an authenticator app (RFC 6238): SHA-1, six digits, thirty seconds, which is what all apps do. */
export interface Totp {
  /** A new key of 160 bits (RFC 4226 section 4, R6) in base32, as people type it. */
  newKey(): string;
  /** For apps that take a link. */
  uri(key: string, of: { readonly issuer: string; readonly name: string }): string;
  /** The step that this code belongs to, if it is one of this key's at the moment; `undefined` for a key that is none. */
  stepOf(key: string, code: string): number | undefined;
  /** For the store, bound to the account. */
  seal(account: string, key: string): Uint8Array;
  /** Like `stepOf`, with a sealed key. Only steps after `last` count, so that a code is good once (RFC 6238 section 5.2). */
  match(account: string, sealed: Uint8Array, code: string, last: number | null): Promise<number | undefined>;
}

const period = 30_000;
/** Steps before and after the present one: clocks differ, and typing takes time (RFC 6238 section 5.2). */
const drift = 1;
const keyPattern = /^[A-Z2-7]{32}$/;
const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

export function createTotp({ seal, now }: { readonly seal: Pick<Seal, "encrypt" | "open">; readonly now: () => number }): Totp {
  function step(key: Uint8Array, code: string, after: number): number | undefined {
    const present = Math.floor(now() / period);
    const typed = Buffer.from(code.replaceAll(/\s/g, "").padEnd(6).slice(0, 7));
    let found: number | undefined;
    for (let at = present - drift; at <= present + drift; at += 1) {
      const right = Buffer.from(hotp(key, at));
      if (typed.length === right.length && timingSafeEqual(typed, right) && at > after) found ??= at;
    }
    return found;
  }

  return {
    newKey: () => encodeBase32(randomBytes(20)),

    uri: (key, { issuer, name }) =>
      `otpauth://totp/${encodeURIComponent(issuer)}:${encodeURIComponent(name)}?secret=${key}&issuer=${encodeURIComponent(issuer)}`,

    stepOf: (key, code) => (keyPattern.test(key) ? step(decodeBase32(key), code, -1) : undefined),

    seal: (account, key) => seal.encrypt(totpContext(account), decodeBase32(key)),

    async match(account, sealed, code, last) {
      const secret = await seal.open(totpContext(account), sealed);
      try {
        return secret.use((key) => step(key, code, last ?? -1));
      } finally {
        secret.destroy();
      }
    },
  };
}

/** RFC 4226 section 5.3: dynamic truncation of an HMAC-SHA-1 over the counter. */
export function hotp(key: Uint8Array, counter: number, digits = 6): string {
  const message = Buffer.alloc(8);
  message.writeBigUInt64BE(BigInt(counter));
  const mac = createHmac("sha1", key).update(message).digest();
  const offset = (mac.at(-1) ?? 0) & 0x0f;
  const number = mac.readUInt32BE(offset) & 0x7fff_ffff;
  return String(number % 10 ** digits).padStart(digits, "0");
}

/** RFC 4648 section 6, without padding. */
function encodeBase32(bytes: Uint8Array): string {
  let text = "";
  let held = 0;
  let bits = 0;
  for (const byte of bytes) {
    held = ((held & 0xff) << 8) | byte;
    for (bits += 8; bits >= 5; bits -= 5) text += alphabet.charAt((held >> (bits - 5)) & 31);
  }
  return bits > 0 ? text + alphabet.charAt((held << (5 - bits)) & 31) : text;
}

/** For text of the alphabet, in whole octets. */
function decodeBase32(text: string): Buffer {
  const bytes: number[] = [];
  let held = 0;
  let bits = 0;
  for (const character of text) {
    held = ((held & 0xff) << 5) | alphabet.indexOf(character);
    bits += 5;
    if (bits >= 8) bytes.push((held >> (bits -= 8)) & 0xff);
  }
  return Buffer.from(bytes);
}
