import assert from "node:assert/strict";
import { ACTIVE_SETTINGS, ActiveHealth } from "../../src/balancer/health/active.ts";
import { CheckSlots } from "../../src/balancer/health/check_slots.ts";
import { HTTP_CHECK } from "../../src/balancer/health/http_check.ts";
import { PASSIVE_SETTINGS, PassiveHealth } from "../../src/balancer/health/passive.ts";
import { parseStatusRange } from "../../src/balancer/health/status_ranges.ts";
import { createCheck } from "../../src/balancer/health/table.ts";
import { TCP_CHECK } from "../../src/balancer/health/tcp_check.ts";
import { systemClock } from "../../src/base/clock.ts";
import { TimerWheel } from "../../src/base/timer_wheel.ts";
import { parseStatuses } from "../../src/config/leaves_http.ts";
import { Breaker, BREAKER_LIMITS } from "../../src/connector/breaker.ts";
import { UPSTREAM_LIMITS } from "../../src/http/limits.ts";
import { CHUNK_LIMITS } from "../../src/http1/limits.ts";
import { configOf, oneUpstream, refuses } from "./support.ts";

const active = (text: string) => oneUpstream(`health_check: { active: { ${text} } }`);
const passive = (text: string) => oneUpstream(`health_check: { passive: { ${text} } }`);
const breaker = (text: string) => oneUpstream(`circuit_breaker: { ${text} }`);

async function upstream(text: string) {
  return (await configOf(text)).upstreams[0]!;
}

Deno.test("nobody is checked, ejected or cut off unless the file says so", async () => {
  const { health, breaker } = await upstream(oneUpstream(""));
  assert.deepEqual({ health, breaker }, {
    health: { active: null, passive: null },
    breaker: null,
  });
});

Deno.test("the defaults are those of the parts that act on them", async () => {
  const http = (await upstream(active(""))).health.active!;
  assert.deepEqual(http.settings, ACTIVE_SETTINGS);
  assert.deepEqual(http.check, HTTP_CHECK);
  assert.equal(http.concurrency, 64);
  assert.deepEqual((await upstream(active("type: tcp"))).health.active!.check, TCP_CHECK);
  assert.deepEqual((await upstream(passive(""))).health.passive, PASSIVE_SETTINGS);
  assert.deepEqual((await upstream(breaker(""))).breaker, BREAKER_LIMITS);
});

Deno.test("every setting of a check is read, and the check takes it", async () => {
  const { health } = await upstream(active(
    `type: http, interval: 5s, jitter: 20%, timeout: 1s, healthy: 1, unhealthy: 4,
     initial: unhealthy, concurrency: 8, port: 81, tls: "off", method: POST, path: "/h?a=b",
     host: "a.example:8", headers: { x-a: b }, reuse: true,
     expect: { status: [200, "3xx", 404-410], body: fine, body_bytes: 1KiB }`,
  ));
  assert.deepEqual(health.active, {
    settings: {
      interval: 5000,
      jitter: 0.2,
      timeout: 1000,
      healthy: 1,
      unhealthy: 4,
      initial: "unhealthy",
    },
    check: {
      type: "http",
      port: 81,
      tls: "off",
      method: "POST",
      path: "/h?a=b",
      host: "a.example:8",
      headers: { "x-a": "b" },
      status: [{ from: 200, to: 200 }, { from: 300, to: 399 }, { from: 404, to: 410 }],
      body: "fine",
      bodyBytes: 1024,
      reuse: true,
    },
    concurrency: 8,
  });
  const wheel = new TimerWheel();
  const tools = {
    wheel,
    clearTextEngine: "deno",
    limits: UPSTREAM_LIMITS,
    chunkLimits: CHUNK_LIMITS,
  } as const;
  const check = createCheck(health.active!.check, tools);
  new ActiveHealth({
    group: "app",
    settings: health.active!.settings,
    check,
    wheel,
    clock: systemClock,
    slots: new CheckSlots(health.active!.concurrency),
    onFlip: () => {},
  }).stop();
});

Deno.test("a gRPC check is read, with the service to ask about", async () => {
  const { health } = await upstream(
    active("type: grpc, service: my.Service, port: 81, host: a.example, headers: { x-a: b }"),
  );
  assert.deepEqual(health.active!.check, {
    type: "grpc",
    port: 81,
    tls: "as_traffic",
    service: "my.Service",
    host: "a.example",
    headers: { "x-a": "b" },
    reuse: false,
  });
});

Deno.test("a check that could not run as it is written is refused", async () => {
  const cases: [string, RegExp][] = [
    ["type: grpc", /a gRPC check speaks HTTP\/2/],
    ["type: grpc, port: 9, path: /x", /path means nothing for a check of type grpc/],
    ["type: grpc, port: 9, headers: { Content-Type: x }", /"Content-Type" is written by/],
    [`type: grpc, port: 9, service: ${"x".repeat(1025)}`, /at most 1024 bytes/],
    ["service: x", /service means nothing for a check of type http/],
    ["interval: 1s, timeout: 2s", /a check may take 2s, longer than the 1s/],
    ["interval: 1s", /a check may take 2s, longer than the 1s/],
    ["type: tcp, path: /x", /path means nothing for a check of type tcp/],
    ["type: tcp, expect: {}", /expect means nothing for a check of type tcp/],
    ["method: HEAD, expect: { body: x }", /the answer to HEAD has no content/],
    ["expect: { body: xyz, body_bytes: 2 }", /longer than what is read/],
    ["method: get", /methods are case-sensitive/],
    ["method: CONNECT", /asks for no resource/],
    ["path: healthz", /must begin with "\/"/],
    ["path: '/a b'", /must be percent-encoded/],
    ["host: 'a/b'", /a host such as example\.com/],
    ["headers: { Host: x }", /"Host" is written by Sluice itself here/],
    ["headers: { connection: x }", /belongs to the connection/],
    ["headers: { 'a b': x }", /not a field name/],
    ["expect: { status: [] }", /must not be empty/],
    ["expect: { status: [6xx] }", /must be a status such as/],
    ["expect: { status: [300-200] }", /begins after its end/],
    ["expect: { status: [600] }", /599/],
    ["healthy: 0", /from 1 to 1000/],
    ["jitter: 95%", /at most 90%/],
  ];
  for (const [text, words] of cases) await refuses(active(text), words);
  await refuses(oneUpstream("health_check: {}"), /health_check checks nothing/);
});

Deno.test("statuses are read as the health checks read them", () => {
  for (const text of ["200", "2xx", "5XX", "200-399", "299-200", "20", "2x", "abc", "600", ""]) {
    const theirs = parseStatusRange(text);
    const ours = parseStatuses(text);
    if (typeof theirs !== "string") assert.deepEqual(ours, theirs, text);
    else assert.ok(ours === null || ours.from > ours.to || ours.to > 599, text);
  }
});

Deno.test("every setting of the ejection is read, and the ejection takes it", async () => {
  const { health } = await upstream(passive(
    `consecutive_failures: 3, statuses: [500, 502-504], error_ratio: 30%, window: 10s,
     minimum_requests: 7, latency_factor: 2.5, latency_floor: 20ms, eject: 5s, max_eject: 1m,
     max_ejected: 25%`,
  ));
  assert.deepEqual(health.passive, {
    failures: 3,
    statuses: [{ from: 500, to: 500 }, { from: 502, to: 504 }],
    window: 10_000,
    errors: { ratio: 0.3, minimum: 7 },
    latency: { factor: 2.5, minimum: 7, floor: 20 },
    ejection: 5000,
    maxEjection: 60_000,
    maxEjected: 0.25,
  });
  new PassiveHealth({
    settings: health.passive!,
    wheel: new TimerWheel(),
    clock: systemClock,
    mayEject: () => true,
    onEject: () => {},
    onReturn: () => {},
  });
});

Deno.test("an ejection that would eject nobody, or the wrong ones, is refused", async () => {
  const cases: [string, RegExp][] = [
    ["consecutive_failures: 0", /passive never ejects/],
    ["max_ejected: 0%", /ejects nobody/],
    ["eject: 10m", /the first ejection, 10m, is longer than the longest, 5m/],
    ["max_eject: 1s", /the first ejection, 30s, is longer than the longest, 1s/],
    ["latency_factor: 1", /no slower than the others/],
    ["statuses: [200]", /must be 400 or more/],
    ["max_fails: 3", /did you mean "consecutive_failures"/],
  ];
  for (const [text, words] of cases) await refuses(passive(text), words);
});

Deno.test("every limit of a breaker is read, and the breaker takes it", async () => {
  const config = await upstream(breaker(
    `max_requests: 1, max_pending: 2, max_connections: 3, consecutive_failures: 4,
     error_ratio: 60%, minimum_requests: 6, window: 7s, open_for: 8s, max_open_for: 9s,
     half_open_requests: 10`,
  ));
  assert.deepEqual(config.breaker, {
    maxRequests: 1,
    maxPending: 2,
    consecutiveFailures: 4,
    errorRatio: 0.6,
    minVolume: 6,
    window: 7000,
    openTime: 8000,
    maxOpenTime: 9000,
    halfOpenProbes: 10,
  });
  assert.equal(config.options.maxConnections, 3);
  new Breaker(config.breaker!);
});

Deno.test("a breaker that makes no sense is refused", async () => {
  const cases: [string, RegExp][] = [
    ["error_ratio: 0%", /limits nothing and never opens/],
    ["open_for: 2m", /the first time it is open, 2m, is longer than the longest, 60s/],
    ["half_open_requests: 0", /from 1 to 10000/],
  ];
  for (const [text, words] of cases) await refuses(breaker(text), words);
  await refuses(
    oneUpstream("circuit_breaker: { max_connections: 1 }, transport: { max_connections: 2 }"),
    /is the same/,
  );
  assert.equal(
    (await upstream(breaker("error_ratio: 0%, max_requests: 5"))).breaker!.errorRatio,
    0,
  );
});
