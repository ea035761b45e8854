import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import fc from "fast-check";
import { ProxyError } from "../../src/base/error.ts";
import { Fields } from "../../src/http/fields.ts";
import { ResponseHead } from "../../src/http/message.ts";
import { type DownstreamSession, STREAM } from "../../src/http/session.ts";
import * as c from "../../src/http2/constants.ts";
import { FrameReader } from "../../src/http2/frame_reader.ts";
import { HpackEncoder, PLAIN } from "../../src/http2/hpack/encoder.ts";
import { collectReports } from "../support/http1.ts";
import { connectHttp2 } from "../support/http2.ts";
import { settled } from "../support/memory_socket.ts";
import { frame, settings, words } from "../support/raw_http2.ts";

const START = Buffer.concat([c.PREFACE, frame(c.SETTINGS, 0, 0), frame(c.SETTINGS, c.FLAG_ACK, 0)]);

function block(...pairs: readonly (readonly [string, string])[]): Buffer {
  const encoder = new HpackEncoder();
  const out = Buffer.alloc(1000);
  let end = encoder.begin(out, 0);
  // Nothing is indexed, so that blocks can come in any order.
  for (const [name, value] of pairs) end = encoder.field(out, end, name, value, PLAIN);
  return out.subarray(0, end);
}

const REQUEST = block(
  [":method", "POST"],
  [":scheme", "https"],
  [":authority", "a.example"],
  [":path", "/"],
);
const BLOCKS = [
  REQUEST,
  block([":method", "GET"], [":scheme", "https"], [":authority", "a"], [":path", "/x"], [
    "te",
    "x",
  ]),
  block([":method", "CONNECT"], [":authority", "a.example:1"]),
  block(
    [":method", "CONNECT"],
    [":protocol", "chat"],
    [":scheme", "https"],
    [":authority", "a.example"],
    [":path", "/"],
  ),
  block(["x-trailer", "1"]),
  Buffer.from([0xff, 0xff]),
];

/** Echoes content, opens tunnels, and gives up as a proxy would. */
async function serve(session: DownstreamSession): Promise<void> {
  try {
    if (session.upgrade !== "" || session.head.method === "CONNECT") {
      session.writeHead(new ResponseHead(session.upgrade !== "" ? 101 : 200), { kind: "none" });
      session.startTunnel();
    } else session.writeHead(new ResponseHead(200, new Fields()), STREAM);
    for (;;) {
      const piece = await session.readBody();
      await session.writeBody(piece, false);
      if (session.bodyDone) break;
    }
    if (session.upgrade !== "" || session.head.method === "CONNECT") session.closeTunnelWrite();
    else await session.endBody(session.trailers);
  } catch (error) {
    assert.ok(error instanceof ProxyError, String(error));
    session.abort(error);
  }
}

const stream = fc.constantFrom(0, 1, 1, 1, 3, 3, 5, 7, 2, 101);
const anything = fc.tuple(
  fc.oneof(fc.integer({ min: 0, max: 10 }), fc.integer({ min: 0, max: 255 })),
  fc.integer({ min: 0, max: 255 }),
  stream,
  fc.uint8Array({ maxLength: 40 }),
).map(([type, flags, id, payload]) => frame(type, flags, id, payload));
const sensible = fc.oneof(
  fc.tuple(stream, fc.constantFrom(...BLOCKS), fc.constantFrom(4, 5, 4, 5, 0, 1)).map((
    [id, one, flags],
  ) => frame(c.HEADERS, flags, id, one)),
  fc.tuple(stream, fc.uint8Array({ maxLength: 300 }), fc.boolean()).map(([id, bytes, end]) =>
    frame(c.DATA, end ? 1 : 0, id, bytes)
  ),
  fc.tuple(stream, fc.constantFrom(1, 1000, 65_535, 2 ** 31 - 1)).map(([id, more]) =>
    frame(c.WINDOW_UPDATE, 0, id, words(more))
  ),
  fc.tuple(stream, fc.constantFrom(0, 5, 8)).map(([id, code]) =>
    frame(c.RST_STREAM, 0, id, words(code))
  ),
  fc.constantFrom(0, 1, 70_000).map((size) =>
    frame(c.SETTINGS, 0, 0, settings([c.SETTINGS_INITIAL_WINDOW_SIZE, size]))
  ),
  fc.constant(frame(c.PING, 0, 0, new Uint8Array(8))),
  fc.constant(frame(c.GOAWAY, 0, 0, new Uint8Array(8))),
  stream.map((id) => frame(c.CONTINUATION, 4, id, REQUEST)),
);

async function run(bytes: Uint8Array, cuts: readonly number[], eager: boolean): Promise<string> {
  const { socket, closed, pass, wheel } = connectHttp2({ serve, eager });
  let from = 0;
  for (const cut of [...cuts, bytes.length]) {
    socket.feed(bytes.subarray(from, cut));
    from = cut;
    await settled();
  }
  const { sent } = socket;
  socket.feedEnd();
  await settled();
  for (let i = 0; i < 20 && closed.count === 0; i++) await pass(10_000);
  assert.equal(closed.count, 1, "the connection ends, and once");
  assert.equal(wheel.size, 0, "no deadline is left behind");
  return Buffer.from(sent).toString("hex");
}

/** What was sent is frames, whole ones. */
function checkSent(sent: string): void {
  const log = new Proxy({}, { get: () => () => {} });
  // The checks of a reader are those of a peer, except that it may not be sent what only clients send.
  const reader = new FrameReader(log as never, false);
  reader.feed(Buffer.from(sent, "hex"));
  assert.ok(reader.atBoundary);
}

Deno.test("frames of all kinds, whole or cut, do no harm and leave nothing behind", async () => {
  const reports = await collectReports(async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.oneof({ weight: 5, arbitrary: sensible }, anything), { maxLength: 25 }),
        fc.boolean(),
        async (frames, eager) => {
          checkSent(await run(Buffer.concat([START, ...frames]), [], eager));
        },
      ),
      { numRuns: 2_000 },
    );
  });
  assert.deepEqual(reports, []);
});

Deno.test("where the bytes are cut makes no difference", async () => {
  const trailers = block(["x-trailer", "1"]);
  const bytes = Buffer.concat([
    START,
    frame(c.HEADERS, 4, 1, REQUEST),
    frame(c.DATA, 0, 1, "some"),
    frame(c.HEADERS, 0, 3, REQUEST.subarray(0, 5)),
    frame(c.CONTINUATION, 4, 3, REQUEST.subarray(5)),
    frame(c.DATA, c.FLAG_PADDED, 3, Buffer.from("\u0002padded\0\0")),
    frame(c.PING, 0, 0, new Uint8Array(8)),
    frame(c.HEADERS, 5, 1, trailers),
    frame(c.DATA, 1, 3, "end"),
  ]);
  const seen = async (cuts: number[], eager: boolean) => {
    const hex = await run(bytes, cuts, eager);
    const contents = new Map<number, string>();
    let ends = 0;
    new FrameReader(
      new Proxy({}, {
        get: (_target, name) => (...args: unknown[]) => {
          if (name === "onHeaders") ends += args[4] === true ? 1 : 0;
          if (name !== "onData") return;
          const [id, data, start, end, , last] = args as [
            number,
            Uint8Array,
            number,
            number,
            number,
            boolean,
          ];
          contents.set(id, (contents.get(id) ?? "") + Buffer.from(data.subarray(start, end)));
          ends += last ? 1 : 0;
        },
      }) as never,
      false,
    ).feed(Buffer.from(hex, "hex"));
    assert.deepEqual([...contents].sort(), [[1, "some"], [3, "paddedend"]]);
    assert.equal(ends, 2);
  };
  for (let cut = 1; cut < bytes.length; cut++) await seen([cut], cut % 2 === 0);
  await seen(Array.from({ length: bytes.length - 1 }, (_, i) => i + 1), true);
});
