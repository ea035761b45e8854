/**
 * A connection by the calls of the kernel: no promise, no object and no buffer while nothing happens to it.
 *
 * @module
 */
import type { SocketFacts } from "../base_socket.ts";
import { readError, writeError } from "../io_error.ts";
import { PushSocket } from "../push_socket.ts";
import {
  BROKEN,
  type EpollLoop,
  HUNG_UP,
  READ_HUNG_UP,
  READABLE,
  type Watched,
  WRITABLE,
} from "./event_loop.ts";
import { ERRNO, systemError } from "./system_calls.ts";

/** Where bytes land that nobody has asked for in a buffer of his own. What is in it is copied out before the next read. */
const READ_BUFFER = new Uint8Array(64 * 1024);

/** What a read must bring for the next one to go where it is wanted at once: a copy would cost more than two calls. */
const BULK_BYTES = 16 * 1024;

const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const SEND_FLAGS = MSG_DONTWAIT | MSG_NOSIGNAL;
/** Kept back until more comes, or the end. */
const LAST_FLAGS = SEND_FLAGS | 0x8000;
const SHUT_WR = 1;

const COMES = READABLE | BROKEN | HUNG_UP | READ_HUNG_UP;
const ENDS = BROKEN | HUNG_UP | READ_HUNG_UP;

/** A socket that an {@linkcode EpollLoop} watches. */
export class EpollSocket extends PushSocket implements Watched {
  readonly descriptor: number;
  readonly #loop: EpollLoop;
  /** Whether the kernel may have something to read: it is not asked otherwise. */
  #readable = false;
  /** Whether there is more than bytes: the end, or an error. */
  #ending = false;
  /** Whether the last read brought much. */
  #bulk = false;
  /** Whether a turn was asked for. */
  #asked = false;
  /** A buffer of the handler that was asked for and is still empty. */
  #into: Uint8Array | null = null;
  /** Whether the descriptor is no longer its own. */
  #released = false;
  /** Whether our direction has ended. */
  #shut = false;
  /** What waits for room. */
  #unsent: Uint8Array | null = null;
  #sent = 0;

  /** @param descriptor An established connection, which the socket owns from then on. The loop is to watch it. */
  constructor(loop: EpollLoop, descriptor: number, facts: SocketFacts) {
    super(facts);
    this.#loop = loop;
    this.descriptor = descriptor;
  }

  onEvents(events: number): void {
    if (this.#released) return;
    if ((events & COMES) !== 0) {
      this.#readable = true;
      if ((events & ENDS) !== 0) this.#ending = true;
      if (this.reading && !this.holding) this.#receive();
    }
    if ((events & WRITABLE) !== 0 && this.#unsent !== null) this.#sendRest();
  }

  onTurn(): void {
    this.#asked = false;
    if (this.reading && !this.holding) this.#receive();
  }

  protected override startRead(): void {
    super.startRead();
    if (this.#readable && !this.holding && !this.#asked) {
      this.#asked = true;
      this.#loop.again(this);
    }
  }

  protected override startSource(): void {
    // It is read from whenever somebody wants something, and else never.
  }

  protected override stopSource(): void {}

  protected override startWrite(bytes: Uint8Array, last: boolean): boolean {
    const flags = last ? LAST_FLAGS : SEND_FLAGS;
    const sent = this.#loop.calls.send(this.descriptor, bytes, bytes.length, flags);
    if (sent !== bytes.length) return this.#sendOn(bytes, sent);
    // Closing alone would do, but for bytes that were not read: then the kernel drops what it has kept back.
    if (last) this.startShutdown();
    return true;
  }

  protected override startShutdown(): void {
    if (this.#shut) return;
    this.#shut = true;
    this.#loop.calls.shutdown(this.descriptor, SHUT_WR);
  }

  protected override release(): void {
    // A turn that was asked for, or an event of the same batch, would read from whoever has the descriptor by then.
    this.#readable = false;
    this.#released = true;
    this.#into = null;
    this.#unsent = null;
    this.#loop.close(this);
  }

  #receive(): void {
    if (!this.#readable) return;
    // An idle connection asks for no buffer of its own, so only what streams is read like this.
    const direct = this.#bulk && this.handler.streaming !== false;
    if (direct) this.#into ??= this.handler.readBuffer();
    const into = this.#into ?? READ_BUFFER;
    const { calls } = this.#loop;
    const length = calls.recv(this.descriptor, into, into.length, MSG_DONTWAIT);
    if (length < 0) {
      const number = calls.errno();
      if (number === ERRNO.EAGAIN) this.#readable = false;
      else this.arrivedError(readError(systemError(number, "read")));
      return;
    }
    this.#bulk = length >= BULK_BYTES;
    // Less than there was room for is all that there was.
    if (length < into.length && !this.#ending) this.#readable = false;
    if (length === 0) this.arrivedEnd();
    else if (this.#into === null) this.arrived(READ_BUFFER.subarray(0, length), false);
    else {
      this.#into = null;
      this.readDone(length);
    }
  }

  #sendRest(): void {
    const bytes = this.#unsent!;
    if (this.#sendOn(bytes, this.#sent)) this.writeDone(bytes.length);
  }

  /**
   * Sends until the kernel takes no more, for only then it will tell of room.
   *
   * @param sent How much is sent already, or that of a call that has just failed.
   * @returns Whether all is sent; else it waits, or has failed.
   */
  #sendOn(bytes: Uint8Array, sent: number): boolean {
    const { calls } = this.#loop;
    this.#unsent = null;
    let done = Math.max(0, sent);
    let last = sent;
    while (last >= 0 && done < bytes.length) {
      last = calls.send(this.descriptor, bytes.subarray(done), bytes.length - done, SEND_FLAGS);
      if (last > 0) done += last;
    }
    if (done === bytes.length) return true;
    const number = calls.errno();
    if (number === ERRNO.EAGAIN) {
      this.#unsent = bytes;
      this.#sent = done;
    } else queueMicrotask(() => this.writeFailed(writeError(systemError(number, "write"))));
    return false;
  }
}
