/** gRPC through Sluice, with a real server and a real client at its ends. */
import assert from "node:assert/strict";
import http2 from "node:http2";
import { BridgeClient } from "../support/bridge_client.ts";
import { testCertificates } from "../support/certs.ts";
import { configFile } from "../support/config.ts";
import { eventually } from "../support/deadline.ts";
import { CODES, GrpcPeers } from "../support/grpc_peers.ts";
import { freePort } from "../support/ports.ts";
import { LogChecks } from "../support/log_checks.ts";
import { testWith } from "../support/require.ts";
import { startSluice } from "../support/sluice.ts";
import { startTlsFront } from "../support/tls_front.ts";
import { bytes, latin1 } from "../support/wire.ts";

const STATUS = "rpc.grpc.status_code";

function config(port: number): string {
  const route = (id: string, more: Record<string, unknown>) => ({
    id,
    match: { header: { "x-route": id } },
    upstream: "origin",
    ...more,
  });
  return configFile({
    listener: { protocols: ["h1", "h2c"], limits: { body_timeout: "300ms" } },
    top: {
      services: [{
        name: "main",
        routes: [
          route("dead", { upstream: "dead" }),
          route("retry", {
            retry: { attempts: 2, on: ["grpc:unavailable"], backoff: { base: 0 } },
          }),
          route("short", { timeouts: { grpc: "300ms" } }),
          // Enough for an answer before it is over, even where the machine stands still for a while.
          route("brief", { timeouts: { grpc: "4s" } }),
          route("idle", { timeouts: { tunnel_idle: "4s" } }),
          route("denied", { rules: [{ respond: { status: 403, body: "no" } }] }),
          { id: "all", upstream: "origin" },
        ],
      }],
      upstreams: [
        {
          name: "origin",
          endpoints: [`http://127.0.0.1:${port}`],
          transport: { protocol: "h2c", timeouts: { read: "300ms" } },
        },
        {
          name: "dead",
          endpoints: [`http://127.0.0.1:${freePort()}`],
          transport: { protocol: "h2c" },
        },
      ],
      telemetry: { access_log: { output: "access.jsonl" } },
    },
    plugins: {},
  });
}

const ANSWERS = `import { definePlugin } from "@sluice/plugin";
export default definePlugin({
  match: { header: { "x-answer": true } },
  requestFilter(session) {
    switch (session.request.headers.get("x-answer")) {
      case "problem":
        return session.respond(401, { title: "Who?", detail: "say who you are: 100% ü" });
      case "page":
        return session.respond(503, "<p>busy</p>", { headers: { "content-type": "text/html" } });
      case "own":
        return session.respond(200, null, {
          headers: { "content-type": "application/grpc", "grpc-status": "8", "grpc-message": "slow%20down" },
        });
    }
  },
});
`;

Deno.test("gRPC", async (t) => {
  await using peers = new GrpcPeers();
  await using sluice = await startSluice({
    config: config(await peers.serve()),
    plugins: { "answers.ts": ANSWERS },
  });
  const client = await peers.connect(sluice.port());
  const log = new LogChecks();

  await t.step("a unary call has its message, head and trailers", async () => {
    const end = await client.call("unary", ["hello"], { metadata: { "x-asked": "1" } });
    assert.equal(end.code, CODES.ok);
    assert.equal(end.messages[0], "hello");
    assert.equal(end.head["x-head"], "yes");
    assert.equal(end.trailers["x-trailer"], "yes");
    assert.equal(end.trailers["x-binary-bin"], "AP8K");
    assert.equal(peers.facts.metadata["x-asked"], "1");
    log.add("unary", (line) => {
      assert.deepEqual([line[STATUS], line["http.response.status_code"]], [0, 200]);
    });
  });

  await t.step("a call that streams up arrives whole", async () => {
    const messages = Array.from({ length: 100 }, (_, i) => "x".repeat(i * 100));
    const end = await client.call("collect", messages);
    assert.equal(end.code, CODES.ok);
    assert.equal(end.messages[0], `100 ${99 * 50 * 100}`);
    log.add("ok");
  });

  await t.step("a call that streams down arrives whole, and in order", async () => {
    const end = await client.call("count", ["2000"]);
    assert.equal(end.code, CODES.ok);
    assert.equal(end.messages.length, 2000);
    assert.ok(
      end.messages.every((message, i) =>
        message.length === 1000 && message.charCodeAt(0) === (i + 1 & 255)
      ),
    );
    log.add("ok");
  });

  await t.step("messages go both ways while the call is open", async () => {
    const call = await client.open("chat");
    for (const word of ["one", "two", "three"]) {
      call.send(word);
      assert.equal(await call.next(), `you said ${word}`);
    }
    call.endSending();
    assert.equal((await call.end()).code, CODES.ok);
    log.add("ok");
  });

  await t.step("messages may be further apart than read and body timeouts", async () => {
    const call = await client.open("silent");
    call.send("one");
    assert.equal(await call.next(), "one");
    await pause(1_000);
    call.send("two");
    assert.equal(await call.next(), "two");
    call.endSending();
    assert.equal((await call.end()).code, CODES.ok);
    log.add("ok");
  });

  await t.step(
    "a call that is silent both ways for tunnel_idle is ended on both sides",
    async () => {
      const call = await client.open("silent", { metadata: { "x-route": "idle" } });
      call.send("one");
      assert.equal(await call.next(), "one");
      const end = await call.end();
      assert.notEqual(end.code, CODES.ok);
      await eventually(
        () => peers.facts.cancelled.includes("silent"),
        "the server to see the end",
      );
      log.add("silent", (line) => assert.equal(line["proxy.error"], "tunnel_idle_timeout"));
    },
  );

  await t.step("every status of the server reaches the client, with its message", async () => {
    for (let code = 1; code <= 16; code++) {
      log.add(`fail ${code}`, (line) => {
        assert.deepEqual([line[STATUS], line["http.response.status_code"]], [code, 200]);
      });
      const end = await client.call("fail", [String(code)]);
      assert.equal(end.code, code);
      assert.equal(end.details, "as you wish: 100% ü");
    }
  });

  await t.step("an upstream that cannot be reached is UNAVAILABLE", async () => {
    const end = await client.call("unary", ["x"], { metadata: { "x-route": "dead" } });
    assert.equal(end.code, CODES.unavailable);
    assert.match(end.details, /could not be reached/);
    log.add("dead", (line) => {
      assert.deepEqual([line[STATUS], line["proxy.error"]], [14, "connection_refused"]);
    });
  });

  await t.step("what a rule answers to a call is a status of gRPC", async () => {
    const end = await client.call("unary", ["x"], { metadata: { "x-route": "denied" } });
    assert.deepEqual([end.code, end.details], [CODES.permissionDenied, "no"]);
    log.add("denied", (line) => {
      assert.deepEqual([line[STATUS], line["http.response.status_code"]], [7, 200]);
    });
  });

  await t.step(
    "what a plugin answers to a call is a status of gRPC, its own or that of HTTP",
    async () => {
      const ask = async (how: string) => {
        const end = await client.call("unary", ["x"], { metadata: { "x-answer": how } });
        return [end.code, end.details];
      };
      assert.deepEqual(await ask("problem"), [16, "say who you are: 100% ü"]);
      assert.deepEqual(await ask("page"), [CODES.unavailable, "HTTP status 503"]);
      assert.deepEqual(await ask("own"), [8, "slow down"]);
      for (const code of [16, 14, 8]) log.add("plugin", (line) => assert.equal(line[STATUS], code));
    },
  );

  await t.step("a deadline is passed on, and kept", async () => {
    const kept = await client.call("unary", ["x"], { deadline: 40_000 });
    assert.equal(kept.code, CODES.ok);
    const left = peers.facts.deadlines.at(-1)!;
    assert.ok(left > 10_000 && left <= 40_000, String(left));
    log.add("ok");
    const short = await client.call("unary", ["x"], {
      deadline: 20_000,
      metadata: { "x-route": "brief" },
    });
    assert.equal(short.code, CODES.ok);
    assert.ok(peers.facts.deadlines.at(-1)! <= 4_000);
    log.add("ok");
  });

  await t.step(
    "a call that takes too long for the route ends, and the server is told",
    async () => {
      const end = await client.call("never", ["x"], { metadata: { "x-route": "short" } });
      assert.equal(end.code, CODES.deadlineExceeded);
      // The server was told of the deadline, so it may be the first to say so.
      assert.match(end.details, /timeouts\.grpc \(300 ms\)|Deadline exceeded/);
      await eventually(() => peers.facts.cancelled.includes("never"), "the server to be told");
      log.add("never", (line) => assert.equal(line[STATUS], 4));
    },
  );

  await t.step("a stream that is open when its time is over is cut", async () => {
    const call = await client.open("chat", { metadata: { "x-route": "brief" } });
    call.send("one");
    assert.equal(await call.next(), "you said one");
    assert.notEqual((await call.end()).code, CODES.ok);
    await eventually(() => peers.facts.cancelled.includes("chat"), "the server to be told");
    log.add("ok");
  });

  await t.step("a call whose client does not read ends in time as well", async () => {
    peers.facts.cancelled.length = 0;
    const session = http2.connect(`http://127.0.0.1:${sluice.port()}`);
    session.on("error", () => {});
    const stream = session.request({
      ":method": "POST",
      ":path": "/test.Peer/Count",
      "content-type": "application/grpc",
      "te": "trailers",
      "x-route": "short",
    }, { endStream: false });
    stream.on("error", () => {});
    stream.end(bytes("\0\0\0\0\x06100000"));
    await eventually(() => stream.closed || stream.destroyed, "the end of the call");
    assert.equal(stream.rstCode, http2.constants.NGHTTP2_CANCEL);
    await eventually(() => peers.facts.cancelled.includes("count"), "the server to be told");
    session.destroy();
    log.add("unread", (line) => assert.equal(line["proxy.error"], "http_response_timeout"));
  });

  await t.step("a client that cancels ends the call at the server", async () => {
    peers.facts.cancelled.length = 0;
    const call = await client.open("chat");
    call.send("one");
    await call.next();
    call.cancel();
    assert.equal((await call.end()).code, CODES.cancelled);
    await eventually(() => peers.facts.cancelled.includes("chat"), "the server to be told");
    log.add("cancelled", (line) => assert.equal(line["proxy.error_source"], "downstream"));
  });

  await t.step("a call that is unavailable is made again where the route wants it", async () => {
    assert.equal((await client.call("flaky", ["x"])).code, CODES.unavailable);
    assert.equal((await client.call("flaky", ["x"])).code, CODES.unavailable);
    assert.equal((await client.call("flaky", ["x"])).code, CODES.ok);
    for (let i = 0; i < 3; i++) log.add("flaky");
    const end = await client.call("flaky", ["x"], { metadata: { "x-route": "retry" } });
    assert.equal(end.code, CODES.ok);
    assert.equal(end.messages[0], "6");
    log.add("retried", (line) => assert.equal(line["upstream.attempts"], 3));
  });

  await t.step("the access log says how each call ended", () => log.verify(sluice));
});

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

testWith(["openssl"], "gRPC over TLS at both ends, and by gRPC-web", async (t) => {
  const { server: certificate, ca } = testCertificates();
  await using peers = new GrpcPeers();
  const clearPort = await peers.serve();
  await using front = await startTlsFront(clearPort, certificate);
  await using sluice = await startSluice({
    files: { "server.pem": certificate.cert, "server.key": certificate.key, "ca.pem": ca },
    config: (directory) =>
      JSON.stringify({
        version: 1,
        listeners: [
          { name: "clear", address: "127.0.0.1:0", protocols: ["h1", "h2c"] },
          {
            name: "tls",
            address: "127.0.0.1:0",
            tls: { certificates: [{ cert: "server.pem", key: "server.key" }] },
          },
        ],
        services: [{
          name: "main",
          routes: [
            { id: "secure", match: { header: { "x-route": "secure" } }, upstream: "secure" },
            { id: "all", upstream: "clear", grpc_web: true },
          ],
        }],
        upstreams: [
          {
            name: "clear",
            endpoints: [`http://127.0.0.1:${clearPort}`],
            transport: { protocol: "h2c" },
          },
          {
            name: "secure",
            endpoints: [`https://127.0.0.1:${front.port}`],
            transport: {
              protocol: "h2",
              tls: { ca: `${directory}/ca.pem`, server_name: "a.test" },
            },
          },
        ],
      }),
  });
  const clear = await peers.connect(sluice.port("clear"));
  const secure = await peers.connect(sluice.port("tls"), ca);
  for (const [down, client] of Object.entries({ h2c: clear, h2: secure })) {
    for (const [up, metadata] of Object.entries({ h2c: {}, h2: { "x-route": "secure" } })) {
      await t.step(`every kind of call, from ${down} to ${up}`, async () => {
        const unary = await client.call("unary", ["hello"], { metadata });
        assert.deepEqual([unary.code, unary.messages], [CODES.ok, ["hello"]]);
        assert.equal(unary.trailers["x-trailer"], "yes");
        const collected = await client.call("collect", ["a", "bb", "ccc"], { metadata });
        assert.deepEqual(collected.messages, ["3 6"]);
        const counted = await client.call("count", ["300"], { metadata });
        assert.equal(counted.messages.length, 300);
        const chat = await client.open("chat", { metadata });
        chat.send("one");
        assert.equal(await chat.next(), "you said one");
        chat.send("two");
        assert.equal(await chat.next(), "you said two");
        chat.endSending();
        assert.equal((await chat.end()).code, CODES.ok);
        const failed = await client.call("fail", ["7"], { metadata });
        assert.deepEqual([failed.code, failed.details], [7, "as you wish: 100% ü"]);
      });
    }
  }

  for (const wire of ["h1", "h2c", "h2"] as const) {
    await t.step(`a gRPC-web client calls over ${wire}`, async () => {
      await using client = new BridgeClient(wire, sluice.port(wire === "h2" ? "tls" : "clear"), ca);
      const call = async (method: string, type: string, content: string) => {
        const answer = await client.ask({
          method: "POST",
          path: `/test.Peer/${method}`,
          headers: { "content-type": type, "x-grpc-web": "1" },
          content: [bytes(content)],
        });
        assert.equal(answer.status, 200);
        return latin1(answer.body);
      };
      const hello = "\0\0\0\0\x05hello";
      const binary = await call("Unary", "application/grpc-web+proto", hello);
      assert.ok(binary.startsWith(`${hello}\x80`));
      assert.match(binary, /grpc-status: 0\r\n/);
      assert.match(binary, /x-trailer: yes\r\n/);
      const text = await call("Unary", "application/grpc-web-text", btoa(hello));
      assert.ok(text.startsWith(btoa(hello)));
      assert.match(atob(text.slice(btoa(hello).length)), /^\x80[^]*grpc-status: 0\r\n/);
      const counted = await call("Count", "application/grpc-web+proto", "\0\0\0\0\x0250");
      assert.equal(counted.indexOf("\x80\0\0\0"), 50 * 1005);
    });
  }
});
