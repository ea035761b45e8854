/** Responses that two parsers could read differently: nothing of them reaches the client but a 502. */
import assert from "node:assert/strict";
import { eventually } from "../support/deadline.ts";
import { field, text } from "../support/http_text.ts";
import { get, RawClient } from "../support/raw_client.ts";
import { type RawOrigin, startRawOrigin } from "../support/raw_origin.ts";
import { type AccessLine, type Sluice, startSluice } from "../support/sluice.ts";

/** Says on each connection what the test at hand wants said. */
let origin: RawOrigin;
let sluice: Sluice;
let said = "";

Deno.test.beforeAll(async () => {
  origin = await startRawOrigin(async (connection) => {
    await connection.request();
    await connection.send(said);
    await connection.whenEnded();
  });
  sluice = await startSluice({ upstream: origin.url });
});
Deno.test.afterAll(async () => {
  await sluice?.[Symbol.asyncDispose]();
  await origin?.[Symbol.asyncDispose]();
});

const OK = "HTTP/1.1 200 OK\r\n";

/** Each breaks before a byte of content could be passed on. */
const BROKEN_HEADS: Readonly<Record<string, string>> = {
  "no status line": "hello\r\n\r\n",
  "a status line without a version": "200 OK\r\n\r\n",
  "another protocol": "ICY 200 OK\r\n\r\n",
  "HTTP/2.0": "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
  "a lower-case protocol": "http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
  "a status of two digits": "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
  "a status of four digits": "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
  "a status below 100": "HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n",
  "two spaces in the status line": "HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n",
  "a control byte in the reason": "HTTP/1.1 200 O\x01K\r\nContent-Length: 0\r\n\r\n",
  "Content-Length with Transfer-Encoding":
    `${OK}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  "two different Content-Lengths": `${OK}Content-Length: 5\r\nContent-Length: 6\r\n\r\nsecret`,
  "a list of Content-Lengths": `${OK}Content-Length: 5, 6\r\n\r\nsecret`,
  "Content-Length with a sign": `${OK}Content-Length: +6\r\n\r\nsecret`,
  "Content-Length with junk": `${OK}Content-Length: six\r\n\r\nsecret`,
  "chunked that is not last": `${OK}Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n`,
  "Transfer-Encoding on HTTP/1.0": "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
  "obsolete line folding": `${OK}X-A: 1\r\n 2\r\nContent-Length: 6\r\n\r\nsecret`,
  "white space before the colon": `${OK}Content-Length : 6\r\n\r\nsecret`,
  "a bare LF": `${OK}X: 1\nContent-Length: 6\r\n\r\nsecret`,
  "a bare CR": `${OK}X: 1\rSet-Cookie: a=b\r\nContent-Length: 6\r\n\r\nsecret`,
  "a NUL": `${OK}X: \x00\r\nContent-Length: 6\r\n\r\nsecret`,
  "a field without a colon": `${OK}nothing\r\nContent-Length: 6\r\n\r\nsecret`,
  "an empty field name": `${OK}: 1\r\nContent-Length: 6\r\n\r\nsecret`,
};

for (const [name, bytes] of Object.entries(BROKEN_HEADS)) {
  Deno.test(`${name} from an upstream is 502 http_protocol_error, and the connection is closed`, async () => {
    said = bytes;
    const before = origin.connections.length;
    await using client = await RawClient.connect(sluice.port());
    const answer = await client.request(get("/"));
    assert.equal(answer.status, 502);
    assert.equal(field(answer, "proxy-status"), "sluice; error=http_protocol_error");
    assert.doesNotMatch(answer.raw + text(answer), /secret|Set-Cookie/);
    await origin.connections[before]!.whenEnded();
    assert.equal(origin.connections.length, before + 1);
  });
}

/** Each breaks inside of its content: the client must see that it is not whole. */
const BROKEN_CONTENT: Readonly<Record<string, string>> = {
  "a chunk size with a sign": "2\r\nab\r\n+2\r\ncd\r\n0\r\n\r\n",
  "a chunk size with junk": "2\r\nab\r\nzz\r\ncd\r\n0\r\n\r\n",
  "a chunk size that overflows": "2\r\nab\r\nfffffffffffffffff\r\ncd",
  "a chunk without its end": "2\r\nab\r\n2\r\ncdef\r\n0\r\n\r\n",
  "a chunk with a bare LF": "2\r\nab\r\n2\ncd\r\n0\r\n\r\n",
  "a trailer with folding": "2\r\nab\r\n0\r\nX: 1\r\n 2\r\n\r\n",
};

for (const [name, bytes] of Object.entries(BROKEN_CONTENT)) {
  Deno.test(`${name} from an upstream is never a complete response`, async () => {
    said = `${OK}Transfer-Encoding: chunked\r\n\r\n${bytes}`;
    const before = origin.connections.length;
    await using client = await RawClient.connect(sluice.port());
    await client.send(get("/"));
    // Before anything was passed on it is an error like any other; afterwards it can only be cut.
    const outcome = await client.response().then(({ status }) => status, () => "cut");
    assert.ok(outcome === 502 || (outcome === "cut" && client.ended !== null), client.received);
    await origin.connections[before]!.whenEnded();
  });
}

Deno.test("what was broken on the way is an error in the access log", async () => {
  said = `${OK}Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n`;
  const path = "/cut-later";
  await using client = await RawClient.connect(sluice.port());
  await client.send(get(path));
  await client.takeUntil("ab");
  await origin.connections.at(-1)!.send("zz\r\n");
  await client.whenEnded();
  let line: AccessLine | undefined;
  await eventually(() => {
    line = sluice.accessLog().find((one) => one["url.path"] === path);
    return line !== undefined;
  }, "its line");
  assert.equal(line!["http.response.status_code"], 200);
  assert.equal(line!["proxy.error"], "http_protocol_error");
  assert.equal(line!["proxy.error_source"], "upstream");
});

Deno.test("content behind a 204 or a 304 poisons nobody", async () => {
  for (const status of ["204 No Content", "304 Not Modified"]) {
    said = `HTTP/1.1 ${status}\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison`;
    const before = origin.connections.length;
    await using client = await RawClient.connect(sluice.port());
    for (let i = 0; i < 2; i++) {
      const answer = await client.request(get("/"));
      assert.equal(`${answer.status}`, status.slice(0, 3));
    }
    assert.equal(origin.connections.length, before + 2);
  }
});

Deno.test("content behind the answer to HEAD poisons nobody", async () => {
  said = `${OK}Content-Length: 6\r\n\r\npoison`;
  const before = origin.connections.length;
  await using client = await RawClient.connect(sluice.port());
  for (let i = 0; i < 2; i++) {
    const answer = await client.request("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", "HEAD");
    assert.equal(answer.status, 200);
  }
  assert.equal(text(await client.request(get("/"))), "poison");
  assert.equal(origin.connections.length, before + 3);
});
