import type { AuditEvent } from "../core/event.ts";

export interface RegistrationRefusals {
  note(refused: { readonly error: string; readonly why: string; readonly ip: string }): void;
  /** Reports what is still held back. */
  flush(): void;
}

interface Tally {
  error: string;
  why: string;
  count: number;
}

/** More addresses than these are not told apart. */
const distinct = 1_000;

/** Reports the first refusal of an address at once and those after it in sums, one a second: noise cannot fill the audit log. */
export function createRegistrationRefusals(record: (event: AuditEvent) => void): RegistrationRefusals {
  const tallies = new Map<string, Tally>();
  let timer: NodeJS.Timeout | undefined;

  function report(ip: string, { error, why, count }: Tally): void {
    record({ kind: "registration.refused", actor: { type: "client", ...(ip === "" ? {} : { ip }) }, error, why, count });
  }

  function sum(): void {
    for (const [ip, tally] of tallies) {
      if (tally.count === 0) tallies.delete(ip);
      else report(ip, tally);
      tally.count = 0;
    }
    if (tallies.size > 0) return;
    clearInterval(timer);
    timer = undefined;
  }

  return {
    note({ error, why, ip }) {
      const key = tallies.has(ip) || tallies.size < distinct ? ip : "";
      const tally = tallies.get(key);
      if (tally) {
        Object.assign(tally, { error, why, count: tally.count + 1 });
        return;
      }
      tallies.set(key, { error, why, count: 0 });
      report(key, { error, why, count: 1 });
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
