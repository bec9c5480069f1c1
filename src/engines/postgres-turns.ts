/** Bounds how much goes on at once, by key. Whoever comes first is next. */
export interface Turns {
  /** Waits for a turn, and answers with how to end it. Throws the signal's reason when that comes first. */
  take(key: string, signal: AbortSignal): Promise<() => void>;
}

export function createTurns(most: number): Turns {
  const busy = new Map<string, { running: number; readonly waiting: Set<() => void> }>();

  function end(key: string): void {
    const at = busy.get(key);
    if (!at) return;
    const [next] = at.waiting;
    if (next) {
      at.waiting.delete(next);
      next();
      return;
    }
    at.running -= 1;
    if (at.running === 0) busy.delete(key);
  }

  return {
    async take(key, signal) {
      signal.throwIfAborted();
      const at = busy.get(key) ?? { running: 0, waiting: new Set() };
      busy.set(key, at);
      if (at.running < most) at.running += 1;
      else
        await new Promise<void>((resolve, reject) => {
          const give = (): void => {
            signal.removeEventListener("abort", leave);
            resolve();
          };
          const leave = (): void => {
            at.waiting.delete(give);
            reject(signal.reason);
          };
          at.waiting.add(give);
          signal.addEventListener("abort", leave, { once: true });
        });
      return () => end(key);
    },
  };
}
