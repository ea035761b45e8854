/**
 * A connection over the native TCP handle: no promise per read or write, and one read buffer for all.
 *
 * @module
 */
import { Roster, type RosterMember } from "../base/roster.ts";
import { young } from "../base/young.ts";
import type { SocketFacts } from "./base_socket.ts";
import { readError, writeError } from "./io_error.ts";
import {
  END_OF_FILE,
  type NativeTcp,
  statusError,
  type TcpHandle,
  type WriteRequest,
} from "./native_handle.ts";
import { PushSocket } from "./push_socket.ts";

/** Where the kernel's bytes land. One for the isolate: what is in it is copied out before the next read. */
const READ_BUFFER = new Uint8Array(64 * 1024);

/** What a read must bring for the next one to go where it is wanted at once: a copy would cost more than two calls. */
const BULK_BYTES = 16 * 1024;

/** Keeps handles from being collected while only the event loop knows them. */
const live = new Roster<HandleSocket>();

/** A request that no write has needed yet: the kernel takes nearly every write at once. */
let spare: WriteRequest | null = null;

/** A socket over an established native handle. */
export class HandleSocket extends PushSocket implements RosterMember {
  /** Where it stands among those that live. */
  rosterPlace = -1;
  readonly #native: NativeTcp;
  readonly #handle: TcpHandle;
  #length = 0;
  /** Whether the last read brought much. */
  #bulk = false;
  /** Whether the handler's own buffer is where the next bytes land. */
  #direct = false;

  constructor(native: NativeTcp, handle: TcpHandle, facts: SocketFacts) {
    super(facts);
    this.#native = native;
    this.#handle = handle;
    live.add(this);
    handle.useUserBuffer(READ_BUFFER);
    handle.onread = young(() => this.#read());
    const status = handle.readStart();
    if (status < 0) queueMicrotask(() => this.#readFailed(status));
  }

  protected override startRead(): void {
    // An idle connection asks for no buffer of its own, so only what streams is read like this.
    if (this.#bulk && !this.holding && this.handler.streaming !== false) {
      this.#direct = true;
      this.#handle.useUserBuffer(this.handler.readBuffer());
    }
    super.startRead();
  }

  protected override startSource(): void {
    const status = this.#handle.readStart();
    if (status < 0) queueMicrotask(() => this.#readFailed(status));
  }

  protected override stopSource(): void {
    this.#handle.readStop();
  }

  protected override startWrite(bytes: Uint8Array): boolean {
    const request = spare ?? new this.#native.WriteWrap();
    spare = request;
    const status = this.#handle.writeBuffer(request, bytes);
    if (status < 0) {
      queueMicrotask(() => this.writeFailed(writeError(statusError(status, "write"))));
      return false;
    }
    if (this.#native.state[this.#native.asyncWriteIndex] === 0) return true;
    // It is this write's now. It tells of its end in a later turn.
    spare = null;
    request.oncomplete = young((status) => this.#written(status));
    request.buffer = bytes;
    this.#length = bytes.length;
    return false;
  }

  protected override startShutdown(): void {
    const request = new this.#native.ShutdownWrap();
    request.oncomplete = nothing;
    this.#handle.shutdown(request);
  }

  protected override release(): void {
    live.delete(this);
    this.#handle.onread = undefined;
    this.#handle.close();
  }

  #read(): void {
    const length = this.#native.state[this.#native.readIndex]!;
    this.#bulk = length >= BULK_BYTES;
    // More is surely there. The event loop would read it at once, and to where nobody wants it.
    if (this.#bulk) this.pause();
    if (this.#direct) {
      this.#direct = false;
      // From here on the buffer is the handler's, and more may come before it asks for it.
      this.#handle.useUserBuffer(READ_BUFFER);
      if (length > 0) return this.readDone(length);
    }
    if (length > 0) this.arrived(READ_BUFFER.subarray(0, length), false);
    else if (length === END_OF_FILE) this.arrivedEnd();
    else if (length < 0) this.#readFailed(length);
  }

  #readFailed(status: number): void {
    this.arrivedError(readError(statusError(status, "read")));
  }

  #written(status: number): void {
    if (status < 0) this.writeFailed(writeError(statusError(status, "write")));
    else this.writeDone(this.#length);
  }
}

function nothing(): void {}
