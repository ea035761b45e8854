/** Clients and origins that misbehave at random: nobody else notices, nothing breaks inside, nothing is kept. */
import assert from "node:assert/strict";
import { configFile } from "../support/config.ts";
import { eventually } from "../support/deadline.ts";
import { field, readBody, text } from "../support/http_text.ts";
import { chunked, get, RawClient, rawRequest, request } from "../support/raw_client.ts";
import { type OriginConnection, startRawOrigin } from "../support/raw_origin.ts";
import { pattern } from "../support/simple_origin.ts";
import { startSluice } from "../support/sluice.ts";
import { latin1 } from "../support/wire.ts";

const PLUGIN = `import { definePlugin } from "@sluice/plugin";
export default definePlugin({
  requestFilter(session) {
    if (session.request.path === "/answered") return session.respond(403, "no");
    session.upstreamRequest.headers.set("X-Id", session.id);
  },
  async responseFilter(session) {
    await Promise.resolve();
    session.response.headers.set("X-Seen", "1");
  },
  logging() {},
});
`;

/** Numbers from 0 up to 1, the same ones for the same seed. */
function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Answers as the target says: `/echo` well, anything else in some broken way. */
async function misbehave(connection: OriginConnection, next: () => number): Promise<void> {
  connection.recording = false;
  for (;;) {
    const head = await connection.head(60_000);
    if (head.target.startsWith("/echo")) {
      const { body } = await readBody(connection, head.fields, "none");
      await connection.send(
        `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${latin1(body)}`,
      );
      continue;
    }
    const way = Math.floor(next() * 8);
    if (way === 0) return connection.reset();
    if (way === 1) return;
    if (way === 2) await connection.send("HTTP/1.1 2");
    if (way === 3) await connection.send("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort");
    if (way === 4) {
      await connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc");
    }
    if (way === 5) await connection.send("HTTP/1.1 103 X\r\n\r\nHTTP/1.1 204 No\r\n\r\ngarbage");
    if (way === 6) {
      await connection.send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end");
    }
    if (way === 7) {
      await connection.send(`HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n${pattern(200_000)}`);
      continue;
    }
    if (next() < 0.5) connection.reset();
    return;
  }
}

/** Sends something, all of it or a part, and leaves in one way or another, with or without looking at the answer. */
async function behaveBadly(port: number, next: () => number): Promise<void> {
  const size = Math.floor(next() * 100_000);
  const asks = [
    get("/broken"),
    get("/answered"),
    request("POST", "/broken", {}, pattern(size)),
    request("POST", "/answered", {}, pattern(size)),
    request("POST", "/broken", { "Transfer-Encoding": "chunked" }) + chunked(pattern(size + 1)),
    request("POST", "/echo", { Expect: "100-continue" }, "x"),
    get("/broken", { Connection: "upgrade", Upgrade: "websocket" }),
    get("/broken") + get("/answered") + get("/broken"),
    "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    "\x16\x03\x01 this is no HTTP",
  ];
  const ask = asks[Math.floor(next() * asks.length)]!;
  const part = next() < 0.5 ? ask : ask.slice(0, Math.floor(next() * ask.length));
  await using client = await RawClient.connect(port);
  const sent = client.send(part).catch(() => {});
  const way = next();
  if (way < 0.4) await client.fill(300).catch(() => false);
  if (way < 0.2) client.end();
  else if (way < 0.6) client.reset();
  else if (way < 0.8) client.close();
  else await client.whenEnded(200).catch(() => {});
  client.close();
  await sent;
}

Deno.test("a thousand bad clients and bad answers leave a healthy proxy behind", async () => {
  const seed = Math.floor(Math.random() * 2 ** 31);
  const next = random(seed);
  await using origin = await startRawOrigin((connection) => misbehave(connection, next));
  await using sluice = await startSluice({
    config: configFile({
      origin: origin.address,
      limits: { header_timeout: "20s", body_timeout: "20s", keep_alive_timeout: "20s" },
      timeouts: { first_byte: "20s", read: "20s" },
      plugins: {},
    }),
    plugins: { "touch.ts": PLUGIN },
    threads: 2,
  });
  const port = sluice.port();
  let bad = 0;
  let good = 0;
  const badOnes = Array.from({ length: 16 }, async () => {
    while (bad++ < 1000) await behaveBadly(port, next);
  });
  const goodOnes = Array.from({ length: 4 }, async () => {
    await using client = await RawClient.connect(port);
    while (bad < 1000) {
      const body = pattern(Math.floor(next() * 5_000));
      const answer = await client.request(request("PUT", "/echo", {}, body));
      assert.equal(answer.status, 200, `seed ${seed}: ${answer.raw}${text(answer)}`);
      assert.ok(text(answer) === body, `seed ${seed}: another's answer`);
      assert.equal(field(answer, "x-seen"), "1");
      good++;
    }
  });
  await Promise.all([...badOnes, ...goodOnes]);
  assert.ok(good > 20, `only ${good} good answers`);
  assert.equal((await rawRequest(port, request("PUT", "/echo", {}, "after"))).status, 200);
  assert.equal(await sluice.stop(), 0);
  // Whatever clients and origins do, it is never a surprise inside.
  assert.doesNotMatch(
    sluice.stderr(),
    /nobody listened|nobody caught|outside of any request|internal_error|Broken invariant| died|TypeError|were cut/,
    `seed ${seed}`,
  );
  const ids = sluice.accessLog().map((line) => line["request_id"]);
  assert.equal(new Set(ids).size, ids.length, "a request was logged twice");
});

Deno.test("connections that come and go leave no growing memory", async () => {
  await using origin = await startRawOrigin((connection) => {
    connection.recording = false;
    return connection.answerAll("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  });
  await using sluice = await startSluice({ upstream: origin.url, args: ["--access-log", "off"] });
  const port = sluice.port();
  const ask = new TextEncoder().encode(get("/"));
  const round = async () => {
    let left = 3_000;
    await Promise.all(Array.from({ length: 16 }, async () => {
      const buffer = new Uint8Array(4096);
      while (left-- > 0) {
        const connection = await Deno.connect({ hostname: "127.0.0.1", port });
        await connection.write(ask);
        // Every other one leaves before its answer.
        if (left % 2 === 0) await connection.read(buffer);
        connection.close();
      }
    }));
    await eventually(async () => (await rawRequest(port, get("/"))).status === 200, "an answer");
    return sluice.rss();
  };
  // Buffers, pools and the heap grow to their working size first; after that nothing may be kept.
  for (let i = 0; i < 8; i++) await round();
  const rounds: number[] = [];
  for (let i = 0; i < 4; i++) rounds.push(await round());
  const told = rounds.map((size) => Math.round(size / 1024 / 1024)).join(", ");
  const growth = rounds[3]! - rounds[0]!;
  assert.ok(growth < 24 * 1024 * 1024, `MiB after each 3,000 connections: ${told}`);
});
