import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import fc from "fast-check";
import { Fields } from "../../../src/http/fields.ts";
import { COMPRESSION_ERROR } from "../../../src/http2/constants.ts";
import { Http2Error } from "../../../src/http2/error.ts";
import { DECODER_LIMITS, HpackDecoder } from "../../../src/http2/hpack/decoder.ts";
import { HpackEncoder, NEVER } from "../../../src/http2/hpack/encoder.ts";
import { FieldBlock } from "../../../src/http2/hpack/field_block.ts";
import {
  BAD_HUFFMAN,
  decodedBound,
  decodeHuffman,
  encodeHuffman,
  huffmanLength,
} from "../../../src/http2/hpack/huffman.ts";
import { METHOD, STATIC_TABLE } from "../../../src/http2/hpack/static_table.ts";

const unhex = (hex: string) => Buffer.from(hex.replaceAll(" ", ""), "hex");

function decode(hex: string, decoder = new HpackDecoder()): FieldBlock {
  const block = new FieldBlock();
  const bytes = unhex(hex);
  decoder.decode(bytes, 0, bytes.length, block);
  return block;
}

function fails(hex: string, what: RegExp, decoder = new HpackDecoder()): void {
  assert.throws(() => decode(hex, decoder), (error: unknown) => {
    assert(error instanceof Http2Error);
    assert.equal(error.code, COMPRESSION_ERROR);
    assert.equal(error.stream, 0);
    assert.match(error.message, what);
    return true;
  });
}

Deno.test("Huffman: every byte string comes back, and its length is known before", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
    const out = new Uint8Array(bytes.length * 4 + 4);
    const end = encodeHuffman(bytes, 0, bytes.length, out, 0);
    assert.equal(end, huffmanLength(bytes, 0, bytes.length));
    const back = new Uint8Array(decodedBound(end));
    const length = decodeHuffman(out, 0, end, back, 0);
    assert.deepEqual(back.subarray(0, length), bytes);
  }));
});

Deno.test("Huffman: what is accepted is exactly what the encoder makes, within the bound", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
      const out = new Uint8Array(decodedBound(bytes.length));
      const length = decodeHuffman(bytes, 0, bytes.length, out, 0);
      if (length === BAD_HUFFMAN) return;
      assert(length <= out.length);
      const again = new Uint8Array(bytes.length + 8);
      const end = encodeHuffman(out, 0, length, again, 0);
      assert.deepEqual(again.subarray(0, end), bytes);
    }),
    { numRuns: 2000 },
  );
});

Deno.test("RFC 7541 §5.2: padding over seven bits, of zeros, and EOS are refused", () => {
  for (const hex of ["ff", "1fff", "00", "1fffffff", "fffffffc", "fffffffffc", "18"]) {
    const bytes = unhex(hex);
    assert.equal(decodeHuffman(bytes, 0, bytes.length, new Uint8Array(64), 0), BAD_HUFFMAN, hex);
  }
  const bytes = unhex("1f");
  const out = new Uint8Array(4);
  assert.equal(decodeHuffman(bytes, 0, 1, out, 0), 1);
  assert.equal(out[0], 97);
});

Deno.test("RFC 7541 §5.1: integers that are cut off or too long are refused", () => {
  fails("ff", /ends inside/);
  fails("ffffffffffff0f", /longer than any value/);
  fails("ff808080808000", /longer than any value/);
  fails("0003", /ends inside/);
});

Deno.test("RFC 7541 §6.1, §2.3.3: index 0 and an index behind the tables are refused", () => {
  fails("80", /index 0/);
  fails("be", /index 62/);
  fails("7e0161", /index 62/);
});

Deno.test("RFC 7541 §4.2, §6.3: size updates come first, and within what was agreed", () => {
  fails("8220", /behind a field/);
  fails("3fe21f", /4097/);
  const decoder = new HpackDecoder();
  decode("3fe11f 82", decoder);
  assert.equal(decoder.table.maxSize, 4096);
  decode("20 3fe11f 82", decoder);
  decoder.setTableLimit(100);
  fails("82", /not made smaller/, decoder);
  const lowered = new HpackDecoder();
  lowered.setTableLimit(0);
  lowered.setTableLimit(4096);
  fails("3fe11f 82", /not made smaller/, lowered);
  const obeyed = new HpackDecoder();
  obeyed.setTableLimit(0);
  obeyed.setTableLimit(4096);
  assert.equal(decode("20 3fe11f 82", obeyed).pseudo(METHOD), "GET");
});

Deno.test("RFC 7541 §4.4: a field larger than the table empties it, and is still a field", () => {
  const decoder = new HpackDecoder(undefined, 64);
  decode("40016101 62", decoder);
  assert.equal(decoder.table.count, 1);
  const block = decode("4001611f" + "78".repeat(31), decoder);
  assert.equal(decoder.table.count, 1);
  assert.equal(block.count, 1);
  const big = decode("40016128" + "78".repeat(40), decoder);
  assert.equal(decoder.table.count, 0);
  assert.deepEqual([...big.takeFields()], [["a", "x".repeat(40)]]);
});

Deno.test("RFC 9113 §8.2.1, §8.3: a bad name or value makes a bad message, not a bad connection", () => {
  for (
    const [hex, what] of [
      ["0001410161", /upper case/],
      ["00000161", /empty/],
      ["0003612062 0161", /token/],
      ["0003613a62 0161", /token/],
      ["000161 01 0d", /control/],
      ["000161 01 0a", /control/],
      ["000161 01 00", /control/],
      ["000161 02 2061", /white space/],
      ["000161 02 6109", /white space/],
      ["00023a78 0161", /not known/],
      ["000161 0161 82", /after a field/],
      ["8282", /twice/],
    ] as const
  ) {
    const decoder = new HpackDecoder();
    assert.match(decode(hex, decoder).malformed ?? "", what, hex);
    // The same by way of the dynamic table, where it is remembered.
    if (hex.startsWith("00")) {
      assert.match(decode("4" + hex.slice(1), decoder).malformed ?? "", what, hex);
      if (!/82$/.test(hex)) assert.match(decode("be", decoder).malformed ?? "", what, hex);
    }
    assert.equal(decode("82", decoder).malformed, null);
  }
});

Deno.test("A name taken from an entry with a bad value is still a good name", () => {
  const decoder = new HpackDecoder();
  assert.notEqual(decode("400161010d", decoder).malformed, null);
  const block = decode("7e0162", decoder);
  assert.equal(block.malformed, null);
  assert.deepEqual([...block.takeFields()], [["a", "b"]]);
});

Deno.test("A section over the limits is noted, not kept, and the table still follows", () => {
  const decoder = new HpackDecoder({ ...DECODER_LIMITS, listBytes: 100 });
  const block = decode("400161 1e" + "78".repeat(30) + "be".repeat(500), decoder);
  assert(block.tooLarge);
  assert.equal(block.count, 1);
  assert.equal(decoder.table.count, 1);
  const few = new HpackDecoder({ ...DECODER_LIMITS, fields: 10 });
  decode("4001610162", few);
  const many = decode("be".repeat(50), few);
  assert(many.tooLarge);
  assert.equal(many.count, 10);
  fails("00017f" + "ffff03", /allowed/, new HpackDecoder({ ...DECODER_LIMITS, stringBytes: 10 }));
});

Deno.test("An index bomb costs neither memory nor copies", () => {
  const decoder = new HpackDecoder();
  decode("40 0161 7f811e" + "78".repeat(3968), decoder);
  const block = new FieldBlock();
  const bytes = new Uint8Array(64 * 1024).fill(0xbe);
  decoder.decode(bytes, 0, bytes.length, block);
  assert(block.tooLarge);
  assert(block.bytes.length <= 2 * DECODER_LIMITS.listBytes + 8192);
});

Deno.test("Random bytes are decoded or refused, within the bound, and in time", () => {
  const limits = { listBytes: 2048, fields: 20, stringBytes: 2048 };
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 400 }), { maxLength: 4 }), (blocks) => {
      const decoder = new HpackDecoder(limits);
      const block = new FieldBlock();
      try {
        for (const bytes of blocks) {
          decoder.decode(bytes, 0, bytes.length, block);
          assert(block.count <= 20);
          assert(block.length <= 2048);
        }
      } catch (error) {
        assert(error instanceof Http2Error && error.code === COMPRESSION_ERROR);
      }
      assert(block.bytes.length <= 16 * 1024);
      assert(decoder.table.size <= 4096);
      assert(decoder.table.bytes.length <= 8192);
    }),
    { numRuns: 3000 },
  );
});

const NAMES = ["accept", "cookie", "set-cookie", "authorization", "X-Thing", "a", "etag", "via"];
const field = fc.tuple(
  fc.oneof(fc.constantFrom(...NAMES), fc.stringMatching(/^[a-z0-9-]{1,40}$/)),
  fc.oneof(
    fc.constantFrom("", "1", "gzip, deflate", "a=b; c=d; e=f; g=hijk"),
    fc.stringMatching(/^([!-~\x80-\xff]([ -~\x80-\xff]{0,200}[!-~\x80-\xff])?)?$/),
  ),
);

Deno.test("Random fields come back through tables of random sizes that change on the way", () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.record({
          fields: fc.array(field, { maxLength: 12 }),
          limit: fc.option(fc.nat(1000)),
        }),
        { maxLength: 12 },
      ),
      fc.boolean(),
      (sections, huffman) => {
        const encoder = new HpackEncoder({ huffman });
        const decoder = new HpackDecoder();
        const block = new FieldBlock();
        for (const { fields: pairs, limit } of sections) {
          if (limit !== null) {
            decoder.setTableLimit(limit);
            encoder.setPeerTableLimit(limit);
          }
          const fields = Fields.from(pairs);
          const out = new Uint8Array(
            HpackEncoder.BEGIN_BYTES + HpackEncoder.fieldsBound(fields) +
              HpackEncoder.fieldBound(7, 3),
          );
          let end = encoder.begin(out, 0);
          end = encoder.field(out, end, ":method", "GET");
          end = encoder.fields(out, end, fields);
          assert(end <= out.length, "the bound holds");
          decoder.decode(out, 0, end, block);
          assert.equal(block.malformed, null);
          assert.equal(block.pseudo(METHOD), "GET");
          assert.equal(encoder.table.size, decoder.table.size);
          assert.equal(encoder.table.count, decoder.table.count);
          const want = pairs.map(([name, value]) => `${name.toLowerCase()}: ${value}\r\n`).join("");
          // What lies in the block is a field section of HTTP/1 as it is.
          const { linesStart, length } = block;
          const lines = Buffer.from(block.bytes.subarray(linesStart, length)).toString("latin1");
          assert.equal(lines, want);
          assert.equal(block.takeFields().toBlock(), want);
        }
      },
    ),
    { numRuns: 500 },
  );
});

Deno.test("RFC 7541 §7.1.3, §6.2.3: secrets are never indexed, and what came so goes on so", () => {
  const encoder = new HpackEncoder();
  const out = new Uint8Array(1024);
  for (const name of ["authorization", "proxy-authorization", "set-cookie", "cookie"]) {
    encoder.field(out, 0, name, "short");
    assert.equal(out[0]! & 0xf0, 0x10, name);
  }
  encoder.field(out, 0, "cookie", "a-long-cookie-that-cannot-be-guessed");
  assert.equal(out[0]! & 0xc0, 0x40);
  const decoder = new HpackDecoder();
  const block = decode("0001610162 1001630164", decoder);
  const never = block.neverIndexed;
  assert.deepEqual(never, [1]);
  const fields = block.takeFields();
  fields.delete("a");
  fields.append("e", "f");
  const end = new HpackEncoder({ huffman: false }).fields(out, 0, fields);
  assert.equal(Buffer.from(out.subarray(0, end)).toString("hex"), "1001630164" + "4001650166");
});

Deno.test("A section comes back whole wherever the buffer has to grow, inside a field too", () => {
  for (const huffman of [true, false]) {
    for (let length = 1; length < 5000; length += 37) {
      const pairs = Array.from({ length: 12 }, (_, i) => [
        `x-name-${i}`,
        `${i}`.repeat(length),
      ]);
      const out = new Uint8Array(pairs.length * (length * 2 + 64));
      const encoder = new HpackEncoder({ huffman });
      let end = encoder.begin(out, 0);
      for (const [name, value] of pairs) end = encoder.field(out, end, name!, value!);
      const block = new FieldBlock();
      new HpackDecoder({ listBytes: 1e6, fields: 100, stringBytes: 1e6 }).decode(
        out,
        0,
        end,
        block,
      );
      assert.equal(block.malformed, null);
      assert.deepEqual([...block.takeFields()], pairs, `values of ${length} bytes`);
    }
  }
});

Deno.test("What is sent again with the same values is one byte each, however the fields came to be", () => {
  const make = () => {
    const fields = Fields.from([
      ["Server", "nginx"],
      ["X-Request", "old"],
      ["X-Gone", "1"],
      ["Cache-Control", "no-store"],
      ["Accept-Encoding", "gzip, deflate"],
    ]);
    fields.set("x-request", "new");
    fields.delete("x-gone");
    fields.append("X-Added", "2");
    fields.appendTrusted("Via", " 2 edge\t");
    return fields;
  };
  const want = [
    ["server", "nginx"],
    ["x-request", "new"],
    ["cache-control", "no-store"],
    ["accept-encoding", "gzip, deflate"],
    ["x-added", "2"],
    ["via", "2 edge"],
  ];
  const encoder = new HpackEncoder();
  const decoder = new HpackDecoder();
  const block = new FieldBlock();
  for (const [round, bytes] of [[0, -1], [1, want.length], [2, want.length]]) {
    const fields = make();
    const out = new Uint8Array(HpackEncoder.fieldsBound(fields));
    const end = encoder.fields(out, 0, fields);
    if (bytes! >= 0) assert.equal(end, bytes, `round ${round}`);
    decoder.decode(out, 0, end, block);
    assert.deepEqual([...block.takeFields()], want);
  }
  // A value that comes and goes is found, too, and a name that has its id by another way is the same name.
  for (const value of ["a", "b", "a", "b"]) encoder.field(new Uint8Array(99), 0, "server", value);
  const out = new Uint8Array(99);
  assert.equal(encoder.field(out, 0, "server", "a"), 1);
  assert.equal(encoder.field(out, 0, "server", "nginx"), 1);
  assert.equal(encoder.field(out, 0, "server", "nginx", NEVER) > 1, true);
  assert.equal(out[0]! & 0xf0, 0x10);
});

Deno.test("Whatever the order of what is indexed, neighbours or not, each field comes with its own bytes", () => {
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.record({ kind: fc.constant("dynamic"), number: fc.nat(11) }) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant("next"), number: fc.constant(0) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("static"), number: fc.nat(40) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("insert"), number: fc.nat(99) }) },
  );
  fc.assert(
    fc.property(fc.array(fc.array(step, { maxLength: 30 }), { maxLength: 5 }), (blocks) => {
      const decoder = new HpackDecoder(DECODER_LIMITS, 400);
      const block = new FieldBlock();
      // The newest first, as in the table.
      let model: [string, string][] = [];
      const bytes: number[] = [];
      const want: [string, string][] = [];
      const literal = (name: string, value: string) => {
        bytes.push(0x40, name.length, ...Buffer.from(name), value.length, ...Buffer.from(value));
        want.push([name, value]);
        model = [[name, value], ...model];
        let size = 0;
        model = model.filter(([n, v]) => (size += n.length + v.length + 32) <= 400);
      };
      for (let i = 0; i < 12; i++) literal(`n${i}`, "v".repeat(i));
      let last = 0;
      for (const steps of [[], ...blocks]) {
        for (const { kind, number } of steps) {
          if (kind === "insert") literal(`x${number}`, "y".repeat(number % 20));
          else if (kind === "static") {
            bytes.push(128 + 15 + number);
            want.push([...STATIC_TABLE[15 + number]!]);
          } else {
            last = kind === "next" ? Math.max(0, last - 1) : number % model.length;
            if (last >= model.length) continue;
            bytes.push(128 + 62 + last);
            want.push(model[last]!);
          }
        }
        decoder.decode(Uint8Array.from(bytes), 0, bytes.length, block);
        assert.deepEqual([...block.takeFields()], want);
        bytes.length = want.length = 0;
      }
    }),
    { numRuns: 1000 },
  );
});
