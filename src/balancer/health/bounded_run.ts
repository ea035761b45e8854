/**
 * Work of our own accord (a check, a read of a source) that may take only so long.
 *
 * @module
 */
import { type ErrorType, ProxyError } from "../../base/error.ts";
import { Deadline, type TimerWheel } from "../../base/timer_wheel.ts";

/** What the work is given. */
export interface Run {
  /** Aborts when the time is over or the work is given up; its reason is a ProxyError. */
  readonly signal: AbortSignal;
  /** The error when the time is over. The work sets it as it goes from one stage to the next. */
  timeoutType: ErrorType;
}

/** Bounds of {@linkcode runBounded}. */
export interface RunBounds {
  readonly wheel: TimerWheel;
  /** Milliseconds. */
  readonly timeout: number;
  /** The error when they are over and the work has not named another. */
  readonly timeoutType: ErrorType;
  /** What is being done, for messages. */
  readonly context: string;
  /** Gives the work up when it aborts. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Runs work until it ends, its time is over or its signal aborts. Work that does not heed its signal is left behind:
 * what it comes to later is ignored.
 *
 * @throws {ProxyError} What the work throws, `timeoutType`, or the reason of the signal.
 */
export function runBounded<T>(bounds: RunBounds, work: (run: Run) => Promise<T>): Promise<T> {
  const { wheel, timeout, context, signal } = bounds;
  return new Promise((resolve, reject) => {
    const controller = new AbortController();
    const run: Run = { signal: controller.signal, timeoutType: bounds.timeoutType };
    let over = false;
    const end = (): boolean => {
      if (over) return false;
      over = true;
      wheel.cancel(deadline);
      signal?.removeEventListener("abort", onAbort);
      return true;
    };
    const giveUp = (error: ProxyError) => {
      if (!end()) return;
      controller.abort(error);
      reject(error);
    };
    const onAbort = () => giveUp(stopped(context, signal!.reason));
    const deadline = new Deadline(() =>
      giveUp(
        new ProxyError(run.timeoutType, `${context}: not done within ${timeout} ms`, {
          source: "upstream",
        }),
      )
    );
    if (signal?.aborted) return onAbort();
    signal?.addEventListener("abort", onAbort, { once: true });
    wheel.arm(deadline, timeout);
    begin(work, run).then((value) => {
      if (end()) resolve(value);
    }, (error) => {
      if (end()) reject(ProxyError.wrap(error, "internal_error", context));
    });
  });
}

/** An `async` function, so that what the work throws at once is a rejection, too. */
async function begin<T>(work: (run: Run) => Promise<T>, run: Run): Promise<T> {
  return await work(run);
}

function stopped(context: string, reason: unknown): ProxyError {
  if (reason instanceof ProxyError) return reason;
  return new ProxyError("shutting_down", `${context}: given up`, {
    source: "internal",
    cause: reason,
  });
}
