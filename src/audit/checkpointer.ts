import type { KeyObject } from "node:crypto";
import type { LogHead } from "./append.ts";
import { rootOf } from "./append.ts";
import { parseCheckpoint, signCheckpoint } from "./checkpoint.ts";
import type { LogStore } from "./log-store.ts";
import { noteSigner } from "./note.ts";
import { sameHash } from "./tree.ts";

export interface Checkpointer {
  /** For those who verify: `<name>+<key id>+<base64>`. */
  readonly verifierKey: string;
  /**
   * A checkpoint of the present head. Signed and saved when the log has grown since the newest one, else that one again.
   * Throws when the log no longer continues what was signed before: then nothing is signed.
   */
  sign(): Promise<string>;
}

/** `key` is an Ed25519 private key; `origin` names the log, e.g. `leasehold/production`, without spaces or `+`. */
export function createCheckpointer(parts: { readonly store: LogStore; readonly key: KeyObject; readonly origin: string }): Checkpointer {
  const { store } = parts;
  const signer = noteSigner(parts.origin, parts.key);
  let newest: { readonly size: number; readonly note: string } | undefined;
  let running: Promise<string> | undefined;

  async function signNext(): Promise<string> {
    newest ??= (await store.checkpoints()).at(-1);
    const head = await store.head();
    if (newest && continues(head, newest)) return newest.note;
    const note = signCheckpoint(head, signer);
    await store.saveCheckpoint(head.size, note);
    newest = { size: head.size, note };
    return note;
  }

  return {
    verifierKey: signer.verifierKey,
    // Calls that come together share one signature: two at once could save the same size twice.
    sign() {
      running ??= signNext().finally(() => (running = undefined));
      return running;
    },
  };
}

/** Whether the head is the very one that was signed. Throws when it cannot be what came after it. */
function continues(head: LogHead, signed: { readonly size: number; readonly note: string }): boolean {
  if (head.size > signed.size) return false;
  const checkpoint = parseCheckpoint(signed.note);
  if (head.size < signed.size || !checkpoint || !sameHash(checkpoint.root, rootOf(head)))
    throw new Error(
      `the audit log (${head.size} entries) contradicts the checkpoint that was signed at ${signed.size}: run a verification`,
    );
  return true;
}
