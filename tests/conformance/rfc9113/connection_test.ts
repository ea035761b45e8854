/** What RFC 9113 §3 to §7 ask of a server, against the running program. Steps are named by section. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import * as c from "../../../src/http2/constants.ts";
import { configFile } from "../../support/config.ts";
import { RawClient } from "../../support/raw_client.ts";
import { frame, RawHttp2, settings, statusOf, words } from "../../support/raw_http2.ts";
import { pattern, startSimpleOrigin } from "../../support/simple_origin.ts";
import { startSluice } from "../../support/sluice.ts";

/** Bytes to send on a connection that has begun. */
type Send = (client: RawHttp2) => Uint8Array[];

const ZEROS = new Uint8Array(8);
const PING = frame(c.PING, 0, 0, ZEROS);

/** A request that stays open. */
function open(client: RawHttp2, id: number = client.take()): Uint8Array {
  return client.request(id, "POST", "/echo", { end: false });
}

/** A request whose response takes long. */
function slow(client: RawHttp2, id: number = client.take()): Uint8Array {
  return client.request(id, "GET", "/delay/60000");
}

/** What ends the whole connection: section and rule, error code, what is sent. */
const CONNECTION_ERRORS: [string, number, Send][] = [
  ["§3.4: the first frame is SETTINGS", c.PROTOCOL_ERROR, () => []],
  ["§4.2: no frame over SETTINGS_MAX_FRAME_SIZE", c.FRAME_SIZE_ERROR, (client) => [
    open(client),
    frame(c.DATA, 0, 1, new Uint8Array(16_385)),
  ]],
  ["§4.3: a field block that cannot be decoded", c.COMPRESSION_ERROR, () => [
    frame(c.HEADERS, c.FLAG_END_HEADERS, 1, Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0xff, 0xff)),
  ]],
  ["§4.3, §6.2: nothing between HEADERS and its CONTINUATION", c.PROTOCOL_ERROR, (client) => [
    frame(c.HEADERS, 0, 1, client.block([[":method", "GET"]])),
    PING,
  ]],
  ["§5.5: no unknown frame inside a field block", c.PROTOCOL_ERROR, (client) => [
    frame(c.HEADERS, 0, 1, client.block([[":method", "GET"]])),
    frame(0xfa, 0, 1),
  ]],
  ["§5.1: DATA on an idle stream", c.PROTOCOL_ERROR, () => [frame(c.DATA, 0, 1, "x")]],
  ["§5.1: RST_STREAM on an idle stream", c.PROTOCOL_ERROR, () => [
    frame(c.RST_STREAM, 0, 1, words(c.CANCEL)),
  ]],
  ["§5.1: WINDOW_UPDATE on an idle stream", c.PROTOCOL_ERROR, () => [
    frame(c.WINDOW_UPDATE, 0, 1, words(1000)),
  ]],
  ["§5.1.1: a client opens odd streams only", c.PROTOCOL_ERROR, (client) => [open(client, 2)]],
  ["§5.1.1: a new stream has a higher number", c.STREAM_CLOSED, (client) => [
    slow(client, 5),
    slow(client, 3),
  ]],
  ["§6.1: DATA on stream 0", c.PROTOCOL_ERROR, () => [frame(c.DATA, 0, 0, "x")]],
  ["§6.1: more padding than payload", c.PROTOCOL_ERROR, (client) => [
    open(client),
    frame(c.DATA, c.FLAG_PADDED, 1, Uint8Array.of(3, 1, 1)),
  ]],
  ["§6.2: HEADERS on stream 0", c.PROTOCOL_ERROR, (client) => [open(client, 0)]],
  ["§6.2: more padding than payload", c.PROTOCOL_ERROR, () => [
    frame(c.HEADERS, c.FLAG_END_HEADERS | c.FLAG_PADDED, 1, Uint8Array.of(9, 0x82)),
  ]],
  ["§6.3: PRIORITY on stream 0", c.PROTOCOL_ERROR, () => [
    frame(c.PRIORITY, 0, 0, new Uint8Array(5)),
  ]],
  ["§6.4: RST_STREAM on stream 0", c.PROTOCOL_ERROR, () => [
    frame(c.RST_STREAM, 0, 0, words(c.CANCEL)),
  ]],
  ["§6.4: RST_STREAM of another length", c.FRAME_SIZE_ERROR, (client) => [
    open(client),
    frame(c.RST_STREAM, 0, 1, "abc"),
  ]],
  ["§6.5: SETTINGS on a stream", c.PROTOCOL_ERROR, () => [frame(c.SETTINGS, 0, 1)]],
  ["§6.5: an acknowledgement with a payload", c.FRAME_SIZE_ERROR, () => [
    frame(c.SETTINGS, c.FLAG_ACK, 0, new Uint8Array(6)),
  ]],
  ["§6.5: SETTINGS of an odd length", c.FRAME_SIZE_ERROR, () => [frame(c.SETTINGS, 0, 0, "abcde")]],
  ["§6.5.2: ENABLE_PUSH is 0 or 1", c.PROTOCOL_ERROR, () => [
    frame(c.SETTINGS, 0, 0, settings([c.SETTINGS_ENABLE_PUSH, 2])),
  ]],
  ["§6.5.2: INITIAL_WINDOW_SIZE is below 2^31", c.FLOW_CONTROL_ERROR, () => [
    frame(c.SETTINGS, 0, 0, settings([c.SETTINGS_INITIAL_WINDOW_SIZE, 2 ** 31])),
  ]],
  ["§6.5.2: MAX_FRAME_SIZE is at least 16384", c.PROTOCOL_ERROR, () => [
    frame(c.SETTINGS, 0, 0, settings([c.SETTINGS_MAX_FRAME_SIZE, 16_383])),
  ]],
  ["§6.5.2: MAX_FRAME_SIZE is below 2^24", c.PROTOCOL_ERROR, () => [
    frame(c.SETTINGS, 0, 0, settings([c.SETTINGS_MAX_FRAME_SIZE, 2 ** 24])),
  ]],
  ["RFC 8441 §3: ENABLE_CONNECT_PROTOCOL is 0 or 1", c.PROTOCOL_ERROR, () => [
    frame(c.SETTINGS, 0, 0, settings([c.SETTINGS_ENABLE_CONNECT_PROTOCOL, 2])),
  ]],
  ["§6.6, §8.4: a client does not push", c.PROTOCOL_ERROR, (client) => [
    slow(client),
    frame(c.PUSH_PROMISE, c.FLAG_END_HEADERS, 1, Buffer.concat([words(2), client.block([])])),
  ]],
  ["§6.7: PING on a stream", c.PROTOCOL_ERROR, () => [frame(c.PING, 0, 1, ZEROS)]],
  ["§6.7: PING of another length", c.FRAME_SIZE_ERROR, () => [frame(c.PING, 0, 0, "abc")]],
  ["§6.8: GOAWAY on a stream", c.PROTOCOL_ERROR, () => [frame(c.GOAWAY, 0, 1, ZEROS)]],
  ["§6.8: GOAWAY that is too short", c.FRAME_SIZE_ERROR, () => [frame(c.GOAWAY, 0, 0, "abc")]],
  ["§6.9: WINDOW_UPDATE by 0 on the connection", c.PROTOCOL_ERROR, () => [
    frame(c.WINDOW_UPDATE, 0, 0, words(0)),
  ]],
  ["§6.9: WINDOW_UPDATE of another length", c.FRAME_SIZE_ERROR, () => [
    frame(c.WINDOW_UPDATE, 0, 0, "abc"),
  ]],
  ["§6.9.1: the window of the connection grows over 2^31 - 1", c.FLOW_CONTROL_ERROR, () => [
    frame(c.WINDOW_UPDATE, 0, 0, words(2 ** 31 - 1)),
  ]],
  ["§6.9.2: INITIAL_WINDOW_SIZE makes a window grow over 2^31 - 1", c.FLOW_CONTROL_ERROR, (
    client,
  ) => [
    slow(client),
    frame(c.WINDOW_UPDATE, 0, 1, words(2 ** 31 - 1 - 65_535)),
    frame(c.SETTINGS, 0, 0, settings([c.SETTINGS_INITIAL_WINDOW_SIZE, 65_536])),
  ]],
  ["§6.10: CONTINUATION without HEADERS", c.PROTOCOL_ERROR, () => [
    frame(c.CONTINUATION, c.FLAG_END_HEADERS, 1),
  ]],
  ["§6.10: CONTINUATION on stream 0", c.PROTOCOL_ERROR, () => [
    frame(c.CONTINUATION, c.FLAG_END_HEADERS, 0),
  ]],
  ["§6.10: CONTINUATION of another stream", c.PROTOCOL_ERROR, (client) => [
    frame(c.HEADERS, 0, 1, client.block([[":method", "GET"]])),
    frame(c.CONTINUATION, c.FLAG_END_HEADERS, 3),
  ]],
  ["§6.10: CONTINUATION behind the end of the block", c.PROTOCOL_ERROR, (client) => [
    slow(client),
    frame(c.CONTINUATION, c.FLAG_END_HEADERS, 1),
  ]],
];

/** What ends stream 1 alone. */
const STREAM_ERRORS: [string, number, Send][] = [
  ["§5.1: DATA on a stream that the client has ended", c.STREAM_CLOSED, (client) => [
    slow(client),
    frame(c.DATA, 0, 1, "x"),
  ]],
  ["§5.1: HEADERS on a stream that the client has ended", c.STREAM_CLOSED, (client) => [
    slow(client),
    client.headers(1, [["x-a", "b"]], true),
  ]],
  ["§6.3: PRIORITY of another length", c.FRAME_SIZE_ERROR, (client) => [
    slow(client),
    frame(c.PRIORITY, 0, 1, "abc"),
  ]],
  ["§6.9: WINDOW_UPDATE by 0 on a stream", c.PROTOCOL_ERROR, (client) => [
    slow(client),
    frame(c.WINDOW_UPDATE, 0, 1, words(0)),
  ]],
  ["§6.9.1: the window of a stream grows over 2^31 - 1", c.FLOW_CONTROL_ERROR, (client) => [
    slow(client),
    frame(c.WINDOW_UPDATE, 0, 1, words(2 ** 31 - 1)),
  ]],
  ["§6.9.1: more content than the window of a stream allows", c.FLOW_CONTROL_ERROR, (client) => [
    client.request(client.take(), "POST", "/delay/60000", { end: false }),
    ...Array.from({ length: 25 }, () => frame(c.DATA, 0, 1, new Uint8Array(16_384))),
  ]],
];

/** What has no effect, or only the one it should have. */
const HARMLESS: [string, Send][] = [
  ["§4.1, §5.5: frames of unknown types", () => [frame(0xfe, 0xff, 7, "what")]],
  ["§4.1: flags that are not defined", () => [frame(c.PING, 0xfe, 0, ZEROS)]],
  ["§4.1: the reserved bit", (client) => {
    const bytes = Buffer.from(client.request(client.take(), "GET", "/"));
    bytes[5]! |= 0x80;
    return [bytes];
  }],
  ["§5.1: PRIORITY on an idle stream", () => [frame(c.PRIORITY, 0, 77, new Uint8Array(5))]],
  ["§6.1: padding", (client) => [
    open(client),
    frame(c.DATA, c.FLAG_PADDED | c.FLAG_END_STREAM, 1, Uint8Array.of(2, 65, 0, 0)),
  ]],
  ["§6.2: padding and priority in HEADERS", (client) => [
    frame(
      c.HEADERS,
      c.FLAG_END_HEADERS | c.FLAG_END_STREAM | c.FLAG_PADDED | c.FLAG_PRIORITY,
      client.take(),
      Buffer.concat([
        Uint8Array.of(3, 0, 0, 0, 0, 9),
        client.block([
          [":method", "GET"],
          [":scheme", "http"],
          [":authority", "test.example"],
          [":path", "/"],
        ]),
        new Uint8Array(3),
      ]),
    ),
  ]],
  ["§6.5.2: settings that are not known", () => [
    frame(c.SETTINGS, 0, 0, settings([0x7777, 1], [0, 5])),
  ]],
  ["§6.7: an answer to no PING", () => [frame(c.PING, c.FLAG_ACK, 0, ZEROS)]],
  ["§6.8, §7: a GOAWAY with a code that is not known", () => [
    frame(c.GOAWAY, 0, 0, words(0, 0xfeed)),
  ]],
  ["§6.10: a field block in pieces, empty ones too", (client) => {
    const block = client.block([
      [":method", "GET"],
      [":scheme", "http"],
      [":authority", "test.example"],
      [":path", "/"],
    ]);
    const id = client.take();
    return [
      frame(c.HEADERS, c.FLAG_END_STREAM, id, block.subarray(0, 2)),
      frame(c.CONTINUATION, 0, id),
      frame(c.CONTINUATION, c.FLAG_END_HEADERS, id, block.subarray(2)),
    ];
  }],
  ["RFC 9218 §7.1: PRIORITY_UPDATE", () => [frame(0x10, 0, 0, Uint8Array.of(0, 0, 0, 1, 117))]],
];

Deno.test("RFC 9113 §3 to §7", async (t) => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({
    config: configFile({
      origin: origin.address,
      listener: { protocols: ["h1", "h2c"], http2: { stream_window: 100_000 } },
    }),
  });
  const port = sluice.port();

  for (const [name, code, send] of CONNECTION_ERRORS) {
    await t.step(`${name} (connection error)`, async () => {
      if (name.startsWith("§3.4")) {
        await using first = new RawHttp2(await RawClient.connect(port), {});
        await first.send(c.PREFACE, PING);
        assert.equal(await first.goaway(), code);
        return await first.end();
      }
      await using client = await RawHttp2.connect(port);
      await client.send(...send(client));
      assert.equal(await client.goaway(), code);
      // §5.4.1: the connection is closed after the error.
      await client.end();
    });
  }

  for (const [name, code, send] of STREAM_ERRORS) {
    await t.step(`${name} (stream error)`, async () => {
      await using client = await RawHttp2.connect(port);
      await client.send(...send(client));
      assert.equal((await client.over(1)).reset, code);
      assert.equal(statusOf(await client.get("/")), "200", "other streams go on");
    });
  }

  for (const [name, send] of HARMLESS) {
    await t.step(`${name} are taken`, async () => {
      await using client = await RawHttp2.connect(port);
      await client.send(...send(client));
      await client.ping();
      for (const [id] of client.streams) assert.equal(statusOf(await client.over(id)), "200");
      assert.equal(statusOf(await client.get("/")), "200");
    });
  }

  await t.step("§3.4: SETTINGS is the first frame of the server", async () => {
    await using client = await RawHttp2.connect(port);
    await client.ping();
    assert.equal(client.frames[0]!.type, c.SETTINGS);
    assert.equal(client.frames[0]!.flags, 0);
  });

  await t.step("§6.5.3: SETTINGS are acknowledged, each once, in order", async () => {
    await using client = await RawHttp2.connect(port);
    await client.send(frame(c.SETTINGS, 0, 0), frame(c.SETTINGS, 0, 0));
    await client.ping();
    const acks = client.frames.filter(({ type, flags }) => type === c.SETTINGS && flags === 1);
    assert.equal(acks.length, 3);
    assert.ok(acks.every(({ payload }) => payload.length === 0));
  });

  await t.step("§6.7: PING comes back as it was", async () => {
    await using client = await RawHttp2.connect(port);
    await client.send(frame(c.PING, 0, 0, "12345678"));
    const answer = await client.frame(({ type }) => type === c.PING, "an answer");
    assert.equal(answer.flags, c.FLAG_ACK);
    assert.equal(Buffer.from(answer.payload).toString(), "12345678");
  });

  await t.step("§6.9: no DATA without a window, of the stream", async () => {
    await using client = await RawHttp2.connect(port, {
      settings: [[c.SETTINGS_INITIAL_WINDOW_SIZE, 0]],
      opensWindows: false,
    });
    const id = client.take();
    await client.send(client.request(id, "GET", "/bytes/5000"));
    await client.until(() => client.seen(id).sections.length > 0, "the head");
    await client.ping();
    assert.equal(client.seen(id).body.length, 0);
    await client.send(frame(c.WINDOW_UPDATE, 0, id, words(1)));
    await client.until(() => client.seen(id).body.length > 0, "a byte");
    await client.ping();
    assert.equal(client.seen(id).body.length, 1, "exactly what was allowed");
    await client.send(frame(c.WINDOW_UPDATE, 0, id, words(4999)));
    assert.equal((await client.over(id)).body.toString(), pattern(5000));
  });

  await t.step("§6.9: no DATA without a window, of the connection", async () => {
    await using client = await RawHttp2.connect(port, {
      settings: [[c.SETTINGS_INITIAL_WINDOW_SIZE, 1_000_000]],
      opensWindows: false,
    });
    const id = client.take();
    await client.send(client.request(id, "GET", "/bytes/70000"));
    await client.until(() => client.seen(id).body.length >= 65_535, "a full window");
    await client.ping();
    assert.equal(client.seen(id).body.length, 65_535);
    // Heads and empty content need no window.
    assert.equal(statusOf(await client.get("/status/204")), "204");
    await client.send(frame(c.WINDOW_UPDATE, 0, 0, words(100_000)));
    assert.equal((await client.over(id)).body.toString(), pattern(70_000));
  });

  await t.step(
    "§6.9.2: INITIAL_WINDOW_SIZE changes the windows of open streams, below zero too",
    async () => {
      await using client = await RawHttp2.connect(port, {
        settings: [[c.SETTINGS_INITIAL_WINDOW_SIZE, 2]],
        opensWindows: false,
      });
      const id = client.take();
      await client.send(client.request(id, "GET", "/bytes/5000"));
      await client.until(() => client.seen(id).body.length === 2, "what is allowed");
      await client.send(frame(c.SETTINGS, 0, 0, settings([c.SETTINGS_INITIAL_WINDOW_SIZE, 1])));
      // The window is at -1 now.
      await client.send(frame(c.WINDOW_UPDATE, 0, id, words(1)));
      await client.ping();
      assert.equal(client.seen(id).body.length, 2);
      await client.send(frame(c.SETTINGS, 0, 0, settings([c.SETTINGS_INITIAL_WINDOW_SIZE, 4])));
      await client.until(() => client.seen(id).body.length === 5, "what is allowed now");
      await client.send(frame(c.WINDOW_UPDATE, 0, id, words(4995)));
      assert.equal((await client.over(id)).body.toString(), pattern(5000));
    },
  );

  await t.step("§6.5.2: no DATA or HEADERS over the client's MAX_FRAME_SIZE", async () => {
    await using client = await RawHttp2.connect(port);
    await client.get("/bytes/200000");
    const most = Math.max(...client.frames.map(({ payload }) => payload.length));
    assert.ok(most <= 16_384, String(most));
  });

  await t.step("§5.1.2, §8.7: streams over the limit are refused, to be tried again", async () => {
    await using client = await RawHttp2.connect(port);
    const ids = Array.from({ length: 101 }, () => client.take());
    await client.send(...ids.map((id) => client.request(id, "GET", "/delay/60000")));
    assert.equal((await client.over(ids.at(-1)!)).reset, c.REFUSED_STREAM);
    assert.equal(client.seen(ids[0]!).reset, -1);
  });

  await t.step("§5.1: what was on its way when a stream was reset is ignored", async () => {
    await using client = await RawHttp2.connect(port);
    const id = client.take();
    await client.send(
      open(client, id),
      frame(c.RST_STREAM, 0, id, words(c.CANCEL)),
      frame(c.PRIORITY, 0, id, new Uint8Array(5)),
      frame(c.RST_STREAM, 0, id, words(c.CANCEL)),
    );
    assert.equal(statusOf(await client.get("/")), "200");
  });

  await t.step("§5.1: frames on a stream that is over end the connection", async () => {
    for (
      const late of [
        () => frame(c.DATA, 0, 1, "x"),
        (client: RawHttp2) => client.headers(1, [["x-a", "b"]], true),
      ]
    ) {
      await using client = await RawHttp2.connect(port);
      assert.equal(statusOf(await client.get("/")), "200");
      await client.send(frame(c.WINDOW_UPDATE, 0, 1, words(5000)), late(client));
      assert.equal(await client.goaway(), c.STREAM_CLOSED);
    }
  });

  await t.step("§6.8: after GOAWAY of the client its streams are finished", async () => {
    await using client = await RawHttp2.connect(port);
    const id = client.take();
    await client.send(client.request(id, "GET", "/delay/300"), frame(c.GOAWAY, 0, 0, words(0, 0)));
    assert.equal((await client.over(id)).body.toString(), "late");
  });

  await t.step("nothing of all this was written down as a bug", () => {
    assert.doesNotMatch(sluice.stderr(), /internal_error|Uncaught|TypeError/);
  });
});
