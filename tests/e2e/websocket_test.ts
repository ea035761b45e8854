/** WebSocket between every two versions of HTTP, with real clients and servers (`ws`) where there are any. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import http from "node:http";
import http2 from "node:http2";
import type net from "node:net";
import type { Duplex } from "node:stream";
import { WebSocket } from "ws";
import { testCertificates } from "../support/certs.ts";
import { configFile } from "../support/config.ts";
import { eventually, withDeadline } from "../support/deadline.ts";
import { field } from "../support/http_text.ts";
import {
  startWebSocketOrigin,
  type WebSocketOrigin as Origin,
  type WebSocketWire as Wire,
} from "../support/websocket_origin.ts";
import { get, RawClient } from "../support/raw_client.ts";
import { testWith } from "../support/require.ts";
import { startRawOrigin } from "../support/raw_origin.ts";
import { startSluice } from "../support/sluice.ts";
import {
  BINARY,
  CLOSE,
  closing,
  PING,
  PONG,
  TEXT,
  WebSocketStream,
} from "../support/websocket_stream.ts";

const WIRES: readonly Wire[] = ["h1", "h2c", "h2"];
const FIELDS = { "sec-websocket-version": "13", origin: "http://app.test" };

/** A handshake: how it was answered, and the WebSocket if it was granted. */
interface Opened extends AsyncDisposable {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly socket: WebSocketStream;
  /** Breaks off. */
  destroy(): void;
}

/** Opens a WebSocket, frame by frame. */
async function open(
  wire: Wire,
  port: number,
  path: string,
  fields: Record<string, string> = {},
  ca: string = "",
): Promise<Opened> {
  if (wire === "h1") {
    const request = http.request({
      host: "127.0.0.1",
      port,
      path,
      headers: {
        connection: "Upgrade",
        upgrade: "websocket",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
        ...FIELDS,
        ...fields,
      },
    });
    request.end();
    const [response, stream] = await withDeadline(
      new Promise<[http.IncomingMessage, Duplex]>((resolve, reject) => {
        request.on("upgrade", (response, stream) => resolve([response, stream]));
        request.on("response", (response) => resolve([response, response.socket]));
        request.on("error", reject);
      }),
      30_000,
      "an answer to the handshake",
    );
    return {
      status: response.statusCode!,
      headers: response.headers,
      socket: new WebSocketStream(stream, true),
      destroy: () => (stream as net.Socket).resetAndDestroy(),
      [Symbol.asyncDispose]: () => Promise.resolve(void stream.destroy()),
    };
  }
  const session = wire === "h2"
    ? http2.connect(`https://127.0.0.1:${port}`, { ca })
    : http2.connect(`http://127.0.0.1:${port}`);
  session.on("error", () => {});
  await withDeadline(
    new Promise<void>((resolve) => session.once("remoteSettings", () => resolve())),
    30_000,
    "the settings",
  );
  assert.equal(session.remoteSettings.enableConnectProtocol, true);
  const stream = session.request({
    ":method": "CONNECT",
    ":protocol": "websocket",
    ":scheme": wire === "h2" ? "https" : "http",
    ":authority": `127.0.0.1:${port}`,
    ":path": path,
    ...FIELDS,
    ...fields,
  }, { endStream: false });
  const socket = new WebSocketStream(stream, true);
  const headers = await withDeadline(
    new Promise<http2.IncomingHttpHeaders>((resolve, reject) => {
      stream.on("response", resolve);
      stream.on("error", reject);
    }),
    30_000,
    "an answer to the handshake",
  );
  return {
    status: Number(headers[":status"]),
    headers,
    socket,
    destroy: () => stream.close(http2.constants.NGHTTP2_CANCEL),
    [Symbol.asyncDispose]: () => Promise.resolve(void session.destroy()),
  };
}

function config(origins: Record<Wire, Origin>, plain: Origin, directory: string): string {
  const upstream = (name: string, port: number, protocol: string) => ({
    name,
    endpoints: [`${protocol === "h2" ? "https" : "http"}://127.0.0.1:${port}`],
    transport: {
      protocol,
      timeouts: { read: "300ms" },
      ...(protocol === "h2" ? { tls: { ca: `${directory}/ca.pem`, server_name: "a.test" } } : {}),
    },
  });
  const route = (id: string, more: Record<string, unknown> = {}) => ({
    id,
    match: { path: `/${id}/*` },
    upstream: id.replace("-short", ""),
    ...more,
  });
  const short = { timeouts: { tunnel_idle: "1s" } };
  const limits = { body_timeout: "300ms" };
  return JSON.stringify({
    version: 1,
    listeners: [
      { name: "clear", address: "127.0.0.1:0", protocols: ["h1", "h2c"], limits },
      {
        name: "tls",
        address: "127.0.0.1:0",
        limits,
        tls: { certificates: [{ cert: "server.pem", key: "server.key" }] },
      },
    ],
    services: [{
      name: "main",
      routes: [
        ...WIRES.map((wire) => route(wire)),
        ...WIRES.map((wire) => route(`${wire}-short`, short)),
        route("plain"),
        route("page", { upstream: "h1", rules: [{ respond: { status: 200, body: "page" } }] }),
      ],
    }],
    upstreams: [
      ...WIRES.map((wire) => upstream(wire, origins[wire].port, wire)),
      upstream("plain", plain.port, "h2c"),
    ],
    telemetry: { access_log: { output: "access.jsonl" } },
  });
}

interface Bridge {
  readonly down: Wire;
  readonly up: Wire;
  readonly origin: Origin;
  open(path?: string, fields?: Record<string, string>): Promise<Opened>;
}

/** What has to hold on each bridge. */
const CASES: Readonly<Record<string, (bridge: Bridge) => Promise<void>>> = {
  async "the handshake is granted, with what the version calls for"(bridge) {
    const { down, up, origin } = bridge;
    await using opened = await bridge.open("echo", { "sec-websocket-protocol": "other, chat" });
    assert.equal(opened.status, down === "h1" ? 101 : 200);
    assert.equal(opened.headers["sec-websocket-protocol"], "chat");
    assert.equal(
      opened.headers["sec-websocket-accept"],
      down === "h1" ? "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" : undefined,
    );
    const head = origin.heads.at(-1)!;
    assert.equal(head["sec-websocket-version"], "13");
    assert.equal(head["sec-websocket-protocol"], "other, chat");
    assert.equal(head["origin"], "http://app.test");
    assert.equal(typeof head["sec-websocket-key"], up === "h1" ? "string" : "undefined");
    assert.equal(head["upgrade"], up === "h1" ? "websocket" : undefined);
    assert.equal(head[":protocol"], up === "h1" ? undefined : "websocket");
  },
  async "text, binary, pings and pongs pass both ways"(bridge) {
    await using opened = await bridge.open();
    const { socket } = opened;
    socket.send(TEXT, "hëllo");
    assert.equal(String((await socket.next()).payload), "hëllo");
    socket.send(BINARY, new Uint8Array([0, 255, 128]));
    const { opcode, payload } = await socket.next();
    assert.deepEqual([opcode, ...payload], [BINARY, 0, 255, 128]);
    socket.send(PING, "from the client");
    assert.deepEqual(text(await socket.next()), [PONG, "from the client"]);
    assert.equal(bridge.origin.pings.at(-1), "from the client");
    socket.send(TEXT, "ping");
    assert.deepEqual(text(await socket.next()), [PING, "from the server"]);
  },
  async "a message of 4 MiB comes back whole"(bridge) {
    await using opened = await bridge.open();
    const message = Buffer.alloc(4 * 1024 * 1024, "0123456789");
    opened.socket.send(BINARY, message);
    const { payload } = await opened.socket.next(30_000);
    assert.ok(payload.equals(message));
  },
  async "the client's close code reaches the server, and its answer the client"(bridge) {
    await using opened = await bridge.open();
    const before = bridge.origin.closed.length;
    opened.socket.send(CLOSE, closing(4001, "bye"));
    const { opcode, payload } = await opened.socket.next();
    assert.deepEqual([opcode, payload.readUInt16BE(0)], [CLOSE, 4001]);
    opened.socket.stream.end();
    const seen = () => bridge.origin.closed.slice(before).includes("4001 bye");
    await eventually(seen, "the server's close");
    await opened.socket.whenEnded();
  },
  async "the server's close code reaches the client"(bridge) {
    await using opened = await bridge.open();
    opened.socket.send(TEXT, "close");
    const { opcode, payload } = await opened.socket.next();
    assert.equal(opcode, CLOSE);
    assert.equal(payload.readUInt16BE(0), 4002);
    assert.equal(String(payload.subarray(2)), "as you wish");
    opened.socket.send(CLOSE, payload);
    await opened.socket.whenEnded();
  },
  async "a server that breaks off ends the client"(bridge) {
    await using opened = await bridge.open();
    opened.socket.send(TEXT, "break");
    await opened.socket.whenEnded();
  },
  async "a client that breaks off ends the server"(bridge) {
    await using opened = await bridge.open();
    opened.socket.send(TEXT, "hello");
    await opened.socket.next();
    const before = bridge.origin.closed.length;
    opened.destroy();
    await eventually(() => bridge.origin.closed.length > before, "the end at the server");
    assert.ok(bridge.origin.closed.slice(before).includes("1006 "));
  },
  async "a client that ends its direction ends the server"(bridge) {
    await using opened = await bridge.open();
    opened.socket.send(TEXT, "hello");
    await opened.socket.next();
    const before = bridge.origin.closed.length;
    opened.socket.stream.end();
    await eventually(() => bridge.origin.closed.length > before, "the end at the server");
    await opened.socket.whenEnded();
  },
  async "one that pauses for longer than the timeouts of plain content goes on"(bridge) {
    await using opened = await bridge.open();
    await pause(800);
    opened.socket.send(TEXT, "still here");
    assert.equal(String((await opened.socket.next()).payload), "still here");
  },
  async "one that is idle for too long ends on both sides"(bridge) {
    const before = bridge.origin.closed.length;
    await using opened = await bridge.open("../short");
    opened.socket.send(TEXT, "hello");
    await opened.socket.next();
    await opened.socket.whenEnded();
    await eventually(() => bridge.origin.closed.length > before, "the end at the server");
  },
  async "a handshake that is refused is an answer like any other"(bridge) {
    await using opened = await bridge.open("refuse");
    assert.equal(opened.status, 403);
  },
};

testWith(["openssl"], "WebSocket between the versions of HTTP", async (t) => {
  const { server: certificate, ca } = testCertificates();
  await using h1 = await startWebSocketOrigin("h1");
  await using h2c = await startWebSocketOrigin("h2c");
  await using h2 = await startWebSocketOrigin("h2", { certificate });
  await using plain = await startWebSocketOrigin("h2c", { extended: false });
  const origins = { h1, h2c, h2 };
  await using sluice = await startSluice({
    files: { "server.pem": certificate.cert, "server.key": certificate.key, "ca.pem": ca },
    config: (directory) => config(origins, plain, directory),
  });
  const port = sluice.port("clear");
  for (const down of WIRES) {
    const listener = sluice.port(down === "h2" ? "tls" : "clear");
    for (const up of WIRES) {
      await t.step(`${down} to ${up}`, async (t) => {
        for (const [name, check] of Object.entries(CASES)) {
          await t.step(name, () =>
            check({
              down,
              up,
              origin: origins[up],
              open: (path = "echo", fields) =>
                open(
                  down,
                  listener,
                  path === "../short" ? `/${up}-short/echo` : `/${up}/${path}`,
                  fields,
                  ca,
                ),
            }));
        }
      });
    }
  }
  for (const up of WIRES) {
    await t.step(`the client that people use, to ${up}`, async () => {
      await real(`ws://127.0.0.1:${port}`, up, origins);
      await real(`wss://127.0.0.1:${sluice.port("tls")}`, up, origins, ca);
    });
  }

  await t.step(
    "a handshake that cannot be carried over HTTP/2 is refused as the RFC says",
    async () => {
      for (
        const [status, fields] of [
          [400, { "sec-websocket-key": "short" }],
          [426, { "sec-websocket-version": "8" }],
        ] as const
      ) {
        await using opened = await open("h1", port, "/h2c/echo", fields);
        assert.equal(opened.status, status);
        if (status === 426) assert.equal(opened.headers["sec-websocket-version"], "13");
      }
    },
  );

  await t.step("an upstream without extended CONNECT is a failed upgrade", async () => {
    for (const down of ["h1", "h2c"] as const) {
      await using opened = await open(down, port, "/plain/echo");
      assert.equal(opened.status, 502);
      assert.match(String(opened.headers["proxy-status"]), /http_upgrade_failed/);
    }
  });

  await t.step("a page in place of a WebSocket is not taken for one over HTTP/2", async () => {
    await using opened = await open("h2c", port, "/page/");
    assert.equal(opened.status, 502);
    await using other = await open("h1", port, "/page/");
    assert.equal(other.status, 200);
  });

  await t.step("the log says what went through, and why it is over", async () => {
    const lines = await sluice.waitForAccessLog(80);
    const ends = new Set(lines.map((line) => line["tunnel.end"]));
    for (const end of ["client_closed", "upstream_closed", "client_broke", "idle_timeout"]) {
      assert.ok(ends.has(end), `${end} among ${[...ends]}`);
    }
    const large = lines.filter((line) => Number(line["tunnel.received"]) > 4 * 1024 * 1024);
    assert.equal(large.length, 9);
    for (const line of large) assert.ok(Number(line["tunnel.sent"]) > 4 * 1024 * 1024);
  });
});

/** The client that people use, compression and all. */
async function real(
  base: string,
  up: Wire,
  origins: Record<Wire, Origin>,
  ca: string = "",
): Promise<void> {
  const ws = new WebSocket(`${base}/${up}/echo`, ["chat"], { perMessageDeflate: true, ca });
  const got: string[] = [];
  ws.on("message", (data: Buffer) => got.push(String(data)));
  await withDeadline(new Promise((resolve) => ws.once("open", resolve)), 30_000, "the opening");
  assert.equal(ws.protocol, "chat");
  assert.equal(ws.extensions, up === "h1" ? "permessage-deflate" : "");
  const long = "again and again ".repeat(10_000);
  ws.send("hello");
  ws.send(long);
  await eventually(() => got.length === 2, "the echo");
  assert.deepEqual(got, ["hello", long]);
  const closed = new Promise<string>((resolve) => {
    ws.once("close", (code: number, reason: Buffer) => resolve(`${code} ${reason}`));
  });
  ws.close(4003, "enough");
  assert.equal(await withDeadline(closed, 30_000, "the closing"), "4003 enough");
  await eventually(() => origins[up].closed.includes("4003 enough"), "the server's close");
}

Deno.test("an upstream that does not answer our key is no WebSocket to an HTTP/2 client", async () => {
  await using origin = await startRawOrigin(async (connection) => {
    const head = await connection.head();
    assert.match(field(head, "sec-websocket-key")!, /^[A-Za-z0-9+/]{22}==$/);
    await connection.send(
      "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
        "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
    );
    await connection.whenEnded();
  });
  await using sluice = await startSluice({
    config: configFile({ origin: origin.url, listener: { protocols: ["h1", "h2c"] } }),
  });
  await using opened = await open("h2c", sluice.port(), "/");
  assert.equal(opened.status, 502);
  // From a client that has a key of its own it is none of our business.
  await using client = await RawClient.connect(sluice.port());
  const answer = await client.request(get("/", {
    Connection: "Upgrade",
    Upgrade: "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
  }));
  assert.equal(answer.status, 101);
});

// CVE-2026-2833, over HTTP/2
Deno.test("what an HTTP/2 client sends before the 101 waits for it", async () => {
  let agree = () => {};
  const agreed = new Promise<void>((resolve) => agree = resolve);
  await using origin = await startRawOrigin(async (connection) => {
    await connection.head();
    await agreed;
    assert.equal(connection.received.includes("smuggled"), false);
    await connection.send("HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: words\r\n\r\n");
    await connection.takeUntil("smuggled");
    connection.end();
  });
  await using sluice = await startSluice({
    config: configFile({ origin: origin.url, listener: { protocols: ["h2c"] } }),
  });
  const session = http2.connect(`http://127.0.0.1:${sluice.port()}`);
  session.on("error", () => {});
  await new Promise<void>((resolve) => session.once("remoteSettings", () => resolve()));
  const stream = session.request({
    ":method": "CONNECT",
    ":protocol": "words",
    ":scheme": "http",
    ":authority": "a",
    ":path": "/",
  }, { endStream: false });
  stream.on("error", () => {});
  stream.write("GET /smuggled HTTP/1.1\r\n\r\nsmuggled");
  await origin.waitForConnections(1);
  await eventually(() => origin.connections[0]!.received.includes("\r\n\r\n"), "the request");
  await origin.connections[0]!.fill(200).catch(() => false);
  agree();
  const status = await new Promise((resolve) =>
    stream.on("response", (fields) => resolve(fields[":status"]))
  );
  assert.equal(Number(status), 200);
  await eventually(() => origin.connections[0]!.ended !== null || stream.closed, "the end");
  session.destroy();
  assert.deepEqual(origin.failures, []);
});

function text({ opcode, payload }: { opcode: number; payload: Buffer }): [number, string] {
  return [opcode, String(payload)];
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
