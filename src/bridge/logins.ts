import { createHash } from "node:crypto";
import { homedir } from "node:os";
import { isAbsolute, join } from "node:path";
import type { Env } from "./browser.ts";
import { createKeychain } from "./keychain.ts";
import { locked } from "./lock.ts";
import type { Login, LoginPlace } from "./login.ts";
import { createLoginFile, ownFolder } from "./login-file.ts";

/** The logins of this person on this machine. */
export interface Logins {
  /**
   * Works on one login while no other process does: a refresh token is good for one use, and two bridges that used it
   * at once would look to the broker like a thief, who ends the whole sign-in (RFC 9700 section 4.14).
   */
  alone<T>(name: string, work: (login: LoginBox) => Promise<T>): Promise<T>;
}

export interface LoginBox {
  read(): Promise<Login | undefined>;
  /** Answers where it is kept, in words. */
  write(login: Login): Promise<string>;
  remove(): Promise<void>;
}

export function createLogins(parts: { readonly platform: NodeJS.Platform; readonly env: Env; readonly signal: AbortSignal }): Logins {
  const { env, signal } = parts;
  const folder = join(configHome(env), "leasehold");
  const file = createLoginFile({ file: join(folder, "logins.json"), signal });
  const keychain = createKeychain(parts);

  async function write(name: string, login: Login): Promise<LoginPlace> {
    if (keychain) {
      try {
        await keychain.write(name, login);
        await file.remove(name);
        return keychain;
      } catch (thrown) {
        if (signal.aborted) throw thrown;
        // A keychain that is locked or broken must not cost the person the login; an old entry of its would shadow it.
        await keychain.remove(name);
      }
    }
    await file.write(name, login);
    return file;
  }

  return {
    async alone(name, work) {
      await ownFolder(folder);
      const lock = join(folder, `.${createHash("sha256").update(name).digest("hex").slice(0, 16)}.lock`);
      return locked(lock, signal, () =>
        work({
          // The file has what the keychain refused the last time.
          read: async () => (await file.read(name)) ?? keychain?.read(name),
          write: async (login) => (await write(name, login)).words,
          async remove() {
            await keychain?.remove(name);
            await file.remove(name);
          },
        }),
      );
    },
  };
}

/** The XDG Base Directory Specification wants relative paths ignored. */
function configHome(env: Env): string {
  const named = env["XDG_CONFIG_HOME"];
  return named !== undefined && isAbsolute(named) ? named : join(env["HOME"] ?? homedir(), ".config");
}
