import type { Sessions } from "../core/ports.ts";

interface Session {
  readonly startedAt: number;
  leases: number;
  readonly labels: Set<string>;
  readonly tools: Set<string>;
  touchedAt: number;
}

export interface SessionOptions {
  readonly now: () => number;
  /** Sessions kept at most; the longest unused is forgotten first. A token lives an hour at most, so this is generous. */
  readonly limit?: number;
}

/** What each session already touched, in memory: a session is one access token or one stdio process, and ends with it. */
export function createSessions({ now, limit = 10_000 }: SessionOptions): Sessions {
  const sessions = new Map<string, Session>();

  function touch(id: string): Session {
    const found = sessions.get(id);
    const session = found ?? { startedAt: now(), leases: 0, labels: new Set(), tools: new Set(), touchedAt: 0 };
    session.touchedAt = now();
    // Insertion order is the order of use: the first is the longest unused.
    sessions.delete(id);
    sessions.set(id, session);
    const oldest = sessions.size > limit ? sessions.keys().next().value : undefined;
    if (oldest !== undefined) sessions.delete(oldest);
    return session;
  }

  return {
    facts(principal) {
      const { startedAt, leases, labels, tools } = touch(principal.session);
      return { startedAt, leases, lentLabels: [...labels], calledTools: [...tools] };
    },
    lent(principal, entry) {
      const session = touch(principal.session);
      session.leases += 1;
      for (const [key, value] of Object.entries(entry.labels)) session.labels.add(`${key}=${value}`);
    },
    called(principal, tool) {
      touch(principal.session).tools.add(tool);
    },
  };
}
