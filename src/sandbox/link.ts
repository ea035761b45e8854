/**
 * The line from one service worker to one plugin: sends calls, and makes of the answers what they may be.
 *
 * @module
 */
import type { ProxyError } from "../base/error.ts";
import { Deadline, type TimerWheel } from "../base/timer_wheel.ts";
import type { HostSession } from "../plugin/handler.ts";
import type { ConnectionView, Failure } from "../plugin/session.ts";
import type { CallMeter } from "./call_meter.ts";
import type { Channel } from "./channel.ts";
import { applyEffects, checkEffects } from "./effects.ts";
import { KeptRequests } from "./kept_requests.ts";
import { callError, PendingCall, type PendingOwner } from "./pending_call.ts";
import { PendingCalls } from "./pending_calls.ts";
import {
  BODY,
  CANCEL,
  DONE,
  FAILED,
  MAX_TEXT,
  type PhaseShape,
  PING,
  PONG,
  READ_BODY,
} from "./protocol.ts";
import { checkResult } from "./results.ts";
import { clip, describeError } from "./values.ts";

/** Bytes that may wait to be sent to a sandbox; it is stuck if they are more. */
const MAX_BACKLOG = 32 * 1024 * 1024;
/** Answers to nothing, after which a sandbox is given up. A few are left over from calls that timed out. */
const MAX_IGNORED = 10_000;
/** Missed deadlines within so many milliseconds count as one. */
const LATE_ROUND = 100;
/** Pending calls that are kept to be used again. */
const MAX_FREE = 1024;

/** What a link says of its sandbox. */
export interface LinkListener {
  /** A deadline was missed, in so many rounds in a row. */
  late(rounds: number): void;
  /** What it sends makes no sense. */
  foul(reason: string): void;
  /** Calls have to wait for it to take others. */
  full(): void;
  /** It is closed, and nobody waits for it. */
  drained(): void;
}

/** A line to one sandbox. */
export class Link implements PendingOwner {
  readonly #plugin: string;
  readonly #channel: Channel;
  readonly #timers: TimerWheel;
  readonly #listener: LinkListener;
  readonly #pending = new PendingCalls();
  readonly #free: PendingCall[] = [];
  readonly #kept: KeptRequests | null;
  #ignored = 0;
  #rounds = 0;
  #lastLate = -Infinity;
  #retired = false;
  #closed = "";
  #ping = 0;
  /** How long the sandbox may take to say that it lives, once a call has missed its deadline. */
  readonly #grace: number;
  // Asked on the line of the calls: after running out of memory, a thread may be alive but deaf on it.
  readonly #pong = new Deadline(() => {
    const reason = "it did not answer: a hook loops, blocks, or used up the heap";
    this.close(reason);
    this.#listener.foul(reason);
  });

  /**
   * @param grace How long it may take to answer a ping once a call has missed its deadline, in milliseconds.
   * @param keeps Whether the sandbox keeps requests while they last: not worth it if it is only called once for each.
   */
  constructor(
    plugin: string,
    channel: Channel,
    timers: TimerWheel,
    grace: number,
    listener: LinkListener,
    keeps: boolean = false,
  ) {
    this.#kept = keeps ? new KeptRequests() : null;
    this.#grace = grace;
    this.#plugin = plugin;
    this.#channel = channel;
    this.#timers = timers;
    this.#listener = listener;
    channel.onMessage = (message) => this.#receive(message);
    channel.isAwaited = () => this.#pending.size > 0;
    channel.onFull = () => listener.full();
    channel.onClose = (reason, malformed) => {
      this.close(reason);
      if (malformed) listener.foul(reason);
    };
  }

  /** Whether calls can be made. */
  get open(): boolean {
    return this.#closed === "" && !this.#retired;
  }

  /** Calls that wait. */
  get size(): number {
    return this.#pending.size;
  }

  /** Answers that nobody waited for. */
  get ignored(): number {
    return this.#ignored;
  }

  /**
   * Makes a call.
   *
   * @param meter Is told when it is over.
   * @throws {ProxyError} `plugin_error`, `plugin_timeout` or `plugin_unavailable`, as a rejection.
   */
  call(
    use: number,
    shape: PhaseShape,
    timeout: number,
    session: HostSession | ConnectionView | null,
    first: unknown,
    second: unknown,
    meter: CallMeter | null = null,
  ): Promise<unknown> {
    if (this.#closed !== "" || this.#channel.backlog > MAX_BACKLOG) {
      const reason = this.#closed === "" ? "it does not take what is sent to it" : this.#closed;
      return this.#refuse("plugin_unavailable", shape, reason, meter);
    }
    const id = this.#pending.nextId();
    try {
      this.#channel.postCall(id, use, shape, session, first, second, this.#kept);
    } catch (error) {
      return this.#refuse("plugin_error", shape, describeError(error, MAX_TEXT), meter);
    }
    const call = this.#free.pop() ?? new PendingCall(this, this.#timers);
    call.id = id;
    call.shape = shape;
    call.meter = meter;
    if (shape.session === "request") call.session = session as HostSession;
    if (shape.retry) call.failure = first as Failure;
    const promise = new Promise<unknown>(call.executor as never);
    this.#pending.add(call);
    call.arm(timeout);
    return promise;
  }

  /** Takes no more calls; says `drained` once the last is answered. */
  retire(): void {
    this.#retired = true;
    this.#settled();
  }

  /** Fails what waits, and all calls from now on. */
  close(reason: string): void {
    if (this.#closed !== "") return;
    this.#closed = reason;
    this.#channel.close();
    this.#timers.cancel(this.#pong);
    for (const call of this.#pending.all) {
      this.#reject(call, callError("plugin_unavailable", this.#plugin, call.shape!, reason));
    }
  }

  expired(call: PendingCall): void {
    this.#channel.post([CANCEL, call.id]);
    const reason = "it missed its deadline";
    this.#reject(call, callError("plugin_timeout", this.#plugin, call.shape!, reason));
    const { now } = this.#timers;
    if (now - this.#lastLate < LATE_ROUND) return;
    this.#lastLate = now;
    if (this.#closed !== "") return;
    if (!this.#pong.armed) {
      this.#channel.post([PING, ++this.#ping]);
      this.#timers.arm(this.#pong, this.#grace);
    }
    this.#listener.late(++this.#rounds);
  }

  cancelled(call: PendingCall): void {
    this.#channel.post([CANCEL, call.id]);
  }

  #receive(message: unknown): void {
    if (!Array.isArray(message)) return this.#ignore();
    if (message[0] === PONG && message[1] === this.#ping) return this.#timers.cancel(this.#pong);
    const call = this.#pending.get(message[1]);
    if (call === null) return this.#ignore();
    switch (message[0]) {
      case DONE:
        return this.#done(call, message[2], message[3]);
      case FAILED:
        return this.#fail(call, typeof message[2] === "string" ? message[2] : "it failed");
      case READ_BODY:
        return this.#readBody(call, message[2]);
      default:
        this.#ignore();
    }
  }

  #done(call: PendingCall, effects: unknown, form: unknown): void {
    const { resolve, shape, session, failure } = call;
    let result: unknown;
    try {
      const checked = checkEffects(effects, shape!);
      result = checkResult(shape!.result, form);
      if (checked !== null && session !== null) applyEffects(checked, shape!, session, failure);
    } catch (error) {
      return this.#fail(call, describeError(error, MAX_TEXT));
    }
    this.#rounds = 0;
    call.measure(this.#plugin, null);
    this.#finish(call);
    resolve!(result);
  }

  #fail(call: PendingCall, message: string): void {
    this.#rounds = 0;
    const text = clip(message, MAX_TEXT);
    this.#reject(call, callError("plugin_error", this.#plugin, call.shape!, text));
  }

  #reject(call: PendingCall, error: ProxyError): void {
    const { reject } = call;
    call.measure(this.#plugin, error);
    this.#finish(call);
    reject!(error);
  }

  #refuse(
    type: "plugin_error" | "plugin_unavailable",
    shape: PhaseShape,
    reason: string,
    meter: CallMeter | null,
  ): Promise<never> {
    const error = callError(type, this.#plugin, shape, reason);
    meter?.called(this.#plugin, shape.phase, 0, error);
    return Promise.reject(error);
  }

  #readBody(call: PendingCall, limit: unknown): void {
    if (!call.shape!.body || call.reading || call.session === null) return this.#ignore();
    const { id } = call;
    call.reading = true;
    // A client that sends slowly must not make the plugin look slow.
    call.pause();
    const most = typeof limit === "number" && limit >= 0 ? limit : undefined;
    let reading: Promise<Uint8Array>;
    try {
      reading = call.session.readBody(most);
    } catch (error) {
      reading = Promise.reject(error);
    }
    reading.then(
      (body) => this.#sendBody(call, id, body, ""),
      (error) => this.#sendBody(call, id, null, clip(String(error?.message ?? error), MAX_TEXT)),
    );
  }

  #sendBody(
    call: PendingCall,
    id: number,
    body: Uint8Array | null,
    error: string,
  ): void {
    // Meanwhile the object may stand for another call.
    if (call.id !== id || this.#pending.get(id) !== call) return;
    call.reading = false;
    this.#channel.post([BODY, id, body, error]);
    call.resume();
  }

  #ignore(): void {
    if (++this.#ignored === MAX_IGNORED) {
      const reason = `it sent ${MAX_IGNORED} answers to nothing`;
      this.close(reason);
      this.#listener.foul(reason);
    }
  }

  #finish(call: PendingCall): void {
    this.#pending.delete(call);
    call.release();
    if (this.#free.length < MAX_FREE) this.#free.push(call);
    if (this.#retired) this.#settled();
  }

  #settled(): void {
    if (this.#pending.size > 0 || this.#closed !== "") return;
    this.close("it was replaced");
    this.#listener.drained();
  }
}
