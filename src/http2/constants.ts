/**
 * The numbers of RFC 9113: frame types, flags, settings, error codes.
 *
 * @module
 */

/** Bytes of a frame header (RFC 9113 §4.1). */
export const FRAME_HEADER_BYTES = 9;

// Frame types (RFC 9113 §6).
export const DATA = 0;
export const HEADERS = 1;
export const PRIORITY = 2;
export const RST_STREAM = 3;
export const SETTINGS = 4;
export const PUSH_PROMISE = 5;
export const PING = 6;
export const GOAWAY = 7;
export const WINDOW_UPDATE = 8;
export const CONTINUATION = 9;

/** Names of the frame types, for messages. */
export const FRAME_NAMES: readonly string[] = [
  "DATA",
  "HEADERS",
  "PRIORITY",
  "RST_STREAM",
  "SETTINGS",
  "PUSH_PROMISE",
  "PING",
  "GOAWAY",
  "WINDOW_UPDATE",
  "CONTINUATION",
];

// Flags.
export const FLAG_END_STREAM = 0x1;
export const FLAG_ACK = 0x1;
export const FLAG_END_HEADERS = 0x4;
export const FLAG_PADDED = 0x8;
export const FLAG_PRIORITY = 0x20;

// Settings (RFC 9113 §6.5.2, RFC 8441 §3, RFC 9218 §2.1).
export const SETTINGS_HEADER_TABLE_SIZE = 1;
export const SETTINGS_ENABLE_PUSH = 2;
export const SETTINGS_MAX_CONCURRENT_STREAMS = 3;
export const SETTINGS_INITIAL_WINDOW_SIZE = 4;
export const SETTINGS_MAX_FRAME_SIZE = 5;
export const SETTINGS_MAX_HEADER_LIST_SIZE = 6;
export const SETTINGS_ENABLE_CONNECT_PROTOCOL = 8;
export const SETTINGS_NO_RFC7540_PRIORITIES = 9;

// Error codes (RFC 9113 §7).
export const NO_ERROR = 0;
export const PROTOCOL_ERROR = 1;
export const INTERNAL_ERROR = 2;
export const FLOW_CONTROL_ERROR = 3;
export const SETTINGS_TIMEOUT = 4;
export const STREAM_CLOSED = 5;
export const FRAME_SIZE_ERROR = 6;
export const REFUSED_STREAM = 7;
export const CANCEL = 8;
export const COMPRESSION_ERROR = 9;
export const CONNECT_ERROR = 10;
export const ENHANCE_YOUR_CALM = 11;
export const INADEQUATE_SECURITY = 12;
export const HTTP_1_1_REQUIRED = 13;

/** Names of the error codes, for messages. */
export const ERROR_CODE_NAMES: readonly string[] = [
  "NO_ERROR",
  "PROTOCOL_ERROR",
  "INTERNAL_ERROR",
  "FLOW_CONTROL_ERROR",
  "SETTINGS_TIMEOUT",
  "STREAM_CLOSED",
  "FRAME_SIZE_ERROR",
  "REFUSED_STREAM",
  "CANCEL",
  "COMPRESSION_ERROR",
  "CONNECT_ERROR",
  "ENHANCE_YOUR_CALM",
  "INADEQUATE_SECURITY",
  "HTTP_1_1_REQUIRED",
];

/** Windows of a connection and of every stream before anything is negotiated (RFC 9113 §6.9.2). */
export const DEFAULT_WINDOW = 65_535;
/** Largest window (RFC 9113 §6.9.1). */
export const MAX_WINDOW = 0x7fff_ffff;
/** Smallest and initial value of SETTINGS_MAX_FRAME_SIZE. */
export const MIN_MAX_FRAME = 16_384;
/** Largest value of SETTINGS_MAX_FRAME_SIZE. */
export const MAX_MAX_FRAME = 16_777_215;
/** Initial value of SETTINGS_HEADER_TABLE_SIZE. */
export const DEFAULT_TABLE_BYTES = 4096;

/** What a client sends first (RFC 9113 §3.4). */
export const PREFACE: Uint8Array = new TextEncoder().encode("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
