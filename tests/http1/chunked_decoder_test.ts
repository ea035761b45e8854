import assert from "node:assert/strict";
import fc from "fast-check";
import { ProxyError } from "../../src/base/error.ts";
import { ChunkedDecoder } from "../../src/http1/chunked_decoder.ts";
import { CHUNK_LIMITS } from "../../src/http1/limits.ts";
import { bytes, text } from "../support/http1.ts";

/** Decodes pieces one after the other; the content, what is left over, and the trailers. */
function decode(pieces: Uint8Array[]): string {
  const decoder = new ChunkedDecoder(CHUNK_LIMITS, "invalid_request", "head_too_large");
  let content = "";
  let rest = "";
  try {
    for (const piece of pieces) {
      const copy = piece.slice();
      const end = decoder.decode(copy, 0, copy.length);
      content += text(copy.subarray(decoder.from, decoder.to));
      rest += text(piece.subarray(end));
      if (!decoder.done) assert.equal(end, piece.length);
    }
  } catch (error) {
    assert(error instanceof ProxyError, String(error));
    return error.type;
  }
  return JSON.stringify([content, rest, decoder.done, [...decoder.trailers ?? []]]);
}

Deno.test("chunks come out whole, and what is behind them is left", () => {
  const raw = "5\r\nhello\r\n6;a=b\r\n world\r\n0\r\nA: b\r\n\r\nGET";
  assert.equal(decode([bytes(raw)]), '["hello world","GET",true,[["A","b"]]]');
});

Deno.test("a decoder can be used again after reset", () => {
  const decoder = new ChunkedDecoder(CHUNK_LIMITS, "invalid_request", "head_too_large");
  for (const raw of ["3\r\nabc\r\n0\r\nA: b\r\n\r\n", "1\r\nx\r\n0\r\n\r\n"]) {
    decoder.reset();
    const data = bytes(raw);
    assert.equal(decoder.decode(data, 0, data.length), data.length);
    assert(decoder.done);
  }
  assert.equal(decoder.trailers, null);
});

Deno.test("bytes in front of the content are not touched by decoding in place", () => {
  const decoder = new ChunkedDecoder(CHUNK_LIMITS, "invalid_request", "head_too_large");
  const data = bytes("HEAD1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\nNEXT");
  const end = decoder.decode(data, 4, data.length);
  assert.equal(text(data.subarray(0, 4)), "HEAD");
  assert.equal(text(data.subarray(decoder.from, decoder.to)), "abc");
  assert.equal(text(data.subarray(end)), "NEXT");
});

Deno.test("any chunks, cut anywhere, decode to what they carry", () => {
  const extension = fc.constantFrom("", ";a", ";a=b", ' ;a="b;c"');
  const chunks = fc.array(fc.tuple(fc.string({ minLength: 1, maxLength: 40 }), extension));
  fc.assert(fc.property(chunks, fc.integer({ min: 1, max: 50 }), (parts, size) => {
    let content = "";
    let raw = "";
    for (const [part, ext] of parts) {
      const data = text(new TextEncoder().encode(part));
      content += data;
      raw += `${data.length.toString(16)}${ext}\r\n${data}\r\n`;
    }
    const data = bytes(`${raw}0\r\n\r\n`);
    const pieces: Uint8Array[] = [];
    for (let at = 0; at < data.length; at += size) pieces.push(data.subarray(at, at + size));
    assert.equal(decode(pieces), JSON.stringify([content, "", true, []]));
  }));
});

Deno.test("any bytes give the same verdict whole and byte by byte, and never a crash", () => {
  const part = fc.constantFrom(
    "0",
    "1",
    "a",
    "f",
    "\r\n",
    "\r",
    "\n",
    ";",
    " ",
    "x",
    "A: b",
    "0\r\n\r\n",
    "\x00",
  );
  const raw = fc.oneof(
    fc.uint8Array({ maxLength: 60 }),
    fc.array(part, { maxLength: 20 }).map((p) => bytes(p.join(""))),
  );
  fc.assert(
    fc.property(raw, (data) => {
      const single = Array.from(data, (byte) => Uint8Array.of(byte));
      assert.equal(decode(single), decode([data]));
    }),
    { numRuns: 3000 },
  );
});
