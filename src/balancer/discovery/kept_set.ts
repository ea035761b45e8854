/**
 * The last good set of a source, and whether the source works: tells only what has changed.
 *
 * @module
 */
import { ProxyError } from "../../base/error.ts";
import type { Endpoint } from "../backend.ts";
import { type DiscoveryEvents, type DiscoveryState, MOST_ENDPOINTS } from "./discovery.ts";
import { sameEndpoints } from "./endpoint_list.ts";

/** What {@linkcode KeptSet} takes. */
export interface KeptSetOptions {
  /** What is asked, for messages. */
  readonly context: string;
  /** Whether a set without endpoints is believed; otherwise it is a failure. */
  readonly allowEmpty: boolean;
  /** Milliseconds since 1970. Default `Date.now`. */
  readonly date?: (() => number) | undefined;
}

/** Keeps the last good set of a source. */
export class KeptSet {
  readonly #options: KeptSetOptions;
  #events: DiscoveryEvents | null = null;
  #endpoints: readonly Endpoint[] | null = null;
  #lastSuccess = 0;
  #failures = 0;
  #error: ProxyError | null = null;

  constructor(options: KeptSetOptions) {
    this.#options = options;
  }

  /** Failures in a row. */
  get failures(): number {
    return this.#failures;
  }

  /**
   * Sets who is told.
   *
   * @throws {Error} If somebody was before.
   */
  open(events: DiscoveryEvents): void {
    if (this.#events !== null) throw new Error("Cannot start a discovery twice");
    this.#events = events;
  }

  /** The source has named its endpoints, in order; `null`: they are still the same. Returns whether they are taken. */
  accept(endpoints: readonly Endpoint[] | null): boolean {
    const refused = endpoints === null ? null : this.#refusal(endpoints);
    if (refused !== null) {
      this.fail(refused);
      return false;
    }
    this.#lastSuccess = (this.#options.date ?? Date.now)();
    this.#failures = 0;
    if (this.#error !== null) {
      this.#error = null;
      this.#events!.onRecovered();
    }
    if (endpoints === null) return true;
    if (this.#endpoints !== null && sameEndpoints(this.#endpoints, endpoints)) return true;
    this.#endpoints = endpoints;
    this.#events!.onUpdate(endpoints);
    return true;
  }

  /** The source has failed. */
  fail(error: ProxyError): void {
    this.#failures++;
    const isNews = this.#error === null;
    this.#error = error;
    if (isNews) this.#events!.onError(error);
  }

  /** What is known of the source. */
  state(): DiscoveryState {
    return {
      endpoints: this.#endpoints === null ? -1 : this.#endpoints.length,
      lastSuccess: this.#lastSuccess,
      failures: this.#failures,
      error: this.#error === null ? null : `${this.#error.type}: ${this.#error.message}`,
    };
  }

  #refusal(endpoints: readonly Endpoint[]): ProxyError | null {
    const { context, allowEmpty } = this.#options;
    const why = endpoints.length > MOST_ENDPOINTS
      ? `${endpoints.length} endpoints, at most ${MOST_ENDPOINTS} are taken`
      : endpoints.length === 0 && !allowEmpty
      ? "there is no endpoint"
      : null;
    return why === null
      ? null
      : new ProxyError("no_upstream", `${context}: ${why}`, { source: "upstream" });
  }
}
