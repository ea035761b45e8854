import assert from "node:assert/strict";
import fc from "fast-check";
import { Fields } from "../../src/http/fields.ts";
import { RequestHead, ResponseHead } from "../../src/http/message.ts";
import type { Http2Limits } from "../../src/http2/limits.ts";
import { Http2Pair, type StreamLog } from "../support/http2_pair.ts";

/** Sends back what comes, piece by piece, and ends with trailers. */
async function echo({ stream }: StreamLog): Promise<void> {
  stream.sendResponse(new ResponseHead(200), -1, false);
  while (!stream.content.done) {
    const piece = await stream.content.read();
    await stream.send(piece, false);
  }
  stream.sendTrailers(Fields.from([["x-length", String(stream.bytesSent)]]));
  stream.release();
}

async function upload({ stream }: StreamLog, pieces: readonly Uint8Array[]): Promise<void> {
  const head = new RequestHead({
    method: "POST",
    version: 20,
    target: "/",
    fields: Fields.from([["Host", "a"], ["X-Pad", "p".repeat(pieces.length * 50)]]),
  });
  stream.sendRequest(head, "https", "", -1, false);
  for (const piece of pieces) {
    // The bytes are the caller's again: what is overwritten must have been sent.
    const lent = piece.slice();
    await stream.send(lent, false);
    lent.fill(0xee);
  }
  await stream.send(new Uint8Array(0), true);
}

async function download({ stream }: StreamLog): Promise<Uint8Array> {
  const bytes: number[] = [];
  while (!stream.content.done) {
    for (const byte of await stream.content.read()) bytes.push(byte);
  }
  return Uint8Array.from(bytes);
}

function joined(pieces: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    out.set(piece, at);
    at += piece.length;
  }
  return out;
}

const piece = fc.tuple(
  fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 20_000 })),
  fc.nat(255),
).map(([length, first]) => Uint8Array.from({ length }, (_, i) => (first + i * 7) & 255));

const limits: fc.Arbitrary<Partial<Http2Limits>> = fc.record({
  streamWindow: fc.constantFrom(1, 100, 1000, 5000, 65_535, 200_000),
  connectionWindow: fc.constantFrom(65_535, 100_000, 1_000_000),
  outputBytes: fc.constantFrom(1, 1000, 16_384, 131_072),
});

Deno.test("whatever the windows, all streams come through whole, and all windows come back", async () => {
  await fc.assert(
    fc.asyncProperty(
      limits,
      limits,
      fc.array(fc.array(piece, { maxLength: 8 }), { minLength: 1, maxLength: 6 }),
      fc.boolean(),
      async (client, server, uploads, stalls) => {
        const pair = new Http2Pair(client, server);
        pair.stalls = stalls;
        await pair.run();
        const total = uploads.flat().reduce((sum, one) => sum + one.length, 0);
        // A window of one byte is one frame for each byte: enough is enough.
        const tiny = Math.min(client.streamWindow!, server.streamWindow!);
        fc.pre(total / tiny < 3_000);
        const logs = uploads.map(() => pair.client.open());
        const work = logs.map(async (log, i) => {
          const [, got] = await Promise.all([upload(log, uploads[i]!), download(log)]);
          assert.deepEqual(got, joined(uploads[i]!));
          assert.equal(log.stream.content.trailers?.get("x-length"), String(got.length));
          log.stream.release();
        });
        const done = Promise.all(work);
        let over = false;
        done.then(() => over = true, () => over = true);
        let served = 0;
        for (let round = 0; !over; round++) {
          assert.ok(round < 50_000, "it comes to an end");
          await pair.run();
          for (; served < pair.server.streams.length; served++) {
            echo(pair.server.streams[served]!).catch(() => {});
          }
        }
        await done;
        await pair.run();
        assert.deepEqual([pair.client.faults, pair.server.faults], [[], []]);
        assert.deepEqual([pair.client.connection.live, pair.server.connection.live], [0, 0]);
      },
    ),
    { numRuns: 100 },
  );
});
