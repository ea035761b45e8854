/** A listener has only so many tunnels at a time, whatever asks for them and whatever becomes of those that ask. */
import assert from "node:assert/strict";
import { configFile } from "../support/config.ts";
import { eventually } from "../support/deadline.ts";
import { field, text } from "../support/http_text.ts";
import { metricsUntil } from "../support/metrics.ts";
import { get, RawClient, rawRequest } from "../support/raw_client.ts";
import { RawHttp2 } from "../support/raw_http2.ts";
import { reload } from "../support/reload.ts";
import { startSimpleOrigin } from "../support/simple_origin.ts";
import { startSluice } from "../support/sluice.ts";
import { EchoSocket } from "../support/web_socket.ts";

const HANDSHAKE = {
  Connection: "Upgrade",
  Upgrade: "websocket",
  "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
  "Sec-WebSocket-Version": "13",
};

Deno.test("max_tunnels bounds the tunnels of a listener, and nothing else", async () => {
  await using origin = await startSimpleOrigin();
  const config = (most: number) =>
    configFile({
      origin: origin.address,
      route: { rules: [{ match: { path: "/ruled" }, respond: { status: 204 } }] },
      top: {
        listeners: [
          {
            name: "web",
            address: "127.0.0.1:0",
            protocols: ["h1", "h2c"],
            max_tunnels: most,
            allow_connect: true,
          },
          { name: "other", address: "127.0.0.1:0" },
          { name: "none", address: "127.0.0.1:0", max_tunnels: 0 },
        ],
        telemetry: { metrics: { listen: "127.0.0.1:0" } },
      },
    });
  await using sluice = await startSluice({ config: config(2) });
  const port = sluice.port("web");
  const ask = (path: string, to = port) => rawRequest(to, get(path, HANDSHAKE));
  await using first = await EchoSocket.open(port);
  await first.echo("one");

  // Requests that the origin does not grant an upgrade give their place back, and those that a rule answers take none.
  for (let i = 0; i < 4; i++) {
    assert.equal((await ask("/bytes/1")).status, 200);
    assert.equal((await ask("/ruled")).status, 204);
  }
  const second = await EchoSocket.open(port);
  const before = origin.count("/websocket");
  const refused = await ask("/websocket");
  assert.equal(refused.status, 503);
  assert.equal(JSON.parse(text(refused)).type, "urn:sluice:problem:tunnel_limit");
  assert.match(field(refused, "proxy-status")!, /error=proxy_internal_response/);
  const connect = await rawRequest(port, "CONNECT a.test:1 HTTP/1.1\r\nHost: a.test:1\r\n\r\n");
  assert.equal(connect.status, 503);
  {
    await using client = await RawHttp2.connect(port);
    const id = client.take();
    const fields = [
      ...[[":method", "CONNECT"], [":protocol", "websocket"], [":scheme", "http"]],
      ...[[":authority", "a.test"], [":path", "/websocket"], ["sec-websocket-version", "13"]],
    ] as [string, string][];
    await client.send(client.headers(id, fields, false));
    await client.until(() => client.seen(id).sections.length > 0, "the answer");
    assert.deepEqual(client.seen(id).sections[0]![0], [":status", "503"]);
  }
  assert.equal(origin.count("/websocket"), before, "the origin is not asked");
  await sluice.waitForOutput(/as many as it may have at a time \(max_tunnels, 2\)/);
  // Everything else goes on, here and on other listeners.
  assert.equal((await rawRequest(port, get("/bytes/1"))).status, 200);
  assert.equal((await ask("/ruled")).status, 204);
  await using elsewhere = await EchoSocket.open(sluice.port("other"));
  await elsewhere.echo("two");
  assert.equal((await ask("/websocket", sluice.port("none"))).status, 503);
  const metrics = Number((await sluice.waitForOutput(/metrics\s+127\.0\.0\.1:(\d+)/))[1]);
  await metricsUntil(
    metrics,
    (now) =>
      now.get('sluice_tunnels_rejected_total{listener="web"}') === 3 &&
      now.get('sluice_tunnels_rejected_total{listener="none"}') === 1 &&
      now.get('sluice_tunnels_rejected_total{listener="other"}') === 0,
    "the refusals to be counted",
  );

  // Those that are open stay counted when the limit changes, and one that ends makes room.
  assert.equal(await reload(sluice, config(3)), true);
  const third = await EchoSocket.open(port);
  assert.equal((await ask("/websocket")).status, 503);
  await second[Symbol.asyncDispose]();
  await third[Symbol.asyncDispose]();
  const rooms: RawClient[] = [];
  await eventually(async () => {
    const client = await RawClient.connect(port);
    if ((await client.request(get("/websocket", HANDSHAKE))).status === 101) rooms.push(client);
    else await client[Symbol.asyncDispose]();
    return rooms.length === 2;
  }, "room for two others");
  assert.equal((await ask("/websocket")).status, 503);
  await first.echo("still");
  for (const room of rooms) await room[Symbol.asyncDispose]();
});
