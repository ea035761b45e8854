/** HTTP/2 clients on a port that speaks HTTP/1 too, in front of an HTTP/1 origin. */
import assert from "node:assert/strict";
import * as c from "../../src/http2/constants.ts";
import { configFile } from "../support/config.ts";
import { eventually } from "../support/deadline.ts";
import { get, RawClient, rawRequest } from "../support/raw_client.ts";
import { startRawOrigin } from "../support/raw_origin.ts";
import { frame, RawHttp2, statusOf, valueOf } from "../support/raw_http2.ts";
import { testWith } from "../support/require.ts";
import { pattern, type SeenRequest, startSimpleOrigin } from "../support/simple_origin.ts";
import { startSluice } from "../support/sluice.ts";

const H2C = { listener: { protocols: ["h1", "h2c"] } };

async function run(program: string, ...args: string[]): Promise<string> {
  const { stdout, stderr, code } = await new Deno.Command(program, {
    args,
    stdout: "piped",
    stderr: "piped",
  }).output();
  const text = new TextDecoder().decode(stdout);
  assert.equal(code, 0, text + new TextDecoder().decode(stderr));
  return text;
}

Deno.test("requests of HTTP/2 reach an HTTP/1 origin, and answers come back whole", async (t) => {
  const large = Array.from({ length: 30 }, (_, i) => [`x-${i}`, pattern(900 + i)] as const);
  await using origin = await startSimpleOrigin({
    handler: ({ target }) =>
      target !== "/large"
        ? undefined
        : `HTTP/1.1 200 OK\r\nContent-Length: 0\r\n${
          large.map(([name, value]) => `${name}: ${value}\r\n`).join("")
        }\r\n`,
  });
  await using sluice = await startSluice({
    config: configFile({ ...H2C, origin: origin.address }),
  });
  const port = sluice.port();
  await using client = await RawHttp2.connect(port);

  await t.step("the request is a plain HTTP/1 request there", async () => {
    const seen = await client.get("/request?a=b", [
      ["x-one", "1"],
      ["cookie", "a=1"],
      ["cookie", "b=2"],
      ["te", "trailers"],
    ]);
    assert.equal(statusOf(seen), "200");
    const request = JSON.parse(seen.body.toString()) as SeenRequest;
    assert.equal(request.method, "GET");
    assert.equal(request.target, "/request?a=b");
    assert.equal(request.version, "HTTP/1.1");
    const fields = request.fields.map(([name, value]) => `${name.toLowerCase()}: ${value}`);
    assert.ok(fields.includes("host: test.example"), fields.join("\n"));
    assert.ok(fields.includes("cookie: a=1; b=2"), "crumbs are joined (RFC 9113 §8.2.3)");
    assert.ok(fields.includes("via: 2 sluice"));
    assert.ok(fields.every((field) => !field.startsWith(":")));
    assert.equal(request.body, "");
  });

  await t.step("content goes both ways, byte by byte the same", async () => {
    const body = pattern(700_000);
    const id = client.take();
    await client.send(client.request(id, "POST", "/echo", { end: false }));
    let sent = 0;
    let window = 65_535 + 196_609;
    while (sent < body.length) {
      const size = Math.min(16_384, body.length - sent, window);
      if (size > 0) {
        const end = sent + size === body.length ? c.FLAG_END_STREAM : 0;
        await client.send(frame(c.DATA, end, id, body.slice(sent, sent + size)));
        sent += size;
        window -= size;
      } else {
        const before = client.frames.length;
        const isUpdate = () =>
          client.frames.slice(before).some((one) =>
            one.type === c.WINDOW_UPDATE && one.stream === id
          );
        await client.until(isUpdate, "a window to open");
        for (const one of client.frames.slice(before)) {
          if (one.type === c.WINDOW_UPDATE && one.stream === id) {
            window += (one.payload[2]! << 8 | one.payload[3]!) + one.payload[1]! * 65_536;
          }
        }
      }
    }
    const seen = await client.over(id, 30_000);
    assert.equal(statusOf(seen), "200");
    assert.equal(seen.body.toString("latin1"), body);
  });

  await t.step("many at a time, and each gets its own", async () => {
    const ids = Array.from({ length: 60 }, () => client.take());
    await client.send(...ids.map((id, i) => client.request(id, "GET", `/bytes/${i * 997}`)));
    for (const [i, id] of ids.entries()) {
      const seen = await client.over(id);
      assert.equal(seen.body.toString("latin1"), pattern(i * 997));
      assert.equal(valueOf(seen.sections[0], "content-length"), String(i * 997));
    }
  });

  await t.step("HEAD, 204 and 304 end with their head", async () => {
    const head = client.take();
    await client.send(client.request(head, "HEAD", "/bytes/1234"));
    const seen = await client.over(head);
    assert.equal(valueOf(seen.sections[0], "content-length"), "1234");
    assert.equal(seen.body.length, 0);
    for (const status of ["204", "304"]) {
      const answer = await client.get(`/status/${status}`);
      assert.equal(statusOf(answer), status);
      assert.ok(answer.ended);
    }
    assert.ok(!client.frames.some(({ type, stream }) => type === c.DATA && stream === head));
  });

  await t.step("103 and trailers come as sections of their own", async () => {
    const hinted = await client.get("/early-hints");
    assert.deepEqual(
      hinted.sections.map((section) => valueOf(section, ":status")),
      ["103", "200"],
    );
    assert.equal(valueOf(hinted.sections[0], "link"), "</a.css>; rel=preload");
    const seen = await client.get("/trailers");
    assert.equal(seen.body.toString(), "hello");
    assert.deepEqual(seen.sections[1], [["x-checksum", "42"]]);
  });

  await t.step("trailers of a request reach the origin", async () => {
    const id = client.take();
    await client.send(
      client.request(id, "POST", "/request", { end: false }),
      frame(c.DATA, 0, id, "abc"),
      client.headers(id, [["x-sum", "6"]], true),
    );
    const seen = await client.over(id);
    const request = JSON.parse(seen.body.toString()) as SeenRequest;
    assert.equal(request.body, "abc");
    assert.deepEqual(
      request.trailers.map(([name, value]) => [name.toLowerCase(), value]),
      [["x-sum", "6"]],
    );
  });

  await t.step("large heads go both ways, in several frames", async () => {
    const seen = await client.get("/request", large);
    const request = JSON.parse(seen.body.toString()) as SeenRequest;
    for (const [name, value] of large) {
      assert.ok(request.fields.some(([one, other]) => one === name && other === value), name);
    }
    const [head] = (await client.get("/large")).sections;
    for (const [name, value] of large) assert.equal(valueOf(head, name), value);
    assert.ok(client.frames.some(({ type }) => type === c.CONTINUATION));
  });

  await t.step(
    "`Connection: close` of the origin does not end the client's connection",
    async () => {
      assert.equal((await client.get("/close")).body.toString(), "closing");
      assert.equal(statusOf(await client.get("/")), "200");
    },
  );

  await t.step("the access log has the version and the numbers of the stream", async () => {
    const lines = await sluice.waitForAccessLog(72);
    assert.ok(lines.every((line) => line["network.protocol.version"] === "2"));
    const post = lines.find((line) => line["url.path"] === "/echo")!;
    assert.equal(post["http.request.body.size"], 700_000);
    assert.equal(post["http.response.body.size"], 700_000);
  });
});

Deno.test("HTTP/1 and HTTP/2 share a port, wherever the first bytes are cut", async (t) => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({
    config: configFile({
      ...H2C,
      origin: origin.address,
      limits: { header_timeout: "2s" },
    }),
  });
  const port = sluice.port();

  await t.step("HTTP/1 works as ever, PRI and all", async () => {
    assert.equal((await rawRequest(port, get("/"))).status, 200);
    assert.equal((await rawRequest(port, "PRI / HTTP/1.1\r\nHost: a\r\n\r\n")).status, 200);
    assert.equal((await rawRequest(port, "PRI * HTTP/2.1\r\n\r\n")).status, 505);
    assert.equal((await rawRequest(port, "PUT / HTTP/1.1\r\nHost: a\r\n\r\n")).status, 200);
  });

  await t.step("a preface and a request are found at every cut", async () => {
    for (let cut = 1; cut < c.PREFACE.length; cut++) {
      await using client = new RawHttp2(await RawClient.connect(port), {});
      await client.send(c.PREFACE.subarray(0, cut));
      await new Promise((resolve) => setImmediate(resolve));
      await client.send(c.PREFACE.subarray(cut), frame(c.SETTINGS, 0, 0));
      assert.equal(statusOf(await client.get("/")), "200", `cut at ${cut}`);
    }
    await using slow = await RawClient.connect(port);
    await slow.sendSplit(get("/bytes/3"));
    assert.equal((await slow.response()).status, 200);
    // Whatever differs late in the preface was HTTP/1 all along, and is judged as such.
    await using strange = await RawClient.connect(port);
    await strange.send("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n");
    assert.equal((await strange.response()).status, 505);
  });

  await t.step("part of a preface does not hang", async () => {
    for (const part of ["", "PRI * HTTP/2.0\r\n\r\nSM"]) {
      await using client = await RawClient.connect(port);
      await client.send(part);
      await client.whenEnded();
    }
  });

  await t.step("a port without h2c answers the preface as the HTTP/1 it is not", async () => {
    await using plain = await startSluice({ config: configFile({ origin: origin.address }) });
    await using client = await RawClient.connect(plain.port());
    await client.send(c.PREFACE);
    assert.equal((await client.response()).status, 505);
  });

  await t.step("a port of HTTP/2 alone sends HTTP/1 away", async () => {
    await using only = await startSluice({
      config: configFile({ origin: origin.address, listener: { protocols: ["h2c"] } }),
    });
    await using client = await RawHttp2.connect(only.port());
    assert.equal(statusOf(await client.get("/")), "200");
    await using old = new RawHttp2(await RawClient.connect(only.port()), {});
    await old.wire.send(get("/"));
    assert.equal(await old.goaway(), c.PROTOCOL_ERROR);
    await old.end();
  });
});

Deno.test("an answer before the end of the upload stops the upload, and nothing else", async () => {
  await using origin = await startRawOrigin(async (connection) => {
    await connection.head();
    await connection.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
    await connection.whenEnded();
  });
  await using sluice = await startSluice({
    config: configFile({ ...H2C, origin: origin.address }),
  });
  await using client = await RawHttp2.connect(sluice.port());
  const id = client.take();
  await client.send(
    client.request(id, "POST", "/", { end: false }),
    frame(c.DATA, 0, id, new Uint8Array(5000)),
  );
  await client.until(() => client.seen(id).reset >= 0, "the reset");
  const seen = client.seen(id);
  assert.equal(statusOf(seen), "403");
  assert.equal(seen.body.toString(), "no");
  assert.ok(seen.ended, "the response was whole before (RFC 9113 §8.1)");
  assert.equal(seen.reset, c.NO_ERROR);
  // What was on its way is ignored, and the next request is served.
  await client.send(frame(c.DATA, c.FLAG_END_STREAM, id, new Uint8Array(100)));
  assert.equal(statusOf(await client.get("/again")), "403");
});

Deno.test("a failure before the head is an answer, after it a reset", async (t) => {
  await using origin = await startRawOrigin(async (connection) => {
    const { target } = await connection.head();
    if (target === "/partly") {
      await connection.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n12345");
      // The client has it before the connection breaks.
      await connection.fill(10_000).catch(() => {});
    }
    connection.reset();
  });
  await using sluice = await startSluice({
    config: configFile({ ...H2C, origin: origin.address, server: { max_retries: 0 } }),
  });
  await using client = await RawHttp2.connect(sluice.port());
  await t.step("before", async () => {
    const seen = await client.get("/before");
    assert.equal(statusOf(seen), "502");
    assert.ok(seen.ended && seen.reset < 0);
  });
  await t.step("after", async () => {
    const id = client.take();
    await client.send(client.request(id, "GET", "/partly"));
    await client.until(() => client.seen(id).body.length === 5, "the first bytes");
    origin.connections.at(-1)!.reset();
    const seen = await client.over(id);
    assert.equal(seen.body.toString(), "12345");
    assert.ok(!seen.ended);
    assert.equal(seen.reset, c.CANCEL);
    assert.equal(statusOf(await client.get("/before")), "502", "the connection goes on");
  });
});

Deno.test("a client that resets a request, or goes away, ends it at the origin", async () => {
  let ended = 0;
  await using origin = await startRawOrigin(async (connection) => {
    await connection.head();
    await connection.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n12345");
    await connection.whenEnded();
    ended++;
  });
  await using sluice = await startSluice({
    config: configFile({ ...H2C, origin: origin.address }),
  });
  await using client = await RawHttp2.connect(sluice.port());
  const id = client.take();
  await client.send(client.request(id, "GET", "/"));
  await client.until(() => client.seen(id).body.length === 5, "the first bytes");
  await client.send(frame(c.RST_STREAM, 0, id, Uint8Array.of(0, 0, 0, c.CANCEL)));
  await eventually(() => ended === 1, "the origin to see it");
  const other = client.take();
  await client.send(client.request(other, "GET", "/"));
  await client.until(() => client.seen(other).body.length === 5, "the first bytes");
  client.wire.end();
  await eventually(() => ended === 2, "the origin to see it");
  const [line] = await sluice.waitForAccessLog(1);
  assert.equal(line!["http.response.status_code"], 200);
  assert.equal(line!["proxy.error_source"], "downstream");
});

Deno.test("a drain says GOAWAY, finishes what runs and closes", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({
    config: configFile({ ...H2C, origin: origin.address }),
  });
  await using client = await RawHttp2.connect(sluice.port());
  await using idle = await RawHttp2.connect(sluice.port());
  await client.ping();
  await idle.ping();
  const id = client.take();
  await client.send(client.request(id, "GET", "/delay/3000"));
  await eventually(() => origin.raw.connections.length > 0, "the request to arrive");
  sluice.signal("SIGTERM");
  assert.equal(await idle.goaway(), c.NO_ERROR);
  await idle.end();
  const seen = await client.over(id);
  assert.equal(seen.body.toString(), "late");
  await client.end();
  const goaways = client.frames.filter(({ type }) => type === c.GOAWAY);
  assert.deepEqual(
    goaways.map(({ payload }) => payload[3]! | payload[0]! << 24),
    [0x7f00_00ff, id],
    "first a notice, then the last stream (RFC 9113 §6.8)",
  );
  assert.equal(await sluice.exited, 0);
});

Deno.test("a connection says GOAWAY after its requests, and when it was idle for long", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({
    config: configFile({
      ...H2C,
      origin: origin.address,
      limits: { requests_per_connection: 3, keep_alive_timeout: "2s" },
    }),
  });
  await using client = await RawHttp2.connect(sluice.port());
  for (let i = 0; i < 3; i++) assert.equal(statusOf(await client.get("/")), "200");
  assert.equal(await client.goaway(), c.NO_ERROR);
  await client.end();
  await using idle = await RawHttp2.connect(sluice.port());
  assert.equal(statusOf(await idle.get("/")), "200");
  assert.equal(await idle.goaway(), c.NO_ERROR);
  await idle.end();
});

Deno.test("CONNECT is passed on where the listener allows it, and its stream is the tunnel", async () => {
  await using origin = await startRawOrigin(async (connection) => {
    const { method, target } = await connection.head();
    await connection.send(`HTTP/1.1 200 Fine\r\n\r\n${method} ${target}:`);
    for (let piece = await connection.takeSome(); piece.length > 0;) {
      await connection.send(piece);
      piece = await connection.takeSome();
    }
    connection.end();
  });
  await using sluice = await startSluice({
    config: configFile({
      listener: { ...H2C.listener, allow_connect: true },
      origin: origin.address,
    }),
  });
  await using client = await RawHttp2.connect(sluice.port());
  const id = client.take();
  await client.send(
    client.headers(id, [[":method", "CONNECT"], [":authority", "a.example:443"]], false),
  );
  await client.until(() => client.seen(id).body.toString().endsWith(":"), "the tunnel");
  assert.equal(statusOf(client.seen(id)), "200");
  assert.equal(valueOf(client.seen(id).sections[0], "content-length"), "", "RFC 9110 §9.3.6");
  await client.send(frame(c.DATA, 0, id, "one"));
  await client.until(() => client.seen(id).body.toString().endsWith("one"), "the echo");
  await client.send(frame(c.DATA, c.FLAG_END_STREAM, id, "two"));
  assert.equal((await client.over(id)).body.toString(), "CONNECT a.example:443:onetwo");
});

Deno.test("what a listener refuses is refused with a status, and the connection goes on", async (t) => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({
    config: configFile({
      ...H2C,
      origin: origin.address,
      limits: { target_bytes: 1000, body_bytes: 2000, body_timeout: "400ms", fields: 50 },
      listener: { ...H2C.listener, http2: { header_list_bytes: 4096 } },
    }),
  });
  await using client = await RawHttp2.connect(sluice.port());
  const cases: [string, string, () => Promise<string>][] = [
    ["414", "a long target", async () => statusOf(await client.get(`/${"x".repeat(1000)}`))],
    [
      "431",
      "long fields",
      async () => statusOf(await client.get("/", [["x-long", "x".repeat(5000)]])),
    ],
    [
      "431",
      "many fields",
      async () =>
        statusOf(
          await client.get("/", Array.from({ length: 51 }, (_, i) => [`x-${i}`, ""] as const)),
        ),
    ],
    ["413", "much content", async () => statusOf(await client.post("/echo", pattern(2001)))],
    ["417", "an expectation", async () => statusOf(await client.get("/", [["expect", "magic"]]))],
    ["408", "content that does not come", async () => {
      const id = client.take();
      await client.send(client.request(id, "POST", "/echo", { end: false }));
      return statusOf(await client.over(id));
    }],
    ["405", "CONNECT", async () => {
      const id = client.take();
      await client.send(
        client.headers(id, [[":method", "CONNECT"], [":authority", "a.example:443"]], true),
      );
      return statusOf(await client.over(id));
    }],
  ];
  for (const [status, what, ask] of cases) {
    await t.step(`${what}: ${status}`, async () => assert.equal(await ask(), status));
  }
  assert.equal(statusOf(await client.get("/")), "200");
});

testWith(["curl", "nghttp", "h2load"], "curl, nghttp and h2load are served", async (t) => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({
    config: configFile({ ...H2C, origin: origin.address }),
  });
  const { url } = sluice;
  const file = await Deno.makeTempFile();
  const body = pattern(3_000_000);
  try {
    await Deno.writeTextFile(file, body);
    const curl = (...args: string[]) => run("curl", "-sS", "--http2-prior-knowledge", ...args);
    await t.step("curl", async () => {
      assert.equal(await curl(`${url}/bytes/1000000`), pattern(1_000_000));
      assert.equal(await curl("--data-binary", `@${file}`, `${url}/echo`), body);
      assert.match(await curl("-I", `${url}/bytes/77`), /^HTTP\/2 200[\s\S]*content-length: 77/);
    });
    await t.step("nghttp", async () => {
      assert.equal(await run("nghttp", `${url}/bytes/300000`), pattern(300_000));
      const upload = await run("nghttp", "-v", "-d", file, "--trailer", "x-end: 1", `${url}/echo`);
      assert.match(upload, /:status: 200/);
      assert.match(upload, /END_STREAM/);
    });
    await t.step("h2load", async () => {
      const args = ["-n", "2000", "-c", "4", "-m", "20"];
      assert.match(await run("h2load", ...args, `${url}/bytes/500`), /2000 succeeded, 0 failed/);
      assert.match(
        await run("h2load", "-n", "40", "-c", "2", "-m", "10", "-d", file, `${url}/echo`),
        /40 succeeded, 0 failed/,
      );
    });
  } finally {
    await Deno.remove(file);
  }
});
