import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { ProxyError } from "../../src/base/error.ts";
import { Fields } from "../../src/http/fields.ts";
import { ResponseHead } from "../../src/http/message.ts";
import { type DownstreamSession, NO_CONTENT, STREAM } from "../../src/http/session.ts";
import * as c from "../../src/http2/constants.ts";
import { HpackEncoder } from "../../src/http2/hpack/encoder.ts";
import { collectReports } from "../support/http1.ts";
import { connectHttp2, type Http2Test, type Http2TestOptions } from "../support/http2.ts";
import { settled } from "../support/memory_socket.ts";
import { type Frame, frame, settings, words } from "../support/raw_http2.ts";

const START = Buffer.concat([c.PREFACE, frame(c.SETTINGS, 0, 0), frame(c.SETTINGS, c.FLAG_ACK, 0)]);

/** A connection under test, with a client that speaks frames. */
class Client {
  readonly test: Http2Test;
  readonly #encoder = new HpackEncoder();

  constructor(options: Http2TestOptions) {
    this.test = connectHttp2(options);
    this.test.socket.feed(START);
  }

  /** Sends a request. */
  ask(id: number, method: string = "GET", end: boolean = true, ...more: [string, string][]): void {
    const out = Buffer.alloc(2000);
    let at = this.#encoder.begin(out, 0);
    const fields = [[":method", method], [":scheme", "http"], [":authority", "a"], [":path", "/"]];
    for (const [name, value] of [...fields, ...more]) {
      at = this.#encoder.field(out, at, name!, value!);
    }
    this.test.socket.feed(frame(c.HEADERS, end ? 5 : 4, id, out.subarray(0, at)));
  }

  send(...frames: Uint8Array[]): void {
    this.test.socket.feed(Buffer.concat(frames));
  }

  /** Frames that came, the first SETTINGS and such left out. */
  async frames(): Promise<Frame[]> {
    await settled();
    const bytes = Buffer.from(this.test.socket.sent);
    const found: Frame[] = [];
    for (let at = 0; at < bytes.length;) {
      const length = bytes.readUIntBE(at, 3);
      found.push({
        type: bytes[at + 3]!,
        flags: bytes[at + 4]!,
        stream: bytes.readUInt32BE(at + 5),
        payload: bytes.subarray(at + 9, at + 9 + length),
      });
      at += 9 + length;
    }
    return found.filter(({ type, stream }) => type !== c.SETTINGS && (stream > 0 || type !== 8));
  }

  /** The same as text: `HEADERS 1 end`. */
  async seen(): Promise<string[]> {
    return (await this.frames()).map(({ type, flags, stream, payload }) => {
      const end = (type === c.DATA || type === c.HEADERS) && (flags & 1) === 1 ? " end" : "";
      const code = type === c.RST_STREAM || type === c.GOAWAY
        ? ` ${c.ERROR_CODE_NAMES[payload.at(-1)!]}`
        : "";
      const size = type === c.DATA ? ` ${payload.length}` : "";
      return `${c.FRAME_NAMES[type]} ${stream}${size}${code}${end}`;
    });
  }
}

function ok(session: DownstreamSession, body: string = "body"): void {
  session.writeHead(new ResponseHead(200), { kind: "length", length: body.length });
  session.writeBody(Buffer.from(body), true);
}

/** A session that somebody else goes on with. */
function held(options: Partial<Http2TestOptions> = {}) {
  let over = () => {};
  const client = new Client({
    ...options,
    serve: () => new Promise<void>((resolve) => over = resolve),
  });
  return { client, session: () => client.test.sessions.at(-1)!, over: () => over() };
}

Deno.test("answers of one turn go out in one write, heads and content of all streams", async () => {
  const client = new Client({ serve: (session) => ok(session) });
  await settled();
  client.test.socket.clear();
  const asks = [1, 3, 5, 7, 9];
  for (const id of asks) client.ask(id);
  // One read of the socket brings them all, as it does under load.
  await settled();
  assert.equal((await client.seen()).length, 10);
  assert.ok(client.test.socket.writes <= asks.length, `${client.test.socket.writes} writes`);
  const together = new Client({ serve: (session) => ok(session) });
  await settled();
  together.test.socket.clear();
  const { socket } = together.test;
  const feed = socket.feed.bind(socket);
  const pieces: Uint8Array[] = [];
  socket.feed = (data) => void pieces.push(data as Uint8Array);
  for (const id of asks) together.ask(id);
  feed(Buffer.concat(pieces));
  assert.equal((await together.seen()).length, 10);
  assert.equal(socket.writes, 1);
});

Deno.test("a bug while serving costs its stream, and a request without an answer gets one", async () => {
  const client = new Client({
    serve: (session) => {
      if (session.requestNumber === 1) throw new TypeError("a bug");
      if (session.requestNumber === 2) return Promise.reject(new TypeError("a bug, later"));
      if (session.requestNumber === 3) session.writeHead(new ResponseHead(200), STREAM);
      else if (session.requestNumber === 5) ok(session);
    },
  });
  const reports = await collectReports(async () => {
    for (const id of [1, 3, 5, 7, 9]) client.ask(id);
    await settled();
  });
  assert.equal(reports.length, 2);
  const seen = await client.seen();
  assert.deepEqual(
    seen.filter((line) => line.startsWith("RST")),
    [
      "RST_STREAM 1 INTERNAL_ERROR",
      "RST_STREAM 3 INTERNAL_ERROR",
      "RST_STREAM 5 INTERNAL_ERROR",
    ].sort((a, b) => seen.indexOf(a) - seen.indexOf(b)),
  );
  assert.ok(seen.includes("HEADERS 7") && seen.includes("DATA 7 2 end"), "an answer of 500");
  assert.ok(seen.includes("DATA 9 4 end"));
});

Deno.test("content that was announced otherwise is an error of ours, and stays off the wire", async () => {
  const { client, session, over } = held();
  client.ask(1);
  await settled();
  const one = session();
  assert.throws(() => one.writeBody(Buffer.from("x"), true), { type: "internal_error" });
  one.writeHead(new ResponseHead(200), { kind: "length", length: 3 });
  assert.throws(() => one.writeHead(new ResponseHead(200), NO_CONTENT), /written twice/);
  assert.throws(() => one.writeBody(Buffer.from("1234"), true), /more than Content-Length/);
  assert.throws(() => one.writeBody(Buffer.from("12"), true), /less than Content-Length/);
  one.writeBody(Buffer.from("12"), false);
  one.writeBody(Buffer.from("3"), true);
  over();
  assert.deepEqual(await client.seen(), ["HEADERS 1", "DATA 1 2", "DATA 1 1 end"]);
});

Deno.test("HEAD, 204 and 304 end with their head, whatever is written behind it", async () => {
  const client = new Client({
    serve: (session) => {
      session.writeHead(new ResponseHead([200, 204, 304][session.requestNumber - 1]!), {
        kind: "length",
        length: 5,
      });
      session.writeBody(Buffer.from("12345"), true);
    },
  });
  client.ask(1, "HEAD");
  client.ask(3);
  client.ask(5);
  assert.deepEqual(await client.seen(), ["HEADERS 1 end", "HEADERS 3 end", "HEADERS 5 end"]);
});

Deno.test("an upgrade is answered by 200, and by nothing else that would look like a tunnel", async () => {
  const { client, session } = held();
  const out = Buffer.alloc(500);
  const encoder = new HpackEncoder();
  let at = encoder.begin(out, 0);
  for (
    const [name, value] of [
      [":method", "CONNECT"],
      [":protocol", "chat"],
      [":scheme", "http"],
      [":authority", "a"],
      [":path", "/"],
    ]
  ) at = encoder.field(out, at, name!, value!);
  client.send(frame(c.HEADERS, 4, 1, out.subarray(0, at)), frame(c.DATA, 0, 1, "early"));
  await settled();
  const one = session();
  assert.deepEqual([one.upgrade, one.head.method, one.bodyDone], ["chat", "GET", true]);
  assert.equal((one.readBody() as Uint8Array).length, 0, "nothing before the tunnel");
  assert.throws(() => one.startTunnel(), /no response that opens one/);
  assert.throws(() => one.writeHead(new ResponseHead(200), STREAM), { type: "upgrade_failed" });
  one.writeHead(new ResponseHead(101, Fields.from([["Upgrade", "chat"]])), NO_CONTENT);
  one.startTunnel();
  assert.equal(one.status, 200);
  assert.equal(one.bodyDone, false);
  assert.equal(Buffer.from(await one.readBody()).toString(), "early");
  one.writeBody(Buffer.from("late"), false);
  one.closeTunnelWrite();
  assert.throws(() => one.writeBody(Buffer.from("x"), false), /written after its end/);
  assert.deepEqual(await client.seen(), ["HEADERS 1", "DATA 1 4", "DATA 1 0 end"]);
});

Deno.test("a client that ends its side is gone: it could open no window any more", async () => {
  const { client, session, over } = held({ abortOnClose: false });
  client.ask(1);
  await settled();
  const failures: string[] = [];
  session().onFailure = (error) => failures.push(error.type);
  client.test.socket.feedEnd();
  await settled();
  assert.deepEqual(failures, ["client_closed"]);
  assert.ok(client.test.socket.closed);
  over();
  await settled();
  assert.equal(client.test.closed.count, 1);
  assert.equal(client.test.wheel.size, 0);
});

Deno.test("an upload that ends with the connection is not taken for whole", async () => {
  const { client, session } = held({ abortOnClose: false });
  client.ask(1, "POST", false);
  client.send(frame(c.DATA, 0, 1, "part"));
  await settled();
  const one = session();
  await one.readBody();
  const rest = assert.rejects(async () => await one.readBody(), { type: "client_closed" });
  client.test.socket.feedEnd();
  await rest;
});

Deno.test("a broken connection reaches every session once", async () => {
  const failures: string[] = [];
  const client = new Client({
    serve: (session) => {
      session.onFailure = (error) => failures.push(error.type);
      return new Promise(() => {});
    },
  });
  for (const id of [1, 3, 5]) client.ask(id);
  await settled();
  client.test.socket.break(new ProxyError("read_error", "broken"));
  assert.deepEqual(failures, ["client_closed", "client_closed", "client_closed"]);
  assert.equal(client.test.closed.count, 1);
});

Deno.test("no more is read from a client that does not read", async () => {
  const client = new Client({
    http2: { outputBytes: 16 * 1024, backlogBytes: 16 * 1024 },
    serve: (session) => {
      session.writeHead(
        // Another value each time: what comes twice is one byte.
        new ResponseHead(200, Fields.from([["x-large", `${session.requestNumber}`.repeat(900)]])),
        NO_CONTENT,
      );
    },
  });
  await settled();
  const { socket } = client.test;
  socket.stalled = true;
  for (let i = 0; i < 500; i++) client.ask(2 * i + 1);
  await settled();
  const { length } = client.test.sessions;
  assert.ok(length < 100, `${length} requests were taken`);
  assert.ok(socket.unread > 0);
  socket.drain();
  for (let i = 0; i < 20; i++) await settled();
  assert.equal(client.test.sessions.length, 500, "and all of them when it reads again");
});

Deno.test("content over the window of the connection ends it", async () => {
  const { client } = held({ http2: { streamWindow: 80_000, connectionWindow: 100_000 } });
  client.ask(1, "POST", false);
  client.ask(3, "POST", false);
  const full = frame(c.DATA, 0, 1, new Uint8Array(16_000));
  client.send(full, full, full, full);
  const other = frame(c.DATA, 0, 3, new Uint8Array(16_000));
  client.send(other, other);
  assert.deepEqual(await client.seen(), []);
  client.send(other);
  assert.deepEqual(await client.seen(), ["GOAWAY 0 FLOW_CONTROL_ERROR"]);
  assert.match(client.test.faults[0]!.message, /16000 bytes came, where 4000 were allowed/);
});

Deno.test("windows open when content is read, not before, and for what nobody reads when it is dropped", async () => {
  const { client, session, over } = held({
    http2: { streamWindow: 70_000, connectionWindow: 70_000 },
  });
  client.ask(1, "POST", false);
  client.send(...Array.from({ length: 4 }, () => frame(c.DATA, 0, 1, new Uint8Array(16_000))));
  const updates = async () => {
    await settled();
    const bytes = Buffer.from(client.test.socket.sent);
    let sum = 0;
    for (let at = 0; at < bytes.length; at += 9 + bytes.readUIntBE(at, 3)) {
      if (bytes[at + 3] === c.WINDOW_UPDATE && bytes.readUInt32BE(at + 5) === 0) {
        sum += bytes.readUInt32BE(at + 9);
      }
    }
    return sum - (70_000 - 65_535);
  };
  assert.equal(await updates(), 0);
  await session().readBody();
  assert.equal(await updates(), 0, "the piece is still looked at");
  session().writeHead(new ResponseHead(200), NO_CONTENT);
  over();
  // Updates are held back while less than half of the window waits.
  assert.ok(await updates() > 64_000 - 35_000);
  assert.deepEqual((await client.seen()).at(-1), "RST_STREAM 1 NO_ERROR");
});

Deno.test("a response that was being sent when its window closed goes on when it opens", async () => {
  const { client, session, over } = held();
  client.send(frame(c.SETTINGS, 0, 0, settings([c.SETTINGS_INITIAL_WINDOW_SIZE, 10])));
  client.ask(1);
  await settled();
  const one = session();
  one.writeHead(new ResponseHead(200), STREAM);
  let sent = false;
  const sending = one.writeBody(new Uint8Array(25), false)!.then(() => sent = true);
  await settled();
  assert.equal(sent, false);
  assert.equal(one.flush(), one.flush(), "whoever flushes waits for the same");
  client.send(frame(c.WINDOW_UPDATE, 0, 1, words(100)));
  await sending;
  one.endBody(Fields.from([["x-sum", "1"]]));
  over();
  assert.deepEqual(await client.seen(), ["HEADERS 1", "DATA 1 10", "DATA 1 15", "HEADERS 1 end"]);
  assert.equal(one.bytesSent, 25);
});

Deno.test("closing at once fails what runs, and leaves no deadline behind", async () => {
  const { client, session, over } = held();
  client.ask(1, "POST", false);
  await settled();
  const reading = assert.rejects(async () => await session().readBody(), {
    type: "shutting_down",
  });
  client.test.connection.destroy();
  await reading;
  over();
  await settled();
  assert.ok(client.test.socket.destroyed);
  assert.equal(client.test.closed.count, 1);
  assert.equal(client.test.wheel.size, 0);
});

Deno.test("a connection that is not kept carries its first request all the same", async () => {
  const client = new Client({
    limits: { keepAliveTimeout: 0 },
    serve: (session) => ok(session),
  });
  await settled();
  await client.test.pass(5_000);
  assert.equal(client.test.socket.finished, false);
  client.ask(1);
  await settled();
  await client.test.pass(100);
  const seen = await client.seen();
  assert.deepEqual(seen.slice(-2), ["DATA 1 4 end", "GOAWAY 0 NO_ERROR"]);
  assert.ok(client.test.socket.finished);
});
