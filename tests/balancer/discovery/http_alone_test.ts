/** Endpoints from an HTTP server, against one of the tests. */
import { deepEqual, equal, ok, throws } from "node:assert/strict";
import { createHttp, HTTP, type HttpConfig } from "../../../src/balancer/discovery/http.ts";
import { hasOpenssl, testCertificates } from "../../support/certs.ts";
import { eventually } from "../../support/deadline.ts";
import { freePort } from "../../support/ports.ts";
import { response, type Script, startRawOrigin } from "../../support/raw_origin.ts";
import { openSockets, socketsDownTo } from "../../support/recorder.ts";
import { Answers, Listener, TestTools } from "./listener.ts";

function config(url: string, settings: Partial<HttpConfig> = {}): HttpConfig {
  return {
    ...HTTP,
    url,
    interval: 600_000,
    backoff: 600_000,
    maxBackoff: 600_000,
    ...settings,
  };
}

/** Answers every request by `answer` and keeps its head. */
function script(heads: string[], answer: () => string | Uint8Array): Script {
  return async (connection) => {
    const { raw } = await connection.request(5_000);
    heads.push(raw);
    await connection.send(answer());
  };
}

Deno.test("a list is fetched, fetched again, and not sent twice where the server knows tags", async () => {
  const heads: string[] = [];
  let answer = response('["10.0.0.1:80"]', { ETag: '"1"' });
  await using origin = await startRawOrigin(script(heads, () => answer));
  using tools = new TestTools();
  const listener = new Listener();
  const source = createHttp(
    config(`${origin.url}/v1/api?a=1`, { headers: { Authorization: "Bearer x" } }),
    tools,
  );
  const answers = new Answers(source, tools);
  source.start(listener);
  equal(await listener.nth(1), "update 10.0.0.1:80");
  ok(heads[0]!.startsWith("GET /v1/api?a=1 HTTP/1.1\r\n"), heads[0]);
  ok(heads[0]!.includes("Authorization: Bearer x\r\n"), heads[0]);
  ok(!/if-none-match/i.test(heads[0]!));
  answer = "HTTP/1.1 304 Not Modified\r\n\r\n";
  source.refresh();
  await answers.successes(2);
  ok(heads[1]!.includes('If-None-Match: "1"\r\n'), heads[1]);
  answer = response('{"endpoints":[{"address":"10.0.0.2:80","weight":2}]}');
  source.refresh();
  equal(await listener.nth(2), "update 10.0.0.2:80*2");
  source.refresh();
  await answers.successes(4);
  ok(!/if-none-match/i.test(heads[3]!), "the tag of an older list was sent");
  equal(listener.told.length, 2);
  source.stop();
});

Deno.test("the tag of a list that was refused is not sent", async () => {
  const heads: string[] = [];
  let answer = response('["10.0.0.1:80"]', { ETag: '"good"' });
  await using origin = await startRawOrigin(script(heads, () => answer));
  using tools = new TestTools();
  const listener = new Listener();
  const source = createHttp(config(origin.url), tools);
  const answers = new Answers(source, tools);
  source.start(listener);
  await listener.nth(1);
  for (const bad of ["[]", '["nonsense"]']) {
    answer = response(bad, { ETag: '"bad"' });
    const { failures } = source.state();
    source.refresh();
    await answers.failures(failures + 1);
  }
  answer = "HTTP/1.1 304 Not Modified\r\n\r\n";
  source.refresh();
  equal(await listener.nth(3), "recovered");
  ok(heads.at(-1)!.includes('If-None-Match: "good"\r\n'), heads.at(-1));
  source.stop();
});

Deno.test("every answer that makes no sense is a failure that says why, and keeps the last good set", async () => {
  const heads: string[] = [];
  let answer: string | Uint8Array = response('["10.0.0.1:80"]');
  await using origin = await startRawOrigin(script(heads, () => answer));
  using tools = new TestTools();
  const listener = new Listener();
  const source = createHttp(config(`${origin.url}/list?token=secret`), tools);
  const answers = new Answers(source, tools);
  source.start(listener);
  await listener.nth(1);
  const cases: [string | Uint8Array, RegExp][] = [
    [response("", {}, "500 Oops"), /^http_status: .*status 500, expected 200/],
    [response("", { Location: "/x" }, "302 Found"), /^http_status: .*status 302/],
    ["HTTP/1.1 304 Not Modified\r\n\r\n", /^http_status: .*status 304/],
    [response("[", {}), /^invalid_response: .*not JSON/],
    [response('["unix:/run/docker.sock"]'), /^invalid_response: .*unix sockets/],
    [response('["10.0.0.1:80","x"]'), /^invalid_response: .*entry 2/],
    [response("[]", { "Content-Encoding": "gzip" }), /^invalid_response: .*encoded \(gzip\)/],
    [response("[]"), /^no_upstream/],
    [response(`["${"x".repeat(1024 * 1024)}"]`), /^invalid_response: .*more than 1048576 bytes/],
    ["HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[]", /^incomplete_response/],
    ["SSH-2.0\r\n", /^invalid_response/],
    ["", /^connection_closed/],
  ];
  for (const [index, [bytes, message]] of cases.entries()) {
    answer = bytes;
    source.refresh();
    await answers.failures(index + 1);
    const { error, endpoints } = source.state();
    ok(message.test(error!), `${error} is not ${message}`);
    ok(!error!.includes("secret"), error!);
    equal(endpoints, 1);
  }
  equal(listener.told.length, 2);
  source.stop();
});

Deno.test("a server that hangs is given up in time, a dead one at once, and a stop leaves nothing open", async () => {
  const before = openSockets();
  {
    await using origin = await startRawOrigin(async (connection) => {
      await connection.request(5_000);
      await connection.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[");
      while (await connection.fill(60_000));
    });
    using tools = new TestTools();
    const slow = new Listener();
    const dead = new Listener();
    const stopped = new Listener();
    const sources = [
      createHttp(config(origin.url, { timeout: 100 }), tools),
      createHttp(config(`http://127.0.0.1:${freePort()}`), tools),
      createHttp(config(origin.url), tools),
    ];
    sources[0]!.start(slow);
    sources[1]!.start(dead);
    sources[2]!.start(stopped);
    equal(await slow.nth(1), "error read_timeout");
    equal(await dead.nth(1), "error connect_refused");
    await eventually(() => origin.connections.length === 2, "the connection of the third");
    for (const source of sources) source.stop();
    deepEqual(stopped.told, []);
  }
  ok(await socketsDownTo(before) <= before, "a socket was left open");
});

Deno.test({
  name: "over TLS the certificate has to be the right one",
  ignore: !hasOpenssl,
  fn: async () => {
    const { ca, otherCa, server } = testCertificates();
    await using origin = await startRawOrigin(
      script([], () => response('["10.0.0.1:80"]')),
      { tls: { cert: server.cert, key: server.key } },
    );
    using tools = new TestTools();
    const url = `https://127.0.0.1:${origin.port}/`;
    const tls = {
      serverName: "",
      alternativeName: null,
      verify: true,
      verifyHostname: true,
      clientCertificate: null,
    };
    for (
      const [settings, told] of [
        [{ tls: { ...tls, ca } }, "update 10.0.0.1:80"],
        [{ tls: { ...tls, ca: otherCa } }, "error invalid_cert"],
        [{ tls: null }, "error invalid_cert"],
      ] as const
    ) {
      const listener = new Listener();
      const source = createHttp(config(url, settings), tools);
      source.start(listener);
      equal(await listener.nth(1), told);
      source.stop();
    }
  },
});

Deno.test("settings that could not be sent are refused by name, without showing secrets", () => {
  using tools = new TestTools();
  const cases: [string, Partial<HttpConfig>, RegExp][] = [
    ["nonsense", {}, /it is not a URL/],
    ["ftp://a/", {}, /http or https/],
    ["http://u:geheim@a/", {}, /user name/],
    ["http://a/#x", {}, /fragment/],
    ["http://a:0/", {}, /port 0/],
    ["http://a/", { headers: { Host: "b" } }, /"Host" is set by the discovery itself/],
    ["http://a/", { headers: { x: "a\nb" } }, /U\+000A/],
    ["http://a/", { timeout: 0 }, /`timeout`/],
  ];
  for (const [url, settings, message] of cases) {
    throws(() => createHttp(config(url, settings), tools), (error) => {
      const text = (error as Error).message;
      ok(message.test(text), text);
      ok(!text.includes("geheim"));
      return true;
    });
  }
});
