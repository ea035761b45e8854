import assert from "node:assert/strict";
import fc from "fast-check";
import { WeightedSplit } from "../../src/balancer/weighted_split.ts";
import { backoffBound } from "../../src/connector/backoff.ts";
import { RetryBudget } from "../../src/connector/retry_budget.ts";
import { configOf, errorsOf, refuses } from "./support.ts";

function route(text: string): string {
  return `listeners: [{ address: ":8080" }]
services: [{ name: edge, routes: [{ ${text} }] }]
upstreams:
  - { name: app, endpoints: ["10.0.0.1:1"] }
  - { name: next, endpoints: ["10.0.0.2:1"] }
`;
}

async function read(text: string) {
  return (await configOf(route(text))).services[0]!.routes[0]!;
}

Deno.test("a route that says nothing is tried once more when it could not connect", async () => {
  const { upstream, split, mirrors, timeouts, retry, hedge } = await read("upstream: app");
  assert.deepEqual({ upstream, split, mirrors, timeouts, retry, hedge }, {
    upstream: "app",
    split: null,
    mirrors: [],
    timeouts: {
      connect: null,
      responseHeader: null,
      read: null,
      write: null,
      tunnelIdle: null,
      tunnel: null,
      grpc: null,
      request: null,
    },
    retry: {
      attempts: 1,
      on: ["connect_failure"],
      statuses: [],
      grpcStatuses: [],
      perTryTimeout: null,
      backoff: { base: 25, cap: 250 },
      budget: { ratio: 0.2, minPerSecond: 3 },
      nonIdempotent: false,
      bufferBytes: 65_536,
    },
    hedge: null,
  });
});

Deno.test("every setting of the attempts is read, and the parts take them", async () => {
  const { timeouts, retry, hedge, mirrors } = await read(`upstream: app,
    timeouts: { connect: 1s, response_header: 2s, read: 3s, write: 4s, tunnel_idle: 0,
      tunnel: 1h, grpc: 8s, request: 9s },
    retry: { attempts: 3, on: [timeout, reset, 502, "5xx", 428-431, reset,
      grpc:unavailable, grpc:resource_exhausted, grpc:unavailable], per_try_timeout: 5s,
      backoff: { base: 10ms, max: 1s }, budget: { percent: 5%, min_per_second: 0 },
      non_idempotent: true, buffer_bytes: 1KiB },
    hedge: { after: 400ms, max: 2 },
    mirror: [{ upstream: next, percent: 2.5%, max_body: 2KiB, max_concurrent: 6, timeout: 7s }]`);
  assert.deepEqual(timeouts, {
    connect: 1000,
    responseHeader: 2000,
    read: 3000,
    write: 4000,
    tunnelIdle: 0,
    tunnel: 3_600_000,
    grpc: 8000,
    request: 9000,
  });
  assert.deepEqual(retry, {
    attempts: 3,
    on: ["timeout", "reset"],
    statuses: [{ from: 502, to: 502 }, { from: 500, to: 599 }, { from: 428, to: 431 }],
    grpcStatuses: [14, 8],
    perTryTimeout: 5000,
    backoff: { base: 10, cap: 1000 },
    budget: { ratio: 0.05, minPerSecond: 0 },
    nonIdempotent: true,
    bufferBytes: 1024,
  });
  assert.deepEqual(hedge, { after: 400, max: 2 });
  assert.deepEqual(mirrors, [
    { upstream: "next", share: 0.025, maxBody: 2048, maxConcurrent: 6, timeout: 7000 },
  ]);
  assert.equal(backoffBound(20, retry.backoff), 1000);
  assert.equal(new RetryBudget(retry.budget).left, 0);
});

Deno.test("a budget may be a percentage alone", async () => {
  const { retry } = await read("upstream: app, retry: { budget: 50% }");
  assert.deepEqual(retry.budget, { ratio: 0.5, minPerSecond: 3 });
});

Deno.test("a split is what the splitter takes", async () => {
  const { upstream, split } = await read(
    "split: [{ upstream: app, weight: 95 }, { upstream: next, weight: 5 }], split_by: { on: header, name: X-User }",
  );
  assert.equal(upstream, null);
  assert.deepEqual(split, {
    parts: [{ group: "app", weight: 95 }, { group: "next", weight: 5 }],
    hashKey: { kind: "header", name: "x-user" },
  });
  assert.equal(new WeightedSplit({ ...split!, random: () => 0.99 }).choose(null, ""), "next");
});

Deno.test("names that lead nowhere, or to the same place twice, are errors where they stand", async () => {
  const cases: [string, RegExp][] = [
    ["split: [{ upstream: ap }]", /unknown upstream "ap", did you mean "app"/],
    ["upstream: app, mirror: [{ upstream: nxt }]", /unknown upstream "nxt", did you mean "next"/],
    ["upstream: app, mirror: [{ upstream: app }]", /each would be made twice/],
    ["split: [{ upstream: app }], mirror: [{ upstream: app }]", /each would be made twice/],
    ["upstream: app, mirror: [{ upstream: next }, { upstream: next }]", /a second time/],
    ["upstream: app, mirror: [{ upstream: next, percent: 0% }]", /0% copies nothing/],
    ["upstream: app, split: [{ upstream: next }]", /both are here/],
    ["split: [{ upstream: app }, { upstream: app }]", /in the split already, at split\[0\]/],
    ["split: [{ upstream: app, weight: 0 }]", /all weights of the split are 0/],
    ["split: []", /must not be empty/],
    ["upstream: app, split_by: { on: uri }", /split_by means nothing without split/],
    ["split: [{ upstream: app }], split_by: {}", /nothing says what to hash/],
    ["split: [{ upstream: app }], split_by: { on: cookie }", /which cookie to hash/],
    ["upstream: app, canary: {}", /canary is not part of this version/],
  ];
  for (const [text, words] of cases) await refuses(route(text), words);
  const [error] = await errorsOf(route("split: [{ upstream: app }, { upstream: nxt }]"));
  assert.match(error!, /^2:76 /);
});

Deno.test("times that never come to pass are refused", async () => {
  const cases: [string, RegExp][] = [
    ["timeouts: { request: 2s }, retry: { per_try_timeout: 3s }", /per_try_timeout of 3s is never/],
    ["timeouts: { request: 2s }, hedge: { after: 2s }", /after of 2s is never over: timeouts/],
    ["retry: { per_try_timeout: 1s }, hedge: { after: 1s }", /after of 1s is never over: per_try/],
    ["retry: { backoff: { base: 1s } }", /up to 1s, is longer than the longest, 250ms/],
    ["retry: { backoff: { max: 5ms } }", /up to 25ms, is longer than the longest, 5ms/],
    ["retry: { attempts: 0, on: [reset] }", /on means nothing when attempts is 0/],
    ["retry: { on: [] }", /nothing is tried again/],
    ["retry: { on: [200] }", /must be 400 or more/],
    ["retry: { on: ['grpc:unavailible'] }", /no status "unavailible" that is a failure/],
    ["retry: { on: ['grpc:ok'] }", /no status "ok" that is a failure/],
    ["retry: { on: [conect_failure] }", /did you mean "connect_failure"/],
    ["retry: { on: [6xx] }", /one of connect_failure, reset, timeout, a status such as/],
    ["retry: { budget: 20 }", /the percent sign is missing/],
    ["retry: { buffer: 1KiB }", /did you mean "buffer_bytes"/],
    ["hedge: {}", /"after" is missing/],
    ["hedge: { after: 1s, max: 5 }", /from 1 to 4/],
  ];
  for (const [text, words] of cases) await refuses(route(`upstream: app, ${text}`), words);
  assert.deepEqual(
    await errorsOf(
      route("upstream: app, timeouts: { request: 3s }, retry: { per_try_timeout: 3s }"),
    ),
    [],
  );
});

Deno.test("whatever stands under the keys of upstreams and attempts, loading ends in errors or a config", async () => {
  const value: fc.Arbitrary<unknown> = fc.letrec((tie) => ({
    any: fc.oneof(
      { maxDepth: 3 },
      fc.constantFrom<unknown>(
        null,
        true,
        0,
        -1,
        1.5,
        "",
        "app",
        "1s",
        "50%",
        "5xx",
        "dns",
        "http",
      ),
      fc.array(tie("any"), { maxLength: 2 }),
      fc.dictionary(
        fc.constantFrom(
          ...["type", "on", "name", "upstream", "weight", "policy", "hash", "sticky", "cookie"],
          ...["active", "passive", "expect", "status", "budget", "backoff", "address", "labels"],
          ...["proxy", "headers", "tls", "allow", "url", "path", "server", "percent", "body"],
        ),
        tie("any"),
        { maxKeys: 4 },
      ),
    ),
  })).any;
  const upstreamKey = fc.constantFrom(
    ...["load_balancing", "endpoints", "discovery", "health_check", "circuit_breaker"],
    "transport",
  );
  const routeKey = fc.constantFrom(
    ...["split", "split_by", "mirror", "timeouts", "retry", "hedge"],
  );
  await fc.assert(
    fc.asyncProperty(upstreamKey, value, routeKey, value, async (a, av, b, bv) => {
      const upstream: Record<string, unknown> = { name: "app", endpoints: ["h:1"], [a]: av };
      const text = JSON.stringify({
        listeners: [{ address: ":1" }],
        services: [{ name: "edge", routes: [{ upstream: "app", [b]: bv }] }],
        upstreams: [upstream],
      });
      for (const error of await errorsOf(text)) assert.match(error, /^1:\d+ ./);
    }),
    { numRuns: 500 },
  );
});
