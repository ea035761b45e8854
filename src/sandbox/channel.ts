/**
 * A two-way line for messages, whatever carries them.
 *
 * @module
 */
import type { HostSession } from "../plugin/handler.ts";
import type { ConnectionView } from "../plugin/session.ts";
import { encodeMessage } from "./codec.ts";
import type { KeptRequests } from "./kept_requests.ts";
import { FrameWriter } from "./frame_writer.ts";
import type { PhaseShape } from "./protocol.ts";
import { encodeCall } from "./snapshot.ts";

/** Carries messages in order. What is posted in one turn of the event loop goes out as one piece. */
export interface Channel {
  /** Called with each message. Whatever stands in it was written by the other side. */
  onMessage: (message: unknown) => void;
  /** Called once when the other side is gone, or what it sent is `malformed`; not after `close()`. */
  onClose: (reason: string, malformed: boolean) => void;
  /** Called when what was to be sent has to wait for the other side to take something. */
  onFull: () => void;
  /** Says whether the other side still has something to answer; for channels that are looked after in turns. */
  isAwaited?: () => boolean;
  /** Whether messages can still be sent. */
  readonly open: boolean;
  /** Bytes that wait to be sent, as far as anybody can know. */
  readonly backlog: number;
  /**
   * Sends a message. It is written down at once: what stands in it may be changed after.
   *
   * @throws {TypeError} If it holds anything but plain data.
   */
  post(message: readonly unknown[]): void;
  /**
   * Sends a call, with what its hook may see of the session.
   *
   * @param kept The requests that the other side keeps; `null`: it is to keep none.
   * @throws {TypeError} If a var or an argument is no plain data.
   */
  postCall(
    id: number,
    use: number,
    shape: PhaseShape,
    session: HostSession | ConnectionView | null,
    first: unknown,
    second: unknown,
    kept: KeptRequests | null,
  ): void;
  close(): void;
}

/** Microtasks to wait for, so that all that one turn of the event loop begins is in one piece. */
const PATIENCE = 3;

/** A channel that carries frames of bytes. */
export abstract class FrameChannel implements Channel {
  onMessage: (message: unknown) => void = () => {};
  onClose: (reason: string, malformed: boolean) => void = () => {};
  onFull: () => void = () => {};
  isAwaited: () => boolean = () => false;
  /** What waits to be sent. */
  protected out: FrameWriter = new FrameWriter();
  #open = true;
  #wait = 0;
  readonly #step = (): void => {
    if (--this.#wait > 0) queueMicrotask(this.#step);
    else if (this.#open) this.flush();
  };

  get open(): boolean {
    return this.#open;
  }

  abstract get backlog(): number;

  post(message: readonly unknown[]): void {
    if (!this.#open) return;
    encodeMessage(this.out, message);
    this.#schedule();
  }

  postCall(
    id: number,
    use: number,
    shape: PhaseShape,
    session: HostSession | ConnectionView | null,
    first: unknown,
    second: unknown,
    kept: KeptRequests | null,
  ): void {
    if (!this.#open) return;
    encodeCall(this.out, id, use, shape, session, first, second, kept);
    this.#schedule();
  }

  close(): void {
    if (!this.#open) return;
    this.flush();
    if (!this.#open) return;
    this.#open = false;
    this.release();
  }

  /** Sends what waits, as far as it can be sent now. */
  protected abstract flush(): void;

  /** Lets go of what carries the bytes. */
  protected abstract release(): void;

  /** Closes, and says why. */
  protected fail(reason: string, malformed: boolean): void {
    if (!this.#open) return;
    this.#open = false;
    this.release();
    this.onClose(reason, malformed);
  }

  #schedule(): void {
    if (this.#wait > 0) return;
    this.#wait = PATIENCE;
    queueMicrotask(this.#step);
  }
}
