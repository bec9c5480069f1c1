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
