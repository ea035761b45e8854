/**
 * What the operating system's signals mean.
 *
 * @module
 */

/** A wish to stop that may come. */
export interface StopRequest {
  /** Resolves with who asked. */
  readonly asked: Promise<string>;
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
    release() {
      for (const [name, handler] of handlers) Deno.removeSignalListener(name, handler);
      signal?.removeEventListener("abort", onAbort);
    },
  };
}

/** Calls `reopen` at each SIGUSR2: log files were moved away. */
export function onReopen(reopen: () => void): { release(): void } {
  Deno.addSignalListener("SIGUSR2", reopen);
  return { release: () => Deno.removeSignalListener("SIGUSR2", reopen) };
}
