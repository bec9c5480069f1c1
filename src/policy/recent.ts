/** The most recently used of something, up to a limit. */
export interface Recent<V> {
  get(key: string): V | undefined;
  set(key: string, value: V): void;
  clear(): void;
}

export interface RecentParts<V> {
  /** How much is kept, in what `weight` counts. The youngest is kept even if it alone is more. */
  readonly limit: number;
  /** 1 for each, if absent. */
  readonly weight?: (value: V) => number;
  /** Told of everything that leaves, whether it was crowded out or cleared. */
  readonly onDrop?: (value: V) => void;
}

export function createRecent<V>(parts: RecentParts<V>): Recent<V> {
  const { limit, weight = () => 1, onDrop = () => undefined } = parts;
  const kept = new Map<string, V>();
  let total = 0;

  return {
    get(key) {
      const value = kept.get(key);
      if (value === undefined) return undefined;
      // A Map remembers the order of insertion: what is put in again is the youngest.
      kept.delete(key);
      kept.set(key, value);
      return value;
    },
    set(key, value) {
      const replaced = kept.get(key);
      if (replaced !== undefined) total -= weight(replaced);
      kept.delete(key);
      kept.set(key, value);
      total += weight(value);
      for (const [oldest, dropped] of kept) {
        if (total <= limit || oldest === key) return;
        kept.delete(oldest);
        total -= weight(dropped);
        onDrop(dropped);
      }
    },
    clear() {
      for (const value of kept.values()) onDrop(value);
      kept.clear();
      total = 0;
    },
  };
}
