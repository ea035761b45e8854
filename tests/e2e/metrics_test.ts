/** Metrics through the whole program: each request changes what it should, and nothing else. */
import assert from "node:assert/strict";
import { FAMILIES, type FamilyName } from "../../src/observe/metrics/families.ts";
import { X509Certificate } from "node:crypto";
import { hasOpenssl, testCertificates } from "../support/certs.ts";
import { configFile } from "../support/config.ts";
import { field, text } from "../support/http_text.ts";
import { changes, type Metrics, metricsUntil, scrape } from "../support/metrics.ts";
import { get, RawClient, rawRequest, request } from "../support/raw_client.ts";
import { freePort } from "../support/ports.ts";
import { response, startRawOrigin } from "../support/raw_origin.ts";
import { reload } from "../support/reload.ts";
import { type Sluice, type SluiceOptions, startSluice } from "../support/sluice.ts";
import { startMember, startMembers } from "./upstream_support.ts";

const SLOW = `import { definePlugin } from "@sluice/plugin";
export default definePlugin({
  onError: "fail_open",
  async requestFilter(session) {
    if (session.request.path === "/throws") throw new Error("as asked");
    if (session.request.path === "/late") await new Promise(() => {});
    if (session.request.path === "/crash") setTimeout(() => { for (;;); }, 0);
  },
});
`;

/** The port of the metrics, which the program announces. */
function metricsPort(sluice: Sluice): number {
  return Number(/metrics\s+127\.0\.0\.1:(\d+)/.exec(sluice.stderr())![1]);
}

async function start(
  parts: Parameters<typeof configFile>[0],
  options: Omit<SluiceOptions, "config"> = {},
): Promise<Sluice & { scraped: number }> {
  const telemetry = { metrics: { listen: "127.0.0.1:0" } };
  const sluice = await startSluice({
    ...options,
    config: configFile({ ...parts, top: { telemetry, ...parts.top } }),
  });
  await sluice.waitForOutput(/metrics\s+127/);
  return Object.assign(sluice, { scraped: metricsPort(sluice) });
}

/** Number of requests, however they ended. */
function requests(metrics: Metrics): number {
  return sum(metrics, /^http_server_request_duration_seconds_count/);
}

function sum(metrics: Metrics, pattern: RegExp): number {
  let total = 0;
  for (const [series, value] of metrics) if (pattern.test(series)) total += value;
  return total;
}

/** Does something and tells what it has changed, without what goes on by itself and without buckets. */
async function changedBy(
  port: number,
  work: () => Promise<unknown>,
  done: (metrics: Metrics) => boolean,
): Promise<Record<string, number>> {
  const before = await scrape(port);
  await work();
  const after = await metricsUntil(port, done, "the change");
  return Object.fromEntries(
    Object.entries(changes(before, after)).filter(([series]) =>
      !/^process_|_bucket\{|_seconds_sum|^sluice_upstream_connect_seconds/.test(series)
    ),
  );
}

Deno.test("a request changes exactly what it should", async () => {
  await using stack = new AsyncDisposableStack();
  const [a] = await startMembers(stack, "a");
  const sluice = stack.use(
    await start({ origin: a.address, route: { retry: { attempts: 0 } } }),
  );
  const port = sluice.scraped;
  await using client = await RawClient.connect(sluice.port());
  // What opens connections comes first, so that the next request is all by itself.
  await client.request(get("/"));
  await metricsUntil(port, (metrics) => requests(metrics) === 1, "the first request");
  const route = (code: string, method = "GET") =>
    `http_server_request_duration_seconds_count{http_route="all",http_request_method="${method}",` +
    `http_response_status_code="${code}",network_protocol_version="1.1",url_scheme="http"}`;
  const endpoint = `{upstream="origin",endpoint="${a.address}"}`;
  const plain = {
    'sluice_time_to_first_byte_seconds_count{http_route="all"}': 1,
    'sluice_response_body_bytes_total{http_route="all"}': 1,
    'http_client_request_duration_seconds_count{upstream="origin",outcome="answered"}': 1,
    [`sluice_upstream_requests_total${endpoint}`]: 1,
    [`sluice_upstream_connections_reused_total${endpoint}`]: 1,
  };
  assert.deepEqual(
    await changedBy(port, () => client.request(get("/")), (now) => requests(now) === 2),
    { [route("200")]: 1, ...plain },
  );
  const post = () => client.request(request("POST", "/", {}, "content"));
  assert.deepEqual(await changedBy(port, post, (now) => requests(now) === 3), {
    [route("200", "POST")]: 1,
    'sluice_request_body_bytes_total{http_route="all"}': 7,
    ...plain,
  });
  // A client makes no series, whatever it makes up, and neither does an upstream.
  const made = () => client.request(request("MADEUP", "/made/up?by=client"), "GET");
  assert.deepEqual(await changedBy(port, made, (now) => requests(now) === 4), {
    [route("200", "_OTHER")]: 1,
    ...plain,
  });
  a.does.status = 599;
  assert.deepEqual(
    await changedBy(port, () => client.request(get("/")), (now) => requests(now) === 5),
    { [route("5xx")]: 1, ...plain },
  );
});

Deno.test("buckets, sums and bytes are those of what was measured", async () => {
  await using stack = new AsyncDisposableStack();
  const member = stack.use(await startMember("a name of 23 characters", { delay: 120 }));
  const sluice = stack.use(await start({ origin: member.address }));
  await rawRequest(sluice.port(), get("/"));
  const metrics = await metricsUntil(sluice.scraped, (now) => requests(now) === 1, "a request");
  for (
    const name of [
      "http_server_request_duration_seconds",
      "http_client_request_duration_seconds",
      "sluice_time_to_first_byte_seconds",
    ]
  ) {
    const took = sum(metrics, new RegExp(`^${name}_sum`));
    assert.ok(took >= 0.11 && took < 10, `${name} took ${took}`);
    assert.equal(sum(metrics, new RegExp(`^${name}_bucket.*le="0\\.1"`)), 0);
    assert.equal(sum(metrics, new RegExp(`^${name}_bucket.*le="10"`)), 1);
    assert.equal(sum(metrics, new RegExp(`^${name}_bucket.*le="\\+Inf"`)), 1);
  }
  assert.equal(sum(metrics, /^sluice_response_body_bytes_total/), 23);
});

Deno.test("errors, refusals, retries, hedges, copies, breakers and connections are counted", async () => {
  await using stack = new AsyncDisposableStack();
  const [a, slow, mirror] = await startMembers(stack, "a", "slow", "mirror");
  slow.does.delay = 20_000;
  const dead = `127.0.0.1:${await freePort()}`;
  const sluice = stack.use(
    await start({
      top: {
        services: [{
          name: "main",
          routes: [
            { id: "dead", match: { path: "/dead" }, upstream: "dead", retry: { attempts: 0 } },
            {
              id: "retry",
              match: { path: "/retry" },
              upstream: "mixed",
              retry: { attempts: 1, on: ["connect_failure"] },
            },
            {
              id: "hedge",
              match: { path: "/hedge" },
              upstream: "hedged",
              hedge: { after: "2s" },
            },
            {
              id: "mirror",
              match: { path: "/mirror" },
              upstream: "good",
              mirror: [{ upstream: "copies" }],
            },
            { id: "open", match: { path: "/open" }, upstream: "guarded", retry: { attempts: 0 } },
          ],
        }],
        upstreams: [
          { name: "good", endpoints: [a.address] },
          { name: "copies", endpoints: [mirror.address] },
          { name: "dead", endpoints: [dead] },
          { name: "mixed", endpoints: [dead, a.address] },
          { name: "hedged", endpoints: [slow.address, a.address] },
          {
            name: "guarded",
            endpoints: [dead],
            circuit_breaker: { consecutive_failures: 1, open_for: "60s" },
          },
        ],
      },
    }),
  );
  const port = sluice.scraped;
  const ask = async (path: string) => (await rawRequest(sluice.port(), get(path))).status;
  assert.equal(await ask("/nowhere"), 404);
  assert.equal(await ask("/dead"), 502);
  for (let i = 0; i < 4; i++) assert.equal(await ask("/retry"), 200);
  for (let i = 0; i < 2; i++) assert.equal(await ask("/hedge"), 200);
  assert.equal(await ask("/mirror"), 200);
  assert.equal(await ask("/open"), 502);
  assert.equal(await ask("/open"), 503);
  const malformed = await rawRequest(sluice.port(), "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
  assert.equal(malformed.status, 400);
  const metrics = await metricsUntil(
    port,
    (now) =>
      requests(now) === 11 && sum(now, /^sluice_refused/) === 1 &&
      sum(now, /^sluice_mirrored.*"sent"/) === 1,
    "all of them",
  );
  const value = (series: string) => metrics.get(series) ?? 0;
  const count = (pattern: RegExp) => sum(metrics, pattern);
  assert.equal(count(/duration_seconds_count\{http_route="",.*code="404"/), 1);
  const failed = (type: string, source: string) =>
    value(
      `sluice_request_errors_total{service="main",error_type="${type}",source="${source}"}`,
    );
  assert.equal(failed("no_route", "internal"), 1);
  assert.equal(failed("connect_refused", "upstream"), 2);
  assert.equal(failed("circuit_open", "upstream"), 1);
  assert.equal(
    value('sluice_refused_requests_total{listener="web",error_type="invalid_request"}'),
    1,
  );
  const retries = value(
    'sluice_upstream_retries_total{upstream="mixed",error_type="connect_refused"}',
  );
  assert.equal(retries, 2);
  const attempts = (upstream: string, outcome: string) =>
    value(
      `http_client_request_duration_seconds_count{upstream="${upstream}",outcome="${outcome}"}`,
    );
  assert.equal(attempts("mixed", "connect_failed"), 2);
  assert.equal(attempts("mixed", "answered"), 4);
  assert.equal(attempts("dead", "connect_failed"), 1);
  const hedges = value('sluice_upstream_hedges_total{upstream="hedged"}');
  assert.equal(hedges, 1);
  assert.equal(attempts("hedged", "cancelled"), 1);
  assert.equal(attempts("hedged", "answered"), 2);
  const copies = (outcome: string) =>
    value(
      `sluice_mirrored_requests_total{http_route="mirror",upstream="copies",outcome="${outcome}"}`,
    );
  assert.deepEqual(["sent", "failed", "skipped"].map(copies), [1, 0, 0]);
  assert.equal(attempts("copies", "answered"), 1);
  const budget = value('sluice_retry_budget_left{http_route="retry"}');
  // 3 a second over 10 s, and a fifth of 4 requests; two were spent.
  assert.equal(budget, 28);
  const breaker = (state: string) =>
    value(`sluice_upstream_breakers{upstream="guarded",state="${state}"}`);
  assert.deepEqual(["closed", "open", "half_open"].map(breaker), [0, 1, 0]);
  assert.equal(value('sluice_upstream_breaker_opened_total{upstream="guarded"}'), 1);
  assert.equal(
    value('sluice_upstream_breaker_refused_total{upstream="guarded",reason="open"}'),
    1,
  );
  const connection = (what: string, more = "") =>
    count(new RegExp(`^sluice_upstream_connections_${what}\\{.*endpoint="${a.address}"${more}`));
  assert.ok(connection("opened_total") >= 1);
  assert.equal(
    count(new RegExp(`^sluice_upstream_connections_failed_total.*"${dead}".*"connect_refused"`)),
    4,
  );
  assert.equal(count(/^sluice_connections_accepted_total\{listener="web"\}/), 12);
  assert.equal(count(/^sluice_connections_opened_total\{listener="web",protocol="h1"\}/), 12);
});

Deno.test("what is open now is told: requests, connections of clients, connections to upstreams", async () => {
  await using stack = new AsyncDisposableStack();
  const [a] = await startMembers(stack, "a");
  a.does.delay = 3_000;
  const sluice = stack.use(
    await start({ origin: a.address, listener: { max_connections: 2 } }),
  );
  await using client = await RawClient.connect(sluice.port());
  await using idle = await RawClient.connect(sluice.port());
  await client.send(get("/"));
  const endpoint = `upstream="origin",endpoint="${a.address}"`;
  const expected: Record<string, number> = {
    'http_server_active_requests{service="main"}': 1,
    'sluice_connections{listener="web",protocol="h1"}': 2,
    [`sluice_upstream_active_requests{${endpoint}}`]: 1,
    [`sluice_upstream_connections{${endpoint},state="active"}`]: 1,
    [`sluice_upstream_connections{${endpoint},state="idle"}`]: 0,
    [`sluice_upstream_streams{${endpoint}}`]: 1,
  };
  await metricsUntil(
    sluice.scraped,
    (now) => Object.entries(expected).every(([series, value]) => now.get(series) === value),
    `${JSON.stringify(expected)}`,
  );
  await assert.rejects(rawRequest(sluice.port(), get("/")));
  a.does.delay = 0;
  assert.equal(text(await client.response()), "a");
  await idle.send("");
  const after: Record<string, number> = {
    'http_server_active_requests{service="main"}': 0,
    'sluice_connections_rejected_total{listener="web",reason="max_connections"}': 1,
    [`sluice_upstream_connections{${endpoint},state="active"}`]: 0,
    [`sluice_upstream_connections{${endpoint},state="idle"}`]: 1,
  };
  await metricsUntil(
    sluice.scraped,
    (now) => Object.entries(after).every(([series, value]) => now.get(series) === value),
    `${JSON.stringify(after)}`,
  );
});

Deno.test("hooks are timed, and how they fail is counted; a sandbox that dies is, too", async () => {
  await using stack = new AsyncDisposableStack();
  const [a] = await startMembers(stack, "a");
  const sluice = stack.use(
    await start({
      origin: a.address,
      route: { plugins: [{ use: "slow" }] },
      plugins: { timeout: "2s" },
    }, { plugins: { "slow.ts": SLOW } }),
  );
  const port = sluice.scraped;
  for (const path of ["/", "/", "/throws", "/late"]) {
    assert.equal((await rawRequest(sluice.port(), get(path))).status, 200, path);
  }
  const hook = 'plugin="slow",phase="requestFilter"';
  const metrics = await metricsUntil(
    port,
    (now) => now.get(`sluice_plugin_hook_duration_seconds_count{${hook}}`) === 4,
    "four calls",
  );
  assert.equal(metrics.get(`sluice_plugin_errors_total{${hook},kind="error"}`), 1);
  assert.equal(metrics.get(`sluice_plugin_errors_total{${hook},kind="timeout"}`), 1);
  assert.ok(metrics.get(`sluice_plugin_hook_duration_seconds_sum{${hook}}`)! >= 1.9);
  assert.equal(metrics.get('sluice_plugin_up{plugin="slow",isolation="worker"}'), 1);
  await rawRequest(sluice.port(), get("/crash"));
  await metricsUntil(
    port,
    (now) =>
      sum(now, /^sluice_plugin_crashes_total\{plugin="slow"/) === 1 &&
      now.get('sluice_plugin_restarts_total{plugin="slow",reason="crash"}') === 1 &&
      now.get('sluice_plugin_up{plugin="slow",isolation="worker"}') === 1,
    "a crash and a restart",
    30_000,
  );
});

Deno.test("health and discovery are told: what is usable, what flipped, what was found", async () => {
  await using stack = new AsyncDisposableStack();
  const [a, b] = await startMembers(stack, "a", "b");
  const sluice = stack.use(
    await start({
      route: { upstream: "checked" },
      upstreams: [
        {
          name: "checked",
          endpoints: [a.address, b.address],
          health_check: {
            active: {
              path: "/healthz",
              interval: "3s",
              timeout: "3s",
              healthy: 1,
              unhealthy: 1,
            },
          },
        },
        { name: "found", discovery: { type: "file", path: "./members.json" } },
      ],
    }, { files: { "members.json": JSON.stringify([a.address]) }, threads: 2 }),
  );
  const port = sluice.scraped;
  const healthy = (one: { address: string }) =>
    `sluice_upstream_healthy{upstream="checked",endpoint="${one.address}"}`;
  b.does.health = 500;
  const ill = await metricsUntil(port, (now) => now.get(healthy(b)) === 0, "b to be ill");
  assert.equal(ill.get(healthy(a)), 1);
  // Found once, not once for each service worker.
  const flips = (kind: string) =>
    `sluice_upstream_health_flips_total{upstream="checked",kind="${kind}"}`;
  assert.equal(ill.get(flips("unhealthy")), 1);
  b.does.health = 200;
  const well = await metricsUntil(port, (now) => now.get(healthy(b)) === 1, "b to be well");
  assert.equal(well.get(flips("healthy")), 1);
  assert.equal(well.get('sluice_workers{service="main"}'), 2);
  assert.equal(well.get('sluice_upstream_endpoints{upstream="found"}'), 1);
  assert.equal(well.get('sluice_discovery_updates_total{upstream="found"}'), 1);
  assert.equal(well.get('sluice_discovery_working{upstream="found"}'), 1);
  await Deno.writeTextFile(`${sluice.directory}/members.json`, "oops");
  await metricsUntil(
    port,
    (now) =>
      now.get('sluice_discovery_working{upstream="found"}') === 0 &&
      now.get('sluice_discovery_failures_total{upstream="found"}') === 1,
    "the discovery to fail",
  );
  await Deno.writeTextFile(
    `${sluice.directory}/members.json`,
    JSON.stringify([a.address, b.address]),
  );
  await metricsUntil(
    port,
    (now) =>
      now.get('sluice_discovery_working{upstream="found"}') === 1 &&
      now.get('sluice_upstream_endpoints{upstream="found"}') === 2,
    "the discovery to work",
  );
});

Deno.test("a worker that was replaced counts on, but has no say in who is healthy", async () => {
  await using stack = new AsyncDisposableStack();
  const [a, b] = await startMembers(stack, "a", "b");
  const config = (...endpoints: string[]) =>
    configFile({
      route: { upstream: "checked" },
      upstreams: [{
        name: "checked",
        endpoints,
        health_check: {
          active: {
            path: "/healthz",
            interval: "1s",
            timeout: "1s",
            healthy: 1,
            unhealthy: 1,
          },
        },
      }],
      top: { telemetry: { metrics: { listen: "127.0.0.1:0" } } },
    });
  const sluice = stack.use(await startSluice({ config: config(a.address) }));
  await sluice.waitForOutput(/metrics\s+127/);
  const port = metricsPort(sluice);
  const healthy = `sluice_upstream_healthy{upstream="checked",endpoint="${a.address}"}`;
  const active = 'http_server_active_requests{service="main"}';
  const gate = Promise.withResolvers<void>();
  a.does.gate = gate.promise;
  await using client = await RawClient.connect(sluice.port());
  await client.send(get("/"));
  a.does.health = 500;
  await metricsUntil(port, (now) => now.get(healthy) === 0, "a to be ill");
  // Another endpoint is another right: a worker that has it takes over, while the old one waits for its answer.
  assert.equal(await reload(sluice, config(a.address, b.address)), true);
  a.does.health = 200;
  const well = await metricsUntil(port, (now) => now.get(healthy) === 1, "a to be well");
  assert.equal(well.get(active), 1, "the request of the old worker runs on");
  gate.resolve();
  assert.equal(text(await client.response("GET")), "a");
  const over = await metricsUntil(port, (now) => now.get(active) === 0, "its end");
  assert.equal(requests(over), 1, "it is counted");
});

Deno.test({
  name: "certificates tell until when they are valid, and whether they are those of their files",
  ignore: !hasOpenssl,
  async fn() {
    await using stack = new AsyncDisposableStack();
    const [a] = await startMembers(stack, "a");
    const { server } = testCertificates();
    const sluice = stack.use(
      await start({
        origin: a.address,
        listener: { tls: { certificates: [{ cert: "./cert.pem", key: "./key.pem" }] } },
      }, { files: { "cert.pem": server.cert, "key.pem": server.key } }),
    );
    const named = /^sluice_tls_certificate_not_after_seconds\{listener="web",name="a\.test"\}/;
    const metrics = await scrape(sluice.scraped);
    const notAfter = sum(metrics, named);
    const { validTo } = new X509Certificate(server.cert);
    assert.equal(notAfter, Date.parse(validTo) / 1000);
    assert.equal(metrics.get('sluice_tls_certificates_current{listener="web"}'), 1);
    await Deno.writeTextFile(`${sluice.directory}/cert.pem`, "no certificate");
    await metricsUntil(
      sluice.scraped,
      (now) =>
        now.get('sluice_tls_certificates_current{listener="web"}') === 0 &&
        sum(now, named) === notAfter,
      "the broken file to be told",
    );
  },
});

Deno.test("counts survive a service worker that dies", async () => {
  await using stack = new AsyncDisposableStack();
  const [a] = await startMembers(stack, "a");
  const sluice = stack.use(
    await start({
      origin: a.address,
      plugins: { isolation: { end: "inline" }, trust: ["end"] },
    }, {
      plugins: {
        "end.ts": `import { definePlugin } from "@sluice/plugin";
export default definePlugin({
  requestFilter(session) { if (session.request.path === "/end") self.close(); },
});
`,
      },
    }),
  );
  const port = sluice.scraped;
  for (let i = 0; i < 3; i++) await rawRequest(sluice.port(), get("/"));
  await metricsUntil(port, (now) => requests(now) === 3, "three requests");
  await using client = await RawClient.connect(sluice.port());
  await client.send(get("/end"));
  await sluice.waitForOutput(/Worker 0 of service main serves again/, 30_000);
  await rawRequest(sluice.port(), get("/"));
  const metrics = await metricsUntil(port, (now) => requests(now) === 4, "the fourth");
  assert.equal(metrics.get('sluice_worker_restarts_total{service="main"}'), 1);
  assert.ok(metrics.get('sluice_worker_connections_lost_total{service="main"}')! >= 1);
  assert.equal(metrics.get('sluice_workers{service="main"}'), 1);
});

Deno.test("a tunnel is counted when it opens and when it is over, and a call by its status", async () => {
  await using stack = new AsyncDisposableStack();
  const origin = stack.use(
    await startRawOrigin(async (connection) => {
      const { method } = await connection.request();
      if (method === "GET") {
        await connection.send(
          "HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nhello",
        );
        await connection.takeRest();
        return connection.end();
      }
      await connection.send(
        response("", { "Content-Type": "application/grpc", "grpc-status": "99" }),
      );
      await connection.whenEnded();
    }),
  );
  const sluice = stack.use(await start({ origin: origin.address, route: { grpc_web: true } }));
  const port = sluice.scraped;
  await using client = await RawClient.connect(sluice.port());
  await client.request(get("/", { Connection: "upgrade", Upgrade: "websocket" }));
  const open = 'sluice_tunnels{service="main"}';
  await metricsUntil(port, (now) => now.get(open) === 1, "the open tunnel");
  assert.equal(requests(await scrape(port)), 0);
  await client.send("good day");
  client.end();
  await client.whenEnded();
  const after = await metricsUntil(port, (now) => requests(now) === 1, "the end of the tunnel");
  assert.equal(after.get(open), 0);
  const of = '{http_route="all",protocol="websocket",end="client_closed"}';
  assert.equal(after.get(`sluice_tunnel_duration_seconds_count${of}`), 1);
  const moved = (direction: string) =>
    after.get(`sluice_tunnel_bytes_total{http_route="all",direction="${direction}"}`);
  assert.deepEqual([moved("received"), moved("sent")], [8, 5]);
  const type = "application/grpc-web";
  await rawRequest(
    sluice.port(),
    request("POST", "/a.B/C", { "Content-Type": type }, "\0\0\0\0\0"),
  );
  const called = 'sluice_grpc_calls_total{http_route="all",rpc_grpc_status_code="other"}';
  await metricsUntil(port, (now) => now.get(called) === 1, "the call");
});

Deno.test("every metric of the table is told by a program that has all there is", async () => {
  await using stack = new AsyncDisposableStack();
  const [a, b] = await startMembers(stack, "a", "b");
  const sluice = stack.use(
    await start({
      route: {
        upstream: "all",
        retry: { attempts: 1 },
        hedge: { after: "5s" },
        mirror: [{ upstream: "found" }],
        plugins: [{ use: "slow" }],
      },
      plugins: { timeout: "2s" },
      upstreams: [
        { name: "all", endpoints: [a.address], circuit_breaker: {} },
        {
          name: "found",
          discovery: { type: "file", path: "./members.json" },
        },
      ],
    }, {
      plugins: { "slow.ts": SLOW },
      files: { "members.json": JSON.stringify([b.address]) },
    }),
  );
  await rawRequest(sluice.port(), get("/throws"));
  await rawRequest(sluice.port(), "GET / HTTP/1.1\r\n\r\n");
  const metrics = await metricsUntil(sluice.scraped, (now) => requests(now) === 1, "a request");
  const told = new Set(
    [...metrics.keys()].map((series) =>
      series.replace(/\{.*/, "").replace(/_(bucket|sum|count)$/, "")
    ),
  );
  // Those that count what goes wrong are there once something has.
  const later = new Set<FamilyName>([
    "sluice_request_errors_total",
    "sluice_tunnel_duration_seconds",
    "sluice_tunnel_bytes_total",
    "sluice_grpc_calls_total",
    "sluice_upstream_retries_total",
    "sluice_upstream_connections_failed_total",
    "sluice_upstream_connections_closed_total",
    "sluice_upstream_health_flips_total",
    "sluice_discovery_failures_total",
    "sluice_plugin_crashes_total",
    "sluice_plugin_restarts_total",
    "sluice_worker_restarts_total",
    "sluice_worker_connections_lost_total",
    "sluice_config_reloads_total",
    // Those of listeners with TLS, tunnels and calls have tests of their own.
    "sluice_tls_certificate_not_after_seconds",
    "sluice_tls_certificates_current",
  ]);
  const names = Object.keys(FAMILIES) as FamilyName[];
  assert.deepEqual(names.filter((name) => !told.has(name) && !later.has(name)), []);
  assert.deepEqual([...told].filter((name) => !Object.hasOwn(FAMILIES, name)), []);
});

Deno.test("the address of the metrics takes probes and reads, and nothing else", async () => {
  await using stack = new AsyncDisposableStack();
  const [a] = await startMembers(stack, "a");
  const sluice = stack.use(await start({ origin: a.address }));
  const port = sluice.scraped;
  const open = await rawRequest(
    port,
    get("/metrics", { Accept: "application/openmetrics-text; version=1.0.0" }),
  );
  assert.match(field(open, "content-type")!, /^application\/openmetrics-text; version=1\.0\.0/);
  assert.match(text(open), /\n# EOF\n$/);
  const cases: [string, number][] = [
    [get("/livez"), 200],
    [get("/readyz"), 200],
    [request("HEAD", "/metrics"), 200],
    [request("POST", "/metrics", {}, ""), 405],
    [request("DELETE", "/readyz"), 405],
    [get("/"), 404],
    [get("/status"), 404],
    [get("/upstreams"), 404],
    [request("POST", "/drain", {}, ""), 404],
    [get(`/${"x".repeat(20_000)}`), 414],
    [request("POST", "/metrics", {}, "x".repeat(70_000)), 413],
  ];
  for (const [one, status] of cases) {
    assert.equal((await rawRequest(port, one)).status, status, one.slice(0, 40));
  }
  const allowed = await rawRequest(port, request("POST", "/metrics", {}, ""));
  assert.equal(field(allowed, "allow"), "GET, HEAD");
  assert.equal(field(allowed, "content-type"), "application/problem+json");
});

Deno.test("peers that plugins name share one row, however many a client makes them name", async () => {
  await using stack = new AsyncDisposableStack();
  const members = await startMembers(stack, "a", "b", "c");
  const sluice = stack.use(
    await start({
      route: { plugins: [{ use: "named" }] },
      server: { allowed_peers: ["127.0.0.1"] },
      plugins: {},
    }, {
      plugins: {
        "named.ts": `import { definePlugin } from "@sluice/plugin";
export default definePlugin({
  upstreamPeer(session) { return { address: "127.0.0.1:" + session.request.path.slice(1) }; },
});
`,
      },
    }),
  );
  for (const { raw } of members) {
    assert.equal((await rawRequest(sluice.port(), get(`/${raw.port}`))).status, 200);
  }
  const dead = await freePort();
  assert.equal((await rawRequest(sluice.port(), get(`/${dead}`))).status, 502);
  const metrics = await metricsUntil(sluice.scraped, (now) => requests(now) === 4, "four requests");
  const other = 'upstream="",endpoint="other"';
  assert.equal(metrics.get(`sluice_upstream_connections_opened_total{${other}}`), 3);
  assert.equal(metrics.get(`sluice_upstream_connections{${other},state="idle"}`), 3);
  assert.equal(
    metrics.get('http_client_request_duration_seconds_count{upstream="",outcome="answered"}'),
    3,
  );
  for (const { raw } of [...members, { raw: { port: dead } }]) {
    for (const series of metrics.keys()) assert.ok(!series.includes(String(raw.port)), series);
  }
});

Deno.test("of a very large upstream, the endpoints beyond 256 share a row", async () => {
  await using stack = new AsyncDisposableStack();
  const [a] = await startMembers(stack, "a");
  const many = Array.from(
    { length: 300 },
    (_, i) => `127.0.${1 + (i >> 8)}.${i & 255}:${a.raw.port}`,
  );
  const sluice = stack.use(
    await start({
      route: { upstream: "large", retry: { attempts: 0 } },
      upstreams: [{ name: "large", discovery: { type: "file", path: "./members.json" } }],
    }, { files: { "members.json": JSON.stringify(many) } }),
  );
  await using client = await RawClient.connect(sluice.port());
  for (let i = 0; i < 300; i++) await client.request(get("/"));
  const metrics = await metricsUntil(sluice.scraped, (now) => requests(now) === 300, "them all");
  const rows = (name: string) =>
    [...metrics.keys()].filter((series) => series.startsWith(`${name}{upstream="large"`)).length;
  assert.equal(rows("sluice_upstream_healthy"), 256);
  assert.equal(rows("sluice_upstream_requests_total"), 257);
  assert.equal(
    metrics.get('sluice_upstream_requests_total{upstream="large",endpoint="other"}'),
    44,
  );
});

Deno.test("the config that runs, and what became of reloads, are told", async () => {
  await using stack = new AsyncDisposableStack();
  const [a] = await startMembers(stack, "a");
  const config = (listen: string, more: Record<string, unknown> = {}) =>
    configFile({ origin: a.address, top: { telemetry: { metrics: { listen } }, ...more } });
  // A unix socket does as well as a port.
  const sluice = stack.use(
    await startSluice({ config: (directory) => config(`unix:${directory}/metrics.sock`) }),
  );
  const path = `${sluice.directory}/metrics.sock`;
  assert.equal(Deno.statSync(path).mode! & 0o777, 0o600);
  const told = async () => {
    const metrics = await scrape({ path });
    return {
      generation: metrics.get("sluice_config_generation"),
      good: metrics.get("sluice_config_last_reload_successful"),
      at: metrics.get("sluice_config_last_reload_success_timestamp_seconds")!,
      success: metrics.get('sluice_config_reloads_total{result="success"}') ?? 0,
      failure: metrics.get('sluice_config_reloads_total{result="failure"}') ?? 0,
    };
  };
  const first = await told();
  assert.deepEqual({ ...first, at: 0 }, { generation: 1, good: 1, at: 0, success: 0, failure: 0 });
  assert.ok(Math.abs(first.at - Date.now() / 1000) < 60);
  assert.equal(await reload(sluice, "listeners: [oops]"), false);
  const bad = await told();
  assert.deepEqual(bad, { ...first, good: 0, failure: 1 });
  assert.equal(await reload(sluice, config(`unix:${path}`, { trusted_proxies: [] })), true);
  const good = await told();
  assert.deepEqual(
    { ...good, at: 0 },
    { generation: 2, good: 1, at: 0, success: 1, failure: 1 },
  );
  assert.ok(good.at > first.at);
});

Deno.test("without metrics nothing listens and nothing is counted", async () => {
  await using stack = new AsyncDisposableStack();
  const [a] = await startMembers(stack, "a");
  const sluice = stack.use(
    await startSluice({
      config: (directory) =>
        configFile({
          origin: a.address,
          top: { admin: { listen: `unix:${directory}/admin.sock` } },
        }),
    }),
  );
  await rawRequest(sluice.port(), get("/"));
  assert.doesNotMatch(sluice.stderr(), /metrics/);
  const answer = await rawRequest({ path: `${sluice.directory}/admin.sock` }, get("/metrics"));
  assert.equal(answer.status, 404);
  assert.match(text(answer), /metrics: \{\}/);
});
