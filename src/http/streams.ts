import { Refusal } from "./refusal.ts";

/** What an open answer rests on. */
export interface Right {
  /** Milliseconds since the epoch: over by then, whatever else. */
  readonly until: number;
  /** Asked anew each time. What throws does not hold. */
  holds(): Promise<boolean>;
}

export interface StreamsParts<Caller> {
  readonly now: () => number;
  /** Milliseconds between two looks at each right. */
  readonly every?: number;
  /** Streams that stand open and wait, of one caller and of all. */
  readonly perCaller?: number;
  readonly inAll?: number;
  /** Whom a standing stream counts for. */
  readonly keyOf: (caller: Caller) => string;
}

/** Every answer that is under way, so that none outlives the right to it. */
export interface Streams<Caller> {
  /** Calls `end` when the right is over, once. `right` is made on first use: most answers are gone before anyone asks. */
  watch(right: () => Right, end: () => void): Watched;
  /** A place for a stream that stands open. Throws a `Refusal` (429) when there is none. Returns how to leave it. */
  seat(caller: Caller, end: () => void): () => void;
  /** Ends all streams that stand open, and looks no more. */
  close(): void;
}

export interface Watched {
  /** A newer right takes the place of the one before. */
  renew(right: () => Right): void;
  forget(): void;
}

interface Stream {
  right: (() => Right) | undefined;
  known: Right | undefined;
  readonly end: () => void;
}

export function createStreams<Caller>(parts: StreamsParts<Caller>): Streams<Caller> {
  const { now, keyOf, every = 1_000, perCaller = 16, inAll = 256 } = parts;
  const streams = new Set<Stream>();
  const standing = new Map<object, () => void>();
  const seats = new Map<string, number>();
  let looking = false;

  async function isOver(stream: Stream): Promise<boolean> {
    try {
      const right = (stream.known ??= stream.right?.());
      // Made once: whatever it was made from, such as a token, is not kept for as long as the stream is open.
      stream.right = undefined;
      const over = right === undefined || now() >= right.until || !(await right.holds());
      // A newer one may have come while this one was asked about.
      return over && stream.known === right;
    } catch {
      return true;
    }
  }

  async function look(): Promise<void> {
    if (looking) return;
    looking = true;
    await Promise.all(
      [...streams].map(async (stream) => {
        if ((await isOver(stream)) && streams.delete(stream)) stream.end();
      }),
    );
    looking = false;
  }

  const timer = setInterval(() => void look(), every).unref();

  return {
    watch(right, end) {
      const stream: Stream = { right, known: undefined, end };
      streams.add(stream);
      return {
        renew(newer) {
          stream.right = newer;
          stream.known = undefined;
        },
        forget: () => void streams.delete(stream),
      };
    },

    seat(caller, end) {
      const key = keyOf(caller);
      const taken = seats.get(key) ?? 0;
      if (taken >= perCaller || standing.size >= inAll)
        throw new Refusal(429, "quota_exceeded", "Too many open streams. Close one first.", { "retry-after": "5" });
      const seat = {};
      standing.set(seat, end);
      seats.set(key, taken + 1);
      return () => {
        if (!standing.delete(seat)) return;
        const left = (seats.get(key) ?? 1) - 1;
        if (left > 0) seats.set(key, left);
        else seats.delete(key);
      };
    },

    close() {
      clearInterval(timer);
      for (const end of standing.values()) end();
    },
  };
}
