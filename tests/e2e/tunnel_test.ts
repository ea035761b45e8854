/** Tunnels: how long they may be silent and last, what is written down of them, and CONNECT. */
import assert from "node:assert/strict";
import http2 from "node:http2";
import { configFile } from "../support/config.ts";
import { eventually } from "../support/deadline.ts";
import { field } from "../support/http_text.ts";
import { get, RawClient } from "../support/raw_client.ts";
import { type RawOrigin, response, startRawOrigin } from "../support/raw_origin.ts";
import { LogChecks } from "../support/log_checks.ts";
import { type Sluice, startSluice } from "../support/sluice.ts";
import { latin1 } from "../support/wire.ts";

const SWITCHED =
  "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: words\r\n\r\n";
const CONNECT = "CONNECT db.example:5432 HTTP/1.1\r\nHost: db.example:5432\r\n\r\n";

function ask(path: string): string {
  return get(path, { Connection: "Upgrade", Upgrade: "words" });
}

/** An origin that agrees to every upgrade and CONNECT, and then does what the path says. */
function startOrigin(): Promise<RawOrigin> {
  return startRawOrigin(async (connection) => {
    const head = await connection.head();
    const connects = head.method === "CONNECT";
    if (head.target.includes("/refuse") || head.target.includes("refuse.example")) {
      return await connection.send(response("no", {}, "403 Forbidden"));
    }
    await connection.send(connects ? "HTTP/1.1 200 Established\r\n\r\n" : SWITCHED);
    if (head.target.includes("/fin")) connection.end();
    if (head.target.includes("/chatter")) {
      // Says something again and again, and never waits for an answer.
      while (connection.ended === null) {
        await connection.send("tick");
        await connection.fill(100).catch(() => false);
      }
      return;
    }
    if (head.target.includes("/reset")) {
      await connection.take(1);
      return connection.reset();
    }
    for (;;) {
      const piece = await connection.takeSome(60_000);
      if (piece.length === 0) return connection.end();
      await connection.send(piece);
    }
  });
}

async function open(sluice: Sluice, request: string): Promise<RawClient> {
  const client = await RawClient.connect(sluice.port());
  const answer = await client.request(request);
  assert.ok(answer.status === 101 || answer.status === 200, String(answer.status));
  return client;
}

Deno.test("tunnels", async (t) => {
  await using origin = await startOrigin();
  await using sluice = await startSluice({
    config: configFile({
      origin: origin.url,
      listener: { allow_connect: true, limits: { body_timeout: "300ms" } },
      timeouts: { read: "300ms", tunnel_idle: "2s", tunnel: 0 },
      top: {
        services: [{
          name: "main",
          routes: [
            {
              id: "short",
              match: { path: "/short/*" },
              upstream: "origin",
              timeouts: { tunnel: "2s", tunnel_idle: "1m" },
            },
            // Longer than a machine that is busy stands still.
            {
              id: "chatter",
              match: { path: "/chatter" },
              upstream: "origin",
              timeouts: { tunnel_idle: "4s" },
            },
            {
              id: "long",
              match: { path: "/long/*" },
              upstream: "origin",
              timeouts: { tunnel_idle: "1m" },
            },
            { id: "all", upstream: "origin" },
          ],
        }],
        telemetry: { access_log: { output: "access.jsonl" } },
      },
    }),
  });
  const log = new LogChecks();

  await t.step(
    "one that is silent both ways is ended on both sides, which is no error",
    async () => {
      await using client = await open(sluice, ask("/echo"));
      const connection = origin.connections.at(-1)!;
      await client.send("hello");
      assert.equal(latin1(await client.take(5)), "hello");
      await client.whenEnded();
      await eventually(() => connection.ended !== null, "the origin to see the end");
      log.add("tunnel", (line) => {
        assert.equal(line["tunnel.protocol"], "words");
        assert.equal(line["tunnel.end"], "idle_timeout");
        assert.equal(line["tunnel.received"], 5);
        assert.equal(line["tunnel.sent"], 5);
        assert.equal(line["proxy.error"], undefined);
        assert.equal(line["severity"], "INFO");
        assert.ok(Number(line["duration_ms"]) >= 1_900, String(line["duration_ms"]));
      });
    },
  );

  await t.step("one that speaks in one direction alone is not silent", async () => {
    await using client = await open(sluice, ask("/chatter"));
    // Half as long again as it may be silent.
    const until = performance.now() + 6_000;
    while (performance.now() < until) assert.equal(latin1(await client.take(4)), "tick");
    client.reset();
    log.add("tunnel", (line) => {
      assert.equal(line["tunnel.end"], "client_broke");
    });
  });

  await t.step(
    "the route's own time lets it be silent for longer, and for longer than read",
    async () => {
      await using client = await open(sluice, ask("/long/echo"));
      await client.fill(4_000).catch(() => false);
      assert.equal(client.ended, null);
      await client.send("still here");
      assert.equal(latin1(await client.take(10)), "still here");
      client.end();
      assert.equal(await client.whenEnded(), "fin");
      log.add("tunnel", (line) => {
        assert.equal(line["tunnel.end"], "client_closed");
        assert.ok(Number(line["duration_ms"]) >= 3_900, String(line["duration_ms"]));
      });
    },
  );

  await t.step("one that never is silent ends when its time is over", async () => {
    await using client = await open(sluice, ask("/short/chatter"));
    await client.whenEnded();
    log.add("tunnel", (line) => {
      assert.equal(line["tunnel.end"], "timeout");
      assert.ok(Number(line["duration_ms"]) >= 1_900, String(line["duration_ms"]));
    });
  });

  await t.step("one whose origin has finished is ended when the client says nothing", async () => {
    await using client = await open(sluice, ask("/fin"));
    await client.whenEnded();
    // The client's own direction stays open until then.
    await sluice.waitForAccessLog(5);
    log.add("tunnel", (line) => {
      assert.equal(line["tunnel.end"], "upstream_closed");
      assert.ok(Number(line["duration_ms"]) >= 1_900, String(line["duration_ms"]));
    });
  });

  await t.step("one that the origin breaks says so", async () => {
    await using client = await open(sluice, ask("/reset"));
    await client.send("x");
    await client.whenEnded();
    log.add("tunnel", (line) => {
      assert.equal(line["tunnel.end"], "upstream_broke");
      assert.equal(line["proxy.error_source"], "upstream");
    });
  });

  await t.step("CONNECT that the origin grants is a tunnel, with the same times", async () => {
    await using client = await open(sluice, CONNECT);
    const connection = origin.connections.at(-1)!;
    assert.match(connection.received, /^CONNECT db\.example:5432 HTTP\/1\.1\r\n/);
    await client.send("SELECT 1");
    assert.equal(latin1(await client.take(8)), "SELECT 1");
    await client.whenEnded();
    await eventually(() => connection.ended !== null, "the origin to see the end");
    log.add("tunnel", (line) => {
      assert.equal(line["tunnel.protocol"], "connect");
      assert.equal(line["tunnel.end"], "idle_timeout");
      assert.equal(line["tunnel.received"], 8);
    });
  });

  await t.step(
    "bytes behind a CONNECT wait until it is granted, and are nothing if it is not",
    async () => {
      await using client = await RawClient.connect(sluice.port());
      await client.send(CONNECT + "early");
      assert.equal((await client.response("CONNECT")).status, 200);
      assert.equal(latin1(await client.take(5)), "early");
      client.end();
      await client.whenEnded();
      log.add("early");
      await using other = await RawClient.connect(sluice.port());
      const refused = "CONNECT refuse.example:1 HTTP/1.1\r\nHost: refuse.example:1\r\n\r\n";
      const answer = await other.request(refused);
      assert.equal(answer.status, 403);
      assert.equal(field(answer, "content-length"), "2");
      log.add("tunnel", (line) => {
        assert.equal(line["tunnel.protocol"], undefined);
      });
      assert.ok(!origin.connections.at(-1)!.received.includes("early"));
    },
  );

  await t.step("the access log says why each is over", () => log.verify(sluice));
});

Deno.test("an upgrade to another protocol than was asked for is refused", async () => {
  await using origin = await startRawOrigin(async (connection) => {
    await connection.head();
    await connection.send(SWITCHED.replace("words", "sentences"));
    await connection.whenEnded();
  });
  await using sluice = await startSluice({ upstream: origin.url });
  await using client = await RawClient.connect(sluice.port());
  const answer = await client.request(ask("/"));
  assert.equal(answer.status, 502);
  assert.match(field(answer, "proxy-status")!, /http_upgrade_failed/);
});

Deno.test("a tunnel that is open when the program stops is cut after the grace period, and logged", async () => {
  await using origin = await startOrigin();
  await using sluice = await startSluice({
    config: configFile({
      origin: origin.url,
      server: { grace_period: "3s" },
      top: { telemetry: { access_log: { output: "access.jsonl" } } },
    }),
  });
  await using client = await open(sluice, ask("/echo"));
  await client.send("hello");
  await client.take(5);
  const stopped = sluice.stop();
  // It goes on for as long as the grace lasts.
  await client.send("again");
  assert.equal(latin1(await client.take(5)), "again");
  await client.whenEnded();
  await stopped;
  const [line] = sluice.accessLog();
  assert.equal(line!["tunnel.end"], "shutdown");
  assert.equal(line!["tunnel.sent"], 10);
});

/** Opens a tunnel by extended CONNECT (RFC 8441). */
async function openExtended(port: number, path: string): Promise<http2.ClientHttp2Stream> {
  const session = http2.connect(`http://127.0.0.1:${port}`);
  session.on("error", () => {});
  await new Promise<void>((resolve) => session.once("remoteSettings", () => resolve()));
  const stream = session.request({
    ":method": "CONNECT",
    ":protocol": "words",
    ":scheme": "http",
    ":authority": "a",
    ":path": path,
  }, { endStream: false });
  stream.on("error", () => {});
  stream.on("close", () => session.destroy());
  const status = new Promise((resolve) =>
    stream.on("response", (head) => resolve(head[":status"]))
  );
  assert.equal(Number(await status), 200);
  return stream;
}

Deno.test("over HTTP/2 each direction of a tunnel ends by itself", async () => {
  await using origin = await startRawOrigin(async (connection) => {
    await connection.head();
    await connection.send(SWITCHED);
    await connection.send(`you said: ${latin1(await connection.takeRest())}`);
    connection.end();
  });
  await using sluice = await startSluice({
    config: configFile({ origin: origin.url, listener: { protocols: ["h2c"] } }),
  });
  const stream = await openExtended(sluice.port(), "/");
  let got = "";
  stream.on("data", (piece: Uint8Array) => got += latin1(piece));
  const ended = new Promise<void>((resolve) => stream.on("end", () => resolve()));
  stream.write("all I ");
  stream.end("have");
  await ended;
  assert.equal(got, "you said: all I have");
  assert.deepEqual(origin.failures, []);
});

Deno.test("over HTTP/2 a tunnel whose origin has finished ends when its client is silent, or its time is over", async () => {
  await using origin = await startOrigin();
  await using sluice = await startSluice({
    config: configFile({
      origin: origin.url,
      listener: { protocols: ["h2c"] },
      top: {
        services: [{
          name: "main",
          routes: [
            {
              match: { path: "/chatter" },
              upstream: "origin",
              timeouts: { tunnel: "2s", tunnel_idle: "1m" },
            },
            { upstream: "origin", timeouts: { tunnel_idle: "1s" } },
          ],
        }],
        telemetry: { access_log: { output: "access.jsonl" } },
      },
    }),
  });
  for (const path of ["/fin", "/chatter"]) {
    const stream = await openExtended(sluice.port(), path);
    stream.resume();
    await new Promise<void>((resolve) => stream.on("close", () => resolve()));
    assert.equal(stream.rstCode, http2.constants.NGHTTP2_CANCEL);
  }
  const lines = await sluice.waitForAccessLog(2);
  assert.deepEqual(lines.map((line) => line["tunnel.end"]), ["upstream_closed", "timeout"]);
});

Deno.test("CONNECT over HTTP/2 is a tunnel where a listener allows it, whatever its upstream speaks", async () => {
  await using h1 = await startOrigin();
  const h2c = http2.createServer();
  h2c.on("stream", (stream: http2.ServerHttp2Stream, head: http2.IncomingHttpHeaders) => {
    stream.on("error", () => {});
    assert.equal(head[":method"], "CONNECT");
    assert.equal(head[":authority"], "db.example:5432");
    assert.equal(head[":path"], undefined);
    stream.respond({ ":status": 200 });
    stream.pipe(stream);
  });
  await new Promise<void>((resolve) => h2c.listen(0, "127.0.0.1", resolve));
  const port = (h2c.address() as { port: number }).port;
  try {
    for (const [protocol, to] of [["h1", h1.port], ["h2c", port]] as const) {
      await using sluice = await startSluice({
        config: configFile({
          origin: `http://127.0.0.1:${to}`,
          listener: { protocols: ["h1", "h2c"], allow_connect: true },
          transport: { protocol },
          top: { telemetry: { access_log: { output: "access.jsonl" } } },
        }),
      });
      const session = http2.connect(`http://127.0.0.1:${sluice.port()}`);
      session.on("error", () => {});
      const stream = session.request({ ":method": "CONNECT", ":authority": "db.example:5432" });
      stream.on("error", () => {});
      const head = await new Promise<http2.IncomingHttpHeaders>((resolve) =>
        stream.on("response", resolve)
      );
      assert.equal(Number(head[":status"]), 200);
      let got = "";
      stream.on("data", (piece: Uint8Array) => got += latin1(piece));
      const ended = new Promise<void>((resolve) => stream.on("end", () => resolve()));
      stream.write("SELECT 1");
      await eventually(() => got === "SELECT 1", "the echo");
      stream.end();
      await ended;
      session.destroy();
      await using client = await open(sluice, CONNECT);
      await client.send("SELECT 2");
      assert.equal(latin1(await client.take(8)), "SELECT 2");
      client.end();
      await client.whenEnded();
      const lines = await sluice.waitForAccessLog(2);
      for (const line of lines) {
        assert.equal(line["tunnel.protocol"], "connect");
        assert.equal(line["tunnel.end"], "client_closed");
        assert.equal(line["tunnel.received"], 8);
        assert.equal(line["tunnel.sent"], 8);
      }
    }
  } finally {
    h2c.close();
  }
});
