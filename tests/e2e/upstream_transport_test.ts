/** Ways to an upstream beside a plain connection: through an outer proxy, and with a PROXY header. */
import assert from "node:assert/strict";
import net from "node:net";
import { configFile } from "../support/config.ts";
import { field, text } from "../support/http_text.ts";
import { get, RawClient, rawRequest } from "../support/raw_client.ts";
import { type RawOrigin, response, startRawOrigin } from "../support/raw_origin.ts";
import { startSimpleOrigin } from "../support/simple_origin.ts";
import { startSluice } from "../support/sluice.ts";

/** A proxy that answers CONNECT with `status`, and passes bytes on if that is 200. */
function startOuterProxy(targets: string[], status = "200 OK"): Promise<RawOrigin> {
  return startRawOrigin(async (connection) => {
    const head = await connection.head();
    targets.push(`${head.method} ${head.target} ${field(head, "proxy-authorization")}`);
    await connection.send(`HTTP/1.1 ${status}\r\n\r\n`);
    if (!status.startsWith("200")) return;
    const [host, port] = head.target.split(":");
    const through = net.connect(Number(port), host);
    through.on("data", (bytes) => connection.socket.write(bytes));
    through.on("error", () => connection.socket.destroy());
    try {
      while (connection.buffered.length > 0 || await connection.fill(30_000)) {
        through.write((await connection.take(connection.buffered.length)).slice());
      }
    } finally {
      through.destroy();
    }
  });
}

Deno.test("an upstream is reached by CONNECT through an outer proxy, and the tunnel is used again", async () => {
  await using origin = await startSimpleOrigin();
  const targets: string[] = [];
  await using outer = await startOuterProxy(targets);
  await using sluice = await startSluice({
    config: configFile({
      origin: origin.address,
      transport: {
        proxy: { address: outer.address, headers: { "Proxy-Authorization": "Basic secret" } },
      },
    }),
  });
  await using client = await RawClient.connect(sluice.port());
  for (let i = 0; i < 3; i++) assert.equal(text(await client.request(get("/"))), "hello");
  assert.deepEqual(targets, [`CONNECT ${origin.address} Basic secret`]);
  assert.equal(field(origin.requests[0]!, "proxy-authorization"), null);
});

Deno.test("an outer proxy that refuses is a failure to connect", async () => {
  await using origin = await startSimpleOrigin();
  await using outer = await startOuterProxy([], "407 Proxy Authentication Required");
  await using sluice = await startSluice({
    config: configFile({
      origin: origin.address,
      route: { retry: { attempts: 0 } },
      transport: { proxy: { address: outer.address } },
    }),
  });
  const answer = await rawRequest(sluice.port(), get("/"));
  assert.equal(answer.status, 502);
  assert.equal(origin.requests.length, 0);
  await sluice.waitForOutput(/connect_proxy_failure: .*407/);
});

for (const version of ["v1", "v2"] as const) {
  Deno.test(`the PROXY header ${version} tells who the client is, on a connection of its own`, async () => {
    const seen: string[] = [];
    await using origin = await startRawOrigin(async (connection) => {
      if (version === "v1") seen.push(await connection.takeUntil("\r\n"));
      else {
        const head = await connection.take(16);
        assert.deepEqual(
          [...head.subarray(0, 14)],
          [13, 10, 13, 10, 0, 13, 10, 81, 85, 73, 84, 10, 0x21, 0x11],
        );
        const addresses = await connection.take(head[14]! << 8 | head[15]!);
        seen.push(
          `PROXY TCP4 ${[...addresses.subarray(0, 4)].join(".")} ` +
            `${[...addresses.subarray(4, 8)].join(".")} ` +
            `${addresses[8]! << 8 | addresses[9]!} ${addresses[10]! << 8 | addresses[11]!}\r\n`,
        );
      }
      await connection.answerAll(response("told"));
    });
    await using sluice = await startSluice({
      config: configFile({ origin: origin.address, transport: { proxy_protocol: version } }),
    });
    const ports: number[] = [];
    for (let i = 0; i < 2; i++) {
      await using client = await RawClient.connect({ port: sluice.port(), from: "127.0.0.5" });
      ports.push(client.socket.localPort!);
      for (let j = 0; j < 2; j++) assert.equal(text(await client.request(get("/"))), "told");
    }
    const expected = ports.map((port) =>
      `PROXY TCP4 127.0.0.5 127.0.0.1 ${port} ${sluice.port()}\r\n`
    );
    assert.deepEqual([...new Set(seen)], expected);
  });
}
