/**
 * The states of a stream (RFC 9113 §5.1), as a table.
 *
 * ```
 *                 send HEADERS / receive HEADERS
 *           idle ────────────────────────────────▶ open
 *                                                  │  │
 *                       send END_STREAM            │  │       receive END_STREAM
 *          half-closed (local) ◀───────────────────┘  └───────────────────▶ half-closed (remote)
 *                │                                                                   │
 *                │ receive END_STREAM                                send END_STREAM │
 *                └───────────────────────────▶ closed ◀──────────────────────────────┘
 *
 *    in all but idle:   send RST_STREAM ──▶ reset (local)     receive RST_STREAM ──▶ reset (remote)
 * ```
 *
 * The RFC has one closed state; here it has three, because what may still come depends on how it was reached.
 * Streams are never reserved: push is always forbidden.
 *
 * @module
 */
import { PROTOCOL_ERROR, STREAM_CLOSED } from "./constants.ts";
import { Http2Error } from "./error.ts";

// States.
export const IDLE = 0;
export const OPEN = 1;
export const HALF_CLOSED_LOCAL = 2;
export const HALF_CLOSED_REMOTE = 3;
export const CLOSED = 4;
export const RESET_LOCAL = 5;
export const RESET_REMOTE = 6;

// Events. END_STREAM is an event of its own, behind that of the frame which carries it.
export const SEND_HEADERS = 0;
export const SEND_DATA = 1;
export const SEND_END_STREAM = 2;
export const SEND_RST_STREAM = 3;
export const RECEIVE_HEADERS = 4;
export const RECEIVE_DATA = 5;
export const RECEIVE_END_STREAM = 6;
export const RECEIVE_RST_STREAM = 7;
export const RECEIVE_WINDOW_UPDATE = 8;
export const RECEIVE_PRIORITY = 9;

/** Returned by {@linkcode transition}: the state stays, and the frame has no effect but on connection state. */
export const IGNORE = -1;
const STREAM_ERROR = -2;
const CONNECTION_CLOSED = -3;
const CONNECTION_PROTOCOL = -4;
const OUR_FAULT = -5;

const STATE_NAMES = [
  "idle",
  "open",
  "half-closed (local)",
  "half-closed (remote)",
  "closed",
  "reset (local)",
  "reset (remote)",
];
const EVENT_NAMES = [
  "send HEADERS",
  "send DATA",
  "send END_STREAM",
  "send RST_STREAM",
  "receive HEADERS",
  "receive DATA",
  "receive END_STREAM",
  "receive RST_STREAM",
  "receive WINDOW_UPDATE",
  "receive PRIORITY",
];

const O = OPEN;
const L = HALF_CLOSED_LOCAL;
const R = HALF_CLOSED_REMOTE;
const C = CLOSED;
const X = RESET_LOCAL;
const Y = RESET_REMOTE;
const [ig, st, cl, pr, no] = [
  IGNORE,
  STREAM_ERROR,
  CONNECTION_CLOSED,
  CONNECTION_PROTOCOL,
  OUR_FAULT,
];

// deno-fmt-ignore
const TABLE = Int8Array.of(
// send:               receive:
// HEAD DATA END RST   HEAD DATA END RST WIN PRI
   O,   no,  no, no,   O,   pr,  pr, pr, pr, ig, // idle
   O,   O,   L,  X,    O,   O,   R,  Y,  O,  ig, // open
   no,  no,  no, X,    L,   L,   C,  Y,  L,  ig, // half-closed (local)
   R,   R,   C,  X,    st,  st,  st, Y,  R,  ig, // half-closed (remote)
   no,  no,  no, ig,   cl,  cl,  cl, ig, ig, ig, // closed
   no,  no,  no, ig,   ig,  ig,  ig, ig, ig, ig, // reset (local)
   no,  no,  no, ig,   st,  st,  st, ig, st, ig, // reset (remote)
);
const EVENTS = EVENT_NAMES.length;

/**
 * What an event makes of a stream.
 *
 * @returns The next state, or {@linkcode IGNORE}.
 * @throws {Http2Error} If the other side may not do that now: a stream error where only the stream ends.
 * @throws {TypeError} If we may not do that now, which is a bug.
 */
export function transition(state: number, event: number, stream: number): number {
  const next = TABLE[state * EVENTS + event]!;
  if (next >= IGNORE) return next;
  const what = `${EVENT_NAMES[event]} on stream ${stream}, which is ${STATE_NAMES[state]}`;
  if (next === OUR_FAULT) throw new TypeError(`Cannot ${what}`);
  if (next === STREAM_ERROR) throw new Http2Error(STREAM_CLOSED, `${what} (RFC 9113 §5.1)`, stream);
  throw new Http2Error(
    next === CONNECTION_CLOSED ? STREAM_CLOSED : PROTOCOL_ERROR,
    `${what} (RFC 9113 §5.1)`,
  );
}
