/** gRPC health checks, and HTTP checks by HTTP/2, against an origin whose every frame is decided here. */
import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { ProxyError } from "../../../src/base/error.ts";
import { TimerWheel } from "../../../src/base/timer_wheel.ts";
import { runBounded } from "../../../src/balancer/health/bounded_run.ts";
import { GRPC_CHECK, type GrpcCheckConfig } from "../../../src/balancer/health/grpc_check.ts";
import { HTTP_CHECK } from "../../../src/balancer/health/http_check.ts";
import { type CheckConfig, createCheck } from "../../../src/balancer/health/table.ts";
import { createPeer, type Peer, PEER_OPTIONS } from "../../../src/connector/peer.ts";
import { UPSTREAM_LIMITS } from "../../../src/http/limits.ts";
import { CHUNK_LIMITS } from "../../../src/http1/limits.ts";
import { hasOpenssl, testCertificates } from "../../support/certs.ts";
import { DEADLINE, withDeadline } from "../../support/deadline.ts";
import { Http2Origin, type OriginRequest } from "../../support/http2_origin.ts";

type Fields = [string, string][];

/** One check with a wheel of its own, of which nothing may be left in the end. */
class Use implements Disposable {
  readonly #wheel = new TimerWheel({ tick: 5 });
  readonly #check;

  constructor(config: CheckConfig) {
    this.#check = createCheck(config, {
      wheel: this.#wheel,
      clearTextEngine: "deno",
      limits: UPSTREAM_LIMITS,
      chunkLimits: CHUNK_LIMITS,
    });
  }

  run(peer: Peer, timeout = DEADLINE): Promise<void> {
    const options = {
      wheel: this.#wheel,
      timeout,
      timeoutType: "connect_timeout",
      context: "Checking",
    } as const;
    const work = runBounded(options, (run) => this.#check.check({ id: peer.label, peer }, run));
    return withDeadline(work, DEADLINE + 5_000, "the check");
  }

  [Symbol.dispose](): void {
    this.#check.close();
    equal(this.#wheel.size, 0);
    this.#wheel.close();
  }
}

function grpc(settings: Partial<GrpcCheckConfig> = {}): GrpcCheckConfig {
  return { ...GRPC_CHECK, ...settings };
}

function peerTo(port: number, protocol: "h1" | "h2" | "h2c" | "auto" = "h2c", ca = ""): Peer {
  return createPeer({
    address: { kind: "tcp", host: "127.0.0.1", port },
    tls: ca === "" ? null : {
      serverName: "a.test",
      alternativeName: null,
      verify: true,
      verifyHostname: true,
      ca,
      clientCertificate: null,
    },
    options: { ...PEER_OPTIONS, protocol },
  });
}

/** Answers a unary call. */
async function reply(
  request: OriginRequest,
  message: readonly number[],
  trailers: Fields = [["grpc-status", "0"]],
  head: Fields = [["content-type", "application/grpc"]],
  status = "200",
): Promise<void> {
  await request.headers([[":status", status], ...head]);
  await request.data(Uint8Array.of(0, 0, 0, 0, message.length, ...message));
  await request.headers(trailers, true);
}

const SERVING = [8, 1];

Deno.test("a service that says SERVING is healthy, and is asked as gRPC asks", async () => {
  await using origin = new Http2Origin({ onRequest: (request) => reply(request, SERVING) });
  using use = new Use(grpc({ service: "my.Service", headers: { "X-Probe": "1" } }));
  await use.run(peerTo(origin.port));
  const [request] = origin.requests;
  deepEqual(Object.fromEntries(request!.fields), {
    ":method": "POST",
    ":scheme": "http",
    ":authority": `127.0.0.1:${origin.port}`,
    ":path": "/grpc.health.v1.Health/Check",
    "content-type": "application/grpc+proto",
    "content-length": "17",
    "user-agent": "Sluice-Health-Check",
    "x-probe": "1",
    te: "trailers",
  });
  deepEqual([...await request!.content], [0, 0, 0, 0, 12, 10, 10, ...utf8("my.Service")]);
  await origin.connections[0]!.closed;
});

function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

Deno.test("everything else is unhealthy, and says why", async () => {
  const cases: [RegExp, (request: OriginRequest) => Promise<void>][] = [
    [/NOT_SERVING, expected SERVING/, (request) => reply(request, [8, 2])],
    [/UNKNOWN, expected SERVING/, (request) => reply(request, [])],
    [/SERVICE_UNKNOWN, expected SERVING/, (request) => reply(request, [8, 3])],
    [
      /grpc-status 5 \(NOT_FOUND.*no such thing/,
      (request) =>
        request.headers([
          [":status", "200"],
          ["content-type", "application/grpc"],
          ["grpc-status", "5"],
          ["grpc-message", "no%20such%20thing"],
        ], true),
    ],
    [/grpc-status 12 \(UNIMPLEMENTED/, (request) => reply(request, [], [["grpc-status", "12"]])],
    [/grpc-status 14/, (request) => reply(request, SERVING, [["grpc-status", "14"]])],
    [/without grpc-status/, (request) => reply(request, SERVING, [["x-other", "0"]])],
    [
      /no gRPC, by its Content-Type/,
      (request) => reply(request, SERVING, undefined, [["content-type", "text/html"]]),
    ],
    [/HTTP status 503/, (request) => reply(request, SERVING, undefined, undefined, "503")],
    [/status 9 is not known/, (request) => reply(request, [8, 9])],
    [/holds no message/, async (request) => {
      await request.headers([[":status", "200"], ["content-type", "application/grpc"]]);
      await request.headers([["grpc-status", "0"]], true);
    }],
    [/too long|not exactly one/, async (request) => {
      await request.headers([[":status", "200"], ["content-type", "application/grpc"]]);
      await request.data(new Uint8Array(5_000));
      await request.headers([["grpc-status", "0"]], true);
    }],
    [/reset by the upstream \(INTERNAL_ERROR\)/, (request) => request.rst(2)],
  ];
  let next: (request: OriginRequest) => Promise<void>;
  await using origin = new Http2Origin({ onRequest: (request) => next(request) });
  using use = new Use(grpc());
  for (const [words, answer] of cases) {
    next = answer;
    await rejects(use.run(peerTo(origin.port)), (error) => {
      ok(error instanceof ProxyError && words.test(error.message), String(error));
      return true;
    });
  }
});

Deno.test("a server that does not answer fails the check at its time, one that is gone at once", async () => {
  await using silent = new Http2Origin();
  using use = new Use(grpc());
  await rejects(use.run(peerTo(silent.port), 150), { type: "first_byte_timeout" });
  await silent.connections[0]!.closed;
  await using deaf = new Http2Origin({ onConnection: () => false });
  await rejects(use.run(peerTo(deaf.port), 150), { type: "connect_timeout" });
});

Deno.test("with reuse the next check goes over the same connection", async () => {
  await using origin = new Http2Origin({ onRequest: (request) => reply(request, SERVING) });
  using use = new Use(grpc({ reuse: true }));
  const peer = peerTo(origin.port);
  for (let i = 0; i < 3; i++) await use.run(peer);
  equal(origin.connections.length, 1);
  equal(origin.requests.length, 3);
});

Deno.test("HTTP/2 is spoken whatever the traffic speaks, with and without TLS", async () => {
  await using clear = new Http2Origin({ onRequest: (request) => reply(request, SERVING) });
  using use = new Use(grpc());
  for (const protocol of ["h1", "h2c", "auto"] as const) {
    await use.run(peerTo(clear.port, protocol));
  }
  if (!hasOpenssl) return;
  const { server: { cert, key }, ca } = testCertificates();
  await using secure = new Http2Origin({
    tls: { cert, key },
    onRequest: (request) => reply(request, SERVING),
  });
  for (const protocol of ["h1", "h2", "auto"] as const) {
    await use.run(peerTo(secure.port, protocol, ca));
  }
  equal(secure.requests[0]!.fields.get(":scheme"), "https");
  // In clear text although the traffic is encrypted.
  using off = new Use(grpc({ tls: "off" }));
  await off.run(peerTo(clear.port, "h2", ca));
});

Deno.test("an HTTP check speaks what the traffic speaks", async () => {
  await using origin = new Http2Origin({
    onRequest: (request) => request.respond(request.path === "/up" ? 200 : 500, "ok"),
  });
  using up = new Use({ ...HTTP_CHECK, path: "/up", body: "ok" });
  await up.run(peerTo(origin.port));
  using down = new Use({ ...HTTP_CHECK, path: "/down" });
  await rejects(down.run(peerTo(origin.port)), /status 500/);
  equal(origin.requests[0]!.fields.get(":authority"), `127.0.0.1:${origin.port}`);
});
