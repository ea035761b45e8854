/**
 * What the operating system's signals mean.
 *
 * @module
 */

/** A wish to stop that may come. */
export interface StopRequest {
  /** Resolves with who asked. */
  readonly asked: Promise<string>;
  /**
   * Asks for it, for a reason.
   *
   * @param signalled Whether a signal did: the next one then ends the process at once.
   */
  ask(reason: string, signalled: boolean): void;
  /** Stops listening. */
  release(): void;
}

/** The status that shells give a program that SIGINT ended. */
const INTERRUPTED = 130;

/**
 * Waits for SIGTERM, SIGINT or `signal`. The first asks for a drain; a second signal ends the process at once.
 */
export function whenToldToStop(signals: boolean, signal?: AbortSignal): StopRequest {
  const { promise, resolve } = Promise.withResolvers<string>();
  let asked = false;
  const onSignal = (name: string) => () => {
    if (asked) Deno.exit(INTERRUPTED);
    asked = true;
    resolve(name);
  };
  const handlers = signals
    ? (["SIGTERM", "SIGINT"] as const).map((name) => [name, onSignal(name)] as const)
    : [];
  for (const [name, handler] of handlers) Deno.addSignalListener(name, handler);
  const onAbort = () => resolve("asked to");
  if (signal?.aborted) onAbort();
  signal?.addEventListener("abort", onAbort);
  return {
    asked: promise,
    ask(reason, signalled) {
      asked ||= signalled;
      resolve(reason);
    },
    release() {
      for (const [name, handler] of handlers) Deno.removeSignalListener(name, handler);
      signal?.removeEventListener("abort", onAbort);
    },
  };
}

/** Calls `handler` at each signal of this name. */
export function onSignal(name: Deno.Signal, handler: () => void): { release(): void } {
  Deno.addSignalListener(name, handler);
  return { release: () => Deno.removeSignalListener(name, handler) };
}
