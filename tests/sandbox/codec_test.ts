import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import fc from "fast-check";
import { decodeMessage, encodeMessage } from "../../src/sandbox/codec.ts";
import { FrameReader } from "../../src/sandbox/frame_reader.ts";
import { FrameWriter, PREFIX } from "../../src/sandbox/frame_writer.ts";
import { ProtocolError } from "../../src/sandbox/protocol.ts";

const leaf = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.string(),
  fc.integer(),
  fc.double(),
  fc.bigInt({ min: -(2n ** 200n), max: 2n ** 200n }),
  fc.boolean(),
  fc.constant(null),
  fc.constant(undefined),
  fc.uint8Array({ maxLength: 50 }),
  fc.date({ noInvalidDate: false }),
);
const value = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    leaf,
    fc.array(tie("value"), { maxLength: 5 }),
    fc.dictionary(
      fc.string({ unit: "binary" }).filter((key) => key !== "__proto__"),
      tie("value"),
      { maxKeys: 5, noNullPrototype: true },
    ),
  ),
})).value;
const message = fc.array(value, { maxLength: 6 });

/** Messages as the stream of their frames. */
function encode(...messages: readonly unknown[][]): Uint8Array<ArrayBuffer> {
  const out = new FrameWriter();
  for (const one of messages) encodeMessage(out, one);
  return out.bytes.slice(0, out.position);
}

/** The one message of a frame. */
function decode(frame: Uint8Array<ArrayBuffer>): unknown[] {
  const length = new DataView(frame.buffer).getUint32(0, true);
  return decodeMessage(frame, PREFIX, PREFIX + length);
}

/** Feeds bytes in pieces of given lengths. */
function readAll(bytes: Uint8Array, pieces: readonly number[], most = 1 << 20): unknown[] {
  const reader = new FrameReader(most);
  const messages: unknown[] = [];
  let turn = 0;
  for (let from = 0; from < bytes.length;) {
    const room = reader.room();
    assert.ok(room.length > 0);
    const length = Math.min(room.length, bytes.length - from, pieces[turn++ % pieces.length]!);
    room.set(bytes.subarray(from, from + length));
    reader.filled(length);
    from += length;
    for (let next = reader.next(); next !== null; next = reader.next()) messages.push(next);
  }
  return messages;
}

Deno.test("short texts that are much alike are told apart, also when they come again", () => {
  // Of one length, with the same first, middle and last characters.
  const texts = Array.from({ length: 200 }, (_, i) => `x${i + 100}mm${i + 100}x`);
  const all = [...texts, "", "x", "é", "\u00ff\u0000", "x".repeat(32), "x".repeat(33), "ɐ"];
  for (let round = 0; round < 3; round++) {
    for (const text of all) assert.deepEqual(decode(encode([text, text])), [text, text]);
  }
});

Deno.test("whatever may be in a message comes back as it was", () => {
  fc.assert(fc.property(message, (one) => {
    assert.deepStrictEqual(decode(encode(one)), one);
  }));
});

Deno.test("frames are the same however the stream is cut", () => {
  fc.assert(fc.property(
    fc.array(message, { minLength: 1, maxLength: 4 }),
    fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 5 }),
    (messages, pieces) => {
      const bytes = encode(...messages);
      assert.equal(bytes.length % 4, 0);
      assert.deepStrictEqual(readAll(bytes, pieces), messages);
      assert.deepStrictEqual(readAll(bytes, [1]), messages);
    },
  ));
});

Deno.test("many short frames that come as one long piece are all read", () => {
  const out = new FrameWriter();
  for (let i = 0; i < 64; i++) encodeMessage(out, [i, "x".repeat(1000)]);
  const reader = new FrameReader(1 << 20);
  reader.feed(out.bytes.slice(0, out.position));
  for (let i = 0; i < 64; i++) assert.equal(reader.next()![0], i);
  assert.equal(reader.next(), null);
});

Deno.test("a frame longer than the buffer is read whole, and the reader goes on after it", () => {
  const body = new Uint8Array(3_000_000).map((_, i) => i);
  const long = [body, "x".repeat(100_000), "€".repeat(1000)];
  const bytes = encode(long, ["short"], long, [1]);
  assert.deepStrictEqual(readAll(bytes, [70_001], 8 << 20), [long, ["short"], long, [1]]);
});

for (
  const [what, bad] of [
    ["a function", () => {}],
    ["a symbol", Symbol("a")],
    ["a map", new Map()],
    ["shared memory", new Uint8Array(new SharedArrayBuffer(8))],
    ["a getter that throws", {
      get x() {
        throw new TypeError("no");
      },
    }],
  ] as const
) {
  Deno.test(`a message with ${what} is not sent, and those around it are`, () => {
    const out = new FrameWriter();
    encodeMessage(out, ["before"]);
    assert.throws(() => encodeMessage(out, [1, "x".repeat(5000), [bad]]), TypeError);
    encodeMessage(out, ["after"]);
    assert.deepStrictEqual(readAll(out.bytes.slice(0, out.position), [64]), [["before"], [
      "after",
    ]]);
  });
}

Deno.test("what is nested without an end is not sent", () => {
  const endless: unknown[] = [];
  endless.push(endless);
  assert.throws(() => encode(endless), TypeError);
});

Deno.test("random bytes give messages or a ProtocolError, and nothing else", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
    try {
      readAll(bytes, [13], 4096);
    } catch (error) {
      assert.ok(error instanceof ProtocolError);
    }
  }));
});

Deno.test("a frame with any one byte changed gives a message or a ProtocolError", () => {
  fc.assert(fc.property(message, fc.nat(), fc.integer({ min: 1, max: 255 }), (one, at, change) => {
    const bytes = encode(one);
    const position = PREFIX + at % (bytes.length - PREFIX);
    bytes[position] = bytes[position]! ^ change;
    try {
      assert.ok(Array.isArray(decode(bytes)));
    } catch (error) {
      assert.ok(error instanceof ProtocolError, String(error));
    }
  }));
});

Deno.test("a frame that claims to be too long is refused before its bytes are waited for", () => {
  const reader = new FrameReader(1000);
  reader.feed(Uint8Array.of(0xff, 0xff, 0xff, 0xff));
  assert.throws(() => reader.next(), ProtocolError);
});

/** A list of one value, given by its bytes. */
const listOf = (...bytes: number[]) => [9, 1, 0, 0, 0, ...bytes];

for (
  const [what, body] of [
    ["no list", [10, 0, 0, 0, 0]],
    ["nothing", []],
    ["more than its message", [...listOf(1), 0]],
    ["a prototype", listOf(10, 1, 0, 0, 0, 6, 9, 0, 0, 0, ...Buffer.from("__proto__"), 1)],
    ["a property whose name is a number", listOf(10, 1, 0, 0, 0, 4, 1, 0, 0, 0, 1)],
    ["bytes that are not there", listOf(8, 5, 0, 0, 0, 1, 2)],
    ["a negative length", listOf(8, 0xff, 0xff, 0xff, 0xff, 1, 2)],
    ["a list longer than the frame", [9, 0xff, 0xff, 0xff, 0x7f, 1]],
    ["wide text that is half there", listOf(7, 2, 0, 0, 0, 1, 0, 1)],
    ["an unknown kind", listOf(99)],
    ["the session of a call", listOf(13, 0, 0, 0, 0)],
    ["a bigint that is none", listOf(12, 2, 0, 0, 0, 0x7a, 0x7a)],
    ["too many levels", Array(60).fill([9, 1, 0, 0, 0]).flat()],
  ] as const
) {
  Deno.test(`a frame with ${what} is refused`, () => {
    const bytes = Uint8Array.from(body);
    assert.throws(() => decodeMessage(bytes, 0, bytes.length), ProtocolError);
  });
}
