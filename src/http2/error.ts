/**
 * What went wrong on an HTTP/2 connection, in the protocol's own words.
 *
 * @module
 */
import { ERROR_CODE_NAMES } from "./constants.ts";

/**
 * A connection error (RFC 9113 §5.4.1) or, with a stream, a stream error (§5.4.2).
 *
 * The codec does not know on which side it runs. The connection does: it sends GOAWAY or RST_STREAM with
 * `code` and gives its sessions a `ProxyError` that has this one as its cause.
 */
export class Http2Error extends Error {
  override readonly name: string = "Http2Error";
  /** The error code to send (RFC 9113 §7). */
  readonly code: number;
  /** The stream to reset, or `0` if the whole connection must end. */
  readonly stream: number;

  constructor(code: number, message: string, stream: number = 0) {
    super(`${ERROR_CODE_NAMES[code] ?? code}: ${message}`);
    this.code = code;
    this.stream = stream;
  }
}
