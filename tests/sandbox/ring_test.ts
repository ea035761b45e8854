import assert from "node:assert/strict";
import fc from "fast-check";
import { ProtocolError } from "../../src/sandbox/protocol.ts";
import {
  makeRingMemory,
  RING_BYTES,
  RING_MEMORY,
  RingReader,
  RingWriter,
} from "../../src/sandbox/ring.ts";

/** Bytes that are all different enough for a misplaced one to be seen. */
function bytesFrom(seed: number, length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  let state = seed | 1;
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
}

Deno.test("a ring behaves like a bounded queue of bytes, however often it goes around", () => {
  const step = fc.record({
    write: fc.integer({ min: 0, max: RING_BYTES / 4 + 100 }),
    read: fc.integer({ min: 0, max: RING_BYTES / 4 + 100 }),
  });
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 30 }), fc.integer(), (steps, seed) => {
      const memory = makeRingMemory(2)!;
      const writer = new RingWriter(memory, 1);
      const reader = new RingReader(memory, 1);
      const source = bytesFrom(seed, RING_BYTES * 3);
      const into = new Uint8Array(RING_BYTES + 400);
      let written = 0;
      let read = 0;
      for (const { write, read: wanted } of steps) {
        const to = Math.min(source.length, written + write * 4);
        const free = RING_BYTES - (written - read);
        const stopped = writer.write(source, written, to);
        assert.equal(stopped, Math.min(to, written + free));
        written = stopped;
        const length = reader.read(into.subarray(0, wanted * 4));
        assert.equal(length, Math.min(wanted * 4, written - read));
        assert.deepEqual(into.subarray(0, length), source.subarray(read, read + length));
        read += length;
      }
    }),
    { numRuns: 50 },
  );
});

Deno.test("two threads pass bytes through two rings, and every byte comes as it was", async () => {
  const memory = makeRingMemory(2)!;
  const total = 16 * RING_BYTES;
  const url = new URL("./fixtures/ring_peer.ts", import.meta.url);
  const peer = new Worker(url, { type: "module" });
  const done = new Promise((resolve) => peer.onmessage = resolve);
  peer.postMessage({ memory, total });
  const writer = new RingWriter(memory, 0);
  const reader = new RingReader(memory, 1);
  const source = bytesFrom(7, total);
  const result = new Uint8Array(total);
  let read = 0;
  for (let written = 0, turn = 1; read < total; turn++) {
    // Lengths that fit into nothing, so that pieces end everywhere.
    const to = Math.min(total, written + 4 * (turn * 7919 % 30011 + 1));
    written = writer.write(source, written, to);
    read += reader.read(result.subarray(read));
    if (turn % 64 === 0) await new Promise((resolve) => setTimeout(resolve, 0));
  }
  await done;
  peer.terminate();
  assert.ok(result.every((byte, i) => byte === source[i]));
});

Deno.test("positions run over the end of the numbers, and the ring goes on", () => {
  const memory = makeRingMemory(1)!;
  const writer = new RingWriter(memory, 0);
  const reader = new RingReader(memory, 0);
  const block = bytesFrom(3, RING_BYTES - 4);
  const into = new Uint8Array(RING_BYTES);
  const positions: number[] = [];
  for (let i = 0; i < 6; i++) {
    assert.equal(writer.write(block, 0, block.length), block.length);
    assert.equal(reader.read(into), block.length);
    assert.deepEqual(into.subarray(0, block.length), block);
    positions.push(new Int32Array(memory, 0, 1)[0]!);
  }
  assert.ok(positions[0]! > 0 && positions.at(-1)! < 0, String(positions));
});

Deno.test("a reader that sleeps is to be woken once, and does not fall asleep over what came", () => {
  const memory = makeRingMemory(1)!;
  const writer = new RingWriter(memory, 0);
  const reader = new RingReader(memory, 0);
  assert.equal(writer.mustWake(), false);
  assert.equal(reader.sleep(), true);
  writer.write(new Uint8Array(8), 0, 8);
  assert.equal(writer.mustWake(), true);
  assert.equal(writer.mustWake(), false);
  assert.equal(reader.sleep(), false);
  assert.equal(writer.mustWake(), false);
});

Deno.test("a writer that finds no room is to be woken once, and does not wait if there is some", () => {
  const memory = makeRingMemory(1)!;
  const writer = new RingWriter(memory, 0);
  const reader = new RingReader(memory, 0);
  const all = new Uint8Array(RING_BYTES + 8);
  assert.equal(writer.write(all, 0, all.length), RING_BYTES);
  assert.equal(writer.write(all, RING_BYTES, all.length), RING_BYTES);
  assert.equal(writer.waitForRoom(), true);
  assert.equal(reader.read(new Uint8Array(4)), 4);
  assert.equal(reader.mustWake(), true);
  assert.equal(reader.mustWake(), false);
  assert.equal(writer.waitForRoom(), false);
  assert.equal(writer.write(all, RING_BYTES, all.length), RING_BYTES + 4);
});

Deno.test("whatever stands in the shared words, nothing is read or written outside of its ring", () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(47), fc.integer()), { minLength: 1, maxLength: 8 }),
      fc.integer({ min: 0, max: 100 }),
      (scribbles, length) => {
        const memory = makeRingMemory(3)!;
        const around = [0, 2].map((ring) =>
          new Uint8Array(memory, ring * RING_MEMORY, RING_MEMORY).fill(0xa5)
        );
        const writer = new RingWriter(memory, 1);
        const reader = new RingReader(memory, 1);
        const words = new Int32Array(memory, RING_MEMORY, 48);
        const bytes = new Uint8Array(400);
        const into = new Uint8Array(RING_BYTES);
        writer.write(bytes, 0, length * 4);
        for (const [word, value] of scribbles) {
          words[word] = value;
          try {
            assert.ok(reader.read(into) <= RING_BYTES);
            assert.ok(writer.write(bytes, 0, length * 4) <= length * 4);
            writer.mustWake();
            reader.mustWake();
            reader.sleep();
            writer.waitForRoom();
          } catch (error) {
            assert.ok(error instanceof ProtocolError, String(error));
          }
        }
        for (const bytes of around) assert.ok(bytes.every((byte) => byte === 0xa5));
      },
    ),
    { numRuns: 40 },
  );
});
