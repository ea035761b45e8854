import assert from "node:assert/strict";
import { ProxyError } from "../../src/base/error.ts";
import { Fields } from "../../src/http/fields.ts";
import { RequestHead, ResponseHead } from "../../src/http/message.ts";
import { CANCEL, NO_ERROR, REFUSED_STREAM } from "../../src/http2/constants.ts";
import type { StreamLog } from "../support/http2_pair.ts";
import { Http2Pair } from "../support/http2_pair.ts";

const ERROR = new ProxyError("internal_error", "test");

function head(method: string = "GET", fields: [string, string][] = []): RequestHead {
  return new RequestHead({
    method,
    version: 20,
    target: "/x?y",
    fields: Fields.from([["Host", "a.example"], ...fields]),
  });
}

function ask(pair: Http2Pair, end: boolean = true, method: string = "GET"): StreamLog {
  const log = pair.client.open();
  log.stream.sendRequest(head(method), "https", "", -1, end);
  return log;
}

async function readAll(log: StreamLog, pair: Http2Pair): Promise<Uint8Array> {
  const pieces: number[] = [];
  while (!log.stream.content.done) {
    const next = log.stream.content.read();
    if (next instanceof Promise) await pair.run();
    for (const byte of await next) pieces.push(byte);
  }
  return Uint8Array.from(pieces);
}

Deno.test("a request and its response cross, and the stream is over on both sides", async () => {
  const pair = new Http2Pair();
  const asked = ask(pair);
  await pair.run();
  const served = pair.server.streams[0]!;
  assert.deepEqual(served.lines, ["GET /x?y a.example", "host: a.example"]);
  served.stream.sendResponse(new ResponseHead(200, Fields.from([["X-A", "b"]])), 3, false);
  assert.equal(served.stream.send(Uint8Array.of(1, 2, 3), true), undefined);
  served.stream.release();
  await pair.run();
  assert.equal(asked.lines[0], "200");
  assert.ok(asked.lines.includes("x-a: b"));
  assert.deepEqual(await readAll(asked, pair), Uint8Array.of(1, 2, 3));
  asked.stream.release();
  assert.equal(pair.server.connection.live, 0);
  assert.equal(pair.client.connection.live, 0);
  assert.equal(pair.server.over + pair.client.over, 2);
});

Deno.test("content that nobody reads stops at the window, and goes on when it is read", async () => {
  const pair = new Http2Pair({}, { streamWindow: 65_535, connectionWindow: 200_000 });
  const asked = ask(pair, false, "POST");
  await pair.run();
  const bytes = Uint8Array.from({ length: 300_000 }, (_, i) => i % 251);
  let sent = false;
  const sending = Promise.resolve(asked.stream.send(bytes, true)).then(() => sent = true);
  await pair.run();
  assert.equal(sent, false);
  assert.equal(asked.stream.bytesSent, 65_535);
  assert.deepEqual(await readAll(pair.server.streams[0]!, pair), bytes);
  await sending;
  assert.equal(asked.stream.bytesSent, 300_000);
});

Deno.test("streams take turns, and none starves beside a large one", async () => {
  const pair = new Http2Pair({ connectionWindow: 65_535, streamWindow: 65_535 });
  const first = ask(pair);
  ask(pair);
  await pair.run();
  const [a, b] = pair.server.streams;
  for (const log of [a!, b!]) log.stream.sendResponse(new ResponseHead(200), -1, false);
  const waiting = [
    a!.stream.send(new Uint8Array(1_000_000), true),
    b!.stream.send(new Uint8Array(100_000), true),
  ];
  await pair.run();
  assert.equal(a!.stream.bytesSent, 65_535, "the window of the connection is used up");
  for (let read = 0; read < 65_535;) {
    read += (first.stream.content.read() as Uint8Array).length;
  }
  const more = first.stream.content.read();
  await pair.run();
  assert.ok(b!.stream.bytesSent > 0, "the second has had its turn");
  pair.client.connection.destroy(ERROR);
  pair.server.connection.destroy(ERROR);
  await Promise.allSettled([...waiting, more]);
});

Deno.test("a reset reaches the other side with its code, and late content is ignored", async () => {
  const pair = new Http2Pair();
  const asked = ask(pair, false, "POST");
  await pair.run();
  const served = pair.server.streams[0]!;
  asked.stream.send(new Uint8Array(1000), false);
  served.stream.reset(CANCEL, ERROR);
  served.stream.release();
  await pair.run();
  assert.equal(asked.resetCode, CANCEL);
  assert.throws(() => asked.stream.send(new Uint8Array(1), true));
  asked.stream.release();
  assert.deepEqual([pair.server.faults, pair.client.faults], [[], []]);
  const again = ask(pair);
  await pair.run();
  assert.equal(pair.server.streams.length, 2, "the connection goes on");
  again.stream.reset(CANCEL, ERROR);
});

Deno.test("a stream too many is refused, and the others go on", async () => {
  const pair = new Http2Pair({}, { maxConcurrentStreams: 2 });
  const logs = [ask(pair), ask(pair), ask(pair)];
  await pair.run();
  assert.deepEqual(logs.map((log) => log.resetCode), [-1, -1, REFUSED_STREAM]);
  // One that is reset counts until nobody is busy with it any more.
  logs[0]!.stream.reset(CANCEL, ERROR);
  const next = ask(pair);
  await pair.run();
  assert.equal(next.resetCode, REFUSED_STREAM);
  pair.server.streams[0]!.stream.release();
  const last = ask(pair);
  await pair.run();
  assert.equal(last.resetCode, -1);
});

Deno.test("a drain tells the client, refuses what comes too late and ends with the last stream", async () => {
  const pair = new Http2Pair();
  ask(pair);
  await pair.run();
  pair.server.connection.drain();
  await pair.run();
  assert.equal(pair.client.goaway, `1 ${NO_ERROR}`);
  assert.ok(pair.client.connection.leaving);
  const served = pair.server.streams[0]!;
  served.stream.sendResponse(new ResponseHead(204), -1, true);
  served.stream.release();
  pair.client.streams[0]!.stream.release();
  await pair.run();
  assert.ok(pair.server.socket.finished && pair.client.socket.finished);
});

Deno.test("streams above the last of a GOAWAY were not processed, and are told so", async () => {
  const pair = new Http2Pair();
  await pair.run();
  pair.server.connection.leave(NO_ERROR);
  const late = ask(pair);
  await pair.run();
  assert.equal(late.resetCode, REFUSED_STREAM);
  assert.equal(pair.server.streams.length, 0);
});

Deno.test("a window that stays closed ends its stream, and no other", async () => {
  const pair = new Http2Pair({ streamWindow: 65_535 });
  const asked = ask(pair);
  await pair.run();
  const served = pair.server.streams[0]!;
  served.stream.sendResponse(new ResponseHead(200), -1, false);
  const sending = served.stream.send(new Uint8Array(100_000), true)!;
  const failed = assert.rejects(sending, { type: "write_timeout" });
  await pair.run();
  await pair.pass(31_000);
  await failed;
  assert.equal(served.error?.type, "write_timeout");
  assert.equal(asked.resetCode, CANCEL);
  assert.equal(pair.server.closed, false);
});

Deno.test("a client that sends no SETTINGS, and one that acknowledges none, are sent away", async () => {
  for (
    const [limits, fault] of [
      [{ headerTimeout: 5_000 }, /Preface and SETTINGS: not complete in time/],
      [{ settingsTimeout: 5_000 }, /SETTINGS: not acknowledged in time/],
    ] as const
  ) {
    const pair = new Http2Pair({}, limits);
    pair.clock.advance(5_100);
    pair.wheel.advance();
    assert.match(pair.server.faults[0]!, fault);
    await pair.run();
    assert.ok(pair.server.socket.finished);
  }
});

Deno.test("trailers cross in both directions", async () => {
  const pair = new Http2Pair();
  const asked = ask(pair, false, "POST");
  asked.stream.send(Uint8Array.of(7), false);
  asked.stream.sendTrailers(Fields.from([["X-Sum", "1"]]));
  await pair.run();
  const served = pair.server.streams[0]!;
  assert.deepEqual(await readAll(served, pair), Uint8Array.of(7));
  assert.equal(served.stream.content.trailers?.get("x-sum"), "1");
  served.stream.sendResponse(new ResponseHead(200), -1, false);
  served.stream.sendTrailers(Fields.from([["grpc-status", "0"]]));
  await pair.run();
  assert.deepEqual(await readAll(asked, pair), new Uint8Array(0));
  assert.equal(asked.stream.content.trailers?.get("grpc-status"), "0");
});

Deno.test("a ping is answered", async () => {
  const pair = new Http2Pair();
  let pong = 0;
  pair.client.connection.ping(() => pong++);
  pair.server.connection.ping(() => pong++);
  await pair.run();
  assert.equal(pong, 2);
});
