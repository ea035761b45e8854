/**
 * Windows (RFC 9113 §5.2, §6.9): one pair for the connection, one for each stream.
 *
 * @module
 */
import { DEFAULT_WINDOW, FLOW_CONTROL_ERROR, MAX_WINDOW } from "./constants.ts";
import { Http2Error } from "./error.ts";

/** How much may be sent. */
export class SendWindow {
  /** The stream, or `0` for the connection. */
  readonly stream: number;
  #available: number;
  /** Whether it was used up by a crumb, and nothing larger has been sent since. */
  #crumbed = false;

  constructor(stream: number, initial: number = DEFAULT_WINDOW) {
    this.stream = stream;
    this.#available = initial;
  }

  /** Bytes that may be sent now; below zero after the initial window shrank (§6.9.2). */
  get available(): number {
    return this.#available;
  }

  /**
   * How many of `wanted` bytes are worth a frame now: all, or at least `least`. A window that opens by crumbs so
   * makes no crumbs. One of them may use it up, because there are peers that open a window only then.
   */
  allows(wanted: number, least: number): number {
    const allowed = Math.min(wanted, this.#available);
    if (allowed === wanted || allowed >= least) return allowed;
    return allowed > 0 && !this.#crumbed ? allowed : 0;
  }

  /**
   * Counts bytes that are sent; the caller has looked at what is allowed.
   *
   * @param isCrumb Whether they are fewer than is worth a frame.
   */
  consume(bytes: number, isCrumb: boolean = false): void {
    this.#available -= bytes;
    if (!isCrumb) this.#crumbed = false;
    else if (this.#available <= 0) this.#crumbed = true;
  }

  /**
   * Takes a WINDOW_UPDATE, or the change of the initial window.
   *
   * @throws {Http2Error} FLOW_CONTROL_ERROR, of the stream or of the connection, if it grows over 2^31 - 1.
   */
  grow(bytes: number): void {
    if (this.#available + bytes > MAX_WINDOW) {
      throw new Http2Error(
        FLOW_CONTROL_ERROR,
        "a window is over 2147483647 bytes (RFC 9113 §6.9.1)",
        this.stream,
      );
    }
    this.#available += bytes;
  }
}

/** How much may be received, and when to say that more may come. */
export class ReceiveWindow {
  /** The stream, or `0` for the connection. */
  readonly stream: number;
  #size: number;
  #available: number;
  #released = 0;

  /** @param size The window that was told to the other side. */
  constructor(stream: number, size: number = DEFAULT_WINDOW) {
    this.stream = stream;
    this.#size = size;
    this.#available = size;
  }

  /** Bytes that the other side may still send. */
  get available(): number {
    return this.#available;
  }

  /**
   * Counts bytes that came, padding included.
   *
   * @throws {Http2Error} FLOW_CONTROL_ERROR, of the stream or of the connection, if there are too many.
   */
  receive(bytes: number): void {
    if (bytes > this.#available) {
      throw new Http2Error(
        FLOW_CONTROL_ERROR,
        `${bytes} bytes came, where ${this.#available} were allowed (RFC 9113 §6.9.1)`,
        this.stream,
      );
    }
    this.#available -= bytes;
  }

  /**
   * Counts bytes that were passed on and so may come again.
   *
   * @returns The increment to send, or `0` while less than half of the window waits: few, large updates.
   */
  release(bytes: number): number {
    this.#released += bytes;
    if (this.#released * 2 < this.#size) return 0;
    const increment = this.#released;
    this.#released = 0;
    this.#available += increment;
    return increment;
  }

  /** Makes the window larger; returns the increment to send. */
  enlarge(size: number): number {
    const increment = Math.max(0, Math.min(size, MAX_WINDOW) - this.#size);
    this.#size += increment;
    this.#available += increment;
    return increment;
  }
}
