/**
 * What the operating system's signals mean.
 *
 * @module
 */

/** A wish to stop that may come. */
export interface StopRequest {
  /** Resolves with who asked first. */
  readonly asked: Promise<string>;
  /** Whether anybody has. */
  readonly begun: boolean;
  /** Aborted when what runs is not to be waited for, or not any more; the reason is who asked for that. */
  readonly cut: AbortSignal;
  /** Whether a signal has cut short what another, or an operator, had begun. */
  readonly interrupted: boolean;
  /**
   * Asks for it, for a reason.
   *
   * @param signalled Whether a signal did: the next one then cuts what runs.
   */
  ask(reason: string, signalled: boolean): void;
  /** Stops listening. */
  release(): void;
}

/** The status that shells give a program that SIGINT ended. */
export const INTERRUPTED = 130;
/**
 * Milliseconds in which a signal counts once: Ctrl-C may come from the terminal, and again from the program that has
 * started this one.
 */
const REPEAT_TIME = 250;

/** What a signal that asks to stop comes to, after those before it. */
export class StopCourse {
  readonly #heardAt = new Map<string, number>();
  #begun = false;
  #signalled = false;
  #cut = false;
  #interrupted = false;

  /** Whether it has been asked to stop. */
  get begun(): boolean {
    return this.#begun;
  }

  /** Whether a signal has cut short what another, or an operator, had begun. */
  get interrupted(): boolean {
    return this.#interrupted;
  }

  /** Somebody has asked, by a signal or otherwise. */
  begin(signalled: boolean): void {
    this.#begun = true;
    this.#signalled ||= signalled;
  }

  /**
   * @param at When it came, in milliseconds.
   * @returns `exit`: the process is to end without another word; `null`: it has come already.
   */
  hear(name: "SIGTERM" | "SIGINT", at: number): "drain" | "cut" | "exit" | null {
    const repeated = at - (this.#heardAt.get(name) ?? -Infinity) < REPEAT_TIME;
    this.#heardAt.set(name, at);
    if (repeated) return null;
    if (this.#cut) return "exit";
    this.#cut = name === "SIGINT" || this.#signalled;
    this.#interrupted = this.#cut && this.#begun;
    this.begin(true);
    return this.#cut ? "cut" : "drain";
  }
}

/**
 * Waits for SIGTERM, SIGINT or `signal`. SIGTERM asks for a drain. SIGINT, and any second signal, cuts what runs; one
 * more ends the process without another word.
 */
export function whenToldToStop(signals: boolean, signal?: AbortSignal): StopRequest {
  const { promise, resolve } = Promise.withResolvers<string>();
  const cut = new AbortController();
  const course = new StopCourse();
  const hear = (name: "SIGTERM" | "SIGINT") => {
    const what = course.hear(name, performance.now());
    if (what === null) return;
    if (what === "exit") Deno.exit(INTERRUPTED);
    if (what === "cut") cut.abort(name);
    resolve(name);
  };
  const handlers = signals
    ? (["SIGTERM", "SIGINT"] as const).map((name) => onSignal(name, () => hear(name)))
    : [];
  const onAbort = () => {
    course.begin(false);
    resolve("asked to");
  };
  if (signal?.aborted) onAbort();
  signal?.addEventListener("abort", onAbort);
  return {
    asked: promise,
    cut: cut.signal,
    get begun() {
      return course.begun;
    },
    get interrupted() {
      return course.interrupted;
    },
    ask(reason, signalled) {
      course.begin(signalled);
      resolve(reason);
    },
    release() {
      for (const handler of handlers) handler.release();
      signal?.removeEventListener("abort", onAbort);
    },
  };
}

/** Calls `handler` at each signal of this name. */
export function onSignal(name: Deno.Signal, handler: () => void): { release(): void } {
  Deno.addSignalListener(name, handler);
  return { release: () => Deno.removeSignalListener(name, handler) };
}
