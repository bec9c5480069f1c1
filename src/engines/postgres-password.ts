import { createHash, createHmac, pbkdf2, randomBytes } from "node:crypto";
import { promisify } from "node:util";

const derive = promisify(pbkdf2);
/** PostgreSQL's own default. With 256 random bits in the password, more would protect nothing. */
const iterations = 4096;

export type Random = (bytes: number) => Buffer;

/** 32 random bytes as 43 characters that need no quoting anywhere, and that SASLprep leaves alone. */
export function newPassword(random: Random = randomBytes): string {
  return random(32).toString("base64url");
}

/**
 * What PostgreSQL stores instead of a password (RFC 5802, and `src/common/scram-common.c` there). Handed
 * over in this form, the password never reaches the server: not in its log, its statistics, or its memory.
 */
export async function scramVerifier(password: string, random: Random = randomBytes): Promise<string> {
  const salt = random(16);
  const salted = await derive(password, salt, iterations, 32, "sha256");
  const keyed = (label: string): Buffer => createHmac("sha256", salted).update(label).digest();
  const storedKey = createHash("sha256").update(keyed("Client Key")).digest("base64");
  return `SCRAM-SHA-256$${iterations}:${salt.toString("base64")}$${storedKey}:${keyed("Server Key").toString("base64")}`;
}
