import * as crypto from "node:crypto";
import { promisify } from "node:util";
import { SetupError } from "../core/setup-error.ts";
import { Secret } from "../core/secret.ts";
import type { Kek, KekSource } from "./kek.ts";
import { createKek } from "./kek.ts";
import { readPrivateFile } from "./key-file.ts";

/** Where a passphrase comes from. `prompt` asks a person. */
export type PassphraseFrom = { readonly env: string } | { readonly file: string } | { readonly prompt: () => Promise<Secret> };

export interface PassphraseParts {
  readonly from: PassphraseFrom;
  /** The passphrase to rotate to. */
  readonly next?: PassphraseFrom;
  readonly env: Readonly<Record<string, string | undefined>>;
}

const shortest = 12;

/** A passphrase, stretched with the cost and salt that are part of the key's id. */
export function createPassphraseSource(parts: PassphraseParts): KekSource {
  const known = new Map<string, Kek>();
  const asked = new Set<PassphraseFrom>();

  function remember(kek: Kek): Kek {
    known.set(kek.id, kek);
    return kek;
  }

  function ask(from: PassphraseFrom): Promise<Secret> {
    if ("prompt" in from) asked.add(from);
    return obtain(from, parts.env);
  }

  async function fresh(from: PassphraseFrom): Promise<Kek> {
    const passphrase = await ask(from);
    try {
      if (passphrase.use((bytes) => bytes.toString().length) < shortest) {
        throw new SetupError({
          what: `The passphrase has fewer than ${shortest} characters`,
          fix: "Choose a longer one, of several words.",
        });
      }
      return remember(await stretch(passphrase, presentCost(), crypto.randomBytes(16)));
    } finally {
      passphrase.destroy();
    }
  }

  return {
    first: () => fresh(parts.from),

    async find(id) {
      const held = known.get(id);
      if (held) return held;
      const { cost, salt } = parse(id);
      // A person is asked once. A running broker that meets a new passphrase has nobody to ask.
      const sources = (parts.next ? [parts.from, parts.next] : [parts.from]).filter((from) => !asked.has(from));
      if (sources.length === 0) {
        throw new SetupError({ what: "The passphrase of the seal was changed", fix: "Start the broker again with the new one." });
      }
      for (const from of sources) {
        const passphrase = await ask(from);
        const kek = await stretch(passphrase, cost, salt).finally(() => passphrase.destroy());
        if (kek.id === id) return remember(kek);
      }
      throw new SetupError({ what: "The passphrase is wrong", fix: "Give the one that this store was sealed with." });
    },

    async next() {
      if (!parts.next) throw new SetupError({ what: "There is no new passphrase to rotate to", fix: "Give one." });
      return fresh(parts.next);
    },

    // Whoever keeps the passphrase has to change it there; until then `find` refuses it.
    adopt: () => Promise.resolve(),
  };
}

type Cost =
  | { readonly name: "argon2id"; readonly memoryKiB: number; readonly passes: number; readonly lanes: number }
  | { readonly name: "scrypt"; readonly cost: number; readonly block: number; readonly parallel: number };

/** RFC 9106 §4, second recommended option; scrypt, with twice the memory, where OpenSSL has no Argon2. */
function presentCost(): Cost {
  return typeof crypto.argon2 === "function"
    ? { name: "argon2id", memoryKiB: 65_536, passes: 3, lanes: 4 }
    : { name: "scrypt", cost: 131_072, block: 8, parallel: 1 };
}

async function stretch(passphrase: Secret, cost: Cost, salt: Buffer): Promise<Kek> {
  // The same characters typed on two keyboards must be the same bytes.
  const message = passphrase.use((bytes) => Buffer.from(bytes.toString().normalize("NFKC")));
  const material = await derive(message, cost, salt).finally(() => message.fill(0));
  const kek = createKek((check) => `${format(cost)}:${salt.toString("base64url")}:${check}`, material);
  material.fill(0);
  return kek;
}

async function derive(message: Buffer, cost: Cost, nonce: Buffer): Promise<Buffer> {
  if (cost.name === "scrypt") {
    const { cost: N, block: r, parallel: p } = cost;
    return new Promise((resolve, reject) => {
      crypto.scrypt(message, nonce, 32, { N, r, p, maxmem: 256 * N * r }, (error, key) => (error ? reject(error) : resolve(key)));
    });
  }
  if (typeof crypto.argon2 !== "function") {
    throw new SetupError({ what: "This Node.js has no Argon2, which the store's passphrase needs", fix: "Use Node.js 24.7 or later." });
  }
  const { memoryKiB: memory, passes, lanes: parallelism } = cost;
  return promisify(crypto.argon2)("argon2id", { message, nonce, memory, passes, parallelism, tagLength: 32 });
}

function format(cost: Cost): string {
  return cost.name === "argon2id"
    ? `argon2id:m=${cost.memoryKiB},t=${cost.passes},p=${cost.lanes}`
    : `scrypt:n=${cost.cost},r=${cost.block},p=${cost.parallel}`;
}

/** Bounded, because whoever can write to the database must not be able to make a start take all memory. */
function parse(id: string): { readonly cost: Cost; readonly salt: Buffer } {
  const parts = /^(argon2id|scrypt):[mn]=(\d{1,7}),[tr]=(\d{1,2}),p=(\d{1,2}):([A-Za-z0-9_-]{22}):[0-9a-f]{32}$/.exec(id);
  if (!parts) {
    if (id.startsWith("file:")) throw new SetupError({ what: "The store is sealed with a key file", fix: "Set seal.type to file." });
    throw damagedHeader();
  }
  const [first, second, third] = parts.slice(2, 5).map(Number);
  if (first === undefined || second === undefined || third === undefined || first > 1_048_576 || second > 16 || third > 16)
    throw damagedHeader();
  const salt = Buffer.from(parts[5] ?? "", "base64url");
  const cost: Cost =
    parts[1] === "argon2id"
      ? { name: "argon2id", memoryKiB: first, passes: second, lanes: third }
      : { name: "scrypt", cost: first, block: second, parallel: third };
  return { cost, salt };
}

function damagedHeader(): SetupError {
  return new SetupError({
    what: "The description of the passphrase in the store is damaged",
    fix: "Restore the database from your backup.",
  });
}

async function obtain(from: PassphraseFrom, env: PassphraseParts["env"]): Promise<Secret> {
  if ("prompt" in from) return from.prompt();
  if ("env" in from) {
    const value = env[from.env];
    if (value) return Secret.of(value);
    throw new SetupError({ what: `The environment variable ${from.env} is not set`, fix: "Set it to the passphrase of the seal." });
  }
  const bytes = await readPrivateFile(from.file);
  if (!bytes)
    throw new SetupError({
      file: from.file,
      what: "there is no passphrase file here",
      fix: "Put the passphrase of the seal into it, with mode 0600.",
    });
  const passphrase = Secret.of(bytes.toString().replace(/\r?\n$/, ""));
  bytes.fill(0);
  return passphrase;
}
