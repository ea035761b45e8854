/**
 * What the frames of a peer do to the connection and its streams (RFC 9113 §5, §6).
 *
 * @module
 */
import type { ProxyError } from "../base/error.ts";
import type { TimerWheel } from "../base/timer_wheel.ts";
import * as c from "./constants.ts";
import { Http2Error } from "./error.ts";
import { ReceiveWindow } from "./flow_control.ts";
import type { FrameHandler } from "./frame_reader.ts";
import * as write from "./frame_writer.ts";
import { Credit, Guard, TINY_WINDOW_UPDATE } from "./guard.ts";
import { HpackDecoder } from "./hpack/decoder.ts";
import { FieldBlock } from "./hpack/field_block.ts";
import type { Http2Stream, StreamHost } from "./stream.ts";
import * as states from "./stream_state.ts";
import type { StreamTable } from "./stream_table.ts";

/** What a receiver needs of its connection. */
export interface ReceiverHost extends StreamHost {
  readonly server: boolean;
  readonly streams: StreamTable;
  /** Whether frames of the peer have no effect any more. */
  readonly deaf: boolean;
  /** Whether streams that the peer opens are refused. */
  readonly refusing: boolean;
  onRequest(stream: Http2Stream, block: FieldBlock, endStream: boolean): void;
  onPeerSettings(): void;
  onAcknowledged(): void;
  onPong(): void;
  onPeerGoaway(lastStream: number, code: number): void;
  /** A field block is complete. */
  onBlock(): void;
  /** A window has opened. */
  onWindow(): void;
  /** What a broken rule means to whoever sends or reads. */
  fault(error: Http2Error): ProxyError;
}

/** The frame type of RFC 9218 §7.1. */
const PRIORITY_UPDATE = 16;

/** One for all connections: what is decoded is looked at before the next bytes are. */
const block = new FieldBlock();

/** Acts on frames. Throws connection errors; errors of one stream end there. */
export class FrameReceiver implements FrameHandler {
  readonly #host: ReceiverHost;
  readonly #decoder: HpackDecoder;
  readonly #guard: Guard;
  readonly #window = new ReceiveWindow(0);
  readonly #pings = new Credit(1);
  /** One for the stream, one for the connection. */
  readonly #updates = new Credit(2);
  #acknowledged = false;

  constructor(host: ReceiverHost) {
    this.#host = host;
    const { limits, wheel } = host;
    this.#guard = new Guard(new WheelClock(wheel), limits.guard);
    this.#decoder = new HpackDecoder({
      listBytes: limits.headerListBytes,
      fields: limits.fields,
      stringBytes: limits.headerStringBytes,
    });
  }

  /** Whether the peer has acknowledged our settings. */
  get acknowledged(): boolean {
    return this.#acknowledged;
  }

  /** Makes the connection's window as large as the limits say; returns what is to be told. */
  enlargeWindow(): number {
    return this.#window.enlarge(this.#host.limits.connectionWindow);
  }

  /** Content was read or thrown away: opens the windows again, if the stream still needs its own. */
  release(stream: Http2Stream, bytes: number): void {
    this.#update(0, this.#window.release(bytes));
    if (!stream.closed && !stream.content.ended) {
      this.#update(stream.id, stream.receiveWindow.release(bytes));
    }
  }

  onData(
    id: number,
    bytes: Uint8Array,
    start: number,
    end: number,
    flow: number,
    endStream: boolean,
  ): void {
    if (this.#host.deaf) return;
    this.#window.receive(flow);
    const length = end - start;
    if (length === 0 && !endStream) this.#guard.count("emptyData");
    // What is not kept for a reader, padding too, may come again at once.
    let kept = 0;
    try {
      const stream = this.#find(id, states.RECEIVE_DATA);
      if (stream !== null) {
        stream.receiveWindow.receive(flow);
        if (length > 0) {
          kept = length;
          stream.content.push(bytes, start, end);
        }
        if (endStream) stream.receivedEnd(null);
        else if (flow > length) this.#update(id, stream.receiveWindow.release(flow - length));
      }
    } catch (error) {
      this.#streamError(error);
    }
    if (flow > kept) this.#update(0, this.#window.release(flow - kept));
  }

  onHeaders(
    id: number,
    bytes: Uint8Array,
    start: number,
    end: number,
    endStream: boolean,
  ): void {
    const host = this.#host;
    host.onBlock();
    if (host.deaf) return;
    this.#decoder.decode(bytes, start, end, block);
    try {
      if (host.streams.get(id) === null && host.streams.isNew(id)) {
        this.#request(id, block, endStream);
        return;
      }
      this.#find(id, states.RECEIVE_HEADERS)?.handler?.onHeaders(block, endStream);
    } catch (error) {
      this.#streamError(error);
    }
  }

  onPriority(_stream: number): void {
    this.#guard.count("priority");
  }

  onRstStream(id: number, code: number): void {
    if (this.#host.deaf) return;
    this.#guard.count("resetByPeer");
    const stream = this.#host.streams.get(id);
    if (stream === null) states.transition(this.#stateOf(id), states.RECEIVE_RST_STREAM, id);
    else stream.receivedReset(code);
  }

  onSettings(bytes: Uint8Array, start: number, end: number): void {
    const host = this.#host;
    if (host.deaf) return;
    this.#guard.count("settings");
    const { encoder, output, peer } = host;
    const change = peer.apply(bytes, start, end, !host.server);
    encoder.setPeerTableLimit(peer.headerTableBytes);
    output.reserve(c.FRAME_HEADER_BYTES);
    output.length = write.writeSettingsAck(output.bytes, output.length);
    output.schedule();
    if (change !== 0) {
      for (const stream of host.streams.values()) {
        try {
          stream.sendWindow.grow(change);
        } catch (error) {
          // RFC 9113 §6.9.2: here it is the connection's.
          throw error instanceof Http2Error ? new Http2Error(error.code, error.message) : error;
        }
        stream.onWindow();
      }
      host.onWindow();
    }
    host.onPeerSettings();
  }

  onSettingsAck(): void {
    if (this.#host.deaf || this.#acknowledged) return;
    this.#acknowledged = true;
    this.#decoder.setTableLimit(this.#host.limits.headerTableBytes);
    this.#host.onAcknowledged();
  }

  onPing(ack: boolean, bytes: Uint8Array, start: number): void {
    const { deaf, output } = this.#host;
    if (deaf) return;
    if (ack) return this.#host.onPong();
    if (!this.#pings.take(this.#host.framesSent)) this.#guard.count("ping");
    output.reserve(c.FRAME_HEADER_BYTES + 8);
    output.length = write.writePing(output.bytes, output.length, true, bytes, start);
    output.schedule();
  }

  onGoaway(lastStream: number, code: number): void {
    if (!this.#host.deaf) this.#host.onPeerGoaway(lastStream, code);
  }

  onWindowUpdate(id: number, increment: number): void {
    const host = this.#host;
    if (host.deaf) return;
    if (increment < TINY_WINDOW_UPDATE && !this.#updates.take(host.framesSent)) {
      this.#guard.count("tinyWindowUpdate");
    }
    if (id === 0) {
      host.sendWindow.grow(increment);
    } else {
      try {
        const stream = this.#find(id, states.RECEIVE_WINDOW_UPDATE);
        if (stream === null) return;
        stream.sendWindow.grow(increment);
        stream.onWindow();
      } catch (error) {
        return this.#streamError(error);
      }
    }
    host.onWindow();
  }

  onUnknown(type: number, _length: number): void {
    this.#guard.count(type === PRIORITY_UPDATE ? "priority" : "unknown");
  }

  onStreamError(error: Http2Error): void {
    if (this.#host.deaf) return;
    // A stream that was never opened has nothing to reset (RFC 9113 §5.1, idle).
    const { streams } = this.#host;
    if (streams.get(error.stream) === null && streams.stateOf(error.stream) === states.IDLE) {
      throw new Http2Error(error.code, error.message);
    }
    this.#streamError(error);
  }

  /** A stream and whether the frame may have an effect on it; `null` if it is to be ignored. */
  #find(id: number, event: number): Http2Stream | null {
    const stream = this.#host.streams.get(id);
    if (stream !== null) return stream.receive(event) ? stream : null;
    states.transition(this.#stateOf(id), event, id);
    return null;
  }

  #stateOf(id: number): number {
    return this.#host.streams.stateOf(id);
  }

  #request(id: number, block: FieldBlock, endStream: boolean): void {
    const host = this.#host;
    const { limits, streams } = host;
    if (host.refusing || streams.live >= limits.maxConcurrentStreams) {
      streams.lastPeer = id;
      this.#reset(id, c.REFUSED_STREAM);
      // Until it has our settings a client cannot know how many streams it may open.
      if (!host.refusing && this.#acknowledged) this.#guard.count("resetByUs");
      return;
    }
    const stream = streams.accept(host, id);
    stream.receive(states.RECEIVE_HEADERS);
    host.onRequest(stream, block, endStream);
  }

  /** Ends one stream; what is the whole connection's goes on. */
  #streamError(error: unknown): void {
    if (!(error instanceof Http2Error) || error.stream === 0) throw error;
    const stream = this.#host.streams.get(error.stream);
    if (stream === null) {
      this.#reset(error.stream, error.code);
    } else {
      const { handler } = stream;
      const fault = this.#host.fault(error);
      stream.reset(error.code, fault);
      if (handler === null) stream.release();
      else handler.onError(fault);
    }
    this.#guard.count("resetByUs");
  }

  /** Resets a stream that is not open. */
  #reset(id: number, code: number): void {
    const { output, streams } = this.#host;
    output.reserve(c.FRAME_HEADER_BYTES + 4);
    output.length = write.writeRstStream(output.bytes, output.length, id, code);
    output.schedule();
    streams.remember(id, states.RESET_LOCAL);
  }

  #update(id: number, increment: number): void {
    if (increment === 0 || this.#host.deaf) return;
    const { output } = this.#host;
    output.reserve(c.FRAME_HEADER_BYTES + 4);
    output.length = write.writeWindowUpdate(output.bytes, output.length, id, increment);
    output.schedule();
  }
}

/** The wheel's time is good enough for counting, and costs nothing. */
class WheelClock {
  readonly #wheel: TimerWheel;

  constructor(wheel: TimerWheel) {
    this.#wheel = wheel;
  }

  now(): number {
    return this.#wheel.now;
  }
}
