/**
 * A two-way line for messages, and the one over a message port.
 *
 * @module
 */

/** Carries messages in order. What is posted in one turn of the event loop goes out as one piece. */
export interface Channel {
  /** Called with each message. Whatever stands in it was written by the other side. */
  onMessage: (message: unknown) => void;
  /** Called once when the other side is gone, or what it sent is `malformed`; not after `close()`. */
  onClose: (reason: string, malformed: boolean) => void;
  /** Called with a message that holds what cannot be sent, instead of sending it. */
  onUnsent: (message: unknown[]) => void;
  /** Whether messages can still be sent. */
  readonly open: boolean;
  /** Bytes that wait to be sent, as far as anybody can know. */
  readonly backlog: number;
  /**
   * Sends a message of plain data.
   *
   * @param move Memory that goes to the other side instead of being copied.
   */
  post(message: unknown[], move?: ArrayBuffer): void;
  close(): void;
}

/** Microtasks to wait for, so that all that one turn of the event loop begins is in one post. */
const PATIENCE = 3;

/** Gathers messages until the turn of the event loop is over. */
export class Outbox {
  readonly #send: (messages: unknown[][], moves: ArrayBuffer[]) => void;
  #messages: unknown[][] = [];
  #moves: ArrayBuffer[] = [];
  #wait = 0;
  readonly #step = (): void => {
    if (--this.#wait > 0) queueMicrotask(this.#step);
    else this.flush();
  };

  constructor(send: (messages: unknown[][], moves: ArrayBuffer[]) => void) {
    this.#send = send;
  }

  push(message: unknown[], move?: ArrayBuffer): void {
    this.#messages.push(message);
    if (move !== undefined) this.#moves.push(move);
    if (this.#wait > 0) return;
    this.#wait = PATIENCE;
    queueMicrotask(this.#step);
  }

  flush(): void {
    this.#wait = 0;
    if (this.#messages.length === 0) return;
    const messages = this.#messages;
    const moves = this.#moves;
    this.#messages = [];
    if (moves.length > 0) this.#moves = [];
    this.#send(messages, moves);
  }
}

const NO_MOVES: ArrayBuffer[] = [];

/** A channel over a `MessagePort`. */
export class PortChannel implements Channel {
  onMessage: (message: unknown) => void = () => {};
  onClose: (reason: string, malformed: boolean) => void = () => {};
  onUnsent: (message: unknown[]) => void = () => {};
  readonly #port: MessagePort;
  readonly #outbox: Outbox;
  #open = true;

  constructor(port: MessagePort) {
    this.#port = port;
    // Taken now: code that shares this realm may replace what the prototype says later.
    const post = port.postMessage.bind(port);
    this.#outbox = new Outbox((messages, moves) => {
      if (!this.#open) return;
      try {
        post(messages, moves.length > 0 ? moves : NO_MOVES);
      } catch {
        // One message that cannot be cloned must not take the others of its turn along.
        for (const message of messages) {
          try {
            post([message], NO_MOVES);
          } catch {
            this.onUnsent(message);
          }
        }
      }
    });
    port.onmessage = (event) => {
      const batch: unknown = event.data;
      if (!Array.isArray(batch)) return this.onMessage(batch);
      for (let i = 0; i < batch.length && this.#open; i++) this.onMessage(batch[i]);
    };
    port.onmessageerror = () => this.onMessage(undefined);
  }

  get open(): boolean {
    return this.#open;
  }

  get backlog(): number {
    return 0;
  }

  post(message: unknown[], move?: ArrayBuffer): void {
    if (this.#open) this.#outbox.push(message, move);
  }

  close(): void {
    if (!this.#open) return;
    this.#outbox.flush();
    this.#open = false;
    this.#port.close();
  }
}
