import assert from "node:assert/strict";
import fc from "fast-check";
import { ProxyError } from "../../src/base/error.ts";
import { Fields } from "../../src/http/fields.ts";
import { RequestHead, ResponseHead } from "../../src/http/message.ts";
import { type DownstreamSession, NO_CONTENT, STREAM } from "../../src/http/session.ts";
import { REQUESTS } from "../cases/requests.ts";
import {
  bytes,
  collectReports,
  connectDownstream,
  connectUpstream,
  echo,
  readAll,
  text,
  withoutDate,
} from "../support/http1.ts";
import { settled } from "../support/memory_socket.ts";

async function echoOrError(session: DownstreamSession): Promise<void> {
  try {
    await echo(session);
  } catch (error) {
    assert(error instanceof ProxyError);
    if (error.status !== 0) session.writeHead(new ResponseHead(error.status), NO_CONTENT);
  }
}

/** Everything that a client sees, and what was handed out, for one way to cut its bytes. */
async function observe(input: Uint8Array, cuts: readonly number[], eager: boolean) {
  const targets: string[] = [];
  const { socket } = connectDownstream({
    eager,
    serve(session) {
      targets.push(`${session.head.method} ${session.head.target} ${session.head.authority}`);
      return echoOrError(session);
    },
  });
  let position = 0;
  for (const cut of [...cuts, input.length]) {
    socket.feed(input.subarray(position, cut));
    position = cut;
    await settled();
  }
  await settled();
  return JSON.stringify([withoutDate(socket.text), targets, socket.finished]);
}

const RAW = Object.values(REQUESTS).flat().map((one) => one.raw);
const VALID = Object.values(REQUESTS).flat().filter((one) => one.verdict === "ok").map((one) =>
  one.raw
);

const mutated: fc.Arbitrary<Uint8Array> = fc.tuple(
  fc.array(fc.constantFrom(...VALID), { minLength: 1, maxLength: 3 }),
  fc.array(
    fc.tuple(
      fc.nat(),
      fc.constantFrom("set", "insert", "delete", "double"),
      fc.integer({ min: 0, max: 255 }),
    ),
    { maxLength: 4 },
  ),
).map(([raws, changes]) => {
  const data = [...bytes(raws.join(""))];
  for (const [at, change, byte] of changes) {
    const position = at % data.length;
    if (change === "set") data[position] = byte;
    else if (change === "insert") data.splice(position, 0, byte);
    else if (change === "delete" && data.length > 1) data.splice(position, 1);
    else data.splice(position, 0, ...data.slice(position, position + byte));
  }
  return Uint8Array.from(data);
});

// Made of what parsers stumble over, so that random strings get deep.
const tokens: fc.Arbitrary<Uint8Array> = fc.array(
  fc.constantFrom(
    "GET",
    "POST",
    " ",
    "/",
    "*",
    " HTTP/1.1\r\n",
    " HTTP/1.0\r\n",
    "Host: a\r\n",
    "\r\n",
    "\n",
    "\r",
    "Content-Length: ",
    "Transfer-Encoding: chunked\r\n",
    "5",
    "0",
    "0\r\n\r\n",
    ";",
    ":",
    "\t",
    "\x00",
    "Connection: close\r\n",
    "Expect: 100-continue\r\n",
    "5\r\nhello\r\n",
    "http://a/",
    "\xff",
  ),
  { maxLength: 25 },
).map((parts) => bytes(parts.join("")));

Deno.test("any bytes from a client, cut anywhere, give the same result as uncut", async () => {
  const reports = await collectReports(async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(mutated, tokens, fc.uint8Array({ maxLength: 200 })),
        fc.array(fc.nat(400), { maxLength: 5 }),
        fc.boolean(),
        async (input, at, eager) => {
          const cuts = [...new Set(at.map((cut) => cut % (input.length + 1)))].sort((a, b) =>
            a - b
          );
          assert.equal(await observe(input, cuts, eager), await observe(input, [], false));
        },
      ),
      { numRuns: 1500 },
    );
  });
  assert.deepEqual(reports, []);
});

Deno.test("any raw request of the corpus behind a good one leaves the good one as it was", async () => {
  for (const raw of RAW) {
    const good = "GET /good HTTP/1.1\r\nHost: a\r\n\r\n";
    const seen = await observe(bytes(good + raw), [], false);
    assert(seen.startsWith('["HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n'), seen);
  }
});

/** Everything that an upstream's bytes come to, for one way to cut them. */
async function observeResponse(input: Uint8Array, readSize: number, eager: boolean) {
  const test = connectUpstream({ readSize, eager });
  const session = test.connection.begin("GET");
  const head = new RequestHead({
    method: "GET",
    version: 11,
    target: "/",
    fields: Fields.from([["Host", "a"]]),
  });
  session.writeHead(head, NO_CONTENT);
  session.flush();
  test.socket.feed(input);
  test.socket.feedEnd();
  const seen: unknown[] = [];
  try {
    let response: ResponseHead;
    do {
      response = await session.readHead();
      seen.push(response.status, response.reason, [...response.fields]);
    } while (response.informational);
    seen.push(session.contentLength);
    if (response.status !== 101) seen.push(await readAll(session));
  } catch (error) {
    assert(error instanceof ProxyError, String(error));
    seen.push(error.type);
  }
  session.release();
  assert(!test.connection.busy);
  return JSON.stringify(seen);
}

const responses: fc.Arbitrary<Uint8Array> = fc.array(
  fc.constantFrom(
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.1 103 x\r\n\r\n",
    "HTTP/1.0 200 OK\r\n",
    "HTTP/1.1 204\r\n",
    "A: b\r\n",
    "Content-Length: 5\r\n",
    "Transfer-Encoding: chunked\r\n",
    "\r\n",
    "hello",
    "5\r\nhello\r\n",
    "0\r\n",
    "\n",
    "\r",
    " ",
    ":",
    "\x00",
    "\xff",
    "Connection: close\r\n",
    "T: u\r\n",
  ),
  { maxLength: 14 },
).map((parts) => bytes(parts.join("")));

Deno.test("any bytes from an upstream, cut anywhere, give the same result as uncut", async () => {
  const reports = await collectReports(async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(responses, fc.uint8Array({ maxLength: 100 })),
        fc.integer({ min: 1, max: 20 }),
        fc.boolean(),
        async (input, readSize, eager) => {
          const whole = await observeResponse(input, 1e9, false);
          const pieces = await observeResponse(input, readSize, eager);
          // Pieces given out before an error differ in number, not in what they say.
          assert.equal(pieces, whole);
        },
      ),
      { numRuns: 1500 },
    );
  });
  assert.deepEqual(reports, []);
});

Deno.test("what is written as a request is read as the same request", async () => {
  const name = fc.stringMatching(/^[a-z][a-z-]{0,12}$/).filter((one) =>
    !["host", "te", "upgrade", "connection", "expect", "trailer", "date"].includes(one)
  );
  const value = fc.stringMatching(/^[!-~\x80-\xff]([ -~\x80-\xff]{0,20}[!-~\x80-\xff])?$/);
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(name, value), { maxLength: 20 }),
      fc.array(fc.string({ maxLength: 50 }), { maxLength: 5 }),
      fc.boolean(),
      fc.integer({ min: 1, max: 300 }),
      async (fields, pieces, isStream, readSize) => {
        const body = pieces.map((piece) => text(new TextEncoder().encode(piece)));
        const length = body.join("").length;
        const up = connectUpstream();
        const session = up.connection.begin("POST");
        const head = new RequestHead({
          method: "POST",
          version: 11,
          target: "/a?b",
          fields: Fields.from([["Host", "a"], ...fields]),
        });
        session.writeHead(head, isStream ? STREAM : { kind: "length", length });
        for (const piece of body) await session.writeBody(bytes(piece), false);
        await session.endBody(null);

        const seen: unknown[] = [];
        const down = connectDownstream({
          readSize,
          async serve(request) {
            seen.push(request.head.target, [...request.head.fields], await readAll(request));
            request.writeHead(new ResponseHead(200), NO_CONTENT);
          },
        });
        down.socket.feed(up.socket.sent);
        for (let i = 0; i < 5 && down.socket.text === ""; i++) await settled();
        assert.deepEqual(seen, ["/a?b", [["Host", "a"], ...fields], body.join("")]);
      },
    ),
    { numRuns: 300 },
  );
});
