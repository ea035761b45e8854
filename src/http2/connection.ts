/**
 * One HTTP/2 connection, on either side: what all its streams share (RFC 9113 §3.4, §5.4, §6.8).
 *
 * ```text
 *   OPEN ──leave, GOAWAY received──▶ LEAVING ──last stream over──▶ LINGERING ──▶ CLOSED
 *     └──── the peer breaks a rule ───────────────────────────────────▲            ▲
 *     └──── the socket breaks ─────────────────────────────────────────────────────┘
 * ```
 *
 * It speaks HTTP/2 and nothing else: what a message means is a session's business.
 *
 * @module
 */
import { NO_BUFFER } from "../base/buffer_pool.ts";
import { ProxyError } from "../base/error.ts";
import { Deadline, type TimerWheel } from "../base/timer_wheel.ts";
import type { Socket, SocketHandler } from "../transport/socket.ts";
import type { Http2ConnectionOptions, Http2ConnectionOwner } from "./connection_owner.ts";
import * as c from "./constants.ts";
import { Http2Error } from "./error.ts";
import { SendWindow } from "./flow_control.ts";
import { FrameOutput } from "./frame_output.ts";
import { FrameReader } from "./frame_reader.ts";
import { FrameReceiver, type ReceiverHost } from "./frame_receiver.ts";
import * as write from "./frame_writer.ts";
import { HpackEncoder } from "./hpack/encoder.ts";
import type { FieldBlock } from "./hpack/field_block.ts";
import type { Http2Limits } from "./limits.ts";
import { writeOpening } from "./opening.ts";
import { ReadBuffer } from "./read_buffer.ts";
import { Settings } from "./settings.ts";
import type { Http2Stream } from "./stream.ts";
import * as states from "./stream_state.ts";
import { StreamTable } from "./stream_table.ts";
import { Turns } from "./turns.ts";

const OPEN = 0;
const LEAVING = 1;
const LINGERING = 2;
const CLOSED = 3;

/** How long a peer gets to read the last frames and to close, in milliseconds. */
const LINGER_TIME = 2_000;
/** How long a client gets to hear of a drain before what it opens is refused, in milliseconds. */
const DRAIN_NOTICE = 1_000;

/** A connection. */
export class Http2Connection implements SocketHandler, ReceiverHost {
  readonly server: boolean;
  readonly limits: Http2Limits;
  readonly wheel: TimerWheel;
  readonly output: FrameOutput;
  readonly encoder: HpackEncoder = new HpackEncoder();
  readonly peer: Settings = new Settings();
  readonly sendWindow: SendWindow = new SendWindow(0);
  readonly streams: StreamTable;
  framesSent = 0;
  readonly #socket: Socket;
  readonly #owner: Http2ConnectionOwner;
  readonly #receiver: FrameReceiver;
  readonly #reader: FrameReader;
  readonly #turns: Turns;
  readonly #buffer = new ReadBuffer();
  readonly #headDeadline = new Deadline(() => this.#onHeadTimeout());
  readonly #ackDeadline = new Deadline(() => this.#onAckTimeout());
  readonly #endDeadline = new Deadline(() => this.#onEndTimeout());
  #state = OPEN;
  #reading = false;
  #eof = false;
  #settled = false;
  /** Whether it is to be drained as soon as the client has said its settings. */
  #drainLater = false;
  /** Whether a field block, or the first SETTINGS, is waited for. */
  #headTimed = true;
  #warned = false;
  readonly #pongs: (() => void)[] = [];
  #pings = 0;
  /** When bytes last came from the peer, by the wheel. */
  heardAt = 0;

  constructor(socket: Socket, options: Http2ConnectionOptions, owner: Http2ConnectionOwner) {
    const { limits, server, wheel } = options;
    this.#socket = socket;
    this.#owner = owner;
    this.server = server;
    this.limits = limits;
    this.wheel = wheel;
    this.streams = new StreamTable(server);
    this.#receiver = new FrameReceiver(this);
    this.#reader = new FrameReader(this.#receiver, server, {
      frameBytes: limits.frameBytes,
      blockBytes: limits.headerBlockBytes,
      continuations: limits.continuations,
    });
    this.output = new FrameOutput(socket, {
      wheel,
      bytes: limits.outputBytes,
      timeout: limits.writeTimeout,
      minRate: limits.minSendRate,
      onTimeout: () => this.#onWriteTimeout(),
      onRoom: () => {
        this.#turns.run();
        this.#ask();
      },
    });
    this.#turns = new Turns(this);
    socket.handler = this;
  }

  /** Streams that are open, or that somebody is still busy with. */
  get live(): number {
    return this.streams.live;
  }

  /** Whether the peer's first SETTINGS have come. */
  get settled(): boolean {
    return this.#settled;
  }

  /** Whether no stream can be opened on it any more. */
  get leaving(): boolean {
    return this.#state !== OPEN || this.streams.exhausted;
  }

  /** Whether it is over. */
  get closed(): boolean {
    return this.#state === CLOSED;
  }

  /**
   * Sends the preface and our SETTINGS, and begins reading.
   *
   * @param received Bytes that were read from the socket already.
   */
  start(received: Uint8Array = NO_BUFFER): void {
    const { limits, output, server } = this;
    writeOpening(output, server, limits, this.#receiver.enlargeWindow());
    this.wheel.arm(this.#headDeadline, limits.headerTimeout);
    this.wheel.arm(this.#ackDeadline, limits.settingsTimeout);
    if (received.length > 0) this.#take(received);
    this.#ask();
  }

  /**
   * Opens a stream, for a request to be sent on it at once. Only if not `leaving`; the caller keeps to
   * `peer.maxConcurrentStreams`.
   */
  open(): Http2Stream {
    return this.streams.open(this);
  }

  /** Sends PING; `onPong` is called when it is answered. The caller sees to the time. */
  ping(onPong: () => void): void {
    if (this.deaf) return;
    this.#pongs.push(onPong);
    const number = ++this.#pings;
    const bytes = Uint8Array.of(0, 0, 0, 0, number >>> 24, number >>> 16, number >>> 8, number);
    const { output } = this;
    output.reserve(c.FRAME_HEADER_BYTES + 8);
    output.length = write.writePing(output.bytes, output.length, false, bytes, 0);
    output.schedule();
  }

  /**
   * Lets the streams that are open finish, then closes. A client is told first and gets a moment, so that what
   * it has sent meanwhile is still served (RFC 9113 §6.8).
   *
   * @param gently Whether a client that has not said its settings yet gets the same moment once it has.
   */
  drain(gently: boolean = false): void {
    if (this.#state !== OPEN || this.#warned) return;
    this.#drainLater = gently && this.server && !this.#settled;
    if (this.#drainLater) return;
    if (!this.server || !this.#settled) return this.leave(c.NO_ERROR);
    this.#warned = true;
    this.#writeGoaway(c.MAX_WINDOW, c.NO_ERROR);
    this.ping(() => this.leave(c.NO_ERROR));
    this.wheel.arm(this.#endDeadline, DRAIN_NOTICE);
  }

  /** Takes no more streams, says so, and closes when those that are open are over. */
  leave(code: number): void {
    if (this.#state !== OPEN) return;
    this.#state = LEAVING;
    this.wheel.cancel(this.#endDeadline);
    this.#writeGoaway(this.streams.lastProcessed, code);
    this.#checkOver();
  }

  /** Ends it because of what the peer did or did not do; it is told `code`. Streams fail with `error`. */
  fail(error: ProxyError, code: number): void {
    if (this.deaf) return;
    this.#writeGoaway(this.streams.lastProcessed, code);
    this.#state = LINGERING;
    this.#owner.onFault(error);
    this.#failStreams(error);
    this.wheel.arm(this.#endDeadline, LINGER_TIME);
    this.#bye();
  }

  /** Closes at once. Streams fail with `error`. */
  destroy(error: ProxyError): void {
    if (this.#state === CLOSED) return;
    this.#socket.destroy();
    this.#close(error);
  }

  // What the socket calls.

  readBuffer(): Uint8Array {
    return this.#buffer.window();
  }

  onRead(length: number): void {
    this.#reading = false;
    if (length === 0) return this.#onEnd();
    this.heardAt = this.wheel.now;
    if (!this.deaf) this.#take(this.#buffer.received(length, this.streams.live > 0));
    this.#ask();
  }

  onDrain(): void {
    this.output.onDrain();
    if (this.#state === LINGERING) this.#bye();
    this.#ask();
  }

  onError(error: ProxyError): void {
    this.#close(this.#gone("broken", error));
  }

  // What the streams call.

  get waiting(): boolean {
    return this.#turns.waiting;
  }

  enqueue(stream: Http2Stream): void {
    this.#turns.add(stream);
  }

  onTaken(stream: Http2Stream, bytes: number): void {
    this.#receiver.release(stream, bytes);
  }

  onStreamEnd(stream: Http2Stream): void {
    this.streams.end(stream);
    if (stream.released) this.#streamOver();
  }

  onStreamReleased(stream: Http2Stream): void {
    if (stream.state === states.IDLE) this.streams.end(stream);
    else if (!stream.closed) {
      stream.reset(c.CANCEL, new ProxyError("internal_error", "Stream: released before its end"));
      return;
    }
    this.#streamOver();
  }

  // What the receiver calls.

  get deaf(): boolean {
    return this.#state >= LINGERING;
  }

  get refusing(): boolean {
    return this.#state !== OPEN;
  }

  onRequest(stream: Http2Stream, block: FieldBlock, endStream: boolean): void {
    this.#owner.onRequest(stream, block, endStream);
  }

  onPeerSettings(): void {
    this.#settled = true;
    this.#owner.onSettings();
    if (this.#drainLater) this.drain();
  }

  onAcknowledged(): void {
    this.wheel.cancel(this.#ackDeadline);
  }

  onPong(): void {
    this.#pongs.shift()?.();
  }

  onPeerGoaway(lastStream: number, code: number): void {
    if (!this.server) {
      if (this.#state === OPEN) this.#state = LEAVING;
      for (const stream of this.streams.values()) {
        if (stream.id > lastStream) stream.receivedReset(c.REFUSED_STREAM);
      }
    }
    this.#owner.onGoaway(lastStream, code);
    this.#checkOver();
  }

  onBlock(): void {
    this.#headTimed = false;
  }

  onWindow(): void {
    this.#turns.run();
  }

  fault(error: Http2Error): ProxyError {
    const [type, source] = this.server
      ? ["invalid_request", "downstream"] as const
      : ["invalid_response", "upstream"] as const;
    return new ProxyError(
      error.code === c.ENHANCE_YOUR_CALM && this.server ? "peer_flood" : type,
      `HTTP/2: ${error.message}`,
      { source, cause: error },
    );
  }

  // Receiving.

  #ask(): void {
    if (this.#reading || this.#eof || this.#state === CLOSED) return;
    const { backlogBytes, outputBytes } = this.limits;
    // Who does not read answers may not ask for more of them.
    if (this.output.pending > 2 * outputBytes + backlogBytes) return;
    this.#reading = true;
    this.#socket.read();
  }

  #take(bytes: Uint8Array): void {
    try {
      this.#reader.feed(bytes);
    } catch (error) {
      if (error instanceof Http2Error) return this.fail(this.fault(error), error.code);
      reportError(error);
      return this.fail(
        ProxyError.wrap(error, "internal_error", "HTTP/2 connection", "internal"),
        c.INTERNAL_ERROR,
      );
    }
    const inHead = !this.#settled || this.#reader.inFieldBlock;
    if (inHead && !this.#headTimed && !this.deaf) {
      this.wheel.arm(this.#headDeadline, this.limits.headerTimeout);
    }
    this.#headTimed = inHead;
  }

  #onEnd(): void {
    this.#eof = true;
    if (this.#state === LINGERING) return this.#bye();
    // Without a direction of its own a peer cannot open windows, nor reset or acknowledge anything: it is gone.
    if (!this.#socket.closed) this.#socket.close();
    this.#close(this.#gone("closed"));
  }

  // Ending.

  #streamOver(): void {
    this.streams.live--;
    if (this.#state === CLOSED) return;
    this.#owner.onStreamOver();
    this.#checkOver();
  }

  #checkOver(): void {
    if (this.#state !== LEAVING || this.streams.live > 0) return;
    this.#state = LINGERING;
    this.#bye();
  }

  /** When all is written: ends our direction and waits for the peer to do the same, but not for long. */
  #bye(): void {
    const { output } = this;
    output.flush();
    if (output.pending > 0 || this.#state !== LINGERING) return;
    if (!this.#eof) {
      this.#socket.closeWrite();
      if (!this.#endDeadline.armed) this.wheel.arm(this.#endDeadline, LINGER_TIME);
      return;
    }
    if (!this.#socket.closed) this.#socket.close();
    this.#close(this.#gone("closed"));
  }

  #close(error: ProxyError): void {
    if (this.#state === CLOSED) return;
    this.#state = CLOSED;
    this.wheel.cancel(this.#headDeadline);
    this.wheel.cancel(this.#ackDeadline);
    this.wheel.cancel(this.#endDeadline);
    this.output.close();
    this.#buffer.dispose(this.#reading);
    this.#failStreams(error);
    this.#owner.onClosed();
  }

  #failStreams(error: ProxyError): void {
    for (const stream of this.streams.values()) this.#lose(stream, error);
  }

  #lose(stream: Http2Stream, error: ProxyError): void {
    const { handler } = stream;
    try {
      const told = handler?.onLost?.(error) ?? error;
      stream.lose(told);
      handler?.onError(told);
    } catch (bug) {
      reportError(bug);
    }
  }

  #writeGoaway(lastStream: number, code: number): void {
    const { output } = this;
    output.reserve(c.FRAME_HEADER_BYTES + 8);
    output.length = write.writeGoaway(output.bytes, output.length, lastStream, code);
    output.schedule();
  }

  #gone(how: string, cause?: ProxyError): ProxyError {
    const who = this.server ? "client" : "upstream";
    return new ProxyError(
      this.server ? "client_closed" : "connection_closed",
      `Connection: ${how} by the ${who}`,
      { source: this.server ? "downstream" : "upstream", cause },
    );
  }

  // Time.

  #onHeadTimeout(): void {
    if (!this.#headTimed) return;
    const what = this.#settled ? "Field block" : "Preface and SETTINGS";
    this.fail(
      new ProxyError(
        this.server ? "header_timeout" : "read_timeout",
        `HTTP/2: ${what}: not complete in time`,
        { source: this.server ? "downstream" : "upstream" },
      ),
      c.NO_ERROR,
    );
  }

  #onAckTimeout(): void {
    const error = new Http2Error(c.SETTINGS_TIMEOUT, "SETTINGS: not acknowledged in time");
    this.fail(this.fault(error), error.code);
  }

  #onEndTimeout(): void {
    if (this.#state === OPEN) return this.leave(c.NO_ERROR);
    this.destroy(this.#gone("left open"));
  }

  #onWriteTimeout(): void {
    const error = new ProxyError("write_timeout", "Connection: the other side does not read", {
      source: this.server ? "downstream" : "upstream",
    });
    if (!this.deaf) this.#owner.onFault(error);
    this.destroy(error);
  }
}
