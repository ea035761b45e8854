import assert from "node:assert/strict";
import fc from "fast-check";
import { ManualClock } from "../../src/base/clock.ts";
import { ProxyError } from "../../src/base/error.ts";
import { TimerWheel } from "../../src/base/timer_wheel.ts";
import { Fields } from "../../src/http/fields.ts";
import { RequestHead, ResponseHead } from "../../src/http/message.ts";
import { writeRequestHead } from "../../src/http1/head_writer.ts";
import { Output } from "../../src/http1/output.ts";
import { parseRequestHead, requestRules } from "../../src/http1/request_head_parser.ts";
import { readRequest as readHttp1 } from "../../src/http1/request_rules.ts";
import { Http2Error } from "../../src/http2/error.ts";
import { HpackDecoder } from "../../src/http2/hpack/decoder.ts";
import { HpackEncoder } from "../../src/http2/hpack/encoder.ts";
import { FieldBlock } from "../../src/http2/hpack/field_block.ts";
import { PSEUDO_NAMES } from "../../src/http2/hpack/static_table.ts";
import * as writer from "../../src/http2/message_writer.ts";
import { readRequest, readTrailers } from "../../src/http2/request_message.ts";
import { readResponse } from "../../src/http2/response_message.ts";
import { MemorySocket } from "../support/memory_socket.ts";

type Pairs = readonly (readonly [string, string])[];

const RULES = { targetBytes: 1000, allowConnect: true };

/** The block that a peer would decode. */
function decoded(pairs: Pairs): FieldBlock {
  const size = pairs.reduce((sum, [name, value]) => sum + name.length + value.length + 32, 32);
  const out = new Uint8Array(size);
  const encoder = new HpackEncoder();
  let end = encoder.begin(out, 0);
  for (const [name, value] of pairs) end = encoder.field(out, end, name, value);
  const block = new FieldBlock();
  new HpackDecoder().decode(out, 0, end, block);
  return block;
}

/** What a peer decodes of what was written. */
function written(bound: number, write: (encoder: HpackEncoder, out: Uint8Array) => number): Pairs {
  const out = new Uint8Array(bound);
  const end = write(new HpackEncoder(), out);
  assert.ok(end <= bound, "the bound holds");
  const block = new FieldBlock();
  new HpackDecoder().decode(out, 0, end, block);
  assert.equal(block.malformed, null);
  const pseudo = PSEUDO_NAMES.flatMap((name, i) => {
    const value = i === 0 ? null : block.pseudo(i);
    return value === null ? [] : [[name, value] as const];
  });
  return [...pseudo, ...block.takeFields()];
}

function request(pairs: Pairs, endStream: boolean = true) {
  return readRequest(decoded(pairs), 1, endStream, RULES);
}

const GET: Pairs = [[":method", "GET"], [":scheme", "https"], [":authority", "a.example"], [
  ":path",
  "/x?y",
]];

Deno.test("a request becomes a head that HTTP/1 knows, with :authority as its Host", () => {
  const { head, contentLength, upgrade, isTunnel } = request([...GET, ["accept", "*/*"]]);
  assert.deepEqual([head.method, head.target, head.authority, head.version], [
    "GET",
    "/x?y",
    "a.example",
    20,
  ]);
  assert.deepEqual([...head.fields], [["host", "a.example"], ["accept", "*/*"]]);
  assert.deepEqual([contentLength, upgrade, isTunnel], [0, "", false]);
});

Deno.test("content is as long as Content-Length says, unknown without it, none at the end of the stream", () => {
  assert.equal(request([...GET, ["content-length", "7"]], false).contentLength, 7);
  assert.equal(request(GET, false).contentLength, -1);
  assert.equal(request(GET, true).contentLength, 0);
  const { head } = request([...GET, ["content-length", "7"]], false);
  assert.equal(head.fields.has("content-length"), false, "framing is nobody's field");
});

Deno.test("an extended CONNECT is shown as a GET that asks for an upgrade", () => {
  const asked = request([
    [":method", "CONNECT"],
    [":protocol", "WebSocket"],
    ...GET.slice(1),
    ["sec-websocket-version", "13"],
  ], false);
  assert.equal(asked.head.method, "GET");
  assert.equal(asked.head.target, "/x?y");
  assert.equal(asked.upgrade, "websocket");
  assert.deepEqual([asked.contentLength, asked.isTunnel], [0, true]);
});

Deno.test("CONNECT has the authority for its target, and may be forbidden", () => {
  const pairs: Pairs = [[":method", "CONNECT"], [":authority", "a.example:443"]];
  const { head, isTunnel } = request(pairs, false);
  assert.deepEqual([head.method, head.target, head.authority, isTunnel], [
    "CONNECT",
    "a.example:443",
    "a.example:443",
    true,
  ]);
  assert.throws(
    () => readRequest(decoded(pairs), 1, false, { ...RULES, allowConnect: false }),
    { type: "method_not_allowed" },
  );
});

Deno.test("expectations are met, or refused; without content there is none", () => {
  const expect: Pairs = [...GET, ["expect", "100-Continue"]];
  assert.equal(request(expect, false).expectsContinue, true);
  assert.equal(request(expect, true).expectsContinue, false);
  assert.throws(() => request([...GET, ["expect", "more"]]), { type: "expectation_failed" });
});

Deno.test("what must not be indexed stays so on its way through", () => {
  const out = new Uint8Array(200);
  const encoder = new HpackEncoder();
  let end = encoder.begin(out, 0);
  for (const [name, value] of GET) end = encoder.field(out, end, name, value);
  end = encoder.field(out, end, "x-open", "1");
  end = encoder.field(out, end, "x-secret", "s3cr3t", 2);
  const block = new FieldBlock();
  new HpackDecoder().decode(out, 0, end, block);
  const { head } = readRequest(block, 1, true, RULES);
  const on = head.fork();
  assert.deepEqual([...on.fields].map(([name]) => name), ["host", "x-open", "x-secret"]);
  const again = new Uint8Array(400);
  const sender = new HpackEncoder();
  const length = writer.writeRequest(sender, again, 0, on, "https", "", -1);
  const seen = new FieldBlock();
  new HpackDecoder().decode(again, 0, length, seen);
  assert.deepEqual(seen.neverIndexed, [1]);
  assert.deepEqual([...seen.takeFields()], [["x-open", "1"], ["x-secret", "s3cr3t"]]);
});

Deno.test("responses have one status of three digits, and no 101", () => {
  const response = (pairs: Pairs, endStream: boolean = false) =>
    readResponse(decoded(pairs), 1, endStream);
  const { head, contentLength } = response([[":status", "200"], ["content-length", "5"], [
    "x-a",
    "b",
  ]]);
  assert.deepEqual([head.status, head.version, contentLength], [200, 20, 5]);
  assert.deepEqual([...head.fields], [["x-a", "b"]]);
  assert.equal(response([[":status", "103"]]).head.informational, true);
  const malformed: [Pairs, boolean?][] = [
    [[]],
    [[["x-a", "b"]]],
    [[[":status", "101"]]],
    [[[":status", "20"]]],
    [[[":status", "2000"]]],
    [[[":status", "2x0"]]],
    [[[":status", "099"]]],
    [[[":status", "200"], [":status", "200"]]],
    [[[":status", "200"], [":path", "/"]]],
    [[["x-a", "b"], [":status", "200"]]],
    [[[":status", "103"]], true],
    [[[":status", "200"], ["connection", "close"]]],
    [[[":status", "200"], ["content-length", "5"], ["content-length", "5"]]],
    [[[":status", "200"], ["content-length", "-1"]]],
  ];
  for (const [pairs, endStream] of malformed) {
    assert.throws(
      () => response(pairs, endStream),
      (error) => error instanceof Http2Error && error.stream === 1,
      JSON.stringify(pairs),
    );
  }
});

Deno.test("trailers lose what could change the message, and are refused where they are none", () => {
  const trailers = readTrailers(
    decoded([["x-a", "b"], ["host", "x"], ["authorization", "y"]]),
    1,
    true,
  );
  assert.deepEqual([...trailers], [["x-a", "b"]]);
  assert.throws(() => readTrailers(decoded([["x-a", "b"]]), 1, false), Http2Error);
  assert.throws(() => readTrailers(decoded([[":path", "/"]]), 1, true), Http2Error);
  assert.throws(() => readTrailers(decoded([["upgrade", "x"]]), 1, true), Http2Error);
});

Deno.test("a request is written with pseudo-fields first and nothing of an HTTP/1 connection", () => {
  const head = new RequestHead({
    method: "POST",
    version: 11,
    target: "/a",
    fields: Fields.from([
      ["Host", "h.example"],
      ["Connection", "x"],
      ["Keep-Alive", "y"],
      ["Proxy-Connection", "z"],
      ["Transfer-Encoding", "chunked"],
      ["Upgrade", "w"],
      ["HTTP2-Settings", "v"],
      ["TE", "trailers"],
      ["Content-Length", "9"],
      ["X-Own", "Value"],
    ]),
  });
  const pairs = written(
    writer.requestBound(head, ""),
    (encoder, out) => writer.writeRequest(encoder, out, 0, head, "https", "", 3),
  );
  assert.deepEqual(pairs, [
    [":method", "POST"],
    [":scheme", "https"],
    [":authority", "h.example"],
    [":path", "/a"],
    ["x-own", "Value"],
    ["te", "trailers"],
    ["content-length", "3"],
  ]);
});

Deno.test("an upgrade is written as an extended CONNECT, and CONNECT without path and scheme", () => {
  const head = new RequestHead({
    method: "GET",
    version: 11,
    target: "/chat",
    fields: Fields.from([["Host", "h.example"], ["Upgrade", "websocket"]]),
  });
  assert.deepEqual(
    written(
      writer.requestBound(head, "websocket"),
      (encoder, out) => writer.writeRequest(encoder, out, 0, head, "http", "websocket", -1),
    ),
    [
      [":method", "CONNECT"],
      [":scheme", "http"],
      [":authority", "h.example"],
      [":path", "/chat"],
      [":protocol", "websocket"],
    ],
  );
  const connect = new RequestHead({
    method: "CONNECT",
    version: 11,
    target: "a.example:443",
    fields: Fields.from([["Host", "a.example:443"]]),
  });
  assert.deepEqual(
    written(
      writer.requestBound(connect, ""),
      (encoder, out) => writer.writeRequest(encoder, out, 0, connect, "http", "", -1),
    ),
    [[":method", "CONNECT"], [":authority", "a.example:443"]],
  );
});

Deno.test("what could end a line early is not written, and leaves the table as it was", () => {
  const encoder = new HpackEncoder();
  const out = new Uint8Array(1000);
  for (
    const bad of [
      { method: "G T", target: "/" },
      { method: "", target: "/" },
      { method: "GET", target: "/a b" },
      { method: "GET", target: "/\r\nX: y" },
      { method: "GET", target: "/\u0100" },
    ]
  ) {
    const head = new RequestHead({ ...bad, version: 11, fields: Fields.from([["Host", "a"]]) });
    assert.throws(
      () => writer.writeRequest(encoder, out, 0, head, "http", "", -1),
      { type: "internal_error" },
    );
  }
  assert.throws(() => writer.writeResponse(encoder, out, 0, new ResponseHead(99), -1));
  assert.equal(encoder.table.count, 0);
});

Deno.test("a response has a Date, one of its own if it came with one, and a 1xx has none", () => {
  const names = (head: ResponseHead) =>
    written(
      writer.responseBound(head),
      (encoder, out) => writer.writeResponse(encoder, out, 0, head, 5),
    );
  const own = names(new ResponseHead(200, Fields.from([["Date", "x"], ["Upgrade", "y"]])));
  assert.deepEqual(own, [[":status", "200"], ["date", "x"], ["content-length", "5"]]);
  assert.equal(names(new ResponseHead(204)).filter(([name]) => name === "date").length, 1);
  assert.ok(!names(new ResponseHead(103)).some(([name]) => name === "date"));
});

Deno.test("whatever is let through is one request in HTTP/1, and the same one", () => {
  const nasty = fc.array(
    fc.constantFrom(
      ...["/", "a", "?", "b", ".", "%0d", "\r", "\n", "\0", " ", ":", "@", "\t", "#", "\\", '"'],
      ...["\r\nHost: x", " HTTP/1.1\r\n\r\n", "[", "::1", "]", "443", "\u00ff", "*", "GET", ","],
    ),
    { maxLength: 5 },
  ).map((parts) => parts.join(""));
  const value = fc.oneof(nasty, fc.constantFrom("a.example", "/", "GET", "http", "trailers", "5"));
  const name = fc.oneof(
    fc.constantFrom(":method", ":scheme", ":authority", ":path", ":protocol", "host", "cookie"),
    fc.constantFrom("content-length", "te", "expect", "x-a", "connection", "transfer-encoding"),
    nasty,
  );
  const rules = requestRules({ fields: 200, targetBytes: 5000 });
  const wheel = new TimerWheel({ clock: new ManualClock() });
  let passed = 0;
  fc.assert(
    fc.property(
      fc.array(fc.tuple(name, value), { maxLength: 3 }),
      fc.oneof({ weight: 4, arbitrary: fc.constant([...GET]) }, fc.subarray([...GET])),
      fc.boolean(),
      (some, good, end) => {
        let read;
        try {
          read = request([...good.filter(([n]) => !some.some(([m]) => m === n)), ...some], end);
        } catch (error) {
          assert.ok(error instanceof Http2Error || error instanceof ProxyError);
          return;
        }
        passed++;
        const { head } = read;
        const expected = [head.method, head.target, head.authority];
        const fields = [...head.fields].map(([n, v]) => [n.toLowerCase(), v]);
        const socket = new MemorySocket();
        const output = new Output(socket, {
          wheel,
          writeTimeout: 1,
          minSendRate: 0,
          onWriteTimeout() {},
        });
        writeRequestHead(output, head, { kind: "none" });
        output.flush();
        const { sent } = socket;
        const headEnd = parseRequestHead(sent, 0, sent.length, rules);
        assert.equal(headEnd, sent.length, "one head, and nothing behind it");
        const again = readHttp1(sent);
        assert.deepEqual([again.head.method, again.head.target, again.head.authority], expected);
        assert.deepEqual([...again.head.fields].map(([n, v]) => [n.toLowerCase(), v]), fields);
      },
    ),
    { numRuns: 5_000, seed: 9113 },
  );
  assert.ok(passed > 300, `${passed} were let through`);
});
