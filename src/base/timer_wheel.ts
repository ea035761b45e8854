/**
 * Coarse timers for connections: arming and cancelling cost a few nanoseconds, one interval serves all.
 *
 * `setTimeout` per request costs about 2.6 µs, which is more than parsing a request head. A proxy's
 * deadlines need not be exact, so they share one tick. A deadline is never early and at most one tick late.
 *
 * @module
 */
import { type Clock, systemClock } from "./clock.ts";

/** A deadline that a {@linkcode TimerWheel} can hold. Embed one per thing that can time out. */
export class Deadline {
  /** Called once when the time is over. */
  readonly onTimeout: () => void;
  /** @internal */ at: number = 0;
  /** @internal */ slot: number = -1;
  /** @internal */ previous: Deadline | null = null;
  /** @internal */ next: Deadline | null = null;

  constructor(onTimeout: () => void) {
    this.onTimeout = onTimeout;
  }

  /** Whether it is waiting in a wheel. */
  get armed(): boolean {
    return this.at !== 0;
  }
}

const SLOTS = 512;
/** Ticks without a deadline before the interval stops; starting one costs more than a request may. */
const IDLE_TICKS = 50;

/** Options of {@linkcode TimerWheel}. */
export interface TimerWheelOptions {
  /** Milliseconds between two ticks. Default 20. */
  readonly tick?: number;
  /** Default: the process clock. With another clock nothing ticks by itself: call `advance`. */
  readonly clock?: Clock;
  /** Called with what a timeout handler threw. Default: `reportError`. */
  readonly onError?: (error: unknown) => void;
}

/** A hashed timer wheel with lazy re-arming. */
export class TimerWheel {
  readonly #tick: number;
  readonly #clock: Clock;
  readonly #onError: (error: unknown) => void;
  readonly #slots: (Deadline | null)[] = new Array(SLOTS).fill(null);
  readonly #automatic: boolean;
  #turn = 0;
  #armed = 0;
  #idleTicks = 0;
  #interval: ReturnType<typeof setInterval> | undefined;
  #now: number;

  constructor(options: TimerWheelOptions = {}) {
    this.#tick = options.tick ?? 20;
    this.#clock = options.clock ?? systemClock;
    // Not the function itself: called as a method it refuses.
    this.#onError = options.onError ?? ((error) => reportError(error));
    this.#automatic = options.clock === undefined;
    this.#now = this.#clock.now();
    this.#turn = Math.floor(this.#now / this.#tick);
  }

  /** The clock as of the last tick; refreshed by `arm`. Good enough for idle bookkeeping. */
  get now(): number {
    return this.#now;
  }

  /** How many deadlines wait. */
  get size(): number {
    return this.#armed;
  }

  /** Starts or moves a deadline to `ms` milliseconds from now. */
  arm(deadline: Deadline, ms: number): void {
    if (this.#interval === undefined) this.#start();
    const at = this.#clock.now() + ms;
    // Pushing a deadline back needs no move: its slot re-inserts it when it comes round early.
    if (deadline.slot >= 0 && at >= deadline.at && deadline.at !== 0) {
      deadline.at = at;
      return;
    }
    if (deadline.slot >= 0) this.#unlink(deadline);
    deadline.at = at;
    this.#insert(deadline);
  }

  /** Stops a deadline; harmless when it is not armed. */
  cancel(deadline: Deadline): void {
    if (deadline.slot >= 0) this.#unlink(deadline);
    deadline.at = 0;
  }

  /** Stops ticking. What is armed then never fires. */
  close(): void {
    if (this.#interval === undefined) return;
    clearInterval(this.#interval);
    this.#interval = undefined;
  }

  /** Fires what is due. Called by the interval, or by the owner of a manual clock. */
  advance(): void {
    this.#now = this.#clock.now();
    const until = Math.floor(this.#now / this.#tick);
    // After a long stall every slot is visited once, not once per missed tick.
    const first = Math.max(this.#turn + 1, until - SLOTS + 1);
    for (let turn = first; turn <= until; turn++) this.#visit(turn & (SLOTS - 1));
    this.#turn = Math.max(this.#turn, until);
    if (this.#armed > 0) this.#idleTicks = 0;
    else if (++this.#idleTicks > IDLE_TICKS) this.close();
  }

  #visit(slot: number): void {
    let deadline = this.#slots[slot] ?? null;
    const due: Deadline[] = [];
    while (deadline !== null) {
      const next: Deadline | null = deadline.next;
      if (deadline.at <= this.#now) {
        due.push(deadline);
      } else if (this.#slotOf(deadline.at) !== slot) {
        this.#unlink(deadline);
        this.#insert(deadline);
      }
      deadline = next;
    }
    for (const one of due) {
      // A handler that ran before may have cancelled or moved this one.
      if (one.slot !== slot || one.at === 0 || one.at > this.#now) continue;
      this.#unlink(one);
      one.at = 0;
      try {
        one.onTimeout();
      } catch (error) {
        this.#onError(error);
      }
    }
  }

  #slotOf(at: number): number {
    // Rounded up: a deadline is never early. At least one turn ahead, or it would wait a whole round.
    return Math.max(Math.ceil(at / this.#tick), this.#turn + 1) & (SLOTS - 1);
  }

  #insert(deadline: Deadline): void {
    const slot = this.#slotOf(deadline.at);
    const head = this.#slots[slot] ?? null;
    deadline.slot = slot;
    deadline.previous = null;
    deadline.next = head;
    if (head !== null) head.previous = deadline;
    this.#slots[slot] = deadline;
    this.#armed++;
  }

  #unlink(deadline: Deadline): void {
    const { previous, next, slot } = deadline;
    if (previous !== null) previous.next = next;
    else this.#slots[slot] = next;
    if (next !== null) next.previous = previous;
    deadline.previous = null;
    deadline.next = null;
    deadline.slot = -1;
    this.#armed--;
  }

  #start(): void {
    if (!this.#automatic) return;
    this.#now = this.#clock.now();
    this.#turn = Math.floor(this.#now / this.#tick);
    this.#idleTicks = 0;
    this.#interval = setInterval(() => this.advance(), this.#tick);
  }
}
