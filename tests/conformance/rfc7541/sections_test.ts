/** What RFC 7541 says MUST or MUST NOT, section by section; its examples are in the file beside this one. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { COMPRESSION_ERROR } from "../../../src/http2/constants.ts";
import { Http2Error } from "../../../src/http2/error.ts";
import { HpackDecoder } from "../../../src/http2/hpack/decoder.ts";
import { HpackEncoder, INDEX, NEVER, PLAIN } from "../../../src/http2/hpack/encoder.ts";
import { FieldBlock } from "../../../src/http2/hpack/field_block.ts";
import { METHOD, STATIC_TABLE } from "../../../src/http2/hpack/static_table.ts";

function decode(hex: string, decoder = new HpackDecoder()): FieldBlock {
  const block = new FieldBlock();
  const bytes = Buffer.from(hex.replaceAll(" ", ""), "hex");
  decoder.decode(bytes, 0, bytes.length, block);
  return block;
}

/** The block is an error of the connection, as RFC 9113 §4.3 has it. */
function refused(hex: string, decoder = new HpackDecoder()): void {
  assert.throws(
    () => decode(hex, decoder),
    (error) =>
      error instanceof Http2Error && error.code === COMPRESSION_ERROR && error.stream === 0,
    hex,
  );
}

const fields = (block: FieldBlock) => [...block.takeFields()];

/** One field as the encoder writes it, in hexadecimal. */
function encoded(encoder: HpackEncoder, name: string, value: string, how?: number): string {
  const out = new Uint8Array(1024);
  const end = encoder.field(out, encoder.begin(out, 0), name, value, how);
  return Buffer.from(out.subarray(0, end)).toString("hex");
}

Deno.test("RFC 7541 §2.3.1, A: the static table has 61 entries, found by their index", () => {
  assert.equal(decode("82").pseudo(METHOD), "GET");
  assert.equal(decode("83").pseudo(METHOD), "POST");
  assert.deepEqual(fields(decode("90")), [["accept-encoding", "gzip, deflate"]]);
  assert.deepEqual(fields(decode("bd")), [["www-authenticate", ""]]);
  // The first one only fills the place of index 0, which nothing may have.
  assert.equal(STATIC_TABLE.length - 1, 61);
  refused("be");
});

Deno.test("RFC 7541 §2.3.2, §3.2: entries are found newest first, and the same field may be there twice", () => {
  const decoder = new HpackDecoder();
  decode("4001610131 4001620132 4001610131", decoder);
  assert.equal(decoder.table.count, 3);
  assert.deepEqual(fields(decode("be bf c0", decoder)), [["a", "1"], ["b", "2"], ["a", "1"]]);
});

Deno.test("RFC 7541 §2.3.3: an index behind both tables is an error, in each representation", () => {
  for (const hex of ["be", "7e0161", "0f2f0161", "1f2f0161"]) refused(hex);
  const decoder = new HpackDecoder();
  decode("4001610131", decoder);
  decode("be", decoder);
  refused("bf", decoder);
});

Deno.test("RFC 7541 §3.2: fields keep the order in which they came", () => {
  assert.deepEqual(fields(decode("0001620131 0001610132 0001620133")), [
    ["b", "1"],
    ["a", "2"],
    ["b", "3"],
  ]);
});

Deno.test("RFC 7541 §4.1: an entry counts its name, its value and 32", () => {
  const decoder = new HpackDecoder();
  decode("400361626302 7879", decoder);
  assert.equal(decoder.table.size, 3 + 2 + 32);
});

Deno.test("RFC 7541 §4.2, §6.3: after a smaller limit the encoder tells the smallest size, then the last", () => {
  const encoder = new HpackEncoder();
  encoded(encoder, "x-a", "b", INDEX);
  encoder.setPeerTableLimit(0);
  encoder.setPeerTableLimit(100);
  assert.equal(encoder.table.count, 0);
  const hex = encoded(encoder, ":method", "GET");
  assert.equal(hex, "20" + "3f45" + "82");
  assert.equal(encoded(encoder, ":method", "GET"), "82");
});

Deno.test("RFC 7541 §4.2: an encoder never takes more than the other side allows", () => {
  const encoder = new HpackEncoder({ tableBytes: 65_536 });
  encoder.setPeerTableLimit(64);
  for (let i = 0; i < 10; i++) encoded(encoder, `x-${i}`, "value", INDEX);
  assert.ok(encoder.table.size <= 64);
});

Deno.test("RFC 7541 §4.2: a size update behind a field is an error, and so is one that is owed and missing", () => {
  refused("8220");
  const decoder = new HpackDecoder();
  decoder.setTableLimit(50);
  refused("82", decoder);
});

Deno.test("RFC 7541 §4.3: a smaller table loses its oldest entries at once", () => {
  const decoder = new HpackDecoder();
  decode("4001610131 4001620132 4001630133", decoder);
  // 68 bytes are room for two entries of 34.
  assert.deepEqual(fields(decode("3f25 be bf", decoder)), [["c", "3"], ["b", "2"]]);
  refused("c0", decoder);
  decode("20", decoder);
  assert.equal(decoder.table.size, 0);
});

Deno.test("RFC 7541 §4.4: a new entry may take its name from one that it evicts", () => {
  const decoder = new HpackDecoder(undefined, 40);
  decode("4003616263 0131", decoder);
  assert.deepEqual(fields(decode("7e0132", decoder)), [["abc", "2"]]);
  assert.deepEqual(fields(decode("be", decoder)), [["abc", "2"]]);
  assert.equal(decoder.table.count, 1);
});

Deno.test("RFC 7541 §4.4: an entry larger than the table empties it, and is no error", () => {
  const decoder = new HpackDecoder(undefined, 40);
  decode("4003616263 0131", decoder);
  const value = "78".repeat(20);
  assert.deepEqual(fields(decode(`40016114${value}`, decoder)), [["a", "x".repeat(20)]]);
  assert.equal(decoder.table.count, 0);
});

Deno.test("RFC 7541 §5.1: integers over any bound, or cut off, are errors", () => {
  for (const hex of ["ff", "ff80", "ffffffffffff0f", "ff808080808000", "3fffffffffff0f"]) {
    refused(hex);
  }
});

Deno.test("RFC 7541 §5.2: strings are literal or Huffman coded, and what is cut off is an error", () => {
  assert.deepEqual(fields(decode("0001610162")), [["a", "b"]]);
  assert.deepEqual(fields(decode("000161 86a8eb10649cbf")), [["a", "no-cache"]]);
  for (const hex of ["00", "0001", "000161", "0001610562"]) refused(hex);
});

Deno.test("RFC 7541 §5.2: padding over 7 bits, padding that is not of ones, and EOS are errors", () => {
  // `a` is 00011: padded by ones, by ones and another byte of them, and by zeros.
  assert.deepEqual(fields(decode("000161811f")), [["a", "a"]]);
  refused("000161821fff");
  refused("0001618118");
  refused("00016184ffffffff");
});

Deno.test("RFC 7541 §6.1: index 0 is an error", () => refused("80"));

Deno.test("RFC 7541 §6.2: only incremental indexing makes an entry", () => {
  for (const [first, count] of [["40", 1], ["00", 0], ["10", 0]] as const) {
    const decoder = new HpackDecoder();
    assert.deepEqual(fields(decode(`${first}01610162`, decoder)), [["a", "b"]]);
    assert.equal(decoder.table.count, count, first);
  }
  for (const [how, first] of [[INDEX, "40"], [PLAIN, "00"], [NEVER, "10"]] as const) {
    assert.equal(encoded(new HpackEncoder(), "x-a", "b", how).slice(0, 2), first);
  }
});

Deno.test("RFC 7541 §6.2.3: what came as never indexed is never indexed on the way on", () => {
  const block = decode("1003782d61 0162");
  const never = block.neverIndexed;
  assert.deepEqual(never, [0]);
  const out = new Uint8Array(64);
  const encoder = new HpackEncoder({ huffman: false });
  const end = encoder.fields(out, 0, block.takeFields());
  assert.equal(Buffer.from(out.subarray(0, end)).toString("hex"), "1003782d610162");
  assert.equal(encoder.table.count, 0);
});

Deno.test("RFC 7541 §6.3: a size over what SETTINGS_HEADER_TABLE_SIZE allows is an error", () => {
  decode("3fe11f 82");
  refused("3fe21f 82");
});

Deno.test("RFC 7541 §7.1.3: credentials and short cookies are never indexed", () => {
  for (const name of ["authorization", "proxy-authorization", "cookie", "set-cookie"]) {
    const encoder = new HpackEncoder();
    assert.equal(parseInt(encoded(encoder, name, "short").slice(0, 2), 16) & 0xf0, 0x10, name);
    assert.equal(encoder.table.count, 0);
  }
});

Deno.test("RFC 7541 §7.3, §7.4: however much is sent, the table stays within its size, and strings within their limit", () => {
  const decoder = new HpackDecoder({ listBytes: 1000, fields: 10, stringBytes: 100 }, 200);
  for (let i = 0; i < 1000; i++) decode(`400178 14${"61".repeat(20)}`, decoder);
  assert.ok(decoder.table.size <= 200);
  refused(`00017865${"61".repeat(101)}`, decoder);
});
