import { Secret } from "../core/secret.ts";
import { keyIdOf, lock, SealError, unlock } from "./box.ts";
import type { SealContext } from "./context.ts";
import type { KekSource } from "./kek.ts";
import { createFileSource } from "./key-file.ts";
import type { KeyringParts } from "./keyring.ts";
import { openKeyring } from "./keyring.ts";
import type { PassphraseFrom } from "./passphrase.ts";
import { createPassphraseSource } from "./passphrase.ts";

export type SealConfig =
  | { readonly type: "file"; readonly path: string }
  | { readonly type: "passphrase"; readonly from: PassphraseFrom; /** For a rotation. */ readonly next?: PassphraseFrom };

/** Encrypts what rests in the store. Calls are synchronous: the data keys are in memory. */
export interface Seal {
  /** Id of the key-encryption key, for people and for the audit log. Not secret. */
  readonly key: string;
  encrypt(context: SealContext, plaintext: Secret | Uint8Array): Uint8Array;
  /** Throws `SealError`. Prefer `open` where waiting is possible. */
  decrypt(context: SealContext, sealed: Uint8Array): Secret;
  /** Like `decrypt`, but looks for a data key that it does not know, as another process may have made it a moment ago. */
  open(context: SealContext, sealed: Uint8Array): Promise<Secret>;
  /** The same value under the newest data key, or `undefined` when that is what it is under already. */
  reseal(context: SealContext, sealed: Uint8Array): Promise<Uint8Array | undefined>;
  /** To be called every `refreshEvery` milliseconds. Notices rotations, and reports how much was sealed. */
  refresh(): Promise<void>;
  close(): void;
}

export interface OpenSealParts extends Omit<KeyringParts, "source"> {
  readonly config: SealConfig;
  readonly env: Readonly<Record<string, string | undefined>>;
}

export function createKekSource(config: SealConfig, env: OpenSealParts["env"]): KekSource {
  return config.type === "file" ? createFileSource(config.path) : createPassphraseSource({ ...config, env });
}

/** Throws `SetupError` when the key is missing, open to others, damaged, or not the store's. */
export function openSeal({ config, env, ...parts }: OpenSealParts): Promise<Seal> {
  return createSeal({ ...parts, source: createKekSource(config, env) });
}

export async function createSeal(parts: KeyringParts): Promise<Seal> {
  const keyring = await openKeyring(parts);
  let closed = false;
  // A rotation that died between its last two steps left the new key file under its interim name.
  // On a read-only file system it stays there, and opens the store all the same.
  await parts.source.adopt(keyring.kek).catch(() => undefined);

  function decryptBytes(context: SealContext, sealed: Uint8Array): Buffer {
    if (closed) throw new SealError("closed", "the seal is closed");
    const id = keyIdOf(context, sealed);
    const key = keyring.find(id);
    if (!key)
      throw new SealError("unknown-key", `${context.purpose} ${JSON.stringify(context.name)} is sealed with an unknown data key (${id})`);
    return unlock(key, context, sealed);
  }

  async function openBytes(context: SealContext, sealed: Uint8Array): Promise<Buffer> {
    try {
      return decryptBytes(context, sealed);
    } catch (error) {
      if (!(error instanceof SealError) || error.reason !== "unknown-key") throw error;
    }
    await keyring.refresh();
    return decryptBytes(context, sealed);
  }

  return {
    get key() {
      return keyring.kek;
    },

    encrypt(context, plaintext) {
      const { id, key } = keyring.writer();
      return plaintext instanceof Secret ? plaintext.use((bytes) => lock(key, id, context, bytes)) : lock(key, id, context, plaintext);
    },

    decrypt: (context, sealed) => hold(decryptBytes(context, sealed)),
    open: async (context, sealed) => hold(await openBytes(context, sealed)),

    async reseal(context, sealed) {
      const plaintext = await openBytes(context, sealed);
      try {
        const { id, key } = keyring.successor();
        return keyIdOf(context, sealed) === id ? undefined : lock(key, id, context, plaintext);
      } finally {
        plaintext.fill(0);
      }
    },

    refresh: () => keyring.refresh(),

    close() {
      closed = true;
      keyring.close();
    },
  };
}

function hold(plaintext: Buffer): Secret {
  const secret = Secret.of(plaintext);
  plaintext.fill(0);
  return secret;
}
