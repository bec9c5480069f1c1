import { readFile } from "node:fs/promises";
import type { Vault } from "../core/ports.ts";
import { SetupError } from "../core/setup-error.ts";

/** Where a secret of the broker itself is: in a vault, or where the vault's own opener may be. */
export type SecretReference = { readonly vault: string; readonly secret: string } | { readonly env: string } | { readonly file: string };

/** The value, as protocols take it. Read anew each time, so that one that was replaced counts. Throws `SetupError`. */
export async function readReference(
  reference: SecretReference,
  vault: (name: string) => Vault,
  env: Readonly<Record<string, string | undefined>>,
): Promise<string> {
  if ("env" in reference) return env[reference.env] ?? lacking(`The environment variable ${reference.env} is not set`);
  if ("file" in reference) {
    const text = await readFile(reference.file, "utf8").catch(() => lacking(`${reference.file} cannot be read`));
    return text.replace(/\r?\n$/, "");
  }
  const found = await vault(reference.vault).read(reference.secret, AbortSignal.timeout(5_000));
  if (!found) return lacking(`There is no secret ${reference.secret} in vault ${reference.vault}`);
  try {
    return found.value.use((bytes) => Buffer.from(bytes).toString("utf8"));
  } finally {
    found.value.destroy();
  }
}

function lacking(what: string): never {
  throw new SetupError({ what, fix: "It is named in the configuration: put it there, or name another." });
}
