import assert from "node:assert/strict";
import fc from "fast-check";
import { decodeFrame, encodeFrame, FrameReader } from "../../src/sandbox/codec.ts";
import { ProtocolError } from "../../src/sandbox/protocol.ts";

const leaf = fc.oneof(
  fc.string({ unit: "binary" }),
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
      fc.oneof(fc.constantFrom("$", "v", "a"), fc.string()).filter((key) => key !== "__proto__"),
      tie("value"),
      { maxKeys: 5, noNullPrototype: true },
    ),
  ),
})).value;
const message = fc.array(value, { maxLength: 6 });

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

Deno.test("whatever may be in a message comes back as it was", () => {
  fc.assert(fc.property(message, (one) => {
    assert.deepStrictEqual(decodeFrame(encodeFrame(one).subarray(4)), one);
  }));
});

Deno.test("frames are the same however the stream is cut", () => {
  fc.assert(fc.property(
    fc.array(message, { minLength: 1, maxLength: 4 }),
    fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 5 }),
    (messages, pieces) => {
      const bytes = Uint8Array.from(messages.flatMap((one) => [...encodeFrame(one)]));
      assert.deepStrictEqual(readAll(bytes, pieces), messages);
      assert.deepStrictEqual(readAll(bytes, [1]), messages);
    },
  ));
});

Deno.test("a frame longer than the buffer is read whole", () => {
  const body = new Uint8Array(300_000).map((_, i) => i);
  const bytes = encodeFrame([body, "x".repeat(100_000)]);
  assert.deepStrictEqual(readAll(bytes, [7000]), [[body, "x".repeat(100_000)]]);
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
    const bytes = encodeFrame(one);
    const position = 4 + at % (bytes.length - 4);
    bytes[position] = bytes[position]! ^ change;
    try {
      assert.ok(Array.isArray(decodeFrame(bytes.subarray(4))));
    } catch (error) {
      assert.ok(error instanceof ProtocolError, String(error));
    }
  }));
});

Deno.test("a frame that claims to be too long is refused before its bytes are waited for", () => {
  const reader = new FrameReader(1000);
  reader.room().set([0xff, 0xff, 0xff, 0xff]);
  reader.filled(4);
  assert.throws(() => reader.next(), ProtocolError);
});

for (
  const [what, json] of [
    ["no list", '{"a":1}'],
    ["a prototype", '[{"__proto__":{"polluted":1}}]'],
    ["bytes that are not there", '[{"$":"bytes","v":0}]'],
    ["bytes by the name of a method", '[{"$":"bytes","v":"length"}]'],
    ["an unknown kind", '[{"$":"function","v":"x"}]'],
    ["a number that is none", '[{"$":"number","v":"1e999"}]'],
    ["a bigint that is none", '[{"$":"bigint","v":"zz"}]'],
    ["too many levels", "[".repeat(5000) + "]".repeat(5000)],
    ["no JSON", "[1,"],
  ] as const
) {
  Deno.test(`a frame with ${what} is refused`, () => {
    const text = new TextEncoder().encode(json);
    const body = new Uint8Array(4 + text.length);
    new DataView(body.buffer).setUint32(0, text.length);
    body.set(text, 4);
    assert.throws(() => decodeFrame(body), ProtocolError);
  });
}
