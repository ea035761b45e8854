/** The end of a connection whose client said that it sends nothing after its request. */
import assert from "node:assert/strict";
import { Fields } from "../../src/http/fields.ts";
import { ResponseHead } from "../../src/http/message.ts";
import {
  answerOk,
  bytes,
  connectDownstream,
  type DownstreamTestOptions,
} from "../support/http1.ts";
import { settled } from "../support/memory_socket.ts";

const LAST = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
const OLD = "GET / HTTP/1.0\r\n\r\n";

async function sent(text: string, options: DownstreamTestOptions = {}) {
  const test = connectDownstream(options);
  test.socket.feed(text);
  await settled();
  return test;
}

Deno.test("a client that asked for the end has it with its answer, and is not waited for", async () => {
  for (const request of [LAST, OLD]) {
    const { socket, closed } = await sent(request);
    assert.match(socket.text, /\r\nConnection: close\r\n.*ok$/s);
    assert(socket.closed && socket.finished && !socket.destroyed);
    assert.equal(closed.count, 1);
    assert.equal(socket.reads, 1);
  }
});

Deno.test("who did not ask for it, or may send more, gets time to read", async () => {
  const filling = `${LAST.slice(0, -2)}X: `;
  const cases: Readonly<Record<string, readonly [string, DownstreamTestOptions?]>> = {
    "we end it": ["GET / HTTP/1.1\r\nHost: a\r\n\r\n", { limits: { requestsPerConnection: 1 } }],
    "more came": [LAST + "GET"],
    "content came": [
      "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n\r\nab",
    ],
    "the last read filled its buffer": [
      `${filling}${"x".repeat(2048 - filling.length - 4)}\r\n\r\n`,
    ],
    "it was refused": ["GET / HTTP/1.1\r\nConnection: close\r\n\r\n"],
  };
  for (const [name, [request, options]] of Object.entries(cases)) {
    const { socket, closed, pass } = await sent(request, options);
    assert.match(socket.text, /\r\nConnection: close\r\n/, name);
    assert(socket.finished && !socket.closed, name);
    await pass(2_100);
    assert.equal(closed.count, 1, name);
  }
});

Deno.test("what is still to be done for its request does not keep it", async () => {
  const gate = Promise.withResolvers<void>();
  const { socket, closed } = await sent(LAST, {
    async serve(session) {
      answerOk(session);
      await gate.promise;
    },
  });
  assert.match(socket.text, /ok$/);
  assert(socket.closed && !socket.destroyed);
  assert.equal(closed.count, 0);
  gate.resolve();
  await settled();
  assert.equal(closed.count, 1);
});

Deno.test("a tunnel that it asked for stays open, and says of nothing that it is the last", async () => {
  const request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close, upgrade\r\nUpgrade: x\r\n\r\n";
  const { socket, sessions } = await sent(request, {
    serve(session) {
      const fields = Fields.from([["Upgrade", "x"], ["Connection", "upgrade"]]);
      session.writeHead(new ResponseHead(101, fields), { kind: "none" });
      session.startTunnel();
      session.writeBody(bytes("hello"), false);
      session.flush();
      return new Promise<void>(() => {});
    },
  });
  assert.match(socket.text, /hello$/);
  assert(!socket.closed && !socket.finished && !socket.endedByWrite);
  sessions[0]!.closeTunnelWrite();
  assert(socket.finished && !socket.closed);
});

Deno.test("the end waits until all of the answer is with the kernel", async () => {
  const { socket, closed } = connectDownstream();
  socket.stalled = true;
  socket.feed(LAST);
  await settled();
  assert.equal(socket.closed, false);
  socket.drain();
  await settled();
  assert.match(socket.text, /ok$/);
  assert(socket.closed && !socket.destroyed);
  assert.equal(closed.count, 1);
});

Deno.test("a client that was to send nothing more is missed when its answer takes a while", async () => {
  const { socket, sessions, pass } = await sent(LAST, {
    serve: () => new Promise<void>(() => {}),
  });
  let failed = "";
  sessions[0]!.onFailure = (error) => failed = error.type;
  assert.equal(socket.reads, 1);
  socket.feedEnd();
  await pass(20);
  assert.equal(failed, "");
  await pass(60);
  assert.equal(socket.reads, 2);
  assert.equal(failed, "client_closed");
});

Deno.test("the look after such a client ends nothing that is still to be flushed", async () => {
  const gate = Promise.withResolvers<void>();
  const { socket, pass } = await sent(LAST, {
    async serve(session) {
      await gate.promise;
      answerOk(session);
    },
  });
  socket.stalled = true;
  gate.resolve();
  await pass(100);
  assert.equal(socket.closed, false);
  socket.drain();
  await settled();
  assert.match(socket.text, /ok$/);
  assert(socket.closed && !socket.destroyed);
});
