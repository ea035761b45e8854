/**
 * Waits for the sockets of a thread, beside the event loop of the runtime.
 *
 * Where there is something to do, the thread asks the kernel for all that is ready, does it, and gives the runtime a
 * turn. With nothing to do it waits in the kernel for a moment, which ends early if the runtime's own loop has
 * something; and after a while of nothing it hands the waiting to another thread, so that an idle process sleeps.
 * In each turn it looks into what other threads have written for this one, so they ring only while it sleeps. Nothing
 * that they can do ends a wait in the kernel; so where something of theirs is due, waits are as short as it takes.
 *
 * Events are edges: a socket is told once that bytes have come, and has to remember it.
 *
 * @module
 */
import { setImmediate } from "node:timers";
import { turnsOfThread } from "../../base/turns.ts";
import type { LoopOfThread } from "./left_behind.ts";
import { runtimeLoop } from "./runtime_loop.ts";
import { type SystemCalls, systemError } from "./system_calls.ts";

/** What a loop can watch. */
export interface Watched {
  /** Its descriptor. */
  readonly descriptor: number;
  /** Something has happened to it: see {@linkcode READABLE} and so on. */
  onEvents(events: number): void;
  /** What {@linkcode EpollLoop.again} was asked for. */
  onTurn(): void;
}

/** Bytes, or a connection to accept. */
export const READABLE = 0x001;
/** Room for bytes again. */
export const WRITABLE = 0x004;
/** It is broken. */
export const BROKEN = 0x008;
/** Both directions are over. */
export const HUNG_UP = 0x010;
/** The other side writes no more. */
export const READ_HUNG_UP = 0x2000;
const EDGE = 0x80000000;
/** One of several waiters is woken, not all. */
const EXCLUSIVE = 0x10000000;

const ADD = 1;
const DELETE = 2;
const MODIFY = 3;
const CLOSE_ON_EXEC = 0o2000000;

/** How many events are fetched at once. */
const BATCH = 256;

/** `struct epoll_event` is packed on x86-64 only. */
const EVENT_WORDS = Deno.build.arch === "x86_64" ? 3 : 4;
const DATA_WORD = EVENT_WORDS - 2;

/** Milliseconds that the thread waits in the kernel: what only the runtime knows of, such as timers, is late by no more. */
const NAP = 1;

/** Turns without an event after which the waiting is handed to another thread; and if the thread may not nap. */
const IDLE_TURNS = 200;
const IDLE_TURNS_AWAKE = 8;

/** Turns that the runtime's own events may wait, */
const PATIENCE = 2;
/** and milliseconds after it had its turn before it is given another: to hand over takes as long as a few requests. */
const SHARE = 0.5;

/** Turns without an event in which the thread only lets others run if they have to answer; after these it waits, */
const YIELDS = 2;
/** microseconds the first time and twice as long each time, so that no answer is late by more than it took. */
const FIRST_WAIT = 50;
const POLL_IN = 1;

/** Milliseconds after which that thread looks whether it is still wanted. */
const SLEEP = 1_000;

/** The loop of a thread. */
export class EpollLoop {
  readonly calls: SystemCalls;
  readonly #descriptor: number;
  readonly #watched: (Watched | undefined)[] = [];
  /** Tells an event of a socket from one of that which had its descriptor before. */
  readonly #generations: number[] = [];
  readonly #events = new Uint8Array(BATCH * EVENT_WORDS * 4);
  readonly #words = new Int32Array(this.#events.buffer);
  /**
   * For the thread that waits when nothing happens. It may write there when this one has ended and its heap is gone, so
   * the memory is nobody's, and is left to the process.
   */
  readonly #slept: { readonly place: Deno.PointerObject; readonly words: Int32Array };
  readonly #control = new Uint8Array(EVENT_WORDS * 4);
  readonly #controlWords = new Int32Array(this.#control.buffer);
  /** `struct pollfd` of the loop itself, and `struct timespec`. */
  readonly #self = new Uint8Array(8);
  readonly #time = new Uint8Array(16);
  readonly #nanoseconds = new Int32Array(this.#time.buffer, 8, 1);
  /** By which the runtime waits for its own events, or `null` if that is not known: then this thread may not nap. */
  readonly #runtime: number | null;
  #again: Watched[] = [];
  #count = 0;
  /** Whether a turn is sure to come. */
  #turning = false;
  #sleeping = false;
  #isDeaf = false;
  #idleTurns = 0;
  /** Turns since the runtime got events of its own, `0` if it has none. */
  #runtimeTurns = 0;
  /** When the runtime was last given a turn, by `performance.now()`. */
  #gaveWay = 0;
  readonly #turn = (): void => this.#run();

  /** @throws {Error} If there is no descriptor or no memory for it. */
  constructor(calls: SystemCalls) {
    this.calls = calls;
    this.#descriptor = calls.epoll_create1(CLOSE_ON_EXEC);
    if (this.#descriptor < 0) throw systemError(calls.errno(), "epoll_create1");
    const self = new DataView(this.#self.buffer);
    self.setInt32(0, this.#descriptor, true);
    self.setInt16(4, POLL_IN, true);
    this.#slept = lastingMemory(calls);
    this.#runtime = runtimeLoop(calls);
    if (this.#runtime !== null) this.#hearRuntime(ADD, READABLE | EDGE);
  }

  /** How others find what it watches, should this thread end before it has closed that. */
  get place(): LoopOfThread {
    return { descriptor: this.#descriptor, thread: this.calls.gettid() };
  }

  /**
   * Watches a socket for everything.
   *
   * @throws {Error} If the kernel refuses.
   */
  add(watched: Watched): void {
    this.#watch(watched, READABLE | WRITABLE | READ_HUNG_UP | EDGE);
  }

  /**
   * Watches a socket that other threads watch, too, for connections to accept: one of them is told, again and again
   * until there are none.
   *
   * @throws {Error} If the kernel refuses.
   */
  addShared(watched: Watched): void {
    this.#watch(watched, READABLE | EXCLUSIVE);
  }

  /** Tells of a socket that is watched to `watched` from now on, which has the same descriptor. */
  pass(watched: Watched): void {
    this.#watched[watched.descriptor] = watched;
  }

  /** Watches it no more, and closes it. */
  close({ descriptor }: Watched): void {
    // The kernel forgets a socket that nobody has a descriptor of.
    this.#forget(descriptor);
    this.calls.close(descriptor);
  }

  /** Watches a socket no more that others have descriptors of, too, which the kernel would go on telling of. */
  removeShared({ descriptor }: Watched): void {
    if (!this.#forget(descriptor)) return;
    this.calls.epoll_ctl(this.#descriptor, DELETE, descriptor, this.#control);
  }

  #forget(descriptor: number): boolean {
    if (this.#watched[descriptor] === undefined) return false;
    this.#watched[descriptor] = undefined;
    this.#count--;
    return true;
  }

  /** Gives `watched` a call of `onTurn` in the next turn. */
  again(watched: Watched): void {
    this.#again.push(watched);
    this.#wake();
  }

  #watch(watched: Watched, events: number): void {
    const { descriptor } = watched;
    const generation = (this.#generations[descriptor] ?? 0) + 1 | 0;
    this.#controlWords[0] = events;
    this.#controlWords[DATA_WORD] = descriptor;
    this.#controlWords[DATA_WORD + 1] = generation;
    if (this.calls.epoll_ctl(this.#descriptor, ADD, descriptor, this.#control) < 0) {
      throw systemError(this.calls.errno(), "epoll_ctl");
    }
    this.#generations[descriptor] = generation;
    this.#watched[descriptor] = watched;
    this.#count++;
    this.#wake();
  }

  #wake(): void {
    if (this.#turning) return;
    this.#turning = true;
    turnsOfThread.coming = true;
    setImmediate(this.#turn);
  }

  #run(): void {
    this.#turning = false;
    const again = this.#again;
    if (again.length > 0) this.#again = [];
    const isBusy = again.length > 0 || this.#sleeping || this.#runtime === null;
    const patience = isBusy ? 0 : this.#patience();
    const count = this.calls.epoll_wait(this.#descriptor, this.#events, BATCH, patience);
    const hasEvents = this.#dispatch(this.#words, count);
    const isIdle = !turnsOfThread.look() && !hasEvents && again.length === 0;
    for (const one of again) {
      try {
        one.onTurn();
      } catch (error) {
        reportError(error);
      }
    }
    if (!isIdle) {
      this.#idleTurns = 0;
      // Whoever sleeps for us hears of the runtime again, now that it may have to wait for its turn.
      this.#deafen(false);
    } else if (this.#sleeping || this.#count === 0) {
      if (this.#mayRest()) return;
    } else if (++this.#idleTurns > (this.#runtime === null ? IDLE_TURNS_AWAKE : IDLE_TURNS)) {
      if (this.#mayRest()) return void this.#sleep(SLEEP);
    }
    // Where one immediate call follows another, the runtime looks at its own sockets only once in a while.
    if (this.#owesTurn(isIdle)) void this.#sleep(0);
    else this.#wake();
  }

  /** Milliseconds to wait in the kernel, after those that are none. */
  #patience(): number {
    if (turnsOfThread.isStirred) {
      turnsOfThread.isStirred = false;
      this.#idleTurns = 0;
    }
    if (!turnsOfThread.isDue) return NAP;
    const turns = this.#idleTurns;
    if (turns === 0) return 0;
    if (turns <= YIELDS) {
      this.calls.sched_yield();
      return 0;
    }
    const microseconds = FIRST_WAIT * 2 ** Math.min(turns - YIELDS - 1, 10);
    if (microseconds >= NAP * 1000) return NAP;
    this.#nanoseconds[0] = microseconds * 1000;
    this.calls.ppoll(this.#self, 1, this.#time, null);
    return 0;
  }

  #owesTurn(isIdle: boolean): boolean {
    if (this.#runtimeTurns === 0 || this.#sleeping) return false;
    return isIdle ||
      (this.#runtimeTurns > PATIENCE && performance.now() - this.#gaveWay >= SHARE);
  }

  /** Whether no turn is needed until something happens; others have to wake the thread then. */
  #mayRest(): boolean {
    if (!turnsOfThread.mayWait()) return false;
    turnsOfThread.coming = false;
    return true;
  }

  /** Returns whether something has happened to a socket. */
  #dispatch(words: Int32Array, count: number): boolean {
    let any = false;
    let runtimeReady = false;
    for (let at = 0; at < count * EVENT_WORDS; at += EVENT_WORDS) {
      const descriptor = words[at + DATA_WORD]!;
      if (this.#generations[descriptor] !== words[at + DATA_WORD + 1]) {
        if (descriptor === this.#runtime) runtimeReady = true;
        continue;
      }
      any = true;
      try {
        this.#watched[descriptor]?.onEvents(words[at]!);
      } catch (error) {
        // The other events of the batch are told only once.
        reportError(error);
      }
    }
    if (runtimeReady || this.#runtimeTurns > 0) this.#runtimeTurns++;
    return any;
  }

  /**
   * Lets another thread wait, so that the runtime gets to its own events, and nothing runs until something happens.
   *
   * @param ms Milliseconds to wait at a time; with `0` there is one look.
   */
  async #sleep(ms: number): Promise<void> {
    this.#sleeping = true;
    this.#runtimeTurns = 0;
    if (ms > 0) this.#deafen(true);
    else this.#gaveWay = performance.now();
    const { place, words } = this.#slept;
    let count = 0;
    try {
      do {
        count = await this.calls.epoll_wait_elsewhere(this.#descriptor, place, BATCH, ms);
      } while (count === 0 && ms > 0 && this.#count > 0 && !this.#turning);
    } catch (error) {
      // There is no thread for it: this one goes on to nap.
      reportError(error);
    }
    this.#deafen(false);
    this.#sleeping = false;
    if (this.#dispatch(words, count) || ms > 0) this.#idleTurns = 0;
    if (this.#count > 0) this.#wake();
  }

  /** Whether the runtime's events end a wait. They are its own business while this thread has nothing to do. */
  #deafen(isDeaf: boolean): void {
    if (this.#isDeaf === isDeaf || this.#runtime === null) return;
    this.#isDeaf = isDeaf;
    this.#hearRuntime(MODIFY, isDeaf ? 0 : READABLE | EDGE);
  }

  /** Says what of the runtime's loop is to end a nap. */
  #hearRuntime(operation: number, events: number): void {
    this.#controlWords[0] = events;
    this.#controlWords[DATA_WORD] = this.#runtime!;
    this.#controlWords[DATA_WORD + 1] = 0;
    this.calls.epoll_ctl(this.#descriptor, operation, this.#runtime!, this.#control);
  }
}

function lastingMemory(calls: SystemCalls): { place: Deno.PointerObject; words: Int32Array } {
  const bytes = BATCH * EVENT_WORDS * 4;
  const place = calls.malloc(bytes);
  if (place === null) throw systemError(calls.errno(), "malloc");
  return { place, words: new Int32Array(Deno.UnsafePointerView.getArrayBuffer(place, bytes)) };
}
