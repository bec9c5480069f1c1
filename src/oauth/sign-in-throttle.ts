/** Slows guessing down, by what is guessed at and by where it comes from. In memory: one process, one count. */
export interface Throttle {
  /** Takes an attempt. Seconds to wait before the next, or 0 when this one may go on; one that has to wait does not count. */
  take(key: string): number;
  /** It was right: this attempt is taken back, or with `all` every one. */
  right(key: string, all?: boolean): void;
}

export interface ThrottleParts {
  /** Attempts without any delay. */
  readonly free: number;
  /** The longest delay, in seconds: it grows by doubling, and never so far that somebody could be kept out for good. */
  readonly longest: number;
  readonly now: () => number;
  /** How many keys are remembered: beyond that the one unused for longest is forgotten. */
  readonly keys?: number;
}

/** Milliseconds of quiet after which nothing is held against anybody. */
const forgetAfter = 15 * 60_000;

export function createThrottle({ free, longest, now, keys = 10_000 }: ThrottleParts): Throttle {
  /** The least recently used first. */
  const attempts = new Map<string, { count: number; at: number }>();

  function put(key: string, entry: { count: number; at: number }): void {
    attempts.delete(key);
    if (attempts.size >= keys) {
      const oldest = attempts.keys().next();
      if (!oldest.done) attempts.delete(oldest.value);
    }
    attempts.set(key, entry);
  }

  return {
    take(key) {
      const time = now();
      const before = attempts.get(key);
      const { count, at } = before && time - before.at < forgetAfter ? before : { count: 0, at: time };
      const delay = count < free ? 0 : Math.min(longest, 2 ** (count - free)) * 1000;
      const wait = at + delay - time;
      if (wait > 0) return Math.ceil(wait / 1000);
      put(key, { count: count + 1, at: time });
      return 0;
    },

    right(key, all = false) {
      const entry = attempts.get(key);
      if (!entry) return;
      if (all || entry.count <= 1) attempts.delete(key);
      else entry.count -= 1;
    },
  };
}

export interface SignInRefusal {
  readonly user?: string;
  readonly why: string;
  readonly count: number;
}

/** Reports the first refusal of an account at once, and those after it in sums, one a minute: noise cannot fill the audit log. */
export function createRefusals(report: (refusal: SignInRefusal) => void, every = 60_000) {
  const held = new Map<string, { why: string; count: number }>();
  let timer: NodeJS.Timeout | undefined;

  function tell(user: string, why: string, count: number): void {
    report({ why, count, ...(user === "" ? {} : { user }) });
  }

  function tick(): void {
    for (const [user, tally] of held) {
      if (tally.count === 0) held.delete(user);
      else {
        tell(user, tally.why, tally.count);
        tally.count = 0;
      }
    }
    if (held.size > 0) return;
    clearInterval(timer);
    timer = undefined;
  }

  return {
    /** `user` only where there is such an account. */
    note(why: string, user = ""): void {
      const tally = held.get(user);
      if (tally) {
        tally.count += 1;
        tally.why = why;
        return;
      }
      held.set(user, { why, count: 0 });
      tell(user, why, 1);
      timer ??= setInterval(tick, every).unref();
    },

    /** Reports what is still held back. */
    flush(): void {
      for (const [user, { why, count }] of held) if (count > 0) tell(user, why, count);
      held.clear();
      clearInterval(timer);
      timer = undefined;
    },
  };
}
