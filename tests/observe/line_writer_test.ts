import assert from "node:assert/strict";
import fc from "fast-check";
import { LineWriter } from "../../src/observe/line_writer.ts";
import { MemorySink } from "./support.ts";

const droppedLine = (dropped: number) => `dropped ${dropped}`;

Deno.test("lines come out whole, in order, whatever the sink takes at once", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.stringMatching(/^[a-z]{0,30}$/), { maxLength: 50 }),
      fc.integer({ min: 1, max: 40 }),
      async (lines, most) => {
        const sink = new MemorySink();
        sink.most = most;
        const writer = new LineWriter({ sink, droppedLine });
        for (const line of lines) writer.write(line);
        await writer.close();
        assert.deepEqual(sink.lines, lines);
      },
    ),
    { numRuns: 50 },
  );
});

Deno.test("nothing is written before enough has gathered or flush is called", async () => {
  const sink = new MemorySink();
  const writer = new LineWriter({ sink, droppedLine, flushBytes: 100 });
  writer.write("x".repeat(50));
  assert.equal(sink.writes.length, 0);
  await writer.flush();
  assert.equal(sink.lines.length, 1);
  writer.write("x".repeat(99));
  await writer.flush();
  assert.equal(sink.lines.length, 2);
  await writer.close();
  assert.equal(sink.closed, true);
});

Deno.test("a stalled sink costs lines, not memory, and the count is written", async () => {
  const sink = new MemorySink();
  const writer = new LineWriter({ sink, droppedLine, maxBytes: 256 * 1024 });
  sink.stall();
  const line = "y".repeat(1023);
  for (let i = 0; i < 5000; i++) writer.write(line);
  const { dropped } = writer;
  // Two chunks of 128 KiB, and the one that is being written.
  assert.ok(dropped >= 5000 - 3 * 128 && dropped < 5000, String(dropped));
  sink.resume();
  await writer.flush();
  writer.write("after");
  await writer.close();
  const written = sink.lines.filter((one) => one === line).length;
  assert.equal(written + dropped, 5000);
  assert.deepEqual(sink.lines.slice(-2), [`dropped ${dropped}`, "after"]);
});

Deno.test("the count of dropped lines is written at the end when nothing follows", async () => {
  const sink = new MemorySink();
  const writer = new LineWriter({ sink, droppedLine });
  writer.write("z".repeat(200 * 1024));
  await writer.close();
  assert.deepEqual(sink.lines, ["dropped 1"]);
});

Deno.test("a failing sink is reported once, and used again when it works", async () => {
  const errors: unknown[] = [];
  const sink = new MemorySink();
  const writer = new LineWriter({ sink, droppedLine, onError: (error) => errors.push(error) });
  sink.failure = new Error("disk full");
  writer.write("a");
  await writer.flush();
  writer.write("b");
  await writer.flush();
  assert.equal(errors.length, 1);
  sink.failure = null;
  writer.write("c");
  await writer.flush();
  assert.equal(writer.dropped >= 2, true);
  assert.equal(sink.lines.at(-1), "c");
  assert.ok(sink.lines.some((line) => line.startsWith("dropped")));
  await writer.close();
});

Deno.test("writes to a pipe are whole lines of at most PIPE_BUF together", async () => {
  const sink = new MemorySink(4096);
  const writer = new LineWriter({ sink, droppedLine });
  const lines = Array.from({ length: 200 }, (_, i) => `${i}`.padEnd((i * 37) % 900, "."));
  lines.push("w".repeat(6000), "end");
  for (const line of lines) writer.write(line);
  await writer.close();
  assert.deepEqual(sink.lines, lines);
  for (const write of sink.writes) {
    assert.ok(write.endsWith("\n"));
    assert.ok(write.length <= 4096 || write.split("\n").length === 2);
  }
});

Deno.test("reopen happens between two writes", async () => {
  const sink = new MemorySink();
  const writer = new LineWriter({ sink, droppedLine });
  writer.write("a");
  await writer.reopen();
  assert.equal(sink.reopened, 1);
  sink.stall();
  writer.write("b");
  const flushing = writer.flush();
  const reopening = writer.reopen();
  sink.resume();
  await Promise.all([flushing, reopening]);
  assert.equal(sink.reopened, 2);
  assert.deepEqual(sink.lines, ["a", "b"]);
  await writer.close();
});

Deno.test("closing does not wait for a sink that hangs", async () => {
  const sink = new MemorySink();
  const writer = new LineWriter({ sink, droppedLine });
  sink.stall();
  writer.write("a");
  await writer.close(10);
  writer.write("b");
  assert.equal(writer.dropped, 1);
  sink.resume();
});
