/** The access log: exactly one line for each request, whatever became of it, and none is lost. */
import assert from "node:assert/strict";
import { configFile } from "../support/config.ts";
import { eventually } from "../support/deadline.ts";
import { get, RawClient, rawRequest, request } from "../support/raw_client.ts";
import { freePort } from "../support/ports.ts";
import { startRawOrigin } from "../support/raw_origin.ts";
import { startSimpleOrigin } from "../support/simple_origin.ts";
import { type AccessLine, runSluice, startSluice } from "../support/sluice.ts";

const STATUS = "http.response.status_code";

Deno.test("a line says what was asked, answered, by whom, and how long it took", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({ config: configFile({ origin: origin.address }) });
  const before = Date.now();
  await using client = await RawClient.connect(sluice.port());
  await client.request(
    request("POST", "/echo?a=1&token=hidden&b=%22x", {
      "User-Agent": 'Agent "quoted" \\ \xe9',
    }, "12345"),
  );
  const [line] = await sluice.waitForAccessLog(1);
  const expected: AccessLine = {
    "event.name": "http.access",
    "http.request.method": "POST",
    "url.scheme": "http",
    "server.address": "test.example",
    "url.path": "/echo",
    "http.route": "all",
    "network.protocol.version": "1.1",
    "client.address": "127.0.0.1",
    "client.port": client.socket.localPort,
    "network.peer.address": "127.0.0.1",
    "user_agent.original": 'Agent "quoted" \\ \xe9',
    [STATUS]: 200,
    "http.request.body.size": 5,
    "http.response.body.size": 5,
    "upstream.name": "origin",
    "upstream.address": origin.address,
    "upstream.status": 200,
    "upstream.attempts": 1,
    "upstream.reused": false,
    "sluice.listener": "web",
    "sluice.service": "main",
  };
  for (const [name, value] of Object.entries(expected)) {
    assert.deepEqual(line![name], value, `${name}: ${JSON.stringify(line)}`);
  }
  assert.match(line!["request_id"] as string, /^[0-9a-f-]{36}$/);
  assert.ok(Math.abs(Date.parse(line!["timestamp"] as string) - before) < 5_000);
  assert.ok((line!["duration_ms"] as number) >= 0);
  assert.equal("proxy.error" in line!, false);
  assert.match(line!["url.query"] as string, /a=1/);
  assert.doesNotMatch(line!["url.query"] as string, /hidden/);
});

Deno.test("every path of a request writes exactly one line", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({
    config: configFile({
      upstreams: [
        { name: "origin", endpoints: [origin.address] },
        { name: "dead", endpoints: [`127.0.0.1:${freePort()}`] },
      ],
      limits: { body_bytes: 100, target_bytes: 100, header_timeout: "300ms" },
      top: {
        services: [{
          name: "main",
          routes: [
            { id: "rule", match: { path: "/rule" }, rules: [{ respond: { status: 403 } }] },
            { id: "dead", match: { path: "/dead" }, upstream: "dead" },
            { id: "all", match: { path: "/o/*", host: "test.example" }, upstream: "origin" },
            { id: "rest", match: { path: ["/drop", "/echo", "/bytes/*"] }, upstream: "origin" },
          ],
        }],
      },
    }),
  });
  const port = sluice.port();
  const asks: (readonly [string, number])[] = [
    [get("/o/ok"), 200],
    [get("/rule"), 403],
    [get("/dead"), 502],
    [get("/nowhere"), 404],
    [get("/drop"), 502],
    [request("POST", "/echo", {}, "x".repeat(101)), 413],
    [get(`/o/${"x".repeat(200)}`), 414],
    ["BAD REQUEST LINE\r\n\r\n", 400],
    ["CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 405],
    ["GET /o/late HTTP/1.1\r\n", 408],
    ["HEAD /o/head HTTP/1.1\r\nHost: test.example\r\n\r\n", 200],
    [get("/o/pipelined") + get("/o/pipelined"), 200],
  ];
  for (const [ask] of asks) {
    await using client = await RawClient.connect(port);
    await client.send(ask);
    await client.response(ask.slice(0, ask.indexOf(" ")));
    if (ask.includes("pipelined")) await client.response();
  }
  const count = asks.length + 1;
  await sluice.waitForAccessLog(count);
  assert.equal(await sluice.stop(), 0);
  const lines = sluice.accessLog();
  assert.equal(lines.length, count, JSON.stringify(lines.map((line) => line[STATUS])));
  assert.deepEqual(
    lines.map((line) => line[STATUS]),
    [...asks.map(([, status]) => status), 200],
  );
  assert.equal(new Set(lines.map((line) => line["request_id"])).size, count);
});

Deno.test("a client that leaves before the answer is one line that says so", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({ upstream: origin.url });
  const client = await RawClient.connect(sluice.port());
  await client.send(get("/delay/30000"));
  await eventually(() => origin.count("/delay/30000") === 1, "the request at the origin");
  client.reset();
  const [line] = await sluice.waitForAccessLog(1);
  assert.equal(line!["proxy.error_source"], "downstream");
  assert.ok([0, 499].includes(line![STATUS] as number));
  await rawRequest(sluice.port(), get("/bytes/1"));
  assert.equal(await sluice.stop(), 0);
  assert.equal(sluice.accessLog().length, 2);
});

Deno.test("a tunnel is one line, written when it ends", async () => {
  await using origin = await startRawOrigin(async (connection) => {
    await connection.head();
    await connection.send("HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: words\r\n\r\n");
    await connection.takeRest();
    connection.end();
  });
  await using sluice = await startSluice({ upstream: origin.url });
  await using client = await RawClient.connect(sluice.port());
  await client.request(get("/", { Connection: "upgrade", Upgrade: "words" }));
  assert.equal(sluice.accessLog().length, 0);
  client.end();
  await client.whenEnded();
  const lines = await sluice.waitForAccessLog(1);
  assert.equal(lines.length, 1);
  assert.equal(lines[0]![STATUS], 101);
});

Deno.test("a client cannot forge a line", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({ upstream: origin.url });
  await rawRequest(
    sluice.port(),
    get('/%0a{"event.name":"forged"}', { "User-Agent": 'x"}\t{"event.name":"forged"' }),
  ).catch(() => {});
  await rawRequest(sluice.port(), get("/bytes/1"));
  const lines = await sluice.waitForAccessLog(2);
  assert.ok(lines.every((line) => line["event.name"] === "http.access"));
});

Deno.test("nothing is lost when the program is told to stop under load", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({ upstream: origin.url, threads: 2 });
  let answered = 0;
  const load = async () => {
    await using client = await RawClient.connect(sluice.port());
    for (let i = 0; i < 1000; i++) {
      await client.send(get("/bytes/10"));
      if (!await client.fill().catch(() => false)) return;
      await client.response();
      answered++;
    }
  };
  const running = Array.from({ length: 8 }, () => load().catch(() => {}));
  await eventually(() => answered > 500, "some answers");
  assert.equal(await sluice.stop(), 0);
  await Promise.all(running);
  const lines = sluice.accessLog();
  assert.ok(answered > 500);
  assert.ok(lines.length >= answered, `${lines.length} lines for ${answered} answers`);
  assert.ok(lines.length <= origin.requests.length, "more lines than requests");
});

Deno.test("stdout takes the log, too, and off means none", async () => {
  await using origin = await startSimpleOrigin();
  await using loud = await startSluice({ upstream: origin.url, args: ["--access-log", "stdout"] });
  await rawRequest(loud.port(), get("/bytes/1"));
  assert.equal(await loud.stop(), 0);
  const lines = loud.stdout().split("\n").filter((line) => line.startsWith("{"));
  assert.equal(lines.length, 1);
  assert.equal(JSON.parse(lines[0]!)["url.path"], "/bytes/1");
  await using quiet = await startSluice({ upstream: origin.url, args: ["--access-log", "off"] });
  await rawRequest(quiet.port(), get("/bytes/1"));
  assert.equal(await quiet.stop(), 0);
  assert.doesNotMatch(quiet.stdout(), /http\.access/);
});

Deno.test("an access log that cannot be opened keeps the program from starting, with the reason", async () => {
  const { code, stderr } = await runSluice([
    "run",
    "--listen",
    "127.0.0.1:0",
    "--upstream",
    "http://127.0.0.1:1",
    "--access-log",
    "/no/such/folder/access.log",
  ]);
  assert.notEqual(code, 0);
  assert.match(stderr, /\/no\/such\/folder/);
});
