import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import fc from "fast-check";
import {
  DATA,
  ENHANCE_YOUR_CALM,
  FLAG_END_STREAM,
  FLOW_CONTROL_ERROR,
  FRAME_SIZE_ERROR,
  PREFACE,
  PROTOCOL_ERROR,
  STREAM_CLOSED,
} from "../../../src/http2/constants.ts";
import { Http2Error } from "../../../src/http2/error.ts";
import { type FrameHandler, FrameReader, uint32 } from "../../../src/http2/frame_reader.ts";
import * as writer from "../../../src/http2/frame_writer.ts";
import { Settings } from "../../../src/http2/settings.ts";
import * as states from "../../../src/http2/stream_state.ts";

class Log implements FrameHandler {
  readonly lines: string[] = [];
  readonly errors: Http2Error[] = [];
  #hex(bytes: Uint8Array, start: number, end: number): string {
    return Buffer.from(bytes.subarray(start, end)).toString("hex");
  }
  onData(s: number, b: Uint8Array, start: number, end: number, flow: number, fin: boolean) {
    this.lines.push(`DATA ${s} ${this.#hex(b, start, end)} ${flow}${fin ? " end" : ""}`);
  }
  onHeaders(s: number, b: Uint8Array, start: number, end: number, fin: boolean) {
    this.lines.push(`HEADERS ${s} ${this.#hex(b, start, end)}${fin ? " end" : ""}`);
  }
  onPriority(s: number) {
    this.lines.push(`PRIORITY ${s}`);
  }
  onRstStream(s: number, code: number) {
    this.lines.push(`RST_STREAM ${s} ${code}`);
  }
  onSettings(b: Uint8Array, start: number, end: number) {
    this.lines.push(`SETTINGS ${this.#hex(b, start, end)}`);
  }
  onSettingsAck() {
    this.lines.push("SETTINGS ack");
  }
  onPing(ack: boolean, b: Uint8Array, start: number) {
    this.lines.push(`PING ${ack} ${this.#hex(b, start, start + 8)}`);
  }
  onGoaway(last: number, code: number, b: Uint8Array, start: number, end: number) {
    this.lines.push(`GOAWAY ${last} ${code} ${this.#hex(b, start, end)}`);
  }
  onWindowUpdate(s: number, increment: number) {
    this.lines.push(`WINDOW_UPDATE ${s} ${increment}`);
  }
  onUnknown(type: number, length: number) {
    this.lines.push(`unknown ${type} ${length}`);
  }
  onStreamError(error: Http2Error) {
    this.errors.push(error);
  }
}

const SETTINGS = frame(4, 0, 0, "");

function frame(type: number, flags: number, stream: number, payload: string): string {
  const head = Buffer.alloc(9);
  const length = payload.length / 2;
  head.writeUIntBE(length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return head.toString("hex") + payload;
}

function read(...frames: string[]): Log {
  const log = new Log();
  new FrameReader(log, false).feed(Buffer.from(SETTINGS + frames.join(""), "hex"));
  log.lines.shift();
  return log;
}

function refused(code: number, ...frames: string[]): void {
  assert.throws(
    () => read(...frames),
    (error) => error instanceof Http2Error && error.code === code && error.stream === 0,
    `${code} for ${frames.join(" ").slice(0, 100)}`,
  );
}

const z = (count: number) => "00".repeat(count);

Deno.test("§3.4: the preface must match, and SETTINGS must be the first frame", () => {
  for (let i = 0; i < PREFACE.length; i++) {
    const wrong = PREFACE.slice();
    wrong[i]! ^= 1;
    assert.throws(() => new FrameReader(new Log(), true).feed(wrong), /PROTOCOL_ERROR/);
  }
  for (const first of [frame(6, 0, 0, z(8)), frame(4, 1, 0, ""), frame(10, 0, 0, "")]) {
    assert.throws(
      () => new FrameReader(new Log(), false).feed(Buffer.from(first, "hex")),
      /PROTOCOL_ERROR: the first frame is not SETTINGS/,
    );
  }
});

Deno.test("§4.1: unknown types, undefined flags and the reserved bit are ignored", () => {
  assert.deepEqual(read(frame(0xfe, 0xff, 7, "00")).lines, ["unknown 254 1"]);
  assert.deepEqual(read(frame(6, 0xfe, 0, z(8))).lines, [`PING false ${z(8)}`]);
  assert.deepEqual(read(frame(3, 0, 0x8000_0001, "00000008")).lines, ["RST_STREAM 1 8"]);
});

Deno.test("§4.2: a frame over SETTINGS_MAX_FRAME_SIZE is refused before its payload comes", () => {
  refused(FRAME_SIZE_ERROR, frame(0, 0, 1, z(16385)).slice(0, 18));
  assert.equal(read(frame(0, 0, 1, z(16384))).lines.length, 1);
});

Deno.test("§4.3, §6.10: nothing comes between the frames of a field block", () => {
  const open = frame(1, 0, 1, "82");
  assert.deepEqual(read(frame(1, 1, 1, "82"), frame(9, 0, 1, "86"), frame(9, 4, 1, "84")).lines, [
    "HEADERS 1 828684 end",
  ]);
  refused(PROTOCOL_ERROR, open, frame(0, 0, 1, ""));
  refused(PROTOCOL_ERROR, open, frame(1, 4, 1, "82"));
  refused(PROTOCOL_ERROR, open, frame(9, 4, 3, "82"));
  refused(PROTOCOL_ERROR, open, frame(6, 0, 0, z(8)));
  refused(PROTOCOL_ERROR, open, frame(0x42, 0, 0, ""));
  refused(PROTOCOL_ERROR, frame(9, 4, 1, "82"));
  refused(PROTOCOL_ERROR, frame(1, 4, 1, "82"), frame(9, 4, 1, "82"));
  refused(ENHANCE_YOUR_CALM, open, ...Array.from({ length: 9 }, () => frame(9, 0, 1, "")));
  refused(ENHANCE_YOUR_CALM, open, ...Array.from({ length: 4 }, () => frame(9, 0, 1, z(16384))));
});

Deno.test("§6.1, §6.2: padding is taken off, counted, and never more than the payload", () => {
  assert.deepEqual(read(frame(0, 9, 1, "02aabb0000")).lines, ["DATA 1 aabb 5 end"]);
  assert.deepEqual(read(frame(0, 8, 1, "020000")).lines, ["DATA 1  3"]);
  assert.deepEqual(read(frame(1, 0x2c, 1, "01" + z(5) + "8200")).lines, ["HEADERS 1 82"]);
  for (const type of [0, 1]) {
    refused(PROTOCOL_ERROR, frame(type, 12, 1, "03aabb"));
    refused(FRAME_SIZE_ERROR, frame(type, 12, 1, ""));
  }
  refused(FRAME_SIZE_ERROR, frame(1, 0x24, 1, z(4)));
  refused(PROTOCOL_ERROR, frame(1, 0x2c, 1, "01" + z(5)));
});

Deno.test("§6: each type is on a stream or on the connection, as it must be", () => {
  for (const [type, size] of [[0, 0], [1, 0], [2, 5], [3, 4], [9, 0]] as const) {
    refused(PROTOCOL_ERROR, frame(type, 4, 0, z(size)));
  }
  for (const [type, size] of [[4, 0], [6, 8], [7, 8]] as const) {
    refused(PROTOCOL_ERROR, frame(type, 0, 1, z(size)));
  }
});

Deno.test("§6.3: PRIORITY of a wrong length ends its stream only", () => {
  assert.deepEqual(read(frame(2, 0, 1, z(5))).lines, ["PRIORITY 1"]);
  const { errors, lines } = read(frame(2, 0, 1, z(4)), frame(6, 0, 0, z(8)));
  assert.deepEqual(errors.map(({ code, stream }) => [code, stream]), [[FRAME_SIZE_ERROR, 1]]);
  assert.equal(lines.length, 1);
});

Deno.test("§6.4, §6.5, §6.7, §6.8, §6.9: lengths are exact", () => {
  for (
    const [type, flags, stream, size] of [
      [3, 0, 1, 3],
      [3, 0, 1, 5],
      [4, 0, 0, 5],
      [4, 1, 0, 6],
      [6, 0, 0, 7],
      [6, 0, 0, 9],
      [7, 0, 0, 7],
      [8, 0, 0, 3],
      [8, 0, 1, 5],
    ] as const
  ) refused(FRAME_SIZE_ERROR, frame(type, flags, stream, z(size)));
});

Deno.test("§6.6: PUSH_PROMISE is refused", () => {
  refused(PROTOCOL_ERROR, frame(5, 4, 1, "0000000282"));
});

Deno.test("§6.9: an update by 0 ends the stream, or on stream 0 the connection", () => {
  assert.deepEqual(read(frame(8, 0, 3, z(4))).errors.map(({ code, stream }) => [code, stream]), [
    [PROTOCOL_ERROR, 3],
  ]);
  refused(PROTOCOL_ERROR, frame(8, 0, 0, z(4)));
  assert.deepEqual(read(frame(8, 0, 0, "ffffffff")).lines, ["WINDOW_UPDATE 0 2147483647"]);
});

Deno.test("§6.5.2: values that are not allowed are refused, unknown settings ignored", () => {
  const apply = (hex: string, fromServer = false, settings = new Settings()) => {
    const bytes = Buffer.from(hex, "hex");
    return settings.apply(bytes, 0, bytes.length, fromServer);
  };
  for (
    const [hex, code] of [
      ["000200000002", PROTOCOL_ERROR],
      ["000480000000", FLOW_CONTROL_ERROR],
      ["000500003fff", PROTOCOL_ERROR],
      ["000501000000", PROTOCOL_ERROR],
      ["000800000002", PROTOCOL_ERROR],
      ["000800000001000800000000", PROTOCOL_ERROR],
    ] as const
  ) assert.throws(() => apply(hex), (e) => e instanceof Http2Error && e.code === code, hex);
  assert.throws(() => apply("000200000001", true), /ENABLE_PUSH/);
  const settings = new Settings();
  assert.equal(apply("0004000000010004000fffff" + "00ffffffffff", false, settings), 0xf0000);
  assert.equal(settings.initialWindow, 0xfffff);
  apply("000100000000000200000000000300000007000500ffffff000600000400", true, settings);
  assert.deepEqual({ ...settings }, {
    headerTableBytes: 0,
    enablePush: false,
    maxConcurrentStreams: 7,
    initialWindow: 0xfffff,
    maxFrameBytes: 16777215,
    maxHeaderListBytes: 1024,
    enableConnectProtocol: false,
  });
});

Deno.test("§5.1: what may come in each state, and what it is answered with", () => {
  const { transition } = states;
  const error = (state: number, event: number) => {
    try {
      transition(state, event, 5);
    } catch (e) {
      assert(e instanceof Http2Error);
      return [e.code, e.stream];
    }
    return null;
  };
  const { RECEIVE_DATA: data, RECEIVE_HEADERS: headers, RECEIVE_RST_STREAM: reset } = states;
  for (const event of [data, reset, states.RECEIVE_WINDOW_UPDATE]) {
    assert.deepEqual(error(states.IDLE, event), [PROTOCOL_ERROR, 0]);
  }
  for (const event of [data, headers]) {
    assert.deepEqual(error(states.HALF_CLOSED_REMOTE, event), [STREAM_CLOSED, 5]);
    assert.deepEqual(error(states.RESET_REMOTE, event), [STREAM_CLOSED, 5]);
    assert.deepEqual(error(states.CLOSED, event), [STREAM_CLOSED, 0]);
    assert.equal(transition(states.RESET_LOCAL, event, 5), states.IGNORE);
  }
  for (let state = states.IDLE; state <= states.RESET_REMOTE; state++) {
    assert.equal(transition(state, states.RECEIVE_PRIORITY, 5), states.IGNORE);
  }
  assert.throws(() => transition(states.HALF_CLOSED_LOCAL, states.SEND_DATA, 5), TypeError);
  let state = transition(states.IDLE, headers, 5);
  state = transition(state, states.RECEIVE_END_STREAM, 5);
  assert.equal(state, states.HALF_CLOSED_REMOTE);
  state = transition(state, states.SEND_HEADERS, 5);
  assert.equal(transition(state, states.SEND_END_STREAM, 5), states.CLOSED);
  assert.equal(transition(state, reset, 5), states.RESET_REMOTE);
  assert.equal(transition(state, states.SEND_RST_STREAM, 5), states.RESET_LOCAL);
});

function sample(): Buffer {
  const out = new Uint8Array(1000);
  out.set(PREFACE);
  let at = writer.writeSettings(out, PREFACE.length, [4, 65536, 3, 100]);
  at = writer.writeSettingsAck(out, at);
  for (let i = 0; i < 50; i++) out[at + 9 + i] = i;
  assert.equal(writer.headersOverhead(50, 16), 36);
  at = writer.finishHeaders(out, at, at + 59, 1, true, 16);
  at = writer.writeFrameHeader(out, at, 3, DATA, FLAG_END_STREAM, 3) + 3;
  at = writer.writePing(out, at, true, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8), 0);
  at = writer.writeRstStream(out, at, 3, 8);
  at = writer.writeWindowUpdate(out, at, 0, 1000);
  at = writer.writeGoaway(out, at, 3, 0xffff_ffff);
  return Buffer.from(out.subarray(0, at));
}

const SAMPLE_LINES = [
  "SETTINGS 000400010000000300000064",
  "SETTINGS ack",
  `HEADERS 1 ${Buffer.from(Array.from({ length: 50 }, (_, i) => i)).toString("hex")} end`,
  "DATA 3 000000 3 end",
  "PING true 0102030405060708",
  "RST_STREAM 3 8",
  "WINDOW_UPDATE 0 1000",
  "GOAWAY 3 4294967295 ",
];

Deno.test("What the writer writes is read, split at every byte and byte by byte", () => {
  const bytes = sample();
  for (let cut = 0; cut <= bytes.length; cut++) {
    const log = new Log();
    const reader = new FrameReader(log, true);
    reader.feed(bytes.subarray(0, cut));
    reader.feed(bytes.subarray(cut));
    assert.deepEqual(log.lines, SAMPLE_LINES, `cut at ${cut}`);
    assert(reader.atBoundary);
  }
  const log = new Log();
  const reader = new FrameReader(log, true);
  for (const byte of bytes) reader.feed(Uint8Array.of(byte));
  assert.deepEqual(log.lines, SAMPLE_LINES);
});

Deno.test("Random frames are read or refused alike, however they are cut", () => {
  const frames = fc.array(
    fc.record({
      type: fc.nat(11),
      flags: fc.nat(255),
      stream: fc.nat(3),
      payload: fc.uint8Array({ maxLength: 20 }),
    }),
    { maxLength: 8 },
  );
  fc.assert(
    fc.property(frames, fc.array(fc.nat(30), { maxLength: 20 }), (list, cuts) => {
      const bytes = Buffer.from(
        SETTINGS +
          list.map(({ type, flags, stream, payload }) =>
            frame(type, flags, stream, Buffer.from(payload).toString("hex"))
          ).join(""),
        "hex",
      );
      const run = (pieces: Uint8Array[]) => {
        const log = new Log();
        let failure = "";
        try {
          const reader = new FrameReader(log, false);
          for (const piece of pieces) reader.feed(piece);
        } catch (error) {
          assert(error instanceof Http2Error);
          failure = error.message;
        }
        return [log.lines, log.errors.map(({ message }) => message), failure];
      };
      const pieces: Uint8Array[] = [];
      let at = 0;
      for (const cut of cuts) pieces.push(bytes.subarray(at, at += cut));
      pieces.push(bytes.subarray(Math.min(at, bytes.length)));
      assert.deepEqual(run(pieces), run([bytes]));
    }),
    { numRuns: 1000 },
  );
  assert.equal(uint32(Uint8Array.of(255, 255, 255, 255), 0), 4294967295);
});
