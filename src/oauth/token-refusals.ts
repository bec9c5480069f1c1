import type { EventOf } from "../core/event.ts";

/** A token request that was refused: to whom, and why. */
type TokenRefused = Omit<EventOf<"token.refused">, "kind">;

export interface TokenRefusals {
  note(refused: TokenRefused): void;
  /** Reports what is still held back. */
  flush(): void;
}

interface Tally {
  last: TokenRefused;
  count: number;
}

/** More addresses than these are not told apart. */
const distinct = 1_000;

/** Reports the first refusal of an address at once and those after it in sums, one a second: noise cannot fill the audit log. */
export function createTokenRefusals(report: (event: EventOf<"token.refused">) => void): TokenRefusals {
  const tallies = new Map<string, Tally>();
  let timer: NodeJS.Timeout | undefined;

  function sum(): void {
    for (const [ip, { last, count }] of tallies) {
      if (count === 0) tallies.delete(ip);
      else report({ kind: "token.refused", ...last, ...(count > 1 ? { why: `${last.why} (the last of ${count})` } : {}) });
      const tally = tallies.get(ip);
      if (tally) tally.count = 0;
    }
    if (tallies.size > 0) return;
    clearInterval(timer);
    timer = undefined;
  }

  return {
    note(refused) {
      const ip = ("ip" in refused.actor && refused.actor.ip) || "";
      const key = tallies.has(ip) || tallies.size < distinct ? ip : "";
      const tally = tallies.get(key);
      if (tally) {
        tally.last = refused;
        tally.count += 1;
        return;
      }
      tallies.set(key, { last: refused, count: 0 });
      report({ kind: "token.refused", ...refused });
      timer ??= setInterval(sum, 1_000).unref();
    },
    flush() {
      sum();
      tallies.clear();
      clearInterval(timer);
      timer = undefined;
    },
  };
}
