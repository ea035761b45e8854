/** The checks themselves, against real servers. */
import { deepEqual, equal, ok, rejects, throws } from "node:assert/strict";
import { ProxyError } from "../../../src/base/error.ts";
import { TimerWheel } from "../../../src/base/timer_wheel.ts";
import { runBounded } from "../../../src/balancer/health/bounded_run.ts";
import type { HealthCheck } from "../../../src/balancer/health/check.ts";
import { GRPC_CHECK } from "../../../src/balancer/health/grpc_check.ts";
import { HTTP_CHECK, type HttpCheckConfig } from "../../../src/balancer/health/http_check.ts";
import { parseStatusRange } from "../../../src/balancer/health/status_ranges.ts";
import { type CheckConfig, createCheck } from "../../../src/balancer/health/table.ts";
import { TCP_CHECK } from "../../../src/balancer/health/tcp_check.ts";
import { createPeer, type Peer, type PeerTls } from "../../../src/connector/peer.ts";
import { formatAddress } from "../../../src/transport/address.ts";
import { hasOpenssl, testCertificates } from "../../support/certs.ts";
import { DEADLINE, withDeadline } from "../../support/deadline.ts";
import { freePort } from "../../support/ports.ts";
import { type OriginConnection, startRawOrigin } from "../../support/raw_origin.ts";
import { UPSTREAM_LIMITS } from "../../../src/http/limits.ts";
import { CHUNK_LIMITS } from "../../../src/http1/limits.ts";
import { openSockets, socketsDownTo } from "../../support/recorder.ts";

const HOST = "127.0.0.1";

function peerTo(port: number, tls: PeerTls | null = null): Peer {
  return createPeer({ group: "api", address: { kind: "tcp", host: HOST, port }, tls });
}

/** One check with a wheel of its own; in the end neither a timer nor a socket may be left. */
class Use implements AsyncDisposable {
  readonly wheel = new TimerWheel({ tick: 5 });
  readonly check: HealthCheck;
  readonly #before = openSockets();

  constructor(config: CheckConfig) {
    this.check = createCheck(config, {
      wheel: this.wheel,
      clearTextEngine: "deno",
      limits: UPSTREAM_LIMITS,
      chunkLimits: CHUNK_LIMITS,
    });
  }

  run(peer: Peer, timeout = DEADLINE): Promise<void> {
    const id = formatAddress(peer.address);
    const work = runBounded(
      { wheel: this.wheel, timeout, timeoutType: "connect_timeout", context: `Checking ${id}` },
      (run) => this.check.check({ id, peer }, run),
    );
    return withDeadline(work, DEADLINE + 5_000, "the check");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.check.close();
    equal(this.wheel.size, 0);
    this.wheel.close();
    ok(await socketsDownTo(this.#before) <= this.#before, "a socket was left open");
  }
}

function http(settings: Partial<HttpCheckConfig> = {}): HttpCheckConfig {
  return { ...HTTP_CHECK, ...settings };
}

const page = (body: string, status = "200 OK") =>
  `HTTP/1.1 ${status}\r\nContent-Length: ${body.length}\r\n\r\n${body}`;

function is(type: string, message?: RegExp): (error: unknown) => boolean {
  return (error) => {
    ok(error instanceof ProxyError, String(error));
    equal(error.type, type, error.message);
    if (message !== undefined) ok(message.test(error.message), error.message);
    return true;
  };
}

Deno.test("tcp: what listens is healthy, what does not is refused", async () => {
  await using use = new Use(TCP_CHECK);
  await using origin = await startRawOrigin((connection) => waitForEnd(connection));
  await use.run(peerTo(origin.port));
  await rejects(use.run(peerTo(freePort())), is("connect_refused"));
});

Deno.test("tcp: its own port is checked instead of that of the traffic", async () => {
  await using origin = await startRawOrigin((connection) => waitForEnd(connection));
  await using use = new Use({ ...TCP_CHECK, port: origin.port });
  await use.run(peerTo(freePort()));
});

Deno.test("tcp: a unix socket is checked like any other", async () => {
  const path = `${await Deno.makeTempDir()}/s`;
  await using use = new Use({ ...TCP_CHECK, port: 9 });
  const peer = createPeer({ address: { kind: "unix", path } });
  {
    await using _origin = await startRawOrigin((connection) => waitForEnd(connection), { path });
    await use.run(peer);
  }
  await rejects(use.run(peer));
});

Deno.test({
  name: "tcp: with TLS the handshake belongs to the check, unless it is switched off",
  ignore: !hasOpenssl,
  fn: async () => {
    const certificates = testCertificates();
    const tls = (ca: string): PeerTls => ({
      serverName: "a.test",
      alternativeName: null,
      verify: true,
      verifyHostname: true,
      ca,
      clientCertificate: null,
    });
    await using origin = await startRawOrigin((connection) => waitForEnd(connection), {
      tls: { cert: certificates.server.cert, key: certificates.server.key },
    });
    await using silent = await startRawOrigin((connection) => waitForEnd(connection));
    await using use = new Use(TCP_CHECK);
    await use.run(peerTo(origin.port, tls(certificates.ca)));
    await rejects(use.run(peerTo(origin.port, tls(certificates.otherCa))), is("invalid_cert"));
    await rejects(
      use.run(peerTo(silent.port, tls(certificates.ca)), 200),
      is("connect_timeout", /not done within 200 ms/),
    );
    await using clear = new Use({ ...TCP_CHECK, tls: "off" });
    await clear.run(peerTo(silent.port, tls(certificates.ca)));
  },
});

Deno.test("http: the request has the method, path, host and fields that were asked for", async () => {
  const heads: string[] = [];
  await using origin = await startRawOrigin(async (connection) => {
    const { method, target, fields } = await readHead(connection);
    heads.push(`${method} ${target} ${fields.get("host")} ${fields.get("x-probe")}`);
    await connection.send("HTTP/1.1 204 No Content\r\n\r\n");
  });
  await using use = new Use(
    http({
      method: "OPTIONS",
      path: "/health?deep=1",
      host: "api.test",
      headers: { "X-Probe": "1" },
    }),
  );
  await use.run(peerTo(origin.port));
  deepEqual(heads, ["OPTIONS /health?deep=1 api.test 1"]);
  await using plain = new Use(http());
  await plain.run(peerTo(origin.port));
  equal(heads[1], `GET / 127.0.0.1:${origin.port} undefined`);
});

Deno.test("http: only the expected statuses are healthy", async () => {
  let status = "200 OK";
  await using origin = await startRawOrigin(async (connection) => {
    await readHead(connection);
    await connection.send(page("", status));
  });
  const ranges = ["2xx", 301, "400-403"].map((one) => {
    const range = parseStatusRange(one);
    if (typeof range === "string") throw new Error(range);
    return range;
  });
  await using use = new Use(http({ status: ranges }));
  for (const good of ["200 OK", "299 Odd", "301 Moved", "400 Bad", "403 No"]) {
    status = good;
    await use.run(peerTo(origin.port));
  }
  for (const bad of ["302 Found", "404 Not Found", "503 Busy"]) {
    status = bad;
    await rejects(
      use.run(peerTo(origin.port)),
      is("http_status", new RegExp(`status ${bad.slice(0, 3)}, expected 200-299, 301, 400-403`)),
    );
  }
});

Deno.test("http: an expected text is found wherever the pieces of the content are cut", async () => {
  const body = "-- status: gr\u00fcn --";
  const bytes = new TextEncoder().encode(body);
  let cut = 0;
  await using origin = await startRawOrigin(async (connection) => {
    await readHead(connection);
    await connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (const part of [bytes.subarray(0, cut), bytes.subarray(cut)]) {
      if (part.length === 0) continue;
      await connection.send(`${part.length.toString(16)}\r\n`);
      await connection.send(part);
      await connection.send("\r\n");
    }
    await connection.send("0\r\n\r\n");
  });
  await using use = new Use(http({ body: "gr\u00fcn" }));
  for (cut = 0; cut <= bytes.length; cut++) await use.run(peerTo(origin.port));
  await using other = new Use(http({ body: "rot" }));
  await rejects(other.run(peerTo(origin.port)), is("http_status", /not in the content$/));
});

Deno.test("http: no more content is read than the bound, however much comes", async () => {
  await using origin = await startRawOrigin(async (connection) => {
    await readHead(connection);
    await connection.send("HTTP/1.1 200 OK\r\n\r\n");
    for (let i = 0; i < 64; i++) await connection.send("x".repeat(64 * 1024));
    await connection.send("here");
  });
  await using use = new Use(http({ body: "here", bodyBytes: 1024 }));
  await rejects(
    use.run(peerTo(origin.port)),
    is("http_status", /not in the content in its first 1024 bytes/),
  );
});

Deno.test("http: without an expected text the head is enough", async () => {
  await using origin = await startRawOrigin(async (connection) => {
    await readHead(connection);
    await connection.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n");
    await waitForEnd(connection);
  });
  await using use = new Use(http());
  await use.run(peerTo(origin.port));
});

Deno.test("http: each stage that hangs is told by its own error", async () => {
  await using mute = await startRawOrigin((connection) => waitForEnd(connection));
  await using half = await startRawOrigin(async (connection) => {
    await readHead(connection);
    await connection.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
    await waitForEnd(connection);
  });
  await using use = new Use(http({ body: "abcdef" }));
  await rejects(use.run(peerTo(mute.port), 150), is("first_byte_timeout"));
  await rejects(use.run(peerTo(half.port), 150), is("read_timeout"));
  await rejects(use.run(peerTo(freePort())), is("connect_refused"));
});

Deno.test("http: what is no HTTP, or ends too early, is not healthy", async () => {
  let answer = "";
  await using origin = await startRawOrigin(async (connection) => {
    await readHead(connection);
    await connection.send(answer);
  });
  await using use = new Use(http({ body: "abcdef" }));
  answer = "220 mail ready\r\n";
  await rejects(use.run(peerTo(origin.port)), is("invalid_response"));
  answer = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc";
  await rejects(use.run(peerTo(origin.port)), is("incomplete_response"));
  answer = "";
  await rejects(use.run(peerTo(origin.port)), is("connection_closed"));
});

Deno.test("http: each check connects anew, unless connections are to be used again", async () => {
  await using origin = await startRawOrigin((connection) => connection.answerAll(page("fine")));
  const peer = peerTo(origin.port);
  {
    await using use = new Use(http());
    await use.run(peer);
    await use.run(peer);
    equal(origin.connections.length, 2);
  }
  const check = createCheckWith(http({ reuse: true }));
  await check.run(peer);
  await check.run(peer);
  equal(origin.connections.length, 3);
  await check.close();
});

Deno.test("http: a kept connection that the server has closed is no failure", async () => {
  await using origin = await startRawOrigin(async (connection) => {
    await readHead(connection);
    await connection.send(page("fine"));
    // The second request on it gets no answer.
    await readHead(connection);
  });
  const check = createCheckWith(http({ reuse: true }));
  const peer = peerTo(origin.port);
  await check.run(peer);
  await check.run(peer);
  equal(origin.connections.length, 2);
  await check.close();
});

Deno.test({
  name: "http: over TLS it goes the way of the traffic",
  ignore: !hasOpenssl,
  fn: async () => {
    const certificates = testCertificates();
    await using origin = await startRawOrigin(async (connection) => {
      const { fields } = await readHead(connection);
      await connection.send(page(String(fields.get("host"))));
    }, { tls: { cert: certificates.server.cert, key: certificates.server.key } });
    const tls: PeerTls = {
      serverName: "a.test",
      alternativeName: null,
      verify: true,
      verifyHostname: true,
      ca: certificates.ca,
      clientCertificate: null,
    };
    await using use = new Use(http({ body: `a.test:${origin.port}` }));
    await use.run(peerTo(origin.port, tls));
    await rejects(
      use.run(peerTo(origin.port, { ...tls, serverName: "b.test" })),
      is("invalid_cert"),
    );
  },
});

Deno.test("a check that is given up closes its connection at once", async () => {
  await using origin = await startRawOrigin((connection) => waitForEnd(connection));
  await using use = new Use(http());
  const stop = new AbortController();
  const peer = peerTo(origin.port);
  const work = runBounded({
    wheel: use.wheel,
    timeout: 60_000,
    timeoutType: "connect_timeout",
    context: "Checking",
    signal: stop.signal,
  }, (run) => {
    setTimeout(() => stop.abort(), 50);
    return use.check.check({ id: "x", peer }, run);
  });
  await rejects(work, is("shutting_down"));
});

Deno.test("settings that could not be sent are refused by name, and so is gRPC", () => {
  const cases: [CheckConfig, RegExp][] = [
    [http({ method: "GE T" }), /the method "GE T"/],
    [http({ path: "health" }), /must begin with "\/"/],
    [http({ path: "*" }), /no path/],
    [http({ path: "/a b" }), /percent-encoded/],
    [http({ host: "a\r\nb" }), /U\+000D/],
    [http({ headers: { "Content-Length": "3" } }), /"Content-Length" is set by the check itself/],
    [http({ headers: { "a b": "3" } }), /not a token/],
    [http({ status: [] }), /no status/],
    [http({ body: "" }), /empty or longer/],
    [http({ body: "abc", bodyBytes: 2 }), /empty or longer/],
    [http({ body: "abc", method: "HEAD" }), /HEAD has no content/],
    [{ ...GRPC_CHECK, service: "x".repeat(2000) }, /longer than 1024 bytes/],
    [{ ...GRPC_CHECK, headers: { "grpc-timeout": "1S" } }, /set by the check itself/],
    [{ ...GRPC_CHECK, host: "a\nb" }, /no field value may hold/],
    [{ type: "constructor" } as unknown as CheckConfig, /"constructor": there is no such check/],
  ];
  for (const [config, message] of cases) {
    throws(
      () =>
        createCheck(config, {
          wheel: new TimerWheel(),
          clearTextEngine: "deno",
          limits: UPSTREAM_LIMITS,
          chunkLimits: CHUNK_LIMITS,
        }),
      is("config_error", message),
    );
  }
});

Deno.test("lists of statuses are read strictly", () => {
  deepEqual(parseStatusRange("2xx"), { from: 200, to: 299 });
  deepEqual(parseStatusRange(404), { from: 404, to: 404 });
  deepEqual(parseStatusRange("200-399"), { from: 200, to: 399 });
  for (const bad of ["6xx", "20", "399-200", "99", 600, "200-", "", "200-600"]) {
    equal(typeof parseStatusRange(bad), "string", String(bad));
  }
});

/** A check whose kept connections are closed by the test, before sockets are counted. */
function createCheckWith(config: CheckConfig): {
  run(peer: Peer): Promise<void>;
  close(): Promise<void>;
} {
  const use = new Use(config);
  return {
    run: (peer) => use.run(peer),
    close: async () => {
      use.check.close();
      await use[Symbol.asyncDispose]();
    },
  };
}

async function readHead(
  connection: OriginConnection,
): Promise<{ method: string; target: string; fields: Map<string, string> }> {
  const head = await connection.head(5_000);
  return {
    method: head.method,
    target: head.target,
    fields: new Map(head.fields.map(([name, value]) => [name.toLowerCase(), value])),
  };
}

async function waitForEnd(connection: OriginConnection): Promise<void> {
  while (await connection.fill(60_000)) {
    // Whatever comes is of no interest.
  }
}
