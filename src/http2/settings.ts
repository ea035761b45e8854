/**
 * What one side of a connection asks the other to keep to (RFC 9113 §6.5).
 *
 * @module
 */
import {
  DEFAULT_TABLE_BYTES,
  DEFAULT_WINDOW,
  FLOW_CONTROL_ERROR,
  MAX_MAX_FRAME,
  MAX_WINDOW,
  MIN_MAX_FRAME,
  PROTOCOL_ERROR,
  SETTINGS_ENABLE_CONNECT_PROTOCOL,
  SETTINGS_ENABLE_PUSH,
  SETTINGS_HEADER_TABLE_SIZE,
  SETTINGS_INITIAL_WINDOW_SIZE,
  SETTINGS_MAX_CONCURRENT_STREAMS,
  SETTINGS_MAX_FRAME_SIZE,
  SETTINGS_MAX_HEADER_LIST_SIZE,
} from "./constants.ts";
import { Http2Error } from "./error.ts";
import { uint32 } from "./frame_reader.ts";

/** The settings of one side. Starts with the initial values. */
export class Settings {
  headerTableBytes: number = DEFAULT_TABLE_BYTES;
  enablePush: boolean = true;
  /** Streams that the receiver of these settings may have open; no limit at first. */
  maxConcurrentStreams: number = Infinity;
  initialWindow: number = DEFAULT_WINDOW;
  maxFrameBytes: number = MIN_MAX_FRAME;
  /** No limit at first. */
  maxHeaderListBytes: number = Infinity;
  /** RFC 8441 §3. */
  enableConnectProtocol: boolean = false;

  /**
   * Takes the payload of a SETTINGS frame, in order. What is not known is ignored.
   *
   * @param fromServer Whether a server sent it: a server may not enable push.
   * @returns By how much the initial window changed, to be added to every stream's send window.
   * @throws {Http2Error} A connection error for a value that is not allowed.
   */
  apply(bytes: Uint8Array, start: number, end: number, fromServer: boolean): number {
    const before = this.initialWindow;
    for (let at = start; at + 6 <= end; at += 6) {
      this.#set(bytes[at]! << 8 | bytes[at + 1]!, uint32(bytes, at + 2), fromServer);
    }
    return this.initialWindow - before;
  }

  #set(id: number, value: number, fromServer: boolean): void {
    switch (id) {
      case SETTINGS_HEADER_TABLE_SIZE:
        this.headerTableBytes = value;
        return;
      case SETTINGS_ENABLE_PUSH:
        if (value > 1 || (fromServer && value === 1)) throw notAllowed("ENABLE_PUSH", value);
        this.enablePush = value === 1;
        return;
      case SETTINGS_MAX_CONCURRENT_STREAMS:
        this.maxConcurrentStreams = value;
        return;
      case SETTINGS_INITIAL_WINDOW_SIZE:
        if (value > MAX_WINDOW) throw notAllowed("INITIAL_WINDOW_SIZE", value, FLOW_CONTROL_ERROR);
        this.initialWindow = value;
        return;
      case SETTINGS_MAX_FRAME_SIZE:
        if (value < MIN_MAX_FRAME || value > MAX_MAX_FRAME) {
          throw notAllowed("MAX_FRAME_SIZE", value);
        }
        this.maxFrameBytes = value;
        return;
      case SETTINGS_MAX_HEADER_LIST_SIZE:
        this.maxHeaderListBytes = value;
        return;
      case SETTINGS_ENABLE_CONNECT_PROTOCOL:
        if (value > 1 || (this.enableConnectProtocol && value === 0)) {
          throw notAllowed("ENABLE_CONNECT_PROTOCOL", value);
        }
        this.enableConnectProtocol = value === 1;
    }
  }
}

function notAllowed(name: string, value: number, code: number = PROTOCOL_ERROR): Http2Error {
  return new Http2Error(code, `SETTINGS_${name} of ${value} is not allowed (RFC 9113 §6.5.2)`);
}
