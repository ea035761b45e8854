/**
 * Requests that two parsers could read differently: refused with 400 and a closed connection, and nothing of what
 * follows them is ever a request to the origin.
 */
import assert from "node:assert/strict";
import { field, text } from "../support/http_text.ts";
import { plugin } from "../support/plugin_text.ts";
import { chunked, get, RawClient, request } from "../support/raw_client.ts";
import { freePort } from "../support/ports.ts";
import { type SimpleOrigin, startSimpleOrigin } from "../support/simple_origin.ts";
import { type Sluice, startSluice } from "../support/sluice.ts";
import { configFile } from "../support/config.ts";

let origin: SimpleOrigin;
let sluice: Sluice;

Deno.test.beforeAll(async () => {
  origin = await startSimpleOrigin();
  sluice = await startSluice({ config: configFile({ origin: origin.address }) });
});
Deno.test.afterAll(async () => {
  await sluice?.[Symbol.asyncDispose]();
  await origin?.[Symbol.asyncDispose]();
});

const SECOND = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
const post = (fields: string, body: string) =>
  `POST /first HTTP/1.1\r\nHost: a\r\n${fields}\r\n${body}`;
const chunkedPost = (body: string) => post("Transfer-Encoding: chunked\r\n", body);

/** Each is refused outright: the origin sees neither it nor what follows it. */
const REFUSED: Readonly<Record<string, string>> = {
  "Content-Length with Transfer-Encoding": post(
    "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
    "0\r\n\r\n",
  ),
  "Transfer-Encoding with Content-Length": post(
    "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    "0\r\n\r\n",
  ),
  "two different Content-Lengths": post("Content-Length: 0\r\nContent-Length: 40\r\n", ""),
  "a list of Content-Lengths": post("Content-Length: 5,5\r\n", "12345"),
  "Content-Length with a sign": post("Content-Length: +5\r\n", "12345"),
  "negative Content-Length": post("Content-Length: -5\r\n", ""),
  "hexadecimal Content-Length": post("Content-Length: 0x5\r\n", "12345"),
  "Content-Length with a space inside": post("Content-Length: 5 5\r\n", "12345"),
  "empty Content-Length": post("Content-Length:\r\n", ""),
  "Content-Length over 2^64": post("Content-Length: 18446744073709551617\r\n", "1"),
  "Content-Length with junk": post("Content-Length: 5a\r\n", "12345"),
  "Transfer-Encoding: identity": post("Transfer-Encoding: identity\r\n", ""),
  "chunked that is not last": post("Transfer-Encoding: chunked, gzip\r\n", "0\r\n\r\n"),
  "chunked twice in a list": post("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n"),
  "Transfer-Encoding twice": post(
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    "0\r\n\r\n",
  ),
  "Transfer-Encoding twice, once odd": post(
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n",
    "0\r\n\r\n",
  ),
  "xchunked": post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"),
  "chunked in quotes": post('Transfer-Encoding: "chunked"\r\n', "0\r\n\r\n"),
  "chunked with a vertical tab": post("Transfer-Encoding: \x0bchunked\r\n", "0\r\n\r\n"),
  "chunked with a parameter": post("Transfer-Encoding: chunked;a=b\r\n", "0\r\n\r\n"),
  "Transfer-Encoding on HTTP/1.0":
    "POST /first HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
  "white space before the colon": post("Content-Length : 5\r\n", "12345"),
  "white space before the name": "GET /first HTTP/1.1\r\n Host: a\r\n\r\n",
  "obsolete line folding": "GET /first HTTP/1.1\r\nHost: a\r\nX-A: 1\r\n 2\r\n\r\n",
  "folding of Transfer-Encoding": post("Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n"),
  "bare LF after the request line": "GET /first HTTP/1.1\nHost: a\r\n\r\n",
  "bare LF after a field": "GET /first HTTP/1.1\r\nHost: a\nX: 1\r\n\r\n",
  "bare LF at the end of the head": "GET /first HTTP/1.1\r\nHost: a\r\n\n",
  "bare CR in a value": "GET /first HTTP/1.1\r\nHost: a\r\nX: 1\rY: 2\r\n\r\n",
  "bare CR at the start of a line": "GET /first HTTP/1.1\r\nHost: a\r\n\rX: 1\r\n\r\n",
  "NUL in a value": "GET /first HTTP/1.1\r\nHost: a\r\nX: 1\x002\r\n\r\n",
  "a control byte in a value": "GET /first HTTP/1.1\r\nHost: a\r\nX: 1\x082\r\n\r\n",
  "a byte over 127 in a name": "GET /first HTTP/1.1\r\nHost: a\r\nX\xe9: 1\r\n\r\n",
  "an empty field name": "GET /first HTTP/1.1\r\nHost: a\r\n: 1\r\n\r\n",
  "a field without a colon": "GET /first HTTP/1.1\r\nHost: a\r\nNothing\r\n\r\n",
  "no Host": "GET /first HTTP/1.1\r\nX: 1\r\n\r\n",
  "two Hosts": "GET /first HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
  "two equal Hosts": "GET /first HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
  "Host with a path": "GET /first HTTP/1.1\r\nHost: a/b\r\n\r\n",
  "Host with a user": "GET /first HTTP/1.1\r\nHost: u@a\r\n\r\n",
  "Host with a space": "GET /first HTTP/1.1\r\nHost: a b\r\n\r\n",
  "Host with a comma": "GET /first HTTP/1.1\r\nHost: a,b\r\n\r\n",
  "Host with a bad port": "GET /first HTTP/1.1\r\nHost: a:port\r\n\r\n",
  "Host against an absolute target": "GET http://b/first HTTP/1.1\r\nHost: a\r\n\r\n",
  "an absolute target with a user": "GET http://u@a/first HTTP/1.1\r\nHost: a\r\n\r\n",
  "two spaces in the request line": "GET  /first HTTP/1.1\r\nHost: a\r\n\r\n",
  "a tab in the request line": "GET\t/first HTTP/1.1\r\nHost: a\r\n\r\n",
  "a space before the request line": " GET /first HTTP/1.1\r\nHost: a\r\n\r\n",
  "a space behind the request line": "GET /first HTTP/1.1 \r\nHost: a\r\n\r\n",
  "HTTP/0.9": "GET /first\r\n\r\n",
  "a target without a slash": "GET first HTTP/1.1\r\nHost: a\r\n\r\n",
  "a target with a fragment": "GET /first#x HTTP/1.1\r\nHost: a\r\n\r\n",
  "a target with a control byte": "GET /fi\x01rst HTTP/1.1\r\nHost: a\r\n\r\n",
  "a target over 127": "GET /fi\xe9rst HTTP/1.1\r\nHost: a\r\n\r\n",
  "* for GET": "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
  "an authority for GET": "GET a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n",
  "a lower-case protocol": "GET /first http/1.1\r\nHost: a\r\n\r\n",
  "a protocol with more digits": "GET /first HTTP/1.10\r\nHost: a\r\n\r\n",
  "another protocol": "GET /first ICY/1.1\r\nHost: a\r\n\r\n",
  "a method with a bad byte": "G@T /first HTTP/1.1\r\nHost: a\r\n\r\n",
};

for (const [name, ask] of Object.entries(REFUSED)) {
  Deno.test(`${name} is refused, and nothing behind it is a request`, async () => {
    const before = origin.requests.length;
    await using client = await RawClient.connect(sluice.port());
    await client.send(ask + SECOND);
    const answer = await client.response();
    assert.equal(answer.status, 400, text(answer));
    assert.equal(field(answer, "connection"), "close");
    assert.match(field(answer, "proxy-status")!, /error=http_request_error/);
    await client.whenEnded();
    assert.equal(client.received.match(/HTTP\/1\.1 /g)!.length, 1);
    assert.equal(origin.requests.length, before);
    assert.equal(origin.count("/smuggled"), 0);
  });
}

/** Each has a good head, so that the origin may see it begin, but never to its end, and nothing behind it. */
const BROKEN_CONTENT: Readonly<Record<string, string>> = {
  "a chunk size with a sign": "+5\r\n12345\r\n0\r\n\r\n",
  "a negative chunk size": "-1\r\n\r\n0\r\n\r\n",
  "a chunk size with 0x": "0x5\r\n12345\r\n0\r\n\r\n",
  "a chunk size with an underscore": "1_0\r\n1234567890123456\r\n0\r\n\r\n",
  "a chunk size that overflows": "10000000000000005\r\n12345\r\n0\r\n\r\n",
  "an empty chunk size": "\r\n12345\r\n0\r\n\r\n",
  "a chunk size with a space before it": " 5\r\n12345\r\n0\r\n\r\n",
  "a chunk size with a bare LF": "5\n12345\r\n0\r\n\r\n",
  "a chunk extension with a bare LF": "5;a\nb\r\n12345\r\n0\r\n\r\n",
  "a chunk extension with a bare CR": "5;a\rb\r\n12345\r\n0\r\n\r\n",
  "a chunk without its end": "5\r\n123450\r\n\r\n",
  "a chunk with a bare LF at its end": "5\r\n12345\n0\r\n\r\n",
  "a chunk that is longer than it says": "3\r\n12345\r\n0\r\n\r\n",
  "a last chunk with a bare LF": "0\n\r\n",
  "a trailer section with folding": "0\r\nX: 1\r\n 2\r\n\r\n",
  "a trailer section with a bare LF": "0\r\nX: 1\nY: 2\r\n\r\n",
  "a trailer without a colon": "0\r\nnothing\r\n\r\n",
  "a chunk-size line without end": `5;${"x".repeat(5000)}\r\n12345\r\n0\r\n\r\n`,
  "a trailer section without end": `0\r\n${"X-Y: 1\r\n".repeat(5000)}\r\n`,
};

for (const [name, body] of Object.entries(BROKEN_CONTENT)) {
  Deno.test(`${name} is refused, and nothing behind it is a request`, async () => {
    const before = origin.requests.length;
    await using client = await RawClient.connect(sluice.port());
    await client.send(chunkedPost(body) + SECOND);
    const answer = await client.response("POST");
    // Trailers that are too large are fields that are too large.
    const expected = name === "a trailer section without end" ? 431 : 400;
    assert.equal(answer.status, expected, text(answer));
    assert.equal(field(answer, "connection"), "close");
    await client.whenEnded();
    assert.equal(client.received.match(/HTTP\/1\.1 /g)!.length, 1);
    assert.equal(origin.requests.length, before);
    assert.equal(origin.count("/smuggled"), 0);
  });
}

Deno.test("an unknown transfer coding before chunked is 501 or 400, and closed", async () => {
  await using client = await RawClient.connect(sluice.port());
  await client.send(post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n") + SECOND);
  const answer = await client.response("POST");
  assert.ok(answer.status === 501 || answer.status === 400, `${answer.status}`);
  await client.whenEnded();
  assert.equal(origin.count("/smuggled"), 0);
});

Deno.test("another major version is 505 or 400, and closed", async () => {
  for (const version of ["HTTP/2.0", "HTTP/3.0", "HTTP/0.1"]) {
    await using client = await RawClient.connect(sluice.port());
    await client.send(`GET /first ${version}\r\nHost: a\r\n\r\n${SECOND}`);
    const answer = await client.response();
    assert.ok(answer.status === 505 || answer.status === 400, `${version}: ${answer.status}`);
    await client.whenEnded();
  }
  assert.equal(origin.count("/smuggled"), 0);
});

Deno.test("equal repeated Content-Lengths are refused or made one, never passed on twice", async () => {
  await using client = await RawClient.connect(sluice.port());
  await client.send(post("Content-Length: 5\r\nContent-Length: 5\r\n", "12345"));
  const answer = await client.response("POST");
  if (answer.status === 200) {
    const seen = origin.requests.findLast(({ target }) => target === "/first")!;
    assert.equal(field(seen, "content-length"), "5");
  } else assert.equal(answer.status, 400);
});

Deno.test("one empty line before a request is taken for nothing", async () => {
  await using client = await RawClient.connect(sluice.port());
  assert.equal((await client.request(`\r\n${get("/bytes/1")}`, "GET")).status, 200);
});

// Pingora: CVE-2025-4366
Deno.test("content of a request that was answered early is never read as a request", async () => {
  await using proxy = await startSluice({
    config: configFile({
      upstreams: [
        { name: "origin", endpoints: [origin.address] },
        { name: "dead", endpoints: [`127.0.0.1:${freePort()}`] },
      ],
      plugins: {},
      top: {
        services: [{
          name: "main",
          routes: [
            {
              id: "rule",
              match: { path: "/rule" },
              rules: [{ respond: { status: 403, body: "no" } }],
            },
            { id: "plugin", match: { path: "/plugin" }, plugins: ["gate"] },
            { id: "dead", match: { path: "/dead" }, upstream: "dead" },
            {
              id: "small",
              match: { path: "/small" },
              upstream: "origin",
              limits: { body_bytes: 10 },
            },
            { id: "rest", match: { path: ["/after", "/smuggled"] }, upstream: "origin" },
          ],
        }],
      },
    }),
    plugins: {
      "gate.ts": plugin("requestFilter(session) { return session.respond(401, null); },"),
    },
  });
  const before = origin.count("/smuggled");
  // Answered by a rule, a plugin, a dead upstream, a limit, or nobody. The content is a request by its looks.
  const answers = { rule: 403, plugin: 401, dead: 502, small: 413, nowhere: 404 };
  for (const [path, status] of Object.entries(answers)) {
    for (const extra of ["", "x".repeat(200_000)]) {
      for (const framing of ["length", "chunked"]) {
        await using client = await RawClient.connect(proxy.port());
        const content = SECOND + extra;
        const ask = framing === "length"
          ? request("POST", `/${path}`, {}, content)
          : request("POST", `/${path}`, { "Transfer-Encoding": "chunked" }) + chunked(content);
        const sending = client.send(ask + get("/after"));
        const first = await client.response("POST");
        assert.equal(first.status, status);
        await sending;
        // Either the content is drained and the connection goes on, or it is closed. Never a third answer.
        if (client.buffered.length > 0 || await client.fill()) {
          assert.notEqual(field(first, "connection"), "close");
          assert.equal((await client.response()).status, 200);
        }
        client.end();
        await client.whenEnded();
        assert.ok(client.received.match(/HTTP\/1\.1 \d/g)!.length <= 2);
      }
    }
  }
  assert.equal(origin.count("/smuggled"), before);
});

// Pingora: CVE-2025-4366, with an error of the proxy as the early answer
Deno.test("content behind a 502 is never read as a request", async () => {
  await using client = await RawClient.connect(sluice.port());
  await client.send(request("POST", "/drop", {}, SECOND) + get("/bytes/1"));
  assert.equal((await client.response("POST")).status, 502);
  if (client.buffered.length > 0 || await client.fill()) {
    assert.equal((await client.response()).body.length, 1);
  }
  assert.equal(origin.count("/smuggled"), 0);
});
