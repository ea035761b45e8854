/**
 * What every engine must do, whatever carries the bytes: `src/transport/socket.ts` as tests.
 *
 * @module
 */
import { deepEqual, equal, ok } from "node:assert/strict";
import { Recorder, settle } from "../support/recorder.ts";
import { type EngineCase, ENGINES, type Other, type Pair } from "./engines.ts";

const MEBIBYTE = 1024 * 1024;

for (const engine of ENGINES) {
  test(
    engine,
    "gives what was sent, piece by piece, into a small buffer",
    async ({ socket, other }) => {
      const recorder = new Recorder(socket, 7);
      recorder.greedy = true;
      socket.read();
      await send(other, "hello, ");
      await send(other, "world, this is longer than the buffer");
      await recorder.until(() => recorder.text.endsWith("the buffer"));
      equal(recorder.text, "hello, world, this is longer than the buffer");
      equal(recorder.ends, 0);
    },
  );

  test(engine, "calls onRead once per read()", async ({ socket, other }) => {
    const recorder = new Recorder(socket, 4);
    await send(other, "abcdefgh");
    socket.read();
    socket.read();
    equal(recorder.reads, 0, "called from inside read()");
    await recorder.until(() => recorder.reads > 0);
    await settle();
    equal(recorder.text, "abcd");
    socket.read();
    await recorder.until(() => recorder.reads > 1);
    equal(recorder.text, "abcdefgh");
  });

  test(engine, "writes in order and says when all of it is gone", async ({ socket, other }) => {
    const recorder = new Recorder(socket);
    let drained = true;
    for (const word of ["one ", "two ", "three ", "four"]) drained = socket.write(latin1(word));
    equal(recorder.drains, 0, "called from inside write()");
    equal(drained, socket.pending === 0);
    if (!drained) await recorder.until(() => recorder.drains > 0);
    equal(socket.pending, 0);
    equal(await receive(other, 18), "one two three four");
    equal(socket.write(new Uint8Array(0)), true);
  });

  test(
    engine,
    "echoes what a peer sends until it ends, and the end comes once",
    async ({ socket, other }) => {
      const recorder = new Recorder(socket);
      const { onRead } = recorder;
      recorder.onRead = (length) => {
        if (length > 0) socket.write(recorder.readBuffer().slice(0, length));
        onRead.call(recorder, length);
      };
      recorder.greedy = true;
      socket.read();
      const sent = bytes(MEBIBYTE, 3);
      const [back] = await Promise.all([
        receiveBytes(other, MEBIBYTE),
        sendAll(other, sent).then(() => other.closeWrite()),
      ]);
      await recorder.until(() => recorder.ends > 0);
      ok(equalBytes(back, sent));
      socket.read();
      await settle();
      equal(recorder.ends, 1);
      equal(recorder.errors.length, 0);
      equal(socket.closed, false, "the end of one direction is not the end of the connection");
      socket.write(latin1("still here"));
      equal(await receive(other, 10), "still here");
    },
  );

  test(engine, "reads on after closeWrite", async ({ socket, other }) => {
    const recorder = new Recorder(socket);
    socket.write(latin1("question"));
    socket.closeWrite();
    socket.closeWrite();
    equal(await receiveToEnd(other), "question");
    await send(other, "answer");
    socket.read();
    await recorder.until(() => recorder.reads > 0);
    equal(recorder.text, "answer");
    equal(recorder.errors.length, 0);
  });

  test(engine, "ends with what it says is the last, and reads on", async ({ socket, other }) => {
    const recorder = new Recorder(socket);
    socket.write(latin1("the "));
    socket.write(latin1("question"), true);
    socket.closeWrite();
    equal(await receiveToEnd(other), "the question");
    await send(other, "answer");
    socket.read();
    await recorder.until(() => recorder.reads > 0);
    equal(recorder.text, "answer");
    equal(recorder.errors.length, 0);
  });

  test(
    engine,
    "writes on to a peer that has finished writing and reads late",
    async ({ socket, other }) => {
      const recorder = new Recorder(socket);
      recorder.greedy = true;
      socket.read();
      await send(other, "question");
      await other.closeWrite();
      await recorder.until(() => recorder.ends === 1);
      const sent = bytes(16 * MEBIBYTE, 13);
      socket.write(sent);
      await settle(20);
      ok(equalBytes(await receiveBytes(other, sent.length), sent));
      equal(recorder.errors.length, 0);
    },
  );

  test(
    engine,
    "writes on while what the peer has sent before its end is not read",
    async ({ socket, other }) => {
      const recorder = new Recorder(socket);
      for (const word of ["one", "two", "three"]) {
        await send(other, word);
        await settle();
      }
      await other.closeWrite();
      await settle();
      const sent = bytes(16 * MEBIBYTE, 17);
      socket.write(sent);
      await settle(20);
      ok(equalBytes(await receiveBytes(other, sent.length), sent));
      recorder.greedy = true;
      socket.read();
      await recorder.until(() => recorder.ends === 1);
      equal(recorder.text, "onetwothree");
      equal(recorder.errors.length, 0);
    },
  );

  test(engine, "ends after what is pending", async ({ socket, other }) => {
    new Recorder(socket);
    const sent = bytes(8 * MEBIBYTE, 5);
    socket.write(sent);
    socket.closeWrite();
    ok(equalBytes(await receiveBytes(other, sent.length), sent));
    equal(await other.read(new Uint8Array(1)), null);
  });

  test(engine, "moves 64 MiB exactly to a reader that begins late", async ({ socket, other }) => {
    const recorder = new Recorder(socket);
    const piece = bytes(MEBIBYTE, 7);
    let left = 64;
    const fill = () => {
      while (left > 0 && socket.pending < 2 * MEBIBYTE) {
        left--;
        socket.write(piece);
      }
    };
    const { onDrain } = recorder;
    recorder.onDrain = () => {
      onDrain.call(recorder);
      fill();
    };
    fill();
    await settle(10);
    ok(left > 0, "nothing held the writer back");
    const into = new Uint8Array(256 * 1024);
    let got = 0;
    let wrong = 0;
    while (got < 64 * MEBIBYTE) {
      const length = await other.read(into);
      ok(length !== null);
      for (let i = 0; i < length; i++) {
        if (into[i] !== piece[(got + i) % MEBIBYTE]) wrong++;
      }
      got += length;
    }
    equal(got, 64 * MEBIBYTE);
    equal(wrong, 0);
    equal(recorder.errors.length, 0);
  });

  test(
    engine,
    "holds a sender back while nobody reads, then gives every byte",
    async ({ socket, other }) => {
      const recorder = new Recorder(socket);
      socket.read();
      await send(other, "x");
      await recorder.until(() => recorder.bytes === 1);
      const total = 64 * MEBIBYTE;
      const before = Deno.memoryUsage();
      let sent = 0;
      const piece = bytes(MEBIBYTE, 11);
      const sending = (async () => {
        while (sent < total) sent += await other.write(piece.subarray(sent % MEBIBYTE));
      })();
      let last = -1;
      while (sent !== last) {
        last = sent;
        await settle(20);
      }
      ok(sent < total / 2, `${sent} bytes were taken although nobody reads`);
      const after = Deno.memoryUsage();
      const held = after.rss - before.rss;
      ok(held < 48 * MEBIBYTE, `${held} bytes of memory are held although nobody reads`);
      let position = 0;
      let wrong = 0;
      recorder.onRead = (length) => {
        const view = recorder.readBuffer();
        for (let i = 0; i < length; i += 509) {
          if (view[i] !== piece[(position + i) % MEBIBYTE]) wrong++;
        }
        position += length;
        recorder.bytes += length;
        if (position < total) socket.read();
        else recorder.onDrain();
      };
      socket.read();
      await Promise.all([sending, recorder.until(() => position === total)]);
      equal(wrong, 0);
    },
  );

  test(
    engine,
    "calls nobody after destroy, with a read and a write outstanding",
    async ({ socket, other }) => {
      const recorder = new Recorder(socket);
      socket.write(bytes(32 * MEBIBYTE, 1));
      socket.read();
      await settle();
      const { calls } = recorder;
      socket.destroy();
      socket.destroy();
      socket.close();
      equal(socket.closed, true);
      equal(socket.pending, 0);
      await send(other, "late").catch(() => {});
      await settle();
      equal(recorder.calls, calls);
      equal(socket.write(latin1("more")), true);
      socket.read();
      socket.closeWrite();
      await settle();
      equal(recorder.calls, calls);
    },
  );

  test(
    engine,
    "close() first writes what is pending, and calls nobody",
    async ({ socket, other }) => {
      const recorder = new Recorder(socket);
      const sent = bytes(16 * MEBIBYTE, 9);
      socket.write(sent);
      const { calls } = recorder;
      socket.close();
      equal(socket.closed, true);
      ok(equalBytes(await receiveBytes(other, sent.length), sent));
      equal(await other.read(new Uint8Array(1)).catch(() => null), null);
      equal(recorder.calls, calls);
    },
  );

  test(
    engine,
    "close() gives a reader that does not read no more than its time",
    async ({ socket, other }) => {
      const recorder = new Recorder(socket);
      const total = 64 * MEBIBYTE;
      socket.write(bytes(total, 9));
      await settle();
      const { calls } = recorder;
      socket.close(50);
      ok(socket.pending > 0);
      const start = performance.now();
      while (socket.pending > 0) await settle(1);
      ok(performance.now() - start < 20_000);
      equal(recorder.calls, calls);
      const got = await drained(other);
      ok(got < total, "all of it was sent after all");
    },
  );

  test(engine, "tells a broken connection once", async ({ socket, other }) => {
    const recorder = new Recorder(socket);
    recorder.greedy = true;
    socket.read();
    // Unread data makes the close a reset (RFC 9293 §3.10.7); a write to it fails as well.
    socket.write(latin1("never read"));
    await settle();
    other.close();
    await settle();
    for (let i = 0; i < 50 && !socket.closed; i++) {
      socket.write(latin1("more"));
      await settle(1);
    }
    equal(recorder.errors.length, 1);
    equal(socket.closed, true);
    const [error] = recorder.errors;
    ok(["connection_closed", "read_error", "write_error"].includes(error!.type), error!.explain());
    const { calls } = recorder;
    await settle();
    equal(recorder.calls, calls);
  });

  test(engine, "gives what arrived before the connection broke", async ({ socket, other }) => {
    const recorder = new Recorder(socket);
    recorder.greedy = true;
    socket.write(latin1("unread"));
    await settle();
    await send(other, "too large");
    other.close();
    socket.read();
    await recorder.until(() => recorder.bytes >= 9 || recorder.errors.length > 0);
    equal(recorder.text.slice(0, 9), "too large");
  });

  test(
    engine,
    "a handler that throws loses its connection and nothing else",
    async ({ socket, other }) => {
      const recorder = new Recorder(socket);
      recorder.onRead = () => {
        throw new Error("a bug");
      };
      socket.read();
      await send(other, "x");
      await recorder.until(() => recorder.errors.length > 0);
      deepEqual(recorder.errors.map((error) => error.type), ["internal_error"]);
      equal(socket.closed, true);
    },
  );

  test(
    engine,
    "a handler that throws from readBuffer and onError is contained",
    async ({ socket, other }) => {
      const recorder = new Recorder(socket);
      let thrown = 0;
      const fail = () => {
        thrown++;
        throw new Error("a bug");
      };
      recorder.readBuffer = fail;
      recorder.onError = fail;
      socket.read();
      await send(other, "x").catch(() => {});
      while (!socket.closed) await settle(1);
      equal(thrown, 2);
    },
  );

  test(engine, "knows who is at its ends", ({ socket }) => {
    if (engine.name.includes("unix")) {
      equal(socket.remote.kind, "unix");
    } else {
      ok(socket.remote.kind === "tcp" && socket.local.kind === "tcp");
      equal(socket.remote.host, "127.0.0.1");
      equal(socket.local.host, "127.0.0.1");
      ok(socket.remote.port > 0 && socket.local.port > 0);
    }
    equal(socket.tls === null, !engine.tls);
    return Promise.resolve();
  });
}

function test(engine: EngineCase, what: string, run: (pair: Pair) => Promise<void>): void {
  Deno.test(`${engine.name}: ${what}`, { ignore: engine.ignore }, async () => {
    const pair = await engine.pair();
    try {
      await run(pair);
    } finally {
      pair.socket.destroy();
      try {
        pair.other.close();
      } catch {
        // The test closed it.
      }
    }
  });
}

function latin1(text: string): Uint8Array {
  return Uint8Array.from(text, (char) => char.charCodeAt(0));
}

/** Bytes that differ from one another, so that a piece in the wrong place shows. */
function bytes(length: number, seed: number): Uint8Array {
  const made = new Uint8Array(length);
  let state = seed;
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1103515245) + 12345) | 0;
    made[i] = state >>> 16;
  }
  return made;
}

function equalBytes(one: Uint8Array, two: Uint8Array): boolean {
  return one.length === two.length && one.every((byte, i) => byte === two[i]);
}

async function send(other: Other, text: string): Promise<void> {
  await sendAll(other, latin1(text));
}

async function sendAll(other: Other, all: Uint8Array): Promise<void> {
  for (let at = 0; at < all.length;) at += await other.write(all.subarray(at));
}

async function receiveBytes(other: Other, length: number): Promise<Uint8Array> {
  const into = new Uint8Array(length);
  for (let at = 0; at < length;) {
    const got = await other.read(into.subarray(at));
    if (got === null) return into.subarray(0, at);
    at += got;
  }
  return into;
}

async function receive(other: Other, length: number): Promise<string> {
  return String.fromCharCode(...await receiveBytes(other, length));
}

async function receiveToEnd(other: Other): Promise<string> {
  let text = "";
  const into = new Uint8Array(1024);
  for (;;) {
    const got = await other.read(into);
    if (got === null) return text;
    text += String.fromCharCode(...into.subarray(0, got));
  }
}

/** Reads until the end or a reset; returns how much came. */
async function drained(other: Other): Promise<number> {
  const into = new Uint8Array(256 * 1024);
  let all = 0;
  try {
    for (let got = await other.read(into); got !== null; got = await other.read(into)) all += got;
  } catch {
    // A reset: what was pending was dropped.
  }
  return all;
}
