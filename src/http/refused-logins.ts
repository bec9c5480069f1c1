/** Failed authentications from one address within one second. No address: from many, more than are told apart. */
export interface AuthRefused {
  readonly why: string;
  readonly transport: "http";
  readonly ip?: string;
  readonly count: number;
}

export interface RefusedLogins {
  note(why: string, ip: string): void;
  /** Reports what is still held back. */
  flush(): void;
}

interface Tally {
  why: string;
  count: number;
}

const distinct = 1_000;

/** Reports the first failure of an address at once and those after it in sums, one a second: noise cannot fill the audit log. */
export function createRefusedLogins(report: (refused: AuthRefused) => void): RefusedLogins {
  const tallies = new Map<string, Tally>();
  let timer: NodeJS.Timeout | undefined;

  function flush(): void {
    for (const [ip, { why, count }] of tallies) {
      if (count > 0) report({ why, transport: "http", count, ...(ip === "" ? {} : { ip }) });
      tallies.delete(ip);
    }
    clearInterval(timer);
    timer = undefined;
  }

  /** Addresses that were quiet for a second are forgotten, the others reported and counted anew. */
  function tick(): void {
    for (const [ip, tally] of tallies) {
      if (tally.count === 0) tallies.delete(ip);
      else {
        report({ why: tally.why, transport: "http", count: tally.count, ...(ip === "" ? {} : { ip }) });
        tally.count = 0;
      }
    }
    if (tallies.size === 0) flush();
  }

  return {
    flush,
    note(why, ip) {
      const key = tallies.has(ip) || tallies.size < distinct ? ip : "";
      const tally = tallies.get(key);
      if (tally) {
        tally.count++;
        tally.why = why;
        return;
      }
      tallies.set(key, { why, count: 0 });
      report({ why, transport: "http", count: 1, ...(key === "" ? {} : { ip: key }) });
      timer ??= setInterval(tick, 1_000).unref();
    },
  };
}
