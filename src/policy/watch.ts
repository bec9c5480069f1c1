import { watch } from "node:fs";
import type { FSWatcher } from "node:fs";

import type { Bundle } from "./bundle.ts";
import type { PolicyAuthorizer } from "./cedar.ts";
import { listPolicyFiles, loadBundle } from "./directory.ts";
import type { Problem } from "./problem.ts";

export interface WatchParts {
  readonly directory: string;
  readonly authorizer: PolicyAuthorizer;
  /** A bundle came into force. Also called when a broken change was taken back. */
  readonly onLoaded?: (bundle: Bundle) => void;
  /** A change was refused; the bundle from before stays in force. Once per change. */
  readonly onRejected?: (problems: readonly Problem[]) => void;
  /** Milliseconds of quiet before a change is read, so that a file is not read half written. */
  readonly quiet?: number;
  /** Milliseconds between looks, for file systems that tell nothing (network shares, some mounts). */
  readonly interval?: number;
}

export interface PolicyWatch {
  /** Looks now. Resolves once what is on disk has been judged. */
  check(): Promise<void>;
  close(): void;
}

/** Follows a policy directory. A sound change is in force with the next decision, a broken one changes nothing. */
export function watchPolicies(parts: WatchParts): PolicyWatch {
  const { directory, authorizer, quiet = 50, interval = 2_000 } = parts;
  let watcher: FSWatcher | undefined;
  let soon: NodeJS.Timeout | undefined;
  let closed = false;
  let judged: string | undefined;
  let rejected = false;
  let running: Promise<void> = Promise.resolve();

  /** Differs after any change to any policy file, to their number or names. */
  async function look(): Promise<string> {
    try {
      const seen = await listPolicyFiles(directory);
      return JSON.stringify(seen);
    } catch (error) {
      // What was watched is gone; what comes in its place has to be watched anew.
      deafen();
      return `unreadable: ${error instanceof Error ? error.message : String(error)}`;
    }
  }

  async function judge(): Promise<void> {
    const before = await look();
    if (closed || before === judged) return;
    const parsed = await loadBundle(directory, authorizer.policies);
    // Written to while it was read: what we hold was never on disk as a whole. Another look follows.
    if ((await look()) !== before) return hurry();
    if (closed) return;
    judged = before;
    if (!parsed.ok) {
      rejected = true;
      parts.onRejected?.(parsed.problems);
      return;
    }
    if (parsed.bundle.hash === authorizer.bundle && !rejected) return;
    rejected = false;
    authorizer.reload(parsed.bundle);
    parts.onLoaded?.(parsed.bundle);
  }

  /** One at a time: an older read must not overtake a younger one. */
  function check(): Promise<void> {
    running = running.then(judge, judge);
    return running;
  }

  function hurry(): void {
    clearTimeout(soon);
    if (!closed) soon = setTimeout(() => void check().catch(report), quiet);
  }

  function report(error: unknown): void {
    parts.onRejected?.([{ file: directory, line: 1, problem: error instanceof Error ? error.message : String(error) }]);
  }

  /** The watcher ends with its directory; each look tries to set it up again. */
  function listen(): void {
    if (watcher) return;
    try {
      watcher = watch(directory, { recursive: true, persistent: false }, hurry);
      watcher.on("error", deafen);
    } catch {
      // Not there, or no watches left: the looks at intervals go on.
    }
  }

  function deafen(): void {
    watcher?.close();
    watcher = undefined;
  }

  listen();
  hurry();
  const regular = setInterval(() => {
    listen();
    void check().catch(report);
  }, interval);
  regular.unref();

  return {
    check,
    close() {
      closed = true;
      clearTimeout(soon);
      clearInterval(regular);
      deafen();
    },
  };
}
