import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { HpackDecoder } from "../../../src/http2/hpack/decoder.ts";
import type { DynamicTable } from "../../../src/http2/hpack/dynamic_table.ts";
import { HpackEncoder, INDEX, NEVER, PLAIN } from "../../../src/http2/hpack/encoder.ts";
import { FieldBlock } from "../../../src/http2/hpack/field_block.ts";
import { integer, readInteger, writeInteger } from "../../../src/http2/hpack/integer.ts";
import { PSEUDO_NAMES } from "../../../src/http2/hpack/static_table.ts";

type Pair = readonly [name: string, value: string];

interface Step {
  readonly hex: string;
  readonly fields: readonly Pair[];
  /** The dynamic table afterwards, newest first. */
  readonly table: readonly Pair[];
  readonly size: number;
}

const unhex = (hex: string) => Buffer.from(hex.replaceAll(" ", ""), "hex");

function decoded(block: FieldBlock): Pair[] {
  const pairs: Pair[] = [];
  for (let i = 1; i < PSEUDO_NAMES.length; i++) {
    const value = block.pseudo(i);
    if (value !== null) pairs.push([PSEUDO_NAMES[i]!, value]);
  }
  return [...pairs, ...block.takeFields()];
}

function contents(table: DynamicTable): Pair[] {
  return Array.from({ length: table.count }, (_, i) => {
    const start = table.start(i);
    const line = Buffer.from(table.bytes).toString("latin1").slice(start);
    const name = line.slice(0, table.nameLength(i));
    const value = line.slice(name.length + 2, name.length + 2 + table.valueLength(i));
    assert(line.startsWith(`${name}: ${value}\r\n`));
    return [name, value];
  });
}

const sorted = (pairs: readonly Pair[]) => pairs.map((pair) => pair.join(": ")).sort();

function bothWays(steps: readonly Step[], size: number, huffman: boolean, how: number): void {
  const decoder = new HpackDecoder(undefined, size);
  const block = new FieldBlock();
  const encoder = new HpackEncoder({ tableBytes: size, huffman });
  const out = new Uint8Array(1024);
  // The examples begin with the size agreed on already.
  encoder.begin(out, 0);
  for (const step of steps) {
    const bytes = unhex(step.hex);
    decoder.decode(bytes, 0, bytes.length, block);
    assert.equal(block.malformed, null);
    assert.deepEqual(sorted(decoded(block)), sorted(step.fields));
    assert.deepEqual(contents(decoder.table), step.table);
    assert.equal(decoder.table.size, step.size);

    let end = encoder.begin(out, 0);
    for (const [name, value] of step.fields) end = encoder.field(out, end, name, value, how);
    assert.equal(Buffer.from(out.subarray(0, end)).toString("hex"), bytes.toString("hex"));
    assert.deepEqual(contents(encoder.table), step.table);
    assert.equal(encoder.table.size, step.size);
  }
}

Deno.test("RFC 7541 C.1: the integer examples, both ways", () => {
  for (const [bits, value, hex] of [[5, 10, "0a"], [5, 1337, "1f9a0a"], [8, 42, "2a"]] as const) {
    const out = new Uint8Array(8);
    const end = writeInteger(out, 0, 0, bits, value);
    assert.equal(Buffer.from(out.subarray(0, end)).toString("hex"), hex);
    assert.equal(readInteger(out, 0, end, bits), value);
    assert.equal(integer.end, end);
  }
});

Deno.test("RFC 7541 C.2: one field in each representation, both ways", () => {
  const custom: Pair = ["custom-key", "custom-header"];
  bothWays(
    [{
      hex: "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572",
      fields: [custom],
      table: [custom],
      size: 55,
    }],
    4096,
    false,
    INDEX,
  );
  const sample: Step = {
    hex: "040c 2f73 616d 706c 652f 7061 7468",
    fields: [[":path", "/sample/path"]],
    table: [],
    size: 0,
  };
  bothWays([sample], 4096, false, PLAIN);
  const secret: Step = {
    hex: "1008 7061 7373 776f 7264 0673 6563 7265 74",
    fields: [["password", "secret"]],
    table: [],
    size: 0,
  };
  bothWays([secret], 4096, false, NEVER);
  const block = new FieldBlock();
  const bytes = unhex(secret.hex);
  new HpackDecoder().decode(bytes, 0, bytes.length, block);
  assert.deepEqual(block.neverIndexed, [0]);
  bothWays([{ hex: "82", fields: [[":method", "GET"]], table: [], size: 0 }], 4096, false, INDEX);
});

const authority: Pair = [":authority", "www.example.com"];
const noCache: Pair = ["cache-control", "no-cache"];
const customValue: Pair = ["custom-key", "custom-value"];

function requests(hexes: readonly string[]): Step[] {
  return [
    {
      hex: hexes[0]!,
      fields: [[":method", "GET"], [":scheme", "http"], [":path", "/"], authority],
      table: [authority],
      size: 57,
    },
    {
      hex: hexes[1]!,
      fields: [[":method", "GET"], [":scheme", "http"], [":path", "/"], authority, noCache],
      table: [noCache, authority],
      size: 110,
    },
    {
      hex: hexes[2]!,
      fields: [
        [":method", "GET"],
        [":scheme", "https"],
        [":path", "/index.html"],
        authority,
        customValue,
      ],
      table: [customValue, noCache, authority],
      size: 164,
    },
  ];
}

const status302: Pair = [":status", "302"];
const status307: Pair = [":status", "307"];
const isPrivate: Pair = ["cache-control", "private"];
const date21: Pair = ["date", "Mon, 21 Oct 2013 20:13:21 GMT"];
const date22: Pair = ["date", "Mon, 21 Oct 2013 20:13:22 GMT"];
const location: Pair = ["location", "https://www.example.com"];
const gzip: Pair = ["content-encoding", "gzip"];
const cookie: Pair = ["set-cookie", "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"];

function responses(hexes: readonly string[]): Step[] {
  return [
    {
      hex: hexes[0]!,
      fields: [status302, isPrivate, date21, location],
      table: [location, date21, isPrivate, status302],
      size: 222,
    },
    {
      hex: hexes[1]!,
      fields: [status307, isPrivate, date21, location],
      table: [status307, location, date21, isPrivate],
      size: 222,
    },
    {
      hex: hexes[2]!,
      fields: [[":status", "200"], isPrivate, date22, location, gzip, cookie],
      table: [cookie, gzip, date22],
      size: 215,
    },
  ];
}

Deno.test("RFC 7541 C.3: requests without Huffman coding, both ways", () => {
  bothWays(
    requests([
      "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
      "8286 84be 5808 6e6f 2d63 6163 6865",
      "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
    ]),
    4096,
    false,
    INDEX,
  );
});

Deno.test("RFC 7541 C.4: requests with Huffman coding, both ways", () => {
  bothWays(
    requests([
      "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
      "8286 84be 5886 a8eb 1064 9cbf",
      "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
    ]),
    4096,
    true,
    INDEX,
  );
});

Deno.test("RFC 7541 C.5: responses without Huffman coding and with eviction, both ways", () => {
  bothWays(
    responses([
      "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 " +
      "2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
      "4803 3330 37c1 c0bf",
      "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 " +
      "5a04 677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 " +
      "4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31",
    ]),
    256,
    false,
    INDEX,
  );
});

Deno.test("RFC 7541 C.6: responses with Huffman coding and with eviction, both ways", () => {
  bothWays(
    responses([
      "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e " +
      "919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
      "4883 640e ffc1 c0bf",
      "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 " +
      "821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed " +
      "4ee5 b106 3d50 07",
    ]),
    256,
    true,
    INDEX,
  );
});
