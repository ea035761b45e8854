/**
 * Connects to the first of several addresses that answers (RFC 8305): families take turns, the next attempt begins
 * when the last one fails or is slow, and the first success ends all others.
 *
 * @module
 */
import { isIPv6 } from "node:net";
import { type ErrorType, ProxyError } from "../base/error.ts";
import { abortError, reason } from "./io_error.ts";

/** RFC 8305 §5: how long an attempt may be alone, in milliseconds. */
export const ATTEMPT_DELAY = 250;

/** Most addresses that one connection is tried with. */
export const MOST_ATTEMPTS = 16;

/** Whom to try, and how. */
export interface RaceOptions<T> {
  /** In the order in which they are to be tried; at least one. */
  readonly hosts: readonly string[];
  /** Milliseconds for all of them together. */
  readonly timeout: number;
  /** Milliseconds between the beginnings of two attempts. Default {@linkcode ATTEMPT_DELAY}. */
  readonly delay?: number | undefined;
  /** What is being done, for messages. */
  readonly context: string;
  /** Gives up when it aborts. */
  readonly signal?: AbortSignal | undefined;
  /** Tries one address, no longer than `timeout` milliseconds; closes what is half open when the signal aborts. */
  connect(host: string, timeout: number, signal: AbortSignal | undefined): Promise<T>;
  /** Closes a connection that came second. */
  drop(connection: T): void;
}

/**
 * Puts addresses into the order of RFC 8305 §4: the families in turn, beginning with that of the first address.
 *
 * @param turn Where to begin within each family, so that connections are spread over the addresses of a name.
 */
export function interleave(hosts: readonly string[], turn: number = 0): string[] {
  if (hosts.length < 2) return [...hosts];
  const sixFirst = isIPv6(hosts[0]!);
  const first = rotated(hosts.filter((host) => isIPv6(host) === sixFirst), turn);
  const second = rotated(hosts.filter((host) => isIPv6(host) !== sixFirst), turn);
  const order: string[] = [];
  for (let i = 0; i < first.length || i < second.length; i++) {
    if (i < first.length) order.push(first[i]!);
    if (i < second.length) order.push(second[i]!);
  }
  return order;
}

function rotated(hosts: readonly string[], turn: number): string[] {
  const start = hosts.length === 0 ? 0 : turn % hosts.length;
  return [...hosts.slice(start), ...hosts.slice(0, start)];
}

/**
 * Runs the race.
 *
 * @throws {ProxyError} What the only address failed with, or an error that names all failures; or the reason of the
 * signal.
 */
export function race<T>(options: RaceOptions<T>): Promise<T> {
  const { hosts, timeout, signal } = options;
  // Most upstreams have one address: nothing is raced, so nothing is made for it.
  if (hosts.length === 1) return options.connect(hosts[0]!, timeout, signal);
  if (signal?.aborted) return Promise.reject(abortError(signal, options.context));
  return new Promise((resolve, reject) => new Race(options, resolve, reject).begin());
}

class Race<T> {
  readonly #options: RaceOptions<T>;
  readonly #resolve: (connection: T) => void;
  readonly #reject: (error: unknown) => void;
  readonly #running = new Set<AbortController>();
  readonly #failures: { readonly host: string; readonly error: unknown }[] = [];
  readonly #until: number;
  readonly #onAbort = (): void => {
    this.#end();
    this.#reject(abortError(this.#options.signal!, this.#options.context));
  };
  #next = 0;
  #over = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    options: RaceOptions<T>,
    resolve: (connection: T) => void,
    reject: (error: unknown) => void,
  ) {
    this.#options = options;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#until = performance.now() + options.timeout;
  }

  begin(): void {
    this.#options.signal?.addEventListener("abort", this.#onAbort, { once: true });
    this.#start();
  }

  get #most(): number {
    return Math.min(this.#options.hosts.length, MOST_ATTEMPTS);
  }

  #start(): void {
    clearTimeout(this.#timer);
    const left = this.#until - performance.now();
    if (left <= 0) return this.#lastFailed();
    const host = this.#options.hosts[this.#next++]!;
    const cancel = new AbortController();
    this.#running.add(cancel);
    if (this.#next < this.#most) {
      this.#timer = setTimeout(() => this.#start(), this.#options.delay ?? ATTEMPT_DELAY);
    }
    this.#options.connect(host, left, cancel.signal).then(
      (connection) => this.#succeeded(cancel, connection),
      (error) => this.#failed(cancel, host, error),
    );
  }

  #succeeded(cancel: AbortController, connection: T): void {
    this.#running.delete(cancel);
    // The abort of an attempt may come a moment after its success.
    if (this.#over) return this.#options.drop(connection);
    this.#end();
    this.#resolve(connection);
  }

  #failed(cancel: AbortController, host: string, error: unknown): void {
    this.#running.delete(cancel);
    if (this.#over) return;
    this.#failures.push({ host, error });
    if (this.#next < this.#most) this.#start();
    else this.#lastFailed();
  }

  /** Nothing more will be begun; what still runs may yet succeed. */
  #lastFailed(): void {
    if (this.#running.size > 0) return;
    this.#end();
    this.#reject(raceError(this.#options, this.#failures));
  }

  #end(): void {
    this.#over = true;
    clearTimeout(this.#timer);
    this.#options.signal?.removeEventListener("abort", this.#onAbort);
    for (const cancel of this.#running) cancel.abort();
    this.#running.clear();
  }
}

/** Whatever else went wrong says more than that a family has no route here. */
function raceError(
  { context, timeout }: { readonly context: string; readonly timeout: number },
  failures: readonly { readonly host: string; readonly error: unknown }[],
): ProxyError {
  if (failures.length === 1 && failures[0]!.error instanceof ProxyError) return failures[0]!.error;
  const telling = failures.findLast(({ error }) => typeOf(error) !== "connect_no_route") ??
    failures.at(-1);
  const type = telling === undefined ? "connect_timeout" : typeOf(telling.error);
  const each = failures.map(({ host, error }) => `${host}: ${typeOf(error)}`).join(", ");
  return new ProxyError(
    type,
    telling === undefined
      ? `${context}: not done within ${Math.ceil(timeout)} ms`
      : `${context}: none of ${failures.length} addresses answers (${each}): ${
        reason(telling.error)
      }`,
    { source: "upstream", retry: true, cause: telling?.error },
  );
}

function typeOf(error: unknown): ErrorType {
  return error instanceof ProxyError ? error.type : "connect_error";
}
