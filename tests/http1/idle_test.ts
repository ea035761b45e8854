/** What a connection holds while it waits for its next request. */
import assert from "node:assert/strict";
import { SMALL_BUFFER } from "../../src/base/buffer_pool.ts";
import { answerOk, connectDownstream } from "../support/http1.ts";
import { settled } from "../support/memory_socket.ts";

const GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

Deno.test("an idle connection holds no buffer where the engine wants none, else a small one", async () => {
  for (const readsAhead of [true, false]) {
    const { socket, connection, sessions } = connectDownstream({ readsAhead, eager: !readsAhead });
    for (const request of [GET, GET.replace("\r\n\r\n", `\r\nX: ${"x".repeat(9_000)}\r\n\r\n`)]) {
      socket.feed(request);
      await settled();
      assert(connection.idle);
      assert.equal(connection.input.bytes.length, readsAhead ? 0 : SMALL_BUFFER);
      assert.equal(connection.output.bytes.length, 0);
    }
    assert.equal(sessions.length, 2);
  }
});

Deno.test("buffers that go from one connection to the next show nothing of what they held", async () => {
  const seen: [string, string | null][] = [];
  const serve = (session: Parameters<typeof answerOk>[0]) => {
    seen.push([session.head.target, session.head.fields.get("X-Secret")]);
    answerOk(session);
  };
  for (let round = 0; round < 20; round++) {
    const one = connectDownstream({ readsAhead: true, serve });
    const other = connectDownstream({ readsAhead: true, serve });
    one.socket.feed(
      `GET /one HTTP/1.1\r\nHost: one\r\nX-Secret: ${"s".repeat(round * 50)}\r\n\r\n`,
    );
    await settled();
    // It ends where the other one's goes on, and nothing more has come.
    other.socket.feed("GET /other HTTP/1.1\r\nHost: one");
    await settled();
    assert.equal(seen.length, 2 * round + 1);
    other.socket.feed("\r\n\r\n");
    await settled();
    assert.deepEqual(seen.at(-1), ["/other", null]);
    one.connection.destroy();
    other.connection.destroy();
  }
});
