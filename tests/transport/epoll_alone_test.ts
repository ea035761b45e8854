/** Engine `epoll` beyond what all engines have to do: addresses, the runtime's own loop, sleep, and what is left open. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { turnsOfThread } from "../../src/base/turns.ts";
import type { Socket } from "../../src/transport/socket.ts";
import { dialEpoll } from "../../src/transport/epoll/epoll_dial.ts";
import { EpollSocket } from "../../src/transport/epoll/epoll_socket.ts";
import {
  EpollLoop,
  READABLE,
  type Watched,
  WRITABLE,
} from "../../src/transport/epoll/event_loop.ts";
import { LeftBehind } from "../../src/transport/epoll/left_behind.ts";
import { epollLoop } from "../../src/transport/epoll/loop.ts";
import { runtimeLoop } from "../../src/transport/epoll/runtime_loop.ts";
import { packAddress, unpackAddress } from "../../src/transport/epoll/socket_address.ts";
import {
  epollAvailable,
  type SystemCalls,
  systemCalls,
} from "../../src/transport/epoll/system_calls.ts";
import { Recorder } from "../support/recorder.ts";
import { listenBy } from "./listen_by.ts";

const ignore = !epollAvailable();

Deno.test("addresses come back from the kernel's form as they went in", () => {
  const port = fc.integer({ min: 0, max: 65_535 });
  fc.assert(fc.property(fc.ipV4(), port, (host, port) => {
    const address = { kind: "tcp", host, port } as const;
    assert.deepEqual(unpackAddress(packAddress(address)), address);
  }));
  fc.assert(fc.property(fc.ipV6(), port, (host, port) => {
    const once = unpackAddress(packAddress({ kind: "tcp", host, port }));
    assert.deepEqual(unpackAddress(packAddress(once)), once);
    assert.equal(once.port, port);
  }));
  const mapped = packAddress({ kind: "tcp", host: "::ffff:192.0.2.7", port: 80 });
  assert.deepEqual(unpackAddress(mapped), { kind: "tcp", host: "192.0.2.7", port: 80 });
  const local = packAddress({ kind: "tcp", host: "2001:db8::1", port: 443 });
  assert.deepEqual(unpackAddress(local), { kind: "tcp", host: "2001:db8::1", port: 443 });
});

Deno.test({
  name: "the loop of this runtime is found, so that a thread may nap without being deaf to it",
  ignore,
  fn() {
    const found = runtimeLoop(systemCalls()!);
    assert.ok(found !== null && found > 2);
    assert.equal(Deno.readLinkSync(`/proc/self/fd/${found}`), "anon_inode:[eventpoll]");
  },
});

Deno.test("a socket that has closed its descriptor touches it no more: it is somebody else's at once", () => {
  const touched: string[] = [];
  const turns: Watched[] = [];
  const call = (name: string, result: number) => () => {
    touched.push(name);
    return result;
  };
  const loop = {
    calls: {
      recv: call("recv", 1),
      send: call("send", -1),
      shutdown: call("shutdown", 0),
      errno: () => 11,
    },
    again: (watched: Watched) => turns.push(watched),
    close: call("close", 0),
  } as unknown as EpollLoop;
  const nowhere = { kind: "tcp", host: "127.0.0.1", port: 1 } as const;
  const socket = new EpollSocket(loop, 3, { remote: nowhere, local: nowhere, tls: null });
  // Bytes come, are asked for in the next turn, and the socket is closed before that; something else is not sent yet.
  socket.onEvents(READABLE);
  socket.read();
  socket.write(new Uint8Array(8));
  assert.equal(turns.length, 1);
  socket.destroy();
  touched.length = 0;
  turns[0]!.onTurn();
  socket.onEvents(READABLE | WRITABLE);
  socket.read();
  socket.write(new Uint8Array(8));
  socket.closeWrite();
  socket.close();
  socket.destroy();
  assert.deepEqual(touched, []);
});

/** A connection and its other end. */
async function pair(): Promise<{ socket: Socket; other: Deno.TcpConn }> {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const [other, socket] = await Promise.all([
    listener.accept(),
    dialEpoll(epollLoop()!, { kind: "tcp", host: "127.0.0.1", port: listener.addr.port }, {
      timeout: 5_000,
      tcpKeepAlive: 0,
    }),
  ]);
  listener.close();
  return { socket, other };
}

/** How many segments a connection has sent. */
function segmentsSent(descriptor: number): number {
  const [tcp, tcpInfo, segmentsOut, size] = [6, 11, 136, 144];
  const info = new Uint8Array(size);
  const length = new Uint8Array(new Uint32Array([size]).buffer);
  assert.equal(systemCalls()!.getsockopt(descriptor, tcp, tcpInfo, info, length), 0);
  return new DataView(info.buffer).getUint32(segmentsOut, true);
}

const background = { ignore, sanitizeOps: false, sanitizeResources: false };

Deno.test({
  name: "what is said to be the last goes out with the end, in one segment",
  ...background,
  async fn() {
    const sent = async (last: boolean) => {
      const { socket, other } = await pair();
      const { descriptor } = socket as EpollSocket;
      const before = segmentsSent(descriptor);
      socket.write(new Uint8Array(100), last);
      socket.closeWrite();
      const count = segmentsSent(descriptor) - before;
      socket.close();
      other.close();
      return count;
    };
    // Another segment may be sent again now and then.
    const least = async (last: boolean) =>
      Math.min(await sent(last), await sent(last), await sent(last));
    assert.equal(await least(true), 1);
    assert.equal(await least(false), 2);
  },
});

Deno.test({
  name: "bytes that nobody has read do not take the last ones that were written",
  ...background,
  async fn() {
    const { socket, other } = await pair();
    await other.write(new Uint8Array(10));
    socket.write(new Uint8Array(100), true);
    socket.close();
    const bytes = new Uint8Array(200);
    let length = 0;
    while (length < 100) length += (await other.read(bytes.subarray(length)))!;
    assert.equal(length, 100);
    other.close();
  },
});

Deno.test({
  name: "a connection is heard after the thread has slept, and what it sends meanwhile goes out",
  ignore,
  // Another thread waits for a second at most after the last socket is gone.
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    const { socket, other } = await pair();
    const recorder = new Recorder(socket);
    recorder.greedy = true;
    socket.read();
    for (let round = 1; round <= 2; round++) {
      await new Promise((resolve) => setTimeout(resolve, 600));
      await other.write(new TextEncoder().encode("awake? "));
      await recorder.until(() => recorder.text === "awake? ".repeat(round));
      await new Promise((resolve) => setTimeout(resolve, 600));
      socket.write(new TextEncoder().encode("yes"));
      const answer = new Uint8Array(3);
      assert.equal(await other.read(answer), 3);
    }
    socket.destroy();
    assert.equal(await other.read(new Uint8Array(1)), null);
    other.close();
  },
});

Deno.test({
  name: "what other threads write is looked for in each turn, and they are told before it is not",
  ignore,
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    const { socket, other } = await pair();
    let looks = 0;
    let mayWait = true;
    const lookout = {
      isDue: false,
      look() {
        looks++;
        return false;
      },
      mayWait: () => mayWait,
    };
    const until = async (holds: () => boolean) => {
      while (!holds()) await new Promise((resolve) => setTimeout(resolve, 5));
    };
    turnsOfThread.add(lookout);
    try {
      // It rests after a while of nothing, and turns again when something comes.
      await until(() => looks > 0 && !turnsOfThread.coming);
      socket.handler = new Recorder(socket);
      socket.read();
      await other.write(new Uint8Array([1]));
      await until(() => turnsOfThread.coming);
      // It does not rest while others would not wake it.
      mayWait = false;
      const before = looks;
      await until(() => looks > before + 500);
      assert.equal(turnsOfThread.coming, true);
      mayWait = true;
      await until(() => !turnsOfThread.coming);
    } finally {
      turnsOfThread.delete(lookout);
    }
    socket.destroy();
    other.close();
  },
});

Deno.test({
  name: "where another thread has to answer, waits begin short and get longer, each time anew",
  ignore,
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    const calls = systemCalls()!;
    const growing = ["yield", "yield", 50_000, 100_000, 200_000, 400_000, 800_000, "nap", "nap"];
    const expected = [...growing, ...growing.slice(0, 4), "nap", "nap"];
    const waits: unknown[] = [];
    const lookout = { isDue: true, look: () => false, mayWait: () => true };
    const loop = new EpollLoop({
      ...calls,
      sched_yield() {
        waits.push("yield");
        return 0;
      },
      ppoll(_descriptors: unknown, _count: number, time: Uint8Array) {
        waits.push(Number(new DataView(time.buffer).getBigInt64(8, true)));
        return 0;
      },
      epoll_wait(descriptor: number, events: Uint8Array<ArrayBuffer>, most: number, ms: number) {
        if (ms > 0 && waits.push("nap") === growing.length) turnsOfThread.isStirred = true;
        // With nothing due there is no reason to hurry.
        if (waits.length === growing.length + 4) lookout.isDue = false;
        return calls.epoll_wait(descriptor, events, most, 0);
      },
    } as unknown as SystemCalls);
    const quiet = { descriptor: calls.eventfd(0, 0), onEvents() {}, onTurn() {} };
    turnsOfThread.add(lookout);
    try {
      turnsOfThread.isStirred = true;
      loop.add(quiet);
      while (waits.length < expected.length) await new Promise((resolve) => setTimeout(resolve, 5));
      assert.deepEqual(waits.slice(0, expected.length), expected);
    } finally {
      turnsOfThread.delete(lookout);
      loop.close(quiet);
    }
  },
});

Deno.test({
  name: "the runtime gets to its own sockets while those of the loop are busy",
  ignore,
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    // Two sockets of the loop that never let each other rest.
    let rounds = 0;
    let over = false;
    const echo = (socket: Socket) => {
      const bytes = new Uint8Array(64);
      socket.handler = {
        readBuffer: () => bytes,
        onRead(length) {
          rounds++;
          // As long as a turn takes that serves a few requests.
          for (const end = performance.now() + 0.2; performance.now() < end;);
          if (over || length === 0) return socket.destroy();
          socket.write(bytes.slice(0, length));
          socket.read();
        },
        onDrain: () => {},
        onError: () => {},
      };
      socket.read();
    };
    const came = Promise.withResolvers<Socket>();
    const options = { name: "echo", onSocket: came.resolve, onError: came.reject };
    const address = { kind: "tcp", host: "127.0.0.1", port: 0 } as const;
    const listener = await listenBy("epoll", { ...options, address });
    const { port } = listener.address as typeof address;
    const near = await dialEpoll(epollLoop()!, { ...address, port }, {
      timeout: 5_000,
      tcpKeepAlive: 0,
    });
    const far = await came.promise;
    listener.close();
    echo(near);
    echo(far);
    near.write(new Uint8Array([1]));
    // A socket of the runtime, which another thread answers a hundred times.
    const thread = new Worker(new URL("./echo_thread.ts", import.meta.url), { type: "module" });
    const at = await new Promise<number>((resolve) =>
      thread.onmessage = (event) => resolve(event.data)
    );
    const plain = await Deno.connect({ hostname: "127.0.0.1", port: at });
    const byte = new Uint8Array(1);
    // While the other thread has no core, the loop has turns for nothing: the least of some rounds counts.
    let meanwhile = Infinity;
    for (let round = 0; round < 20 && meanwhile >= 1_500; round++) {
      const before = rounds;
      for (let i = 0; i < 100; i++) {
        await plain.write(byte);
        await plain.read(byte);
      }
      meanwhile = Math.min(meanwhile, rounds - before);
    }
    over = true;
    plain.close();
    thread.terminate();
    assert.ok(meanwhile > 0, "the sockets of the loop stood still");
    assert.ok(meanwhile < 1_500, `${meanwhile} turns for 100 answers`);
    near.destroy();
    far.destroy();
  },
});

Deno.test({
  name: "what a thread leaves behind is cut while it runs, and closed when it has ended",
  ignore,
  async fn() {
    const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const worker = new Worker(new URL("./epoll_thread.ts", import.meta.url), { type: "module" });
    const told = new Promise<{ descriptor: number; thread: number }>((resolve) =>
      worker.onmessage = ({ data }) => resolve(data)
    );
    worker.postMessage(listener.addr.port);
    const [other, loop] = await Promise.all([listener.accept(), told]);
    listener.close();
    const left = LeftBehind.load()!;
    assert.equal(left.close(loop), false, "the thread runs");
    left.cut(loop);
    assert.equal(await other.read(new Uint8Array(1)), null);
    other.close();
    worker.terminate();
    while (!left.close(loop)) await new Promise((resolve) => setTimeout(resolve, 10));
    assert.throws(() => Deno.readLinkSync(`/proc/self/fdinfo/${loop.descriptor}`));
    left.unload();
  },
});
