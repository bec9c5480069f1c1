import * as crypto from "node:crypto";
import { promisify } from "node:util";
import { Failure } from "../core/errors.ts";

/** How much a guess costs. Kept beside each hash, so that it can grow without anybody losing their password. */
export type PasswordCost =
  | { readonly name: "argon2id"; readonly memoryKiB: number; readonly passes: number; readonly lanes: number }
  | { readonly name: "scrypt"; readonly cost: number; readonly block: number; readonly parallel: number };

export interface Passwords {
  /** What is stored: algorithm, parameters, salt and hash. */
  hash(password: string): Promise<string>;
  /** Without a stored hash it takes as long, and is never right: an unknown name answers like a wrong password. */
  verify(password: string, stored: string | undefined): Promise<{ readonly right: boolean; readonly outdated: boolean }>;
}

export interface PasswordsParts {
  readonly cost?: PasswordCost;
  /** Hashes that are computed at once: each takes 64 MiB. */
  readonly atOnce?: number;
  /** Callers that wait for their turn. Whoever comes when all places are taken gets `quota_exceeded`. */
  readonly waiting?: number;
}

/** RFC 9106 section 4, second recommended option; scrypt with as much memory where OpenSSL has no Argon2. */
export function presentCost(): PasswordCost {
  return typeof crypto.argon2 === "function"
    ? { name: "argon2id", memoryKiB: 65_536, passes: 3, lanes: 4 }
    : { name: "scrypt", cost: 65_536, block: 8, parallel: 1 };
}

const tagBytes = 32;

export function createPasswords({ cost = presentCost(), atOnce = 2, waiting = 32 }: PasswordsParts = {}): Passwords {
  const queue: (() => void)[] = [];
  let running = 0;
  /** Of nothing that anybody could type: to compare with where there is no hash. */
  const nobody = format(cost, crypto.randomBytes(16), crypto.randomBytes(tagBytes));

  async function inTurn<T>(work: () => Promise<T>): Promise<T> {
    if (running >= atOnce) {
      if (queue.length >= waiting) throw new Failure("quota_exceeded", { scope: "rate", limit: atOnce, retryAfterSeconds: 2 });
      await new Promise<void>((resolve) => queue.push(resolve));
    } else running += 1;
    try {
      return await work();
    } finally {
      const next = queue.shift();
      if (next) next();
      else running -= 1;
    }
  }

  return {
    async hash(password) {
      const salt = crypto.randomBytes(16);
      return format(cost, salt, await inTurn(() => derive(password, cost, salt)));
    },

    async verify(password, stored) {
      const present = parse(stored ?? nobody);
      const computed = await inTurn(() => derive(password, present.cost, present.salt));
      const right = crypto.timingSafeEqual(computed, present.tag) && stored !== undefined;
      return { right, outdated: describe(present.cost) !== describe(cost) };
    },
  };
}

export const shortestPassword = 12;
const longestPassword = 256;

/** Those of the usual lists that are long enough to pass for a password here. */
const worst = new Set(
  [
    "password1234",
    "passwordpassword",
    "123456789012",
    "1234567890123",
    "12345678901234",
    "qwertyuiop12",
    "qwertyuiopasdf",
    "1q2w3e4r5t6y",
    "qwerty123456",
  ].concat([
    "iloveyou1234",
    "letmein12345",
    "welcome12345",
    "administrator",
    "changeme1234",
    "abcdefghijkl",
    "correcthorsebatterystaple",
    "adminadminadmin",
  ]),
);

/** What is wrong with a password that somebody chose, as a sentence for them; `undefined` when it will do. */
export function passwordProblem(password: string, name: string): string | undefined {
  const typed = password.normalize("NFKC").toLowerCase();
  if (Array.from(typed).length < shortestPassword)
    return `Use at least ${shortestPassword} characters: several words are easier to remember than signs.`;
  if (password.length > longestPassword) return `Use at most ${longestPassword} characters.`;
  if (new Set(typed).size < 5 || worst.has(typed)) return "This is one of the first that anybody would try. Choose another.";
  const [own = name] = name.split("@");
  const rest = [name, own, "leasehold"].reduce((text, word) => text.replaceAll(word, ""), typed);
  if (rest.length < 8) return "It is little more than your name, or ours. Choose another.";
  return undefined;
}

/** The same characters typed on two keyboards must be the same bytes, hence NFKC. */
async function derive(password: string, cost: PasswordCost, salt: Buffer): Promise<Buffer> {
  const message = Buffer.from(password.slice(0, 4 * longestPassword).normalize("NFKC"));
  try {
    if (cost.name === "scrypt") {
      const { cost: N, block: r, parallel: p } = cost;
      return await scrypt(message, salt, tagBytes, { N, r, p, maxmem: 256 * N * r });
    }
    const { memoryKiB: memory, passes, lanes: parallelism } = cost;
    if (typeof crypto.argon2 !== "function") throw new Error("this Node.js has no Argon2, which the stored password needs");
    return await promisify(crypto.argon2)("argon2id", { message, nonce: salt, memory, passes, parallelism, tagLength: tagBytes });
  } finally {
    message.fill(0);
  }
}

const scrypt = promisify<Buffer, Buffer, number, crypto.ScryptOptions, Buffer>(crypto.scrypt);

function describe(cost: PasswordCost): string {
  return cost.name === "argon2id"
    ? `argon2id:m=${cost.memoryKiB},t=${cost.passes},p=${cost.lanes}`
    : `scrypt:n=${cost.cost},r=${cost.block},p=${cost.parallel}`;
}

function format(cost: PasswordCost, salt: Buffer, tag: Buffer): string {
  return `${describe(cost)}:${salt.toString("base64url")}:${tag.toString("base64url")}`;
}

/** Bounded, because whoever can write to the database must not be able to make a sign-in take all memory. */
function parse(stored: string): { readonly cost: PasswordCost; readonly salt: Buffer; readonly tag: Buffer } {
  const parts = /^(argon2id|scrypt):[mn]=(\d{1,7}),[tr]=(\d{1,2}),p=(\d{1,2}):([A-Za-z0-9_-]{22}):([A-Za-z0-9_-]{43})$/.exec(stored);
  const [first = 0, second = 0, third = 0] = (parts ?? []).slice(2, 5).map(Number);
  if (!parts || first > 1_048_576 || second > 16 || third > 16) throw new Error("a stored password is damaged");
  const cost: PasswordCost =
    parts[1] === "argon2id"
      ? { name: "argon2id", memoryKiB: first, passes: second, lanes: third }
      : { name: "scrypt", cost: first, block: second, parallel: third };
  return { cost, salt: Buffer.from(parts[5] ?? "", "base64url"), tag: Buffer.from(parts[6] ?? "", "base64url") };
}
