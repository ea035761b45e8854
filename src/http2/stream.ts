/**
 * One stream, on either side: its state, what it sends and what it receives.
 *
 * Content goes out as far as both windows and the output have room; what is left waits where the caller has it,
 * and takes turns with the other streams.
 *
 * @module
 */
import { ProxyError } from "../base/error.ts";
import { Deadline, type TimerWheel } from "../base/timer_wheel.ts";
import type { Fields } from "../http/fields.ts";
import type { RequestHead, ResponseHead } from "../http/message.ts";
import { CANCEL, DATA, FLAG_END_STREAM, FRAME_HEADER_BYTES } from "./constants.ts";
import { type ContentHost, ContentReader } from "./content_reader.ts";
import { ReceiveWindow, SendWindow } from "./flow_control.ts";
import type { FrameOutput } from "./frame_output.ts";
import {
  finishHeaders,
  headersOverhead,
  writeFrameHeader,
  writeRstStream,
} from "./frame_writer.ts";
import type { HpackEncoder } from "./hpack/encoder.ts";
import type { FieldBlock } from "./hpack/field_block.ts";
import type { Http2Limits } from "./limits.ts";
import {
  requestBound,
  responseBound,
  trailersBound,
  writeRequest,
  writeResponse,
  writeTrailers,
} from "./message_writer.ts";
import type { Settings } from "./settings.ts";
import * as states from "./stream_state.ts";

/** Who is served by a stream: a session. */
export interface StreamHandler {
  /**
   * A further field block: a response head, or trailers. The handler calls `receivedEnd` if `endStream`. The
   * block is read over afterwards.
   *
   * @throws {Http2Error} A stream error, if it is malformed.
   */
  onHeaders(block: FieldBlock, endStream: boolean): void;
  /** The peer has reset the stream. Returns what that means to whoever sends or reads. */
  onReset(code: number): ProxyError;
  /** The stream is over: its connection broke, the peer broke a rule, or a write took too long. */
  onError(error: ProxyError): void;
  /**
   * The connection is gone. Returns what that means to whoever sends or reads, which is followed by `onError` with it.
   * Default: the same for all streams.
   */
  onLost?(error: ProxyError): ProxyError;
}

/** What a stream needs of its connection. */
export interface StreamHost {
  readonly limits: Http2Limits;
  readonly wheel: TimerWheel;
  readonly output: FrameOutput;
  readonly encoder: HpackEncoder;
  /** What the peer asks for. */
  readonly peer: Settings;
  /** What all streams together may send. */
  readonly sendWindow: SendWindow;
  /** HEADERS and DATA frames that were sent. */
  framesSent: number;
  /** Whether streams have something to send and only wait for their turn. */
  readonly waiting: boolean;
  /** Puts a stream behind those that wait for their turn. */
  enqueue(stream: Http2Stream): void;
  /** Content of a stream was read. */
  onTaken(stream: Http2Stream, bytes: number): void;
  /** The state of a stream is final. */
  onStreamEnd(stream: Http2Stream): void;
  /** Nobody is interested in the stream any more. */
  onStreamReleased(stream: Http2Stream): void;
}

/** The least that counts as a sign of life of a peer, and what is worth a frame. */
const PROGRESS_BYTES = 1024;

// What a turn came to.
/** Nothing is left, or the stream's own window is closed. */
export const DONE = 0;
/** The stream has more to send. */
export const MORE = 1;
/** The stream has more to send, but the window of the connection is closed. */
export const BLOCKED = 2;

/** One stream. */
export class Http2Stream implements ContentHost {
  readonly id: number;
  readonly content: ContentReader;
  readonly sendWindow: SendWindow;
  readonly receiveWindow: ReceiveWindow;
  handler: StreamHandler | null = null;
  /** Whether it waits for its turn; kept by the connection. */
  queued = false;
  /** Whether nobody is interested in it any more; kept by the connection. */
  released = false;
  readonly #host: StreamHost;
  #state = states.IDLE;
  #next = states.IDLE;
  #sent = 0;
  #piece: Uint8Array | null = null;
  #offset = 0;
  #pieceEnds = false;
  #failure: ProxyError | null = null;
  #deadline: Deadline | null = null;
  #promise: Promise<void> | null = null;
  #resolve: () => void = nothing;
  #reject: (error: ProxyError) => void = nothing;

  constructor(host: StreamHost, id: number) {
    this.#host = host;
    this.id = id;
    this.sendWindow = new SendWindow(id, host.peer.initialWindow);
    this.receiveWindow = new ReceiveWindow(id, host.limits.streamWindow);
    this.content = new ContentReader(this, host.wheel);
  }

  /** One of the states of `stream_state.ts`. */
  get state(): number {
    return this.#state;
  }

  /** Whether nothing can be sent or received any more. */
  get closed(): boolean {
    return this.#state >= states.CLOSED;
  }

  /** Whether our direction has ended. */
  get sendEnded(): boolean {
    return this.#state === states.HALF_CLOSED_LOCAL || this.closed;
  }

  /** Content bytes sent. */
  get bytesSent(): number {
    return this.#sent;
  }

  /** Why nothing more can be sent, or `null`. */
  get failure(): ProxyError | null {
    return this.#failure;
  }

  /**
   * Sends a request head.
   *
   * @param protocol `:protocol` of an extended CONNECT (RFC 8441), or empty.
   * @param length Content-Length, or `-1` for none.
   */
  sendRequest(
    head: RequestHead,
    scheme: string,
    protocol: string,
    length: number,
    endStream: boolean,
  ): void {
    const { encoder, output } = this.#forHeaders(requestBound(head, protocol));
    const start = output.length + FRAME_HEADER_BYTES;
    const end = writeRequest(encoder, output.bytes, start, head, scheme, protocol, length);
    this.#headersWritten(end, endStream);
  }

  /** Sends a response head, or with `endStream` a whole response; `length` is Content-Length, or `-1` for none. */
  sendResponse(head: ResponseHead, length: number, endStream: boolean): void {
    const { encoder, output } = this.#forHeaders(responseBound(head));
    const start = output.length + FRAME_HEADER_BYTES;
    const end = writeResponse(encoder, output.bytes, start, head, length);
    this.#headersWritten(end, endStream);
  }

  /** Ends our direction with trailers. Only when no content waits. */
  sendTrailers(trailers: Fields): void {
    if (this.#piece !== null) throw busy();
    const { encoder, output } = this.#forHeaders(trailersBound(trailers));
    const start = output.length + FRAME_HEADER_BYTES;
    this.#headersWritten(writeTrailers(encoder, output.bytes, start, trailers), true);
  }

  /**
   * Sends content. Nothing is copied that must wait: `bytes` is the caller's again when the promise resolves.
   *
   * @throws {ProxyError} If the stream has failed.
   */
  send(bytes: Uint8Array, end: boolean): void | Promise<void> {
    if (this.#failure !== null) throw this.#failure;
    if (this.#piece !== null) throw busy();
    if (bytes.length === 0 && !end) return;
    this.#state = states.transition(this.#state, states.SEND_DATA, this.id);
    this.#piece = bytes;
    this.#offset = 0;
    this.#pieceEnds = end;
    const host = this.#host;
    // Whoever waits for the same room goes first.
    if (!host.waiting || bytes.length === 0) {
      while (this.#piece !== null && this.#mayTurn()) this.turn();
      if (this.#piece === null) return;
    }
    this.onWindow();
    this.#armWrite(0);
    const promise = this.#promise = new Promise<void>((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    // Who does not wait for it learns of the failure elsewhere; it must not end the process.
    promise.catch(nothing);
    return promise;
  }

  /** Nothing if nothing waits to be sent, else a promise of that. */
  settle(): void | Promise<void> {
    if (this.#failure !== null) throw this.#failure;
    if (this.#promise !== null) return this.#promise;
  }

  /**
   * Sends one frame of what waits; called when it is this stream's turn and there is room.
   *
   * @returns {@linkcode DONE}, {@linkcode MORE} or {@linkcode BLOCKED}.
   */
  turn(): number {
    const piece = this.#piece;
    if (piece === null) return DONE;
    const { output, peer, sendWindow } = this.#host;
    const left = piece.length - this.#offset;
    const least = this.#least;
    const own = this.sendWindow.allows(left, least);
    if (own === 0 && left > 0) return DONE;
    const both = sendWindow.allows(own, least);
    if (both === 0 && left > 0) return BLOCKED;
    const length = Math.min(both, peer.maxFrameBytes);
    const ends = length === left && this.#pieceEnds;
    output.reserve(FRAME_HEADER_BYTES + length);
    const at = writeFrameHeader(
      output.bytes,
      output.length,
      length,
      DATA,
      ends ? FLAG_END_STREAM : 0,
      this.id,
    );
    if (length > 0) {
      output.bytes.set(
        length === piece.length ? piece : piece.subarray(this.#offset, this.#offset + length),
        at,
      );
    }
    output.length = at + length;
    output.schedule();
    this.#host.framesSent++;
    const isCrumb = length < left && length < least;
    this.sendWindow.consume(length, isCrumb);
    sendWindow.consume(length, isCrumb);
    this.#sent += length;
    this.#offset += length;
    if (length < left) {
      this.#armWrite(length);
      return this.#wantsTurn ? MORE : DONE;
    }
    this.#piece = null;
    const resolve = this.#resolve;
    this.#promise = null;
    this.#resolve = this.#reject = nothing;
    if (ends) this.#ended();
    resolve();
    return DONE;
  }

  /** The peer's window for this stream has changed. */
  onWindow(): void {
    if (this.#piece !== null && this.#wantsTurn) this.#host.enqueue(this);
  }

  /** Resets the stream, if it is not over yet. What waits to be sent fails with `error`. */
  reset(code: number, error: ProxyError): void {
    if (this.closed || this.#state === states.IDLE) return;
    this.#state = states.transition(this.#state, states.SEND_RST_STREAM, this.id);
    const { output } = this.#host;
    output.reserve(FRAME_HEADER_BYTES + 4);
    output.length = writeRstStream(output.bytes, output.length, this.id, code);
    output.schedule();
    this.fail(error);
    this.#host.onStreamEnd(this);
  }

  /** Makes whoever sends or reads fail, without a word to the peer. */
  fail(error: ProxyError): void {
    this.content.fail(error);
    this.#failSending(error);
  }

  /** Nobody is interested any more. The stream has been reset, or is complete on our side. */
  release(): void {
    if (this.released) return;
    this.released = true;
    this.content.drop();
    this.handler = null;
    if (this.#deadline !== null) this.#host.wheel.cancel(this.#deadline);
    this.#host.onStreamReleased(this);
  }

  // What the connection calls.

  /** Takes an event of the peer; see `stream_state.ts`. Returns whether it has an effect. */
  receive(event: number): boolean {
    const next = states.transition(this.#state, event, this.id);
    if (next === states.IGNORE) return false;
    this.#state = next;
    return true;
  }

  /** The peer has ended its direction. */
  receivedEnd(trailers: Fields | null): void {
    this.content.end(trailers);
    this.receive(states.RECEIVE_END_STREAM);
    if (this.closed) this.#host.onStreamEnd(this);
  }

  /** The peer has reset the stream. */
  receivedReset(code: number): void {
    if (!this.receive(states.RECEIVE_RST_STREAM)) return;
    const error = this.handler?.onReset(code) ??
      new ProxyError("connection_closed", "Stream: reset by the other side");
    // What came whole before stays readable: a server may so stop an upload after its answer (§8.1).
    if (!this.content.ended) this.content.fail(error);
    this.#failSending(error);
    this.#host.onStreamEnd(this);
  }

  /** The connection is gone: whoever sends or reads fails, but what came whole stays readable. */
  lose(error: ProxyError): void {
    if (this.closed) return;
    this.#state = states.RESET_REMOTE;
    if (!this.content.ended) this.content.fail(error);
    this.#failSending(error);
    this.#host.onStreamEnd(this);
  }

  onTaken(bytes: number): void {
    this.#host.onTaken(this, bytes);
  }

  #forHeaders(room: number): StreamHost {
    const host = this.#host;
    if (this.#failure !== null) throw this.#failure;
    // Told to whoever breaks the rules here, but the state changes only when the frame is written.
    this.#next = states.transition(this.#state, states.SEND_HEADERS, this.id);
    host.output.reserve(room + headersOverhead(room, host.peer.maxFrameBytes));
    return host;
  }

  #headersWritten(end: number, endStream: boolean): void {
    const { output, peer } = this.#host;
    this.#state = this.#next;
    this.#host.framesSent++;
    output.length = finishHeaders(
      output.bytes,
      output.length,
      end,
      this.id,
      endStream,
      peer.maxFrameBytes,
    );
    output.schedule();
    if (endStream) this.#ended();
  }

  #ended(): void {
    this.#state = states.transition(this.#state, states.SEND_END_STREAM, this.id);
    if (this.closed) this.#host.onStreamEnd(this);
  }

  /** Whether the stream's own window is open. */
  get #wantsTurn(): boolean {
    return this.sendWindow.allows(this.#piece!.length - this.#offset, this.#least) > 0;
  }

  /** What is worth a frame that does not end a piece. A peer may have windows that are smaller than that. */
  get #least(): number {
    return Math.max(1, Math.min(PROGRESS_BYTES, this.#host.peer.initialWindow >> 1));
  }

  #mayTurn(): boolean {
    const left = this.#piece!.length - this.#offset;
    if (left === 0) return true;
    const own = this.sendWindow.allows(left, this.#least);
    return own > 0 && this.#host.sendWindow.allows(own, this.#least) > 0 &&
      !this.#host.output.full;
  }

  #failSending(error: ProxyError): void {
    if (this.#failure !== null) return;
    this.#failure = error;
    this.#piece = null;
    const reject = this.#reject;
    this.#promise = null;
    this.#resolve = this.#reject = nothing;
    reject(error);
  }

  /** A window that opens by a few bytes only is no progress: a client could hold us for ever with it. */
  #armWrite(progress: number): void {
    const { limits, wheel } = this.#host;
    const { minSendRate, writeTimeout } = limits;
    const left = this.#piece!.length - this.#offset;
    if (progress > 0 && (minSendRate > 0 || progress < Math.min(PROGRESS_BYTES, left))) return;
    this.#deadline ??= new Deadline(() => {
      if (this.#piece === null) return;
      const { handler } = this;
      const error = new ProxyError("write_timeout", "Content: the window stays closed");
      this.reset(CANCEL, error);
      handler?.onError(error);
    });
    wheel.arm(
      this.#deadline,
      minSendRate > 0 ? Math.max(1000, left / minSendRate * 1000) : writeTimeout,
    );
  }
}

function busy(): ProxyError {
  return new ProxyError("internal_error", "Content: written before the last piece was taken");
}

function nothing(): void {}
