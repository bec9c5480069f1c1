import type { CredentialName } from "../core/brand.ts";
import type { Lease } from "../core/lease.ts";
import { isIn } from "../core/lease.ts";
import type { LeaseBook } from "../core/ports.ts";
import type { Retirement } from "../core/retire.ts";
import { unreachable } from "../core/unreachable.ts";
import type { Actor } from "../core/event.ts";
import { isGone } from "./identifier.ts";

export interface ReaperParts {
  readonly leases: LeaseBook;
  readonly retirement: Retirement;
  readonly now: () => number;
  readonly instance: string;
  /** Milliseconds between two looks. An expired credential outlives its lease by this much at most. */
  readonly every?: number;
  /** Undos at the same time, for one credential. */
  readonly breadth?: number;
  readonly report: (problem: unknown) => void;
}

export interface Reaper {
  /** Everything that is due now, whatever state it was left in. Answers with how many leases it looked at. */
  round(): Promise<number>;
  /** Leases that a process which no longer runs left mid-flight, without waiting until they are due. */
  recover(): Promise<number>;
  /** Recovers, and looks at what is due from now on; neither is waited for, since a target may not answer for hours. */
  start(): void;
  /** Begins nothing new; resolves when what is under way is through. */
  stop(): Promise<void>;
}

const actor: Actor = { type: "broker" };
const batchSize = 200;

/** Ends what has expired, and finishes or undoes what was left half done. */
export function createReaper(parts: ReaperParts): Reaper {
  const { leases, retirement, now, every = 500, breadth = 8 } = parts;
  /** Work under way, by what was lent: a target that does not answer holds up its own leases and no others. */
  const lanes = new Map<CredentialName, Promise<void>>();
  let timer: NodeJS.Timeout | undefined;
  let running: Promise<unknown> = Promise.resolve();
  let recovering: Promise<unknown> = Promise.resolve();
  let stopped = false;

  async function attend(lease: Lease): Promise<void> {
    switch (lease.state) {
      case "active":
        if (isIn(lease, "active")) await expire(lease);
        return;
      case "expired":
      case "stuck":
        await retirement.retire(lease, lease.endReason ?? "expired", actor);
        return;
      case "revoking":
        if (isIn(lease, "revoking")) await resume(lease);
        return;
      case "issuing":
        // Its mint had its time and never came back: whatever it left is undone by name.
        if (isIn(lease, "issuing")) await orphan(lease);
        return;
      case "failed":
      case "revoked":
        return;
      default:
        unreachable(lease.state);
    }
  }

  async function expire(lease: Lease<"active">): Promise<void> {
    const event = { kind: "lease.expired", actor, lease: lease.id, credential: lease.credential } as const;
    const expired = await leases.move(lease, "expired", { endReason: "expired" }, event);
    if (expired) await retirement.retire(expired, "expired", actor);
  }

  /** Takes the lease for the length of an undo, so that two processes do not both try. */
  async function resume(lease: Lease<"revoking">): Promise<void> {
    const taken = await leases.postpone(lease, now() + 20_000, lease.attempts);
    if (taken && isIn(taken, "revoking")) await retirement.finish(taken, actor);
  }

  async function orphan(lease: Lease<"issuing">): Promise<void> {
    const event = { kind: "lease.revoking", actor, lease: lease.id, credential: lease.credential, reason: "recovered" } as const;
    const moved = await leases.move(lease, "revoking", { endReason: "recovered", dueAt: now() + 20_000 }, event);
    if (moved) await retirement.finish(moved, actor);
  }

  async function work(queue: Lease[]): Promise<void> {
    const worker = async (): Promise<void> => {
      for (let lease = stopped ? undefined : queue.shift(); lease; lease = stopped ? undefined : queue.shift())
        await attend(lease).catch(parts.report);
    };
    await Promise.all(Array.from({ length: breadth }, worker));
  }

  /** Sends each lease down the lane of its credential, behind what is in there. Resolves when all of these are through. */
  async function send(batch: readonly Lease[]): Promise<void> {
    const mine = [...Map.groupBy(batch, (lease) => lease.credential)].map(([credential, queue]) => {
      const lane: Promise<void> = (lanes.get(credential) ?? Promise.resolve())
        .then(() => work(queue))
        .finally(() => lanes.get(credential) === lane && lanes.delete(credential));
      lanes.set(credential, lane);
      return lane;
    });
    await Promise.all(mine);
  }

  async function look(): Promise<{ readonly count: number; readonly through: Promise<void> }> {
    const batch = await leases.due(now(), batchSize, [...lanes.keys()]);
    return { count: batch.length, through: send(batch) };
  }

  /** The next look does not wait for the lanes: it leaves out what is in them. */
  function schedule(wait: number): void {
    timer = setTimeout(() => {
      running = look().then(
        ({ count }) => timer && schedule(count === batchSize ? 0 : every),
        (problem: unknown) => {
          parts.report(problem);
          if (timer) schedule(every);
        },
      );
    }, wait);
  }

  async function recover(): Promise<number> {
    const orphaned: Lease[] = [];
    for await (const lease of everyLive(leases, { states: ["issuing", "revoking", "expired"] }))
      if (isGone(lease.instance, parts.instance)) orphaned.push(lease);
    await send(orphaned);
    return orphaned.length;
  }

  return {
    recover,
    async round() {
      const { count, through } = await look();
      await through;
      return count;
    },
    start() {
      stopped = false;
      recovering = recover().catch(parts.report);
      schedule(every);
    },
    async stop() {
      stopped = true;
      clearTimeout(timer);
      timer = undefined;
      await running;
      await recovering;
      await Promise.all(lanes.values());
    },
  };
}

/** Pages through the live leases, the newest first. */
export async function* everyLive(leases: LeaseBook, filter: Parameters<LeaseBook["list"]>[0] = {}): AsyncGenerator<Lease> {
  for (let before: Lease["id"] | undefined; ;) {
    const page = await leases.list({ ...filter, live: true, limit: 500, ...(before ? { before } : {}) });
    yield* page;
    const last = page.at(-1);
    if (!last || page.length < 500) return;
    before = last.id;
  }
}
