import assert from "node:assert/strict";
import fc from "fast-check";
import { ProxyError } from "../../src/base/error.ts";
import { giveBuffer, SMALL_BUFFER, takeBuffer } from "../../src/base/buffer_pool.ts";
import { connectDownstream, echo } from "../support/http1.ts";
import { settled } from "../support/memory_socket.ts";

const SIZES = [SMALL_BUFFER, 4096, 8192, 16_384, 32_768, 65_536, 131_072, 262_144];

/** The payloads of each connection are made of a byte of its own, which nothing else holds. */
const MARK = "\xe0";
const mark = (which: number) => String.fromCharCode(MARK.charCodeAt(0) + which);

/** Fails if any buffer is in the pool twice: two connections would then share it. */
function assertPoolIsSound(): void {
  const taken = new Set<ArrayBufferLike>();
  const all: Uint8Array[] = [];
  for (const size of SIZES) {
    for (let i = 0; i < 300; i++) {
      const buffer = takeBuffer(size);
      assert.equal(buffer.length, size);
      assert(!taken.has(buffer.buffer), `a buffer of ${size} bytes was given back twice`);
      taken.add(buffer.buffer);
      all.push(buffer);
      if (i > 20 && size > 65_536) break;
    }
  }
  for (const buffer of all) giveBuffer(buffer);
}

Deno.test("a buffer given back is handed out again, and only one of that size", () => {
  const buffer = takeBuffer(3000);
  assert.equal(buffer.length, 4096);
  giveBuffer(buffer);
  assert.equal(takeBuffer(4000), buffer);
  const odd = new Uint8Array(5000);
  giveBuffer(odd);
  assert.notEqual(takeBuffer(5000), odd);
  assert.equal(takeBuffer(5_000_000).length, 5_000_000);
});

Deno.test("connections that come, stall, break and go never share a buffer or see each other's bytes", async () => {
  const step = fc.tuple(
    fc.nat(5),
    fc.constantFrom("post", "chunked", "half", "stall", "drain", "break", "end", "bad"),
    fc.integer({ min: 1, max: 40_000 }),
  );
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 40 }),
      fc.constantFrom(1e9, 1000),
      fc.boolean(),
      async (steps, readSize, eager) => {
        const all = Array.from({ length: 6 }, () =>
          connectDownstream({
            readSize,
            eager,
            serve: (session) => echo(session).catch(() => {}),
          }));
        for (const [which, what, size] of steps) {
          const { socket } = all[which]!;
          const body = mark(which).repeat(size);
          const head = `POST / HTTP/1.1\r\nHost: a\r\nX-Pad: ${
            mark(which).repeat(size % 3000)
          }\r\n`;
          if (what === "post") socket.feed(`${head}Content-Length: ${size}\r\n\r\n${body}`);
          else if (what === "half") {
            socket.feed(`${head}Content-Length: ${size + 1}\r\n\r\n${body}`);
          } else if (what === "bad") socket.feed("\x00");
          else if (what === "stall") socket.stalled = true;
          else if (what === "drain") socket.drain();
          else if (what === "end") socket.feedEnd();
          else if (what === "break") socket.break(new ProxyError("read_error", "reset"));
          else {
            socket.feed(
              `${head}Transfer-Encoding: chunked\r\n\r\n${
                size.toString(16)
              }\r\n${body}\r\n0\r\n\r\n`,
            );
          }
          await settled();
        }
        for (const { socket } of all) socket.drain();
        for (let i = 0; i < 3; i++) await settled();
        for (const [which, { socket, connection }] of all.entries()) {
          const foreign = [...socket.text].find((c) => c >= MARK && c !== mark(which));
          assert.equal(foreign, undefined, `connection ${which} got bytes of another one`);
          if (!socket.closed) connection.destroy();
        }
        await settled();
        assertPoolIsSound();
      },
    ),
    { numRuns: 120 },
  );
});
