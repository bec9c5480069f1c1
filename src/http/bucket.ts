export interface BucketParts {
  /** Tokens that a full bucket holds. */
  readonly burst: number;
  readonly perSecond: number;
  /** How many keys are remembered; beyond that the longest unused is forgotten, which fills its bucket. */
  readonly keys?: number;
  readonly now: () => number;
}

export interface Buckets {
  /** Takes `cost` tokens from the key's bucket. Seconds until that will work, or 0 when it did. */
  take(key: string, cost?: number): number;
}

/** Token buckets by key, in bounded memory. */
export function createBuckets({ burst, perSecond, keys = 10_000, now }: BucketParts): Buckets {
  /** The least recently used first. */
  const buckets = new Map<string, { tokens: number; at: number }>();
  return {
    take(key, cost = 1) {
      const time = now();
      const bucket = buckets.get(key) ?? { tokens: burst, at: time };
      buckets.delete(key);
      if (buckets.size >= keys) {
        const oldest = buckets.keys().next();
        if (!oldest.done) buckets.delete(oldest.value);
      }
      buckets.set(key, bucket);
      bucket.tokens = Math.min(burst, bucket.tokens + (Math.max(0, time - bucket.at) / 1000) * perSecond);
      bucket.at = time;
      if (bucket.tokens < cost) return Math.max(1, Math.ceil((cost - bucket.tokens) / perSecond));
      bucket.tokens -= cost;
      return 0;
    },
  };
}
