/** Clients that are too slow, on purpose or not: each is cut at its limit, and nobody else notices. */
import assert from "node:assert/strict";
import { configFile } from "../support/config.ts";
import { eventually } from "../support/deadline.ts";
import { field, text } from "../support/http_text.ts";
import { get, RawClient, rawRequest, request } from "../support/raw_client.ts";
import { type SimpleOrigin, startSimpleOrigin } from "../support/simple_origin.ts";
import { startRawOrigin } from "../support/raw_origin.ts";
import { type Sluice, startSluice } from "../support/sluice.ts";

let origin: SimpleOrigin;
let sluice: Sluice;

Deno.test.beforeAll(async () => {
  origin = await startSimpleOrigin();
  sluice = await startSluice({
    config: configFile({
      origin: origin.address,
      limits: {
        // Long enough for those who are not slow, on a machine that is.
        header_timeout: "1500ms",
        body_timeout: "1500ms",
        keep_alive_timeout: "1500ms",
        drain_timeout: "300ms",
      },
    }),
  });
});
Deno.test.afterAll(async () => {
  await sluice?.[Symbol.asyncDispose]();
  await origin?.[Symbol.asyncDispose]();
});

/** Runs `work` and says how many milliseconds it took. */
async function timed(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

Deno.test("a connection that sends nothing is closed without a word", async () => {
  await using client = await RawClient.connect(sluice.port());
  const took = await timed(() => client.whenEnded());
  assert.equal(client.received, "");
  assert.ok(took > 1_000 && took < 20_000, `${took} ms`);
});

Deno.test("an idle keep-alive connection is closed without a word", async () => {
  await using client = await RawClient.connect(sluice.port());
  await client.request(get("/bytes/1"));
  const took = await timed(async () => assert.equal(await client.whenEnded(), "fin"));
  assert.equal(client.buffered.length, 0);
  assert.ok(took > 1_000 && took < 20_000, `${took} ms`);
});

Deno.test("a head that does not end in time is answered 408 and closed", async () => {
  await using client = await RawClient.connect(sluice.port());
  await client.send("GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ");
  const answer = await client.response();
  assert.equal(answer.status, 408);
  assert.match(field(answer, "proxy-status")!, /error=http_request_error/);
  assert.equal(field(answer, "connection"), "close");
  await client.whenEnded();
});

Deno.test("a head that trickles in is answered 408: each byte does not buy more time", async () => {
  await using client = await RawClient.connect(sluice.port());
  let over = false;
  const reading = client.response().finally(() => over = true);
  await client.send("GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ");
  while (!over) {
    await client.send("x");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.equal((await reading).status, 408);
});

Deno.test("200 slow clients keep nobody else from being served", async () => {
  const slow = await Promise.all(
    Array.from({ length: 200 }, () => RawClient.connect(sluice.port())),
  );
  try {
    await Promise.all(slow.map((one) => one.send("GET / HTTP/1.1\r\nHost: a\r\nX: ")));
    const took = await timed(async () => {
      for (let i = 0; i < 20; i++) {
        assert.equal((await rawRequest(sluice.port(), get("/bytes/1"))).status, 200);
      }
    });
    assert.ok(took < 20_000, `${took} ms`);
    const answers = await Promise.all(slow.map((one) => one.response()));
    assert.ok(answers.every(({ status }) => status === 408));
  } finally {
    for (const one of slow) await one[Symbol.asyncDispose]();
  }
});

Deno.test("content that stops coming is answered 408 and closed", async () => {
  await using client = await RawClient.connect(sluice.port());
  const before = origin.count("/echo");
  await client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345");
  const answer = await client.response("POST");
  assert.equal(answer.status, 408);
  assert.match(field(answer, "proxy-status")!, /error=http_request_error/);
  await client.whenEnded();
  assert.equal(origin.count("/echo"), before);
});

Deno.test("content under the minimum rate is answered 408, even if it never stops", async () => {
  await using strict = await startSluice({
    config: configFile({
      origin: origin.address,
      limits: { body_timeout: "600ms", body_min_rate: 1000 },
    }),
  });
  await using client = await RawClient.connect(strict.port());
  let over = false;
  await client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
  const reading = client.response("POST").finally(() => over = true);
  while (!over) {
    await client.send("12345");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.equal((await reading).status, 408);
});

/** An origin that sends without end, as fast as it is read. */
function startHose() {
  return startRawOrigin(async (connection) => {
    connection.recording = false;
    await connection.request();
    await connection.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n");
    const piece = new Uint8Array(256 * 1024);
    while (!connection.socket.destroyed && connection.ended === null) {
      await connection.send(piece, 60_000);
    }
  });
}

// Pingora: download_timeout
Deno.test("a client that stops reading is cut after the write timeout, and the upstream is let go", async () => {
  await using hose = await startHose();
  await using strict = await startSluice({
    config: configFile({ origin: hose.address, limits: { write_timeout: "500ms" } }),
  });
  await using client = await RawClient.connect(strict.port());
  client.recording = false;
  await client.send(get("/"));
  await client.takeUntil("\r\n\r\n");
  // From here on nothing is read.
  const took = await timed(() => hose.connections[0]!.whenEnded());
  assert.ok(took < 20_000, `${took} ms`);
  const [line] = await strict.waitForAccessLog(1);
  assert.equal(line!["proxy.error_source"], "downstream");
});

// Pingora: download_timeout_min_rate
Deno.test("min_send_rate gives a slow reader the time that its rate needs", async () => {
  await using hose = await startHose();
  await using strict = await startSluice({
    config: configFile({
      origin: hose.address,
      // At a byte per second even a small piece may wait for minutes.
      limits: { write_timeout: "300ms", min_send_rate: 1 },
    }),
  });
  await using client = await RawClient.connect(strict.port());
  client.recording = false;
  await client.send(get("/"));
  await client.takeUntil("\r\n\r\n");
  await assert.rejects(hose.connections[0]!.whenEnded(1_500), /Waited/);
  // It reads again, and there is more.
  for (let i = 0; i < 20; i++) assert.ok((await client.takeSome()).length > 0);
});

Deno.test("a slow reader holds back the origin instead of filling memory", async () => {
  await using hose = await startHose();
  await using patient = await startSluice({ upstream: hose.url });
  const clients = await Promise.all(
    Array.from({ length: 20 }, () => RawClient.connect(patient.port())),
  );
  for (const client of clients) {
    client.recording = false;
    await client.send(get("/"));
    await client.takeUntil("\r\n\r\n");
  }
  const before = patient.rss();
  let most = before;
  for (let i = 0; i < 10; i++) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    most = Math.max(most, patient.rss());
  }
  for (const client of clients) await client[Symbol.asyncDispose]();
  assert.ok(most - before < 64 * 1024 * 1024, `${(most - before) >> 20} MiB more`);
});

Deno.test("a slow origin holds back its clients instead of filling memory", async () => {
  await using behind = await startRawOrigin(async (connection) => {
    await connection.head();
    // From here on nothing is read.
    await new Promise((resolve) => connection.socket.once("close", resolve));
  });
  await using patient = await startSluice({ upstream: behind.url });
  const before = patient.rss();
  const piece = new Uint8Array(1024 * 1024);
  const clients = await Promise.all(
    Array.from({ length: 10 }, () => RawClient.connect(patient.port())),
  );
  try {
    for (const client of clients) {
      await client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n");
      let sent = 0;
      // The kernel takes some of it on either side of the proxy; then it stands still.
      await assert.rejects((async () => {
        for (; sent < 200; sent++) await client.send(piece, 300);
      })());
      assert.ok(sent < 100, `${sent} MiB went into a hole`);
    }
    const more = patient.rss() - before;
    assert.ok(more < 64 * 1024 * 1024, `${more >> 20} MiB more`);
  } finally {
    for (const client of clients) await client[Symbol.asyncDispose]();
  }
});

Deno.test("abort_on_close gives up for a client that has finished writing", async () => {
  await using behind = await startSimpleOrigin();
  await using strict = await startSluice({
    config: configFile({ origin: behind.address, listener: { abort_on_close: true } }),
  });
  await using client = await RawClient.connect(strict.port());
  await client.send(get("/delay/40000"));
  await eventually(() => behind.count("/delay/40000") === 1, "the request at the origin");
  client.end();
  const took = await timed(() => client.whenEnded());
  assert.ok(took < 20_000, `${took} ms`);
  assert.equal(client.buffered.length, 0);
  const [line] = await strict.waitForAccessLog(1);
  assert.equal(line!["proxy.error_source"], "downstream");
});

Deno.test("a client may finish writing and still gets its answer", async () => {
  await using client = await RawClient.connect(sluice.port());
  await client.send(request("POST", "/echo", {}, "last words"));
  client.end();
  assert.equal(text(await client.response("POST")), "last words");
  assert.equal(await client.whenEnded(), "fin");
});
