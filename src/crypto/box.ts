import type { KeyObject } from "node:crypto";
import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import type { SealContext } from "./context.ts";
import { associatedData } from "./context.ts";

const format = 1;
const keyIdBytes = 16;
const headerBytes = 1 + keyIdBytes;
const nonceBytes = 12;
const tagBytes = 16;
const algorithm = "aes-256-gcm";

/**
 * `unknown-key`: the bytes name a key that this process does not hold (yet). `altered`: they do not open
 * as what they should be. `exhausted`: the data key has sealed all it safely can. Details are for the
 * broker's own log; callers are told `vault_unavailable`.
 */
export class SealError extends Error {
  override readonly name = "SealError";
  readonly reason: "unknown-key" | "altered" | "exhausted" | "closed";

  constructor(reason: SealError["reason"], message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}

/** `format (1) ‖ key id (16) ‖ nonce (12) ‖ ciphertext ‖ tag (16)`: 45 bytes more than the value. */
export function lock(key: KeyObject, keyId: string, context: SealContext, plaintext: Uint8Array): Buffer {
  const nonce = randomBytes(nonceBytes);
  const header = Buffer.allocUnsafe(headerBytes);
  header[0] = format;
  header.write(keyId, 1, "hex");
  const cipher = createCipheriv(algorithm, key, nonce, { authTagLength: tagBytes });
  cipher.setAAD(associatedData(context, header));
  const ciphertext = cipher.update(plaintext);
  cipher.final();
  return Buffer.concat([header, nonce, ciphertext, cipher.getAuthTag()]);
}

/** The plaintext is the caller's to overwrite. Throws `SealError` `altered`. */
export function unlock(key: KeyObject, context: SealContext, sealed: Uint8Array): Buffer {
  const bytes = view(sealed);
  requireFormat(bytes, context);
  const body = headerBytes + nonceBytes;
  const end = bytes.length - tagBytes;
  const decipher = createDecipheriv(algorithm, key, bytes.subarray(headerBytes, body), { authTagLength: tagBytes });
  decipher.setAAD(associatedData(context, bytes.subarray(0, headerBytes)));
  decipher.setAuthTag(bytes.subarray(end));
  const plaintext = decipher.update(bytes.subarray(body, end));
  try {
    decipher.final();
  } catch (cause) {
    plaintext.fill(0);
    throw altered(context, { cause });
  }
  return plaintext;
}

/** The id (32 hex digits) of the key that sealed these bytes, by their own account. */
export function keyIdOf(context: SealContext, sealed: Uint8Array): string {
  const bytes = view(sealed);
  requireFormat(bytes, context);
  return bytes.toString("hex", 1, headerBytes);
}

function requireFormat(bytes: Buffer, context: SealContext): void {
  if (bytes[0] !== format || bytes.length < headerBytes + nonceBytes + tagBytes) throw altered(context);
}

function altered(context: SealContext, options?: ErrorOptions): SealError {
  const what = `${context.purpose} ${JSON.stringify(context.name)} version ${context.version}`;
  return new SealError("altered", `${what} in the store is not what was sealed there`, options);
}

function view(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
