/**
 * A source that is asked again and again: when, how long, and how patiently after failures.
 *
 * @module
 */
import { ProxyError } from "../../base/error.ts";
import { Deadline } from "../../base/timer_wheel.ts";
import type { Endpoint } from "../backend.ts";
import { type Run, runBounded } from "../health/bounded_run.ts";
import type { Discovery, DiscoveryEvents, DiscoveryState, DiscoveryTools } from "./discovery.ts";
import { KeptSet } from "./kept_set.ts";

/** When a source is asked. Plain data; times are milliseconds. */
export interface PollSettings {
  /** From one good answer to the next question, where the answer does not say it. */
  readonly interval: number;
  /** For one answer, all of it. */
  readonly timeout: number;
  /** After a first failure; doubled with each further one, up to `maxBackoff`. */
  readonly backoff: number;
  readonly maxBackoff: number;
}

/** Settings where nothing else is said. */
export const POLL_SETTINGS: PollSettings = {
  interval: 30_000,
  timeout: 10_000,
  backoff: 1_000,
  maxBackoff: 60_000,
};

/** What a source has answered. */
export interface Reading {
  /** In order; `null`: the same as last time. */
  readonly endpoints: readonly Endpoint[] | null;
  /** Milliseconds until it should be asked again; `null`: the interval. */
  readonly next: number | null;
  /** Called if the endpoints are taken. */
  readonly onAccepted?: () => void;
}

/** What {@linkcode PolledDiscovery} takes. */
export interface PolledOptions extends PollSettings {
  readonly tools: DiscoveryTools;
  /** What is asked, for messages. */
  readonly context: string;
  readonly allowEmpty: boolean;
  /** Asks the source. */
  readonly read: (run: Run) => Promise<Reading>;
  /** Called when it begins, with what to call when there is reason to ask early. */
  readonly onStart?: (refresh: () => void) => void;
  /** Called when it ends. */
  readonly onStop?: () => void;
}

/** All waits are made up to this share longer by chance, so that many programs do not ask at the same time. */
const JITTER = 0.1;

/** Asks a source again and again. */
export class PolledDiscovery implements Discovery {
  readonly #options: PolledOptions;
  readonly #kept: KeptSet;
  readonly #deadline: Deadline = new Deadline(() => this.#ask());
  readonly #stop: AbortController = new AbortController();
  #started = false;
  #asking = false;
  #askAgain = false;

  /** @throws {ProxyError} `config_error` if the settings make no sense. */
  constructor(options: PolledOptions) {
    refuseBad(options);
    this.#options = options;
    const { context, allowEmpty, tools } = options;
    this.#kept = new KeptSet({ context, allowEmpty, date: tools.date });
  }

  start(events: DiscoveryEvents): void {
    this.#kept.open(events);
    if (this.#stop.signal.aborted) return;
    this.#started = true;
    this.#options.onStart?.(() => this.refresh());
    this.#ask();
  }

  refresh(): void {
    if (!this.#started) return;
    if (this.#asking) this.#askAgain = true;
    else this.#ask();
  }

  stop(): void {
    if (this.#stop.signal.aborted) return;
    this.#options.tools.wheel.cancel(this.#deadline);
    this.#stop.abort();
    if (this.#started) this.#options.onStop?.();
    this.#started = false;
  }

  state(): DiscoveryState {
    return this.#kept.state();
  }

  #ask(): void {
    const { tools, timeout, context, read } = this.#options;
    tools.wheel.cancel(this.#deadline);
    this.#asking = true;
    this.#askAgain = false;
    runBounded({
      wheel: tools.wheel,
      timeout,
      timeoutType: "read_timeout",
      context,
      signal: this.#stop.signal,
    }, read).then(
      (reading) => this.#answered(reading),
      (error) => this.#failed(error),
    ).catch(reportError);
  }

  #answered(reading: Reading): void {
    this.#asking = false;
    if (!this.#started) return;
    // Waiting is arranged first: what a listener throws must not end the polling.
    this.#wait(reading.next ?? this.#options.interval);
    if (this.#kept.accept(reading.endpoints)) reading.onAccepted?.();
    else this.#wait(this.#backoff());
  }

  #failed(error: ProxyError): void {
    this.#asking = false;
    if (!this.#started) return;
    this.#wait(this.#options.maxBackoff);
    this.#kept.fail(error);
    this.#wait(this.#backoff());
  }

  #backoff(): number {
    const { backoff, maxBackoff } = this.#options;
    // Beyond 2^30 the product would no longer be a time that can be waited.
    return Math.min(maxBackoff, backoff * 2 ** Math.min(30, this.#kept.failures - 1));
  }

  #wait(ms: number): void {
    const { wheel, random = Math.random } = this.#options.tools;
    // A listener may have stopped it, or asked again, in the meantime.
    if (!this.#started || this.#asking) return;
    wheel.cancel(this.#deadline);
    wheel.arm(this.#deadline, this.#askAgain ? 0 : ms * (1 + random() * JITTER));
  }
}

function refuseBad(options: PolledOptions): void {
  const { interval, timeout, backoff, maxBackoff, context } = options;
  const wrong = !(interval > 0)
    ? "`interval` must be more than 0"
    : !(timeout > 0)
    ? "`timeout` must be more than 0"
    : !(backoff > 0 && maxBackoff >= backoff)
    ? "`backoff` must be more than 0, and `maxBackoff` no less than it"
    : null;
  if (wrong === null) return;
  throw new ProxyError("config_error", `${context}: ${wrong}`, { source: "internal" });
}
