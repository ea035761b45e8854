/**
 * One hook call, in the sandbox.
 *
 * @module
 */
import type { Plugin } from "../plugin/plugin.ts";
import type { Channel } from "./channel.ts";
import type { CallContext } from "./context.ts";
import { EffectList } from "./effects.ts";
import { DONE, FAILED, MAX_TEXT, type PhaseShape, READ_BODY } from "./protocol.ts";
import { normaliseResult } from "./results.ts";
import { readConnection, readFailureArgument, SandboxSession } from "./sandbox_session.ts";
import { needSnapshot } from "./snapshot.ts";
import { describeError, isBytes } from "./values.ts";

/** The calls of one channel that are not over. */
export type CallTable = Map<number, ActiveCall>;

/** What waits for the content of the request. */
interface BodyWaiter {
  readonly resolve: (body: Uint8Array) => void;
  readonly reject: (error: Error) => void;
}

/** A call from its message to its answer. */
export class ActiveCall {
  readonly #channel: Channel;
  readonly #calls: CallTable;
  readonly #id: number;
  readonly #shape: PhaseShape;
  readonly #effects = new EffectList();
  #context: CallContext | null = null;
  #session: SandboxSession | null = null;
  #waiting: BodyWaiter[] | null = null;
  #over = false;
  /** Whether it stands in the table, to be found when something comes for it. */
  #listed = false;

  constructor(channel: Channel, calls: CallTable, id: number, shape: PhaseShape) {
    this.#channel = channel;
    this.#calls = calls;
    this.#id = id;
    this.#shape = shape;
  }

  /** Calls the hook and answers when it is done. */
  run(
    plugin: Plugin,
    hook: (...values: unknown[]) => unknown,
    context: CallContext,
    message: readonly unknown[],
  ): void {
    this.#context = context;
    const shape = this.#shape;
    let result: unknown;
    try {
      if (shape.session === "none") {
        result = shape.extra === "value"
          ? hook.call(plugin, message[5], context)
          : hook.call(plugin, context);
      } else {
        const session = shape.session === "connection"
          ? readConnection(message[4] as unknown[])
          : this.#session = this.#open(message[4]);
        result = this.#callWith(plugin, hook, session, context, message);
      }
    } catch (error) {
      return this.fail(error);
    }
    if (isThenable(result)) {
      this.#list();
      Promise.resolve(result).then(
        (raw) => this.#settle(raw),
        (error) => this.fail(error),
      );
    } else {
      this.#settle(result);
    }
  }

  #callWith(
    plugin: Plugin,
    hook: (...values: unknown[]) => unknown,
    session: unknown,
    context: CallContext,
    message: readonly unknown[],
  ): unknown {
    const { extra } = this.#shape;
    if (extra === "none") return hook.call(plugin, session, context);
    if (extra === "chunk") {
      return hook.call(plugin, session, context, message[5], message[6]);
    }
    const first = extra === "failure"
      ? readFailureArgument(message[5], this.#shape, this.#effects)
      : message[5];
    return hook.call(plugin, session, context, first);
  }

  /** Nobody waits for the answer any more. */
  cancel(reason: string): void {
    this.#context?.abort(new DOMException(reason, "AbortError"));
    this.#failBodies(new Error(reason));
  }

  /** The content of the request has come, or cannot be had. */
  takeBody(body: Uint8Array | null, error: string): void {
    if (!isBytes(body)) return this.#failBodies(new RangeError(error));
    const waiting = this.#waiting;
    this.#waiting = null;
    // Each gets its own bytes, as two calls of a live session would.
    waiting?.forEach((one, i) => one.resolve(i === 0 ? body : new Uint8Array(body)));
  }

  /** Answers that the hook failed. */
  fail(error: unknown): void {
    if (this.#finish() === undefined) return;
    this.#channel.post([FAILED, this.#id, describeError(error, MAX_TEXT)]);
  }

  #settle(raw: unknown): void {
    try {
      const form = normaliseResult(this.#shape.result, raw);
      if (form instanceof Promise) {
        this.#list();
        form.then(
          (whole) => this.#done(whole),
          (error) => this.fail(error),
        );
      } else {
        this.#done(form);
      }
    } catch (error) {
      this.fail(error);
    }
  }

  #done(form: unknown): void {
    const effects = this.#finish();
    if (effects === undefined) return;
    this.#answer(effects, form);
  }

  #list(): void {
    if (this.#over) return;
    this.#listed = true;
    this.#calls.set(this.#id, this);
  }

  #answer(effects: unknown[] | null, form: unknown): void {
    try {
      this.#channel.post([DONE, this.#id, effects, form]);
    } catch (error) {
      // It was checked, but a plugin may have a say even in what a check sees.
      this.#channel.post([FAILED, this.#id, describeError(error, MAX_TEXT)]);
    }
  }

  #open(snapshot: unknown): SandboxSession {
    const taken = needSnapshot(snapshot);
    return new SandboxSession(this.#shape, taken, this.#effects, this);
  }

  /** The effects, or `undefined` if it was answered before. */
  #finish(): unknown[] | null | undefined {
    if (this.#over) return undefined;
    this.#over = true;
    if (this.#listed) this.#calls.delete(this.#id);
    // An error takes longer to make than a hook to run.
    if (this.#waiting !== null) this.#failBodies(new Error("the hook has ended"));
    this.#session?.release();
    return this.#effects.close();
  }

  /** The content of the request; for `SandboxSession`. */
  readBody(limit?: number): Promise<Uint8Array> {
    if (this.#over) {
      return Promise.reject(new TypeError("Cannot read the content: the hook has ended"));
    }
    if (limit !== undefined && (typeof limit !== "number" || !(limit >= 0))) {
      return Promise.reject(
        new RangeError("Cannot read the content: the limit must be a number of bytes"),
      );
    }
    return new Promise((resolve, reject) => {
      if (this.#waiting === null) {
        this.#waiting = [];
        this.#list();
        this.#channel.post([READ_BODY, this.#id, limit]);
      }
      this.#waiting.push({ resolve, reject });
    });
  }

  #failBodies(error: Error): void {
    const waiting = this.#waiting;
    this.#waiting = null;
    if (waiting !== null) { for (const one of waiting) one.reject(error); }
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return value instanceof Promise ||
    (typeof value === "object" && value !== null &&
      typeof (value as { then?: unknown }).then === "function");
}
