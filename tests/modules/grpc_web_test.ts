/** gRPC-web: content types, base64 and trailers as a frame, however the content is cut. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { Fields } from "../../src/http/fields.ts";
import { RequestHead, ResponseHead } from "../../src/http/message.ts";
import { Base64Decoder, Base64Encoder } from "../../src/modules/base64_stream.ts";
import { grpcWeb, trailerFrame } from "../../src/modules/grpc_web.ts";
import type { ModuleRun, ResponseFilter } from "../../src/modules/module.ts";

const utf8 = new TextEncoder();
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

function request(type: string, accept?: string, method: string = "POST"): RequestHead {
  return new RequestHead({
    method,
    version: 11,
    target: "/pkg.Service/Call",
    fields: Fields.from([
      ["Host", "a"],
      ["Content-Type", type],
      ...(accept === undefined ? [] : [["Accept", accept] as const]),
    ]),
  });
}

function begin(type: string, accept?: string): ModuleRun {
  const run = grpcWeb.begin(request(type, accept));
  assert.ok(run !== null, type);
  return run;
}

function responseOf(run: ModuleRun, type: string = "application/grpc") {
  const head = new ResponseHead(200, Fields.from([["content-type", type]]));
  return { head, filter: run.responseHead!(head) };
}

/** A message with its prefix. */
function frame(content: Uint8Array, flags: number = 0): Uint8Array {
  const out = new Uint8Array(5 + content.length);
  out[0] = flags;
  new DataView(out.buffer).setUint32(1, content.length);
  out.set(content, 5);
  return out;
}

function join(pieces: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}

function cut(bytes: Uint8Array, places: readonly number[]): Uint8Array[] {
  const at = [...new Set(places.map((place) => place % (bytes.length + 1)))].sort((a, b) => a - b);
  return [0, ...at].map((from, i) => bytes.subarray(from, at[i] ?? bytes.length));
}

/** Decodes base64 texts one after the other, as clients do. */
function decodeAll(bytes: Uint8Array): Uint8Array {
  const groups = text(bytes).match(/.{4}/g) ?? [];
  assert.equal(groups.length * 4, bytes.length, "whole groups");
  return join(groups.map((group) => Uint8Array.from(atob(group), (c) => c.charCodeAt(0))));
}

function runBody(filter: ResponseFilter, pieces: readonly Uint8Array[], end: boolean): Uint8Array {
  return join(pieces.map((piece, i) => filter.body(piece, end && i === pieces.length - 1).slice()));
}

Deno.test("content types are translated there and back, with what follows them", () => {
  const cases: [asked: string, sent: string, got: string, given: string][] = [
    ["application/grpc-web", "application/grpc", "application/grpc", "application/grpc-web"],
    [
      "application/grpc-web+proto",
      "application/grpc+proto",
      "application/grpc+proto",
      "application/grpc-web+proto",
    ],
    [
      "application/grpc-web-text+proto",
      "application/grpc+proto",
      "application/grpc",
      "application/grpc-web-text",
    ],
    [
      "application/grpc-web-text; charset=utf-8",
      "application/grpc; charset=utf-8",
      "application/grpc+proto; x=y",
      "application/grpc-web-text+proto; x=y",
    ],
  ];
  for (const [asked, sent, got, given] of cases) {
    const run = begin(asked);
    const upstream = request(asked);
    run.requestHead!(upstream);
    assert.equal(upstream.fields.get("content-type"), sent);
    assert.equal(upstream.fields.get("te"), "trailers");
    const { head, filter } = responseOf(run, got);
    assert.equal(head.fields.get("content-type"), given);
    assert.ok(filter !== null);
  }
});

Deno.test("the client says by Accept in which form it wants the answer", () => {
  const cases: [string, string | undefined, string][] = [
    ["application/grpc-web-text", "application/grpc-web-text", "application/grpc-web-text"],
    ["application/grpc-web+proto", "application/grpc-web-text+proto", "application/grpc-web-text"],
    ["application/grpc-web-text", "application/grpc-web", "application/grpc-web"],
    ["application/grpc-web-text", "*/*", "application/grpc-web-text"],
    ["application/grpc-web", undefined, "application/grpc-web"],
  ];
  for (const [type, accept, given] of cases) {
    assert.equal(responseOf(begin(type, accept)).head.fields.get("content-type"), given);
  }
});

Deno.test("what is no gRPC-web call is not touched, nor is an answer that is no gRPC", () => {
  assert.equal(grpcWeb.begin(request("application/grpc")), null);
  assert.equal(grpcWeb.begin(request("application/json")), null);
  assert.equal(grpcWeb.begin(request("application/grpc-web", undefined, "OPTIONS")), null);
  const { head, filter } = responseOf(begin("application/grpc-web"), "text/html");
  assert.equal(filter, null);
  assert.equal(head.fields.get("content-type"), "text/html");
});

Deno.test("a binary request passes as it is, and so does a binary answer but for its trailers", () => {
  const run = begin("application/grpc-web+proto");
  assert.equal(run.requestBody, undefined);
  const { filter } = responseOf(run);
  const message = frame(utf8.encode("hi"));
  assert.equal(filter!.body(message, false), message);
  const trailers = Fields.from([["Grpc-Status", "0"], ["grpc-message", "fine"]]);
  const made = filter!.trailers!(trailers)!;
  assert.equal(made[0], 0x80);
  assert.equal(new DataView(made.buffer).getUint32(1), made.length - 5);
  assert.equal(text(made.subarray(5)), "grpc-status: 0\r\ngrpc-message: fine\r\n");
});

Deno.test("fields that may not come in trailers do not come in their frame", () => {
  const trailers = Fields.from([["grpc-status", "0"], ["content-length", "5"], ["host", "x"]]);
  assert.equal(text(trailerFrame(trailers).subarray(5)), "grpc-status: 0\r\n");
  assert.deepEqual([...trailerFrame(new Fields())], [0x80, 0, 0, 0, 0]);
});

Deno.test("an answer in base64 ends each message where a group of letters ends, at once", () => {
  const { filter } = responseOf(begin("application/grpc-web-text"));
  for (const length of [0, 1, 2, 3, 4, 100]) {
    const message = frame(new Uint8Array(length).fill(length));
    const encoded = filter!.body(message, false);
    assert.deepEqual(decodeAll(encoded), message, `${length} bytes`);
  }
  // In the middle of a message there is no padding.
  const message = frame(new Uint8Array(10).fill(7));
  const first = filter!.body(message.subarray(0, 7), false).slice();
  assert.equal(text(first).includes("="), false);
  const second = filter!.body(message.subarray(7), false).slice();
  assert.deepEqual(decodeAll(join([first, second])), message);
});

Deno.test("whatever an answer holds and however it is cut, its text holds the same", () => {
  const messages = fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 6 });
  const places = fc.array(fc.nat(), { maxLength: 12 });
  fc.assert(fc.property(messages, places, fc.boolean(), (contents, where, hasTrailers) => {
    const { filter } = responseOf(begin("application/grpc-web-text"));
    const bytes = join(contents.map((content) => frame(content)));
    const body = runBody(filter!, cut(bytes, where), !hasTrailers);
    if (!hasTrailers) {
      assert.deepEqual(decodeAll(body), bytes);
      return;
    }
    const trailers = Fields.from([["grpc-status", "0"]]);
    const end = filter!.trailers!(trailers)!;
    assert.deepEqual(decodeAll(join([body, end])), join([bytes, trailerFrame(trailers)]));
  }));
});

Deno.test("content that is no sequence of messages passes all the same", () => {
  const places = fc.array(fc.nat(), { maxLength: 8 });
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), places, (bytes, where) => {
    const { filter } = responseOf(begin("application/grpc-web-text"));
    assert.deepEqual(decodeAll(runBody(filter!, cut(bytes, where), true)), bytes);
    // Cut short by trailers, the last message still ends before they begin.
    const other = responseOf(begin("application/grpc-web-text")).filter!;
    const body = runBody(other, cut(bytes, where), false);
    const all = decodeAll(join([body, other.trailers!(Fields.from([["grpc-status", "13"]]))!]));
    assert.deepEqual(all.subarray(0, bytes.length), bytes);
    assert.equal(all[bytes.length], 0x80);
  }));
});

Deno.test("a request in base64 is decoded however it is cut and wherever it is padded", () => {
  const parts = fc.array(fc.uint8Array({ maxLength: 20 }), { maxLength: 6 });
  const places = fc.array(fc.nat(), { maxLength: 12 });
  fc.assert(fc.property(parts, places, (contents, where) => {
    const encoded = contents.map((content) => btoa(String.fromCharCode(...content))).join("");
    const body = begin("application/grpc-web-text").requestBody!();
    const pieces = cut(utf8.encode(encoded), where);
    const decoded = pieces.map((piece, i) => body(piece, i === pieces.length - 1).slice());
    assert.deepEqual(join(decoded), join(contents));
  }));
});

Deno.test("letters that came before count for what a piece decodes to", () => {
  for (let length = 1; length <= 12; length++) {
    const encoded = utf8.encode(btoa("x".repeat(length)));
    for (let a = 0; a <= encoded.length; a++) {
      for (let b = a; b <= encoded.length; b++) {
        const body = begin("application/grpc-web-text").requestBody!();
        const pieces = [encoded.subarray(0, a), encoded.subarray(a, b), encoded.subarray(b)];
        const decoded = pieces.map((piece, i) => body(piece, i === 2).slice());
        assert.equal(text(join(decoded)), "x".repeat(length), `${length} bytes at ${a}, ${b}`);
      }
    }
  }
});

Deno.test("each attempt decodes from the start", () => {
  const run = begin("application/grpc-web-text");
  const first = run.requestBody!();
  first(utf8.encode("AAA"), false);
  const second = run.requestBody!();
  assert.deepEqual([...second(utf8.encode("AQID"), true)], [1, 2, 3]);
});

Deno.test("text that is no base64 is refused", () => {
  for (
    const bad of [
      "A",
      "AA",
      "AAA",
      "A===",
      "AA=A",
      "AA=",
      "=",
      "AB==",
      "AAB=",
      "AA A",
      "AA-_",
      "!AAA",
    ]
  ) {
    const body = begin("application/grpc-web-text").requestBody!();
    assert.throws(
      () => body(utf8.encode(bad), true),
      { type: "invalid_request", status: 400 },
      bad,
    );
  }
});

Deno.test("the decoder takes what it takes and refuses what it refuses, however text is cut", () => {
  const letters = fc.string({ unit: fc.constantFrom(..."AQgw/+=z \n"), maxLength: 12 });
  const places = fc.array(fc.nat(), { maxLength: 6 });
  const decode = (pieces: Uint8Array[]) => {
    const decoder = new Base64Decoder();
    try {
      return join(pieces.map((piece, i) => decoder.decode(piece, i === pieces.length - 1).slice()));
    } catch {
      return null;
    }
  };
  fc.assert(fc.property(letters, places, (letters, where) => {
    const bytes = utf8.encode(letters);
    assert.deepEqual(decode(cut(bytes, where)), decode([bytes]));
  }));
});

Deno.test("the encoder writes no more than it says", () => {
  fc.assert(fc.property(fc.array(fc.uint8Array({ maxLength: 30 }), { maxLength: 5 }), (pieces) => {
    const encoder = new Base64Encoder();
    const all: Uint8Array[] = [];
    for (const piece of [...pieces, new Uint8Array(0)]) {
      const out = new Uint8Array(Base64Encoder.most(piece.length) + 4);
      const end = encoder.encode(piece, 0, piece.length, piece.length === 0, out, 0);
      all.push(out.subarray(0, end));
    }
    assert.deepEqual(decodeAll(join(all)), join(pieces));
  }));
});
