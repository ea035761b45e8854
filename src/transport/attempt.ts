/**
 * One step of connecting that may take too long, or be given up.
 *
 * @module
 */
import { type ErrorType, ProxyError } from "../base/error.ts";
import { abortError, connectError } from "./io_error.ts";

/** Bounds and names of a step. */
export interface AttemptOptions {
  /** Milliseconds. */
  readonly timeout: number;
  /** The error when they are over. */
  readonly timeoutType: ErrorType;
  /** What is being done, for messages. */
  readonly context: string;
  readonly signal?: AbortSignal | undefined;
}

/** How a step ends. What comes after the first end is ignored. */
export interface AttemptEnd<T> {
  resolve(value: T): void;
  reject(error: ProxyError): void;
}

/**
 * Runs a step until it ends, its time is over or its signal aborts.
 *
 * @param start Begins it; returns what to do if it is given up before it has ended: close what is half open.
 * @throws {ProxyError} What `start` rejects with, `timeoutType`, or the reason of the signal.
 */
export function attempt<T>(
  options: AttemptOptions,
  start: (end: AttemptEnd<T>) => () => void,
): Promise<T> {
  const { timeout, timeoutType, context, signal } = options;
  if (signal?.aborted) return Promise.reject(abortError(signal, context));
  return new Promise((resolve, reject) => {
    let over = false;
    const settle = () => {
      over = true;
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
    };
    const giveUp = (error: ProxyError) => {
      if (over) return;
      settle();
      undo();
      reject(error);
    };
    const onAbort = () => giveUp(abortError(signal!, context));
    const timer = setTimeout(() => {
      giveUp(
        new ProxyError(timeoutType, `${context}: not done within ${Math.ceil(timeout)} ms`, {
          source: "upstream",
          retry: true,
        }),
      );
    }, timeout);
    signal?.addEventListener("abort", onAbort, { once: true });
    const refuse = (error: ProxyError) => {
      if (over) return;
      settle();
      reject(error);
    };
    let undo = () => {};
    try {
      undo = start({
        resolve: (value) => {
          if (over) return;
          settle();
          resolve(value);
        },
        reject: refuse,
      });
    } catch (error) {
      // What a runtime checks before it begins, such as permissions, it throws.
      refuse(connectError(error, context));
    }
  });
}
