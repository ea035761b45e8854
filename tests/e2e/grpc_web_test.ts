/** gRPC-web on the wire: what the upstream of a call gets, and what its client does. */
import assert from "node:assert/strict";
import { configFile } from "../support/config.ts";
import { field, type RawResponse } from "../support/http_text.ts";
import { RawClient, rawRequest, request } from "../support/raw_client.ts";
import { freePort } from "../support/ports.ts";
import {
  type OriginConnection,
  type RawOrigin,
  response,
  startRawOrigin,
} from "../support/raw_origin.ts";
import { LogChecks } from "../support/log_checks.ts";
import { startSluice } from "../support/sluice.ts";
import { latin1 } from "../support/wire.ts";

const BINARY = "application/grpc-web+proto";
const TEXT = "application/grpc-web-text";
const STATUS = "rpc.grpc.status_code";

/** A message with its prefix, as latin-1 text. */
function message(content: string, flags: string = "\0"): string {
  const { length } = content;
  return `${flags}${String.fromCharCode(0, 0, length >> 8, length & 255)}${content}`;
}

function chunk(content: string): string {
  return `${content.length.toString(16)}\r\n${content}\r\n`;
}

const HEAD = "HTTP/1.1 200 OK\r\nContent-Type: application/grpc+proto\r\n" +
  "Transfer-Encoding: chunked\r\nTrailer: grpc-status\r\n\r\n";
const END = "0\r\ngrpc-status: 0\r\ngrpc-message: fine\r\n\r\n";
const TRAILERS = message("grpc-status: 0\r\ngrpc-message: fine\r\n", "\x80");

function onlyTrailers(code: number): string {
  return response("", { "Content-Type": "application/grpc", "grpc-status": String(code) });
}

function call(
  method: string,
  type: string,
  body: string,
  more: Record<string, string> = {},
): string {
  return request("POST", `/pkg.Service/${method}`, { "Content-Type": type, ...more }, body);
}

/**
 * An upstream that speaks gRPC as far as HTTP/1.1 lets it; what it does is the method's name.
 *
 * @param seen What to wait for between two messages of a stream.
 */
function startOrigin(seen: PromiseWithResolvers<void>[]): Promise<RawOrigin> {
  let flaky = 0;
  return startRawOrigin(async (connection: OriginConnection) => {
    for (;;) {
      if (connection.buffered.length === 0 && !await connection.fill(60_000)) return;
      const { target, body } = await connection.request();
      switch (target.split("/").at(-1)) {
        case "Echo":
          await connection.send(HEAD + chunk(latin1(body)) + END);
          break;
        case "Stream":
          await connection.send(HEAD + chunk(message("first")));
          await seen.shift()!.promise;
          await connection.send(chunk(message("second")) + END);
          break;
        case "Nothing":
          await connection.send(onlyTrailers(5));
          break;
        case "Page":
          await connection.send(
            response("<p>no", { "Content-Type": "text/html" }, "404 Not Found"),
          );
          break;
        case "Flaky":
          await connection.send(
            ++flaky % 3 === 0 ? HEAD + chunk(message("at last")) + END : onlyTrailers(14),
          );
          break;
        case "Never":
          await connection.whenEnded();
          return;
      }
    }
  });
}

function config(origin: string): string {
  const route = (id: string, more: Record<string, unknown>) => ({
    id,
    match: { header: { "x-route": id } },
    grpc_web: true,
    upstream: "origin",
    ...more,
  });
  return configFile({
    origin,
    upstreams: [{ name: "dead", endpoints: [`http://127.0.0.1:${freePort()}`] }],
    top: {
      services: [{
        name: "main",
        routes: [
          route("dead", { upstream: "dead" }),
          route("retry", {
            retry: { attempts: 2, on: ["grpc:unavailable"], backoff: { base: 0 } },
          }),
          route("short", { timeouts: { grpc: "300ms" } }),
          route("small", { limits: { body_bytes: 8 } }),
          route("plain", { grpc_web: false }),
          route("denied", { rules: [{ respond: { status: 403, body: "no" } }] }),
          { id: "all", grpc_web: true, upstream: "origin" },
        ],
      }],
      telemetry: { access_log: { output: "access.jsonl" } },
    },
  });
}

function body(answer: RawResponse): string {
  return latin1(answer.body);
}

/** The fields of a trailer frame. */
function frameFields(frame: string): Record<string, string> {
  assert.equal(frame.charCodeAt(0), 0x80);
  const lines = frame.slice(5).split("\r\n").slice(0, -1);
  assert.equal(frame.charCodeAt(3) << 8 | frame.charCodeAt(4), frame.length - 5);
  return Object.fromEntries(lines.map((line) => /^(.*?): (.*)$/.exec(line)!.slice(1)));
}

Deno.test("gRPC-web", async (t) => {
  const seen = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const gates = [...seen];
  await using origin = await startOrigin(seen);
  await using sluice = await startSluice({ config: config(origin.url) });
  const port = sluice.port();
  const log = new LogChecks();
  const logged = (code: number | undefined) =>
    log.add(`status ${code}`, (line) => assert.equal(line[STATUS], code));

  await t.step(
    "a call in binary form reaches the upstream as gRPC, and its trailers the client",
    async () => {
      const sent = message("hello \xff\0");
      const answer = await rawRequest(port, call("Echo", BINARY, sent));
      assert.equal(answer.status, 200);
      assert.equal(field(answer, "content-type"), BINARY);
      assert.equal(body(answer), sent + TRAILERS);
      const head = origin.connections.at(-1)!.received;
      assert.match(head, /^Content-Type: application\/grpc\+proto\r$/m);
      assert.match(head, /^TE: trailers\r$/m);
      logged(0);
    },
  );

  await t.step("a call in base64 is decoded, and answered in base64", async () => {
    const sent = message("hello") + message("") + message("again");
    // Padded in the middle, as clients may.
    const encoded = btoa(message("hello")) + btoa(message("") + message("again"));
    const answer = await rawRequest(port, call("Echo", TEXT, encoded));
    assert.equal(field(answer, "content-type"), `${TEXT}+proto`);
    assert.equal(
      body(answer),
      btoa(message("hello")) + btoa(message("")) + btoa(message("again")) + btoa(TRAILERS),
    );
    assert.ok(origin.received.includes(sent));
    logged(0);
  });

  await t.step("each message of a stream is there before the next one is sent", async () => {
    for (const [i, type] of [BINARY, TEXT].entries()) {
      const form = (content: string) => type === TEXT ? btoa(content) : content;
      await using client = await RawClient.connect(port);
      await client.send(call("Stream", type, form(message("x"))));
      const first = form(message("first"));
      assert.ok((await client.takeUntil(first)).endsWith(first));
      gates[i]!.resolve();
      const second = form(message("second"));
      assert.ok((await client.takeUntil(second)).endsWith(second));
      assert.ok((await client.takeUntil(form(TRAILERS))).endsWith(form(TRAILERS)));
      logged(0);
    }
  });

  await t.step("a response that has no content keeps its status in the head", async () => {
    const answer = await rawRequest(port, call("Nothing", BINARY, message("")));
    assert.equal(answer.status, 200);
    assert.equal(field(answer, "grpc-status"), "5");
    assert.equal(field(answer, "content-type"), "application/grpc-web");
    assert.equal(body(answer), "");
    logged(5);
  });

  await t.step("an answer that is no gRPC is passed on as it is", async () => {
    const answer = await rawRequest(port, call("Page", BINARY, message("")));
    assert.equal(answer.status, 404);
    assert.equal(body(answer), "<p>no");
    logged(undefined);
  });

  await t.step("an error of the proxy is a frame, in the form that the client wants", async () => {
    for (const type of [BINARY, TEXT]) {
      const sent = type === TEXT ? btoa(message("x")) : message("x");
      const answer = await rawRequest(port, call("Echo", type, sent, { "X-Route": "dead" }));
      assert.equal(answer.status, 200);
      assert.ok(field(answer, "content-type")!.startsWith(type.replace("+proto", "")));
      assert.match(field(answer, "proxy-status")!, /error=connection_refused/);
      const frame = type === TEXT ? atob(body(answer)) : body(answer);
      const fields = frameFields(frame);
      assert.equal(fields["grpc-status"], "14");
      assert.match(fields["grpc-message"]!, /could not be reached/);
      logged(14);
    }
  });

  await t.step(
    "what a rule answers is a frame, too, and other requests get it as it is",
    async () => {
      for (const type of [BINARY, TEXT]) {
        const sent = type === TEXT ? btoa(message("x")) : message("x");
        const answer = await rawRequest(port, call("Echo", type, sent, { "X-Route": "denied" }));
        assert.equal(answer.status, 200);
        assert.ok(field(answer, "content-type")!.startsWith(type.replace("+proto", "")));
        const frame = type === TEXT ? atob(body(answer)) : body(answer);
        assert.deepEqual(frameFields(frame), { "grpc-status": "7", "grpc-message": "no" });
        logged(7);
      }
      const plain = await rawRequest(
        port,
        call("Echo", "text/plain", "x", { "X-Route": "denied" }),
      );
      assert.deepEqual([plain.status, body(plain)], [403, "no"]);
      logged(undefined);
    },
  );

  await t.step(
    "text that is no base64, and content over the limit, are errors of the call",
    async () => {
      const bad = await rawRequest(port, call("Echo", TEXT, "!!!!"));
      assert.deepEqual(frameFields(atob(body(bad)))["grpc-status"], "13");
      const large = await rawRequest(
        port,
        call("Echo", BINARY, message("too much"), { "X-Route": "small" }),
      );
      assert.deepEqual(frameFields(body(large))["grpc-status"], "8");
      logged(13);
      logged(8);
    },
  );

  await t.step(
    "a call that is not over in time ends with DEADLINE_EXCEEDED, whoever limits it",
    async () => {
      const limits: [Record<string, string>, RegExp][] = [
        [{ "grpc-timeout": "300m" }, /grpc-timeout \(300 ms\)/],
        [{ "grpc-timeout": "1H", "X-Route": "short" }, /timeouts\.grpc \(300 ms\)/],
        [{ "X-Route": "short" }, /timeouts\.grpc \(300 ms\)/],
      ];
      for (const [fields, words] of limits) {
        const began = performance.now();
        const answer = await rawRequest(port, call("Never", BINARY, message("x"), fields));
        assert.ok(performance.now() - began >= 290);
        const told = frameFields(body(answer));
        assert.equal(told["grpc-status"], "4");
        assert.match(told["grpc-message"]!, words);
        logged(4);
      }
      // The upstream is told of the shorter time.
      const heads = origin.received.match(/^grpc-timeout: .*\r$/gim)!;
      assert.equal(heads[0], "grpc-timeout: 300m\r");
      for (const head of heads.slice(1)) {
        const left = Number(/: (\d+)m\r$/.exec(head)![1]);
        assert.ok(left > 0 && left <= 300, head);
      }
      assert.equal(heads.length, 3);
    },
  );

  await t.step("a call that is unavailable is made again where the route wants it", async () => {
    const once = await rawRequest(port, call("Flaky", BINARY, message("x")));
    assert.equal(field(once, "grpc-status"), "14");
    await rawRequest(port, call("Flaky", BINARY, message("x")));
    await rawRequest(port, call("Flaky", BINARY, message("x")));
    const answer = await rawRequest(
      port,
      call("Flaky", BINARY, message("x"), { "X-Route": "retry", "grpc-timeout": "1M" }),
    );
    assert.equal(body(answer), message("at last") + TRAILERS);
    for (const code of [14, 14, 0]) logged(code);
    log.add("retried", (line) => assert.equal(line["upstream.attempts"], 3));
    // Further attempts have less time than the client had.
    const told = origin.received.match(/^grpc-timeout: 1M\r$|^grpc-timeout: 59\d+m\r$/gim)!;
    assert.equal(told.length, 3);
  });

  await t.step("without the module it is content like any other", async () => {
    const sent = message("as it is");
    const answer = await rawRequest(port, call("Echo", BINARY, sent, { "X-Route": "plain" }));
    assert.equal(field(answer, "content-type"), "application/grpc+proto");
    assert.equal(body(answer), sent);
    logged(undefined);
  });

  await t.step("the access log has the status of each call", () => log.verify(sluice));
});
