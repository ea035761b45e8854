import assert from "node:assert/strict";
import type { DownstreamSession } from "../../../src/http/session.ts";
import { ProxyError } from "../../../src/base/error.ts";
import { ResponseHead } from "../../../src/http/message.ts";
import { type RequestCase, REQUESTS } from "../../cases/requests.ts";
import { bytes, connectDownstream, echo } from "../../support/http1.ts";
import { type MemorySocketOptions, settled } from "../../support/memory_socket.ts";

/** Serves as the proxy does: what fails while content is read is answered with the error's status. */
async function serve(session: DownstreamSession): Promise<void> {
  try {
    await echo(session);
  } catch (error) {
    assert(error instanceof ProxyError);
    session.writeHead(new ResponseHead(error.status), { kind: "none" });
  }
}

async function run(one: RequestCase, pieces: string[], options: MemorySocketOptions) {
  // Looked at while it is served: afterwards the received bytes are gone.
  const seen = { target: "", authority: "" };
  const { socket, sessions } = connectDownstream({
    ...options,
    serve(session) {
      seen.target = session.head.target;
      seen.authority = session.head.authority;
      return serve(session);
    },
  });
  for (const piece of pieces) {
    socket.feed(bytes(piece));
    if (pieces.length > 1) await settled();
  }
  await settled();
  if (options.readSize === 1) { for (let i = 0; i < 3; i++) await settled(); }
  const status = Number(socket.text.slice(9, 12));
  const where = `${one.name}: ${JSON.stringify(pieces)}`;
  if (one.verdict === "ok") {
    assert.equal(status, 200, where);
    assert.equal(sessions.length, 1, where);
    assert.equal(socket.text.match(/HTTP\/1\.1 /g)?.length, 1, where);
    if (one.target !== undefined) assert.equal(seen.target, one.target, where);
    if (one.authority !== undefined) assert.equal(seen.authority, one.authority, where);
    if (one.body !== undefined) assert.equal(socket.text.split("\r\n\r\n")[1], one.body, where);
    return;
  }
  assert.equal(status, one.verdict, where);
  assert.match(socket.text, /\r\nConnection: close\r\n/, where);
  // Whatever follows on the connection is never taken for a request.
  socket.feed("GET /next HTTP/1.1\r\nHost: a\r\n\r\n");
  await settled();
  assert.equal(socket.text.match(/HTTP\/1\.1 /g)?.length, 1, where);
  assert(socket.finished, where);
}

for (const [section, cases] of Object.entries(REQUESTS)) {
  Deno.test(`RFC 9112 ${section}: every case gets its verdict`, async (t) => {
    for (const one of cases) {
      await t.step(`${one.name} → ${one.verdict}`, async () => {
        await run(one, [one.raw], {});
        await run(one, [one.raw], { eager: true });
        await run(one, [one.raw], { readSize: 1 });
        for (let cut = 1; cut < one.raw.length; cut++) {
          await run(one, [one.raw.slice(0, cut), one.raw.slice(cut)], {});
        }
      });
    }
  });
}
