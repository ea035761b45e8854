/**
 * Every version of HTTP on either side of Sluice: what goes in on one side comes out on the other, byte for byte, and
 * what breaks on one side is seen to break on the other.
 */
import assert from "node:assert/strict";
import { type Answer, BridgeClient } from "../support/bridge_client.ts";
import {
  type BridgeOrigin,
  pattern,
  sha256,
  startBridgeOrigin,
  type Told,
  type Wire,
} from "../support/bridge_origin.ts";
import { testCertificates } from "../support/certs.ts";
import { eventually } from "../support/deadline.ts";
import { testWith } from "../support/require.ts";
import { startSluice } from "../support/sluice.ts";

/** What listeners speak here. */
const DOWN: readonly Wire[] = ["h1", "h2c", "h2"];
const UP: readonly Wire[] = ["h1", "h2c", "h2"];
const MIB = 1024 * 1024;
const LARGE = 8 * MIB;

/** Large content in pieces of uneven size. */
function* large(): Iterable<Uint8Array> {
  for (let at = 0, i = 0; at < LARGE; i++) {
    const length = Math.min(LARGE - at, 1 + (i * 7919) % 100_000);
    yield pattern(at, length);
    at += length;
  }
}

const LARGE_HASH = sha256(pattern(0, LARGE));

function told(answer: Answer): Told {
  return JSON.parse(new TextDecoder().decode(answer.body));
}

function text(answer: Answer): string {
  return new TextDecoder().decode(answer.body);
}

interface Bridge {
  readonly client: BridgeClient;
  readonly origin: BridgeOrigin;
  readonly down: Wire;
  readonly up: Wire;
}

/** What has to hold on each bridge. */
const CASES: Readonly<Record<string, (bridge: Bridge) => Promise<void>>> = {
  async "GET"({ client, down, up }) {
    const answer = await client.ask({
      path: "/tell?a=%20b",
      headers: { cookie: "a=1; b=2", "x-one": "1" },
    });
    assert.equal(answer.status, 200);
    const { method, path, version, headers } = told(answer);
    assert.deepEqual([method, path], ["GET", "/tell?a=%20b"]);
    assert.equal(version, up === "h1" ? "1.1" : "2.0");
    assert.equal(headers["cookie"], "a=1; b=2");
    assert.equal(headers["x-one"], "1");
    assert.equal(headers["via"], `${down === "h1" ? "1.1" : "2"} sluice`);
    assert.equal(headers["x-forwarded-proto"], down === "h2" ? "https" : "http");
    assert.match(headers[up === "h1" ? "host" : ":authority"]!, /^127\.0\.0\.1:\d+$/);
  },
  async "HEAD"({ client }) {
    const answer = await client.ask({ method: "HEAD", path: "/bytes/12345" });
    assert.equal(answer.status, 200);
    assert.equal(answer.headers["content-length"], "12345");
    assert.equal(answer.body.length, 0);
    assert.ok(answer.whole);
  },
  async "a response without content"({ client }) {
    const answer = await client.ask({ method: "DELETE", path: "/empty" });
    assert.equal(answer.status, 204);
    assert.equal(answer.headers["content-length"], undefined);
    assert.ok(answer.whole);
  },
  async "a large upload"({ client }) {
    const answer = await client.ask({ method: "POST", path: "/tell", content: large() });
    const { bytes, sha256 } = told(answer);
    assert.equal(bytes, LARGE);
    assert.equal(sha256, LARGE_HASH);
  },
  async "an upload of known length"({ client }) {
    const answer = await client.ask({
      method: "PUT",
      path: "/tell",
      headers: { "content-length": "100000" },
      content: [pattern(0, 60_000), pattern(60_000, 40_000)],
    });
    const { bytes, headers, sha256: hash } = told(answer);
    assert.equal(bytes, 100_000);
    assert.equal(headers["content-length"], "100000");
    assert.equal(hash, sha256(pattern(0, 100_000)));
  },
  async "a large download"({ client }) {
    const answer = await client.ask({ path: `/bytes/${LARGE}` });
    assert.equal(answer.headers["content-length"], String(LARGE));
    assert.ok(answer.whole);
    assert.equal(sha256(answer.body), LARGE_HASH);
  },
  async "both ways at once"({ client }) {
    const answer = await client.ask({ method: "POST", path: "/echo", content: large() });
    assert.ok(answer.whole);
    assert.equal(sha256(answer.body), LARGE_HASH);
  },
  async "trailers of a response"({ client }) {
    const answer = await client.ask({ path: "/trailers" });
    assert.equal(text(answer), "with trailers");
    assert.equal(answer.trailers["x-check"], "yes");
  },
  async "trailers of a request"({ client }) {
    const answer = await client.ask({
      method: "POST",
      path: "/tell",
      content: [pattern(0, 10)],
      trailers: { "x-sum": "123", "content-length": "99" },
    });
    const { bytes, trailers } = told(answer);
    assert.equal(bytes, 10);
    assert.deepEqual(trailers, { "x-sum": "123" });
  },
  async "an answer before the end of the upload"({ client }) {
    const answer = await client.ask({ method: "POST", path: "/early", content: large() });
    assert.equal(answer.status, 403);
    assert.equal(text(answer), "too much");
    // Whatever became of the upload, the next request is served.
    assert.equal(told(await client.ask({ path: "/tell" })).method, "GET");
  },
  async "an origin that breaks off in its answer"({ client }) {
    const answer = await client.ask({ path: "/reset" });
    assert.equal(answer.status, 200);
    assert.equal(answer.whole, false);
    assert.ok(answer.body.length <= 10_000);
    assert.equal(told(await client.ask({ path: "/tell" })).method, "GET");
  },
  async "an origin that breaks off before it answers"({ client }) {
    const answer = await client.ask({
      method: "POST",
      path: "/reset_first",
      content: [pattern(0, 9)],
    });
    assert.equal(answer.status, 502);
    assert.ok(answer.whole);
    assert.match(answer.headers["proxy-status"]!, /^sluice; error=/);
  },
  async "a client that breaks off in the answer"({ client, origin }) {
    origin.seen.length = 0;
    const answer = await client.ask({ path: "/hang", breakAfter: 1 });
    assert.equal(text(answer), "begun");
    await eventually(() => origin.seen.includes("aborted /hang"), "the origin to see the break");
    assert.equal(told(await client.ask({ path: "/tell" })).method, "GET");
  },
};

function config(origins: Readonly<Record<Wire, BridgeOrigin>>, directory: string): string {
  const route = (wire: Wire) => ({
    id: wire,
    match: { header: { "x-up": wire } },
    upstream: wire,
    retry: { attempts: 0 },
  });
  return JSON.stringify({
    version: 1,
    listeners: [
      { name: "clear", address: "127.0.0.1:0", protocols: ["h1", "h2c"] },
      {
        name: "tls",
        address: "127.0.0.1:0",
        protocols: ["h1", "h2"],
        tls: {
          certificates: [{ cert: `${directory}/server.pem`, key: `${directory}/server.key` }],
        },
      },
    ],
    services: [{ name: "main", routes: UP.map(route) }],
    upstreams: UP.map((wire) => ({
      name: wire,
      endpoints: [origins[wire].url],
      transport: {
        protocol: wire === "h2" ? "auto" : wire,
        ...(wire === "h2" ? { tls: { ca: `${directory}/ca.pem`, server_name: "a.test" } } : {}),
      },
    })),
  });
}

testWith(["openssl"], "bridges between the versions of HTTP", async (t) => {
  const { server, ca } = testCertificates();
  await using h1 = await startBridgeOrigin("h1", null);
  await using h2c = await startBridgeOrigin("h2c", null);
  await using h2 = await startBridgeOrigin("h2", server);
  const origins = { h1, h2c, h2 };
  await using sluice = await startSluice({
    config: (directory) => config(origins, directory),
    files: { "server.pem": server.cert, "server.key": server.key, "ca.pem": ca },
  });
  for (const down of DOWN) {
    const port = sluice.port(down === "h2" ? "tls" : "clear");
    await using connection = new BridgeClient(down, port, ca);
    for (const up of UP) {
      const client = withField(connection, up);
      await t.step(`${down} to ${up}`, async (t) => {
        for (const [name, check] of Object.entries(CASES)) {
          await t.step(name, () => check({ client, origin: origins[up], down, up }));
        }
      });
    }
  }
});

/** The same client, whose requests name their upstream. */
function withField(client: BridgeClient, up: Wire): BridgeClient {
  return Object.assign(Object.create(client), {
    ask: (ask: Parameters<BridgeClient["ask"]>[0]) =>
      client.ask({ ...ask, headers: { ...ask.headers, "x-up": up } }),
  });
}
