import type { Logger } from "pino";
import type { Forwarder, Positions } from "./audit/forward.ts";
import { forwarderDefaults, startForwarder } from "./audit/forward.ts";
import type { LogStore } from "./audit/log-store.ts";
import type { LeaseId } from "./core/brand.ts";
import type { EventBody } from "./core/event.ts";
import { liveStates } from "./core/lease.ts";
import type { AuditSink, LeaseBook } from "./core/ports.ts";
import type { Retirement } from "./core/retire.ts";
import type { Bundle } from "./policy/bundle.ts";
import type { PolicyAuthorizer } from "./policy/cedar.ts";
import type { SweepReport } from "./lease/sweep.ts";
import { sayProblem } from "./policy/problem.ts";
import type { PolicyWatch } from "./policy/watch.ts";

/** What a running broker does besides answering: each duty starts, and can be stopped in good order. */
export interface Duty {
  start(): Promise<void> | void;
  /** Resolves when nothing of it runs any more. */
  stop(): Promise<void> | void;
}

/** Runs the same work again and again, never twice at once. A failure is reported and does not end it. */
export function every(milliseconds: number, work: () => Promise<unknown>, report: (problem: unknown) => void): Duty {
  let timer: NodeJS.Timeout | undefined;
  let running: Promise<unknown> = Promise.resolve();

  function schedule(): void {
    timer = setTimeout(() => {
      running = work()
        .catch(report)
        .then(() => timer && schedule());
    }, milliseconds);
    timer.unref();
  }

  return {
    start: schedule,
    async stop() {
      clearTimeout(timer);
      timer = undefined;
      await running;
    },
  };
}

/** Starts in order, stops in reverse. What was started is stopped when a later one cannot start. */
export function inOrder(duties: readonly Duty[]): Duty {
  const started: Duty[] = [];
  const stop = async (): Promise<void> => {
    for (const duty of started.splice(0).toReversed()) await duty.stop();
  };
  return {
    async start() {
      try {
        for (const duty of duties) {
          await duty.start();
          started.push(duty);
        }
      } catch (cause) {
        await stop();
        throw cause;
      }
    },
    stop,
  };
}

interface ClosableSink extends AuditSink {
  close(): Promise<void>;
}

interface Forwarding {
  readonly sinks: Readonly<Record<string, ClosableSink>>;
  readonly log: LogStore;
  readonly positions: Positions;
  readonly logger: Logger;
}

/** Copies the audit log to the configured sinks. */
export function forwarding({ sinks, log, positions, logger }: Forwarding): Duty {
  let forwarder: Forwarder | undefined;
  return {
    start() {
      forwarder = startForwarder({
        store: log,
        sinks,
        positions,
        limits: forwarderDefaults,
        alarm: ({ sink, failures, cause }) =>
          logger.warn({ sink, failures, err: cause }, "an audit sink does not take entries; they wait in the log"),
      });
    },
    async stop() {
      await forwarder?.stop();
      for (const sink of Object.values(sinks)) await sink.close();
    },
  };
}

interface Following {
  readonly directory: string;
  readonly policies: () => Promise<PolicyAuthorizer>;
  readonly record: (event: EventBody) => void;
  readonly logger: Logger;
}

/** Puts changed policies in force. A broken change is refused, and what was in force stays. */
export function following({ directory, policies, record, logger }: Following): Duty {
  let watch: PolicyWatch | undefined;
  const loaded = (bundle: Bundle): void => record({ kind: "policy.loaded", bundle: bundle.hash, policies: bundle.policies.length });
  return {
    async start() {
      const authorizer = await policies();
      const { watchPolicies } = await import("./policy/watch.ts");
      loaded(authorizer.policies);
      watch = watchPolicies({
        directory,
        authorizer,
        onLoaded: (bundle) => {
          logger.info({ bundle: bundle.hash, policies: bundle.policies.length }, "policies are in force");
          loaded(bundle);
        },
        onRejected: (problems) => {
          logger.error({ problems }, "changed policies were refused; those from before stay in force");
          record({ kind: "policy.rejected", problem: problems.map(sayProblem).join("; ").slice(0, 1000) });
        },
      });
    },
    stop: () => watch?.close(),
  };
}

/** What no lease accounts for is for a person to look at: it may be another broker's, on the same server. */
export function lookForOrphans(reports: readonly SweepReport[], logger: Logger): void {
  for (const { credential, orphans, problem } of reports) {
    if (orphans.length > 0) logger.error({ credential, orphans }, "credentials exist at the target that no lease accounts for");
    if (problem) logger.warn({ credential, problem }, "a target could not be swept");
  }
}

/** What this process holds for leases that another one ended (an operator's command, say) would stay for good. */
export async function forgetEnded(held: readonly LeaseId[], leases: LeaseBook, retirement: Retirement): Promise<void> {
  const live: ReadonlySet<string> = new Set(liveStates);
  for (const id of held) {
    const lease = await leases.find(id);
    if (!lease || !live.has(lease.state)) await retirement.letGo(id);
  }
}
