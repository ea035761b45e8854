/**
 * A circuit breaker: how much may go to an upstream at a time, and when nothing should go there for a while.
 *
 * It holds no timer and makes nothing per request: time is looked at when somebody wants in.
 *
 * @module
 */
import { type Clock, systemClock } from "../base/clock.ts";
import { backoffBound } from "./backoff.ts";
import { SlidingCounts } from "./sliding_counts.ts";

/** What opens a breaker. `0` turns a limit off. Times are milliseconds. */
export interface BreakerLimits {
  /** Most requests at a time. */
  readonly maxRequests: number;
  /** Most requests that wait, for a connection or for their turn, at a time. */
  readonly maxPending: number;
  /** Failures in a row that open it. */
  readonly consecutiveFailures: number;
  /** Share of failures in the window that opens it, in (0, 1]. */
  readonly errorRatio: number;
  /** Outcomes in the window below which the share says nothing. */
  readonly minVolume: number;
  /** What the share is taken over. */
  readonly window: number;
  /** How long it stays open the first time. Doubles each time the probes fail. */
  readonly openTime: number;
  /** The most it stays open. */
  readonly maxOpenTime: number;
  /** Probes at a time when the time is over; as many must succeed, one after the other or together, to close it. */
  readonly halfOpenProbes: number;
}

/** Opens after half of at least twenty outcomes in ten seconds failed; limits nothing else. */
export const BREAKER_LIMITS: BreakerLimits = {
  maxRequests: 0,
  maxPending: 0,
  consecutiveFailures: 0,
  errorRatio: 0.5,
  minVolume: 20,
  window: 10_000,
  openTime: 5_000,
  maxOpenTime: 60_000,
  halfOpenProbes: 1,
};

/** `half_open`: the time is over, and probes find out whether it was long enough. */
export type BreakerState = "closed" | "open" | "half_open";

/** Why somebody is not let in. */
export type Refusal = "open" | "max_requests";

/** How what was let in ended. `cancelled`: it says nothing about the upstream. */
export type BreakerOutcome = "success" | "failure" | "cancelled";

/** A breaker that is not closed, as another may go on with it. Plain data. */
export interface BreakerHold {
  /** Milliseconds until the first probe is let in. */
  readonly left: number;
  /** How often in a row it has opened without closing in between. */
  readonly tries: number;
}

/** What {@linkcode Breaker.stats} tells. */
export interface BreakerStats {
  readonly state: BreakerState;
  readonly active: number;
  readonly pending: number;
  /** How often it opened. */
  readonly opened: number;
  /** Requests not let in, by why. */
  readonly refusedOpen: number;
  readonly refusedRequests: number;
  readonly refusedPending: number;
}

/** A breaker. One per upstream group or per peer, and service worker. */
export class Breaker {
  readonly #limits: BreakerLimits;
  readonly #clock: Clock;
  /** Successes first, failures second. */
  readonly #outcomes: SlidingCounts;
  /** Called when the state changes. An open breaker turns half open when somebody wants in, not before. */
  onChange: ((state: BreakerState) => void) | null = null;
  #state: BreakerState = "closed";
  /** Counts changes of state: what was let in before one says nothing about the state after it. */
  #epoch = 1;
  #active = 0;
  #pending = 0;
  #inRow = 0;
  #probing = 0;
  #probed = 0;
  /** How often in a row it has opened without closing in between. */
  #tries = 0;
  #openUntil = 0;
  #opened = 0;
  #refusedOpen = 0;
  #refusedRequests = 0;
  #refusedPending = 0;

  /** @throws {RangeError} If a limit is out of its range. */
  constructor(limits: Partial<BreakerLimits> = {}, clock: Clock = systemClock) {
    this.#limits = { ...BREAKER_LIMITS, ...limits };
    checkLimits(this.#limits);
    this.#clock = clock;
    this.#outcomes = new SlidingCounts(this.#limits.window, clock);
  }

  /** The state as of the last call that changed anything. */
  get state(): BreakerState {
    return this.#state;
  }

  /** Milliseconds until the first probe is let in; `0` if something is let in now. For `Retry-After`. */
  get retryAfter(): number {
    return this.#state === "open" ? Math.max(0, this.#openUntil - this.#clock.now()) : 0;
  }

  /** Whether `enter` would let in. Changes nothing. */
  get admits(): boolean {
    return this.#refusal() === null;
  }

  /**
   * Asks to be let in.
   *
   * @returns A ticket for `exit`, or why not.
   */
  enter(): number | Refusal {
    const refusal = this.#refusal();
    if (refusal !== null) {
      if (refusal === "open") this.#refusedOpen++;
      else this.#refusedRequests++;
      return refusal;
    }
    if (this.#state === "open") {
      this.#probing = 0;
      this.#probed = 0;
      this.#change("half_open");
    }
    if (this.#state === "half_open") this.#probing++;
    this.#active++;
    return this.#epoch;
  }

  /**
   * Says how it ended. Once per ticket.
   *
   * @param ticket What `enter` returned.
   */
  exit(ticket: number, outcome: BreakerOutcome): void {
    this.#active--;
    if (ticket !== this.#epoch) return;
    if (this.#state === "half_open") this.#probeEnded(outcome);
    else if (this.#state === "closed") this.#ended(outcome);
  }

  /** Asks for a place among those who wait. */
  enterPending(): boolean {
    const { maxPending } = this.#limits;
    if (maxPending > 0 && this.#pending >= maxPending) {
      this.#refusedPending++;
      return false;
    }
    this.#pending++;
    return true;
  }

  /** Gives that place back. */
  leavePending(): void {
    this.#pending--;
  }

  /** Closes it, whatever happened: an operator says so. */
  reset(): void {
    this.#close();
  }

  /** What another breaker can go on with; `null` while it is closed. One that is half open lets probes in at once. */
  get hold(): BreakerHold | null {
    return this.#state === "closed" ? null : { left: this.retryAfter, tries: this.#tries };
  }

  /** Goes on where another one has ended, if it is closed itself. That is no new opening: nobody is told of it. */
  resume({ left, tries }: BreakerHold): void {
    if (this.#state !== "closed") return;
    this.#tries = tries;
    this.#openUntil = this.#clock.now() + Math.min(Math.max(0, left), this.#limits.maxOpenTime);
    this.#state = "open";
    this.#epoch++;
  }

  /** What is there now and what has happened so far. */
  stats(): BreakerStats {
    return {
      state: this.#state,
      active: this.#active,
      pending: this.#pending,
      opened: this.#opened,
      refusedOpen: this.#refusedOpen,
      refusedRequests: this.#refusedRequests,
      refusedPending: this.#refusedPending,
    };
  }

  #refusal(): Refusal | null {
    const { maxRequests, halfOpenProbes } = this.#limits;
    if (this.#state === "open" && this.#clock.now() < this.#openUntil) return "open";
    // Those that succeeded count too: with two probes asked for, the second one is still owed.
    if (this.#state === "half_open" && this.#probing + this.#probed >= halfOpenProbes) {
      return "open";
    }
    return maxRequests > 0 && this.#active >= maxRequests ? "max_requests" : null;
  }

  #ended(outcome: BreakerOutcome): void {
    const { consecutiveFailures, errorRatio, minVolume } = this.#limits;
    if (outcome === "cancelled") return;
    if (outcome === "success") {
      this.#inRow = 0;
      this.#outcomes.addFirst();
      return;
    }
    this.#inRow++;
    this.#outcomes.addSecond();
    if (consecutiveFailures > 0 && this.#inRow >= consecutiveFailures) return this.#open();
    if (errorRatio === 0) return;
    const failures = this.#outcomes.second;
    const all = this.#outcomes.first + failures;
    if (all >= minVolume && failures >= errorRatio * all) this.#open();
  }

  #probeEnded(outcome: BreakerOutcome): void {
    this.#probing--;
    if (outcome === "failure") return this.#open();
    if (outcome === "success" && ++this.#probed >= this.#limits.halfOpenProbes) this.#close();
  }

  #open(): void {
    const { openTime, maxOpenTime } = this.#limits;
    this.#openUntil = this.#clock.now() +
      backoffBound(this.#tries++, { base: openTime, cap: maxOpenTime });
    this.#opened++;
    this.#change("open");
  }

  #close(): void {
    this.#tries = 0;
    if (this.#state !== "closed") this.#change("closed");
    this.#inRow = 0;
    this.#outcomes.clear();
  }

  #change(state: BreakerState): void {
    this.#state = state;
    this.#epoch++;
    this.onChange?.(state);
  }
}

function checkLimits(limits: BreakerLimits): void {
  for (const [name, value] of Object.entries(limits)) {
    if (!(value >= 0)) throw new RangeError(`Breaker: ${name} of ${value} is negative`);
  }
  if (limits.errorRatio > 1) throw new RangeError("Breaker: errorRatio is a share, at most 1");
  if (limits.halfOpenProbes < 1) throw new RangeError("Breaker: halfOpenProbes is at least 1");
  if (limits.maxOpenTime < limits.openTime) {
    throw new RangeError("Breaker: maxOpenTime is less than openTime");
  }
}
