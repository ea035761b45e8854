import assert from "node:assert/strict";
import { cli, withConfig } from "./support.ts";

const CONFIG = `listeners: [{ name: web, address: "127.0.0.1:8080" }]
services:
  - name: edge
    routes:
      - id: shared
        match: { path: /s/* }
        split: [{ upstream: app, weight: 3 }, { upstream: found, weight: 1 }]
        split_by: { on: cookie, name: sid }
        mirror: [{ upstream: shadow, percent: 10% }]
        retry: { attempts: 2, on: [connect_failure, "5xx", 429], per_try_timeout: 2s }
        hedge: { after: 300ms }
        timeouts: { request: 5s, response_header: 1s }
      - { match: { path: /plain }, upstream: app, rules: [{ respond: { status: 200, headers: { x-a: shown } } }] }
      - upstream: found
        retry: { attempts: 0 }
upstreams:
  - name: app
    load_balancing: { policy: ketama, hash: { on: header, name: x-user }, slow_start: 30s }
    endpoints:
      - { address: https://a.internal, weight: 2, labels: { zone: a } }
      - { address: https://b.internal, weight: 0 }
      - { address: https://c.internal, backup: true }
    health_check:
      active: { path: /healthz, expect: { status: [200, 3xx, 400-404], body: ok } }
      passive: { error_ratio: 30%, latency_factor: 3 }
    circuit_breaker: { max_requests: 100, consecutive_failures: 10 }
    transport: { tls: { server_name: app.internal, verify_hostname: false }, max_age: 10m, prewarm: 2 }
  - name: found
    load_balancing: { policy: random, sticky: { cookie: r, ttl: 1m, secret: hidden-hidden-hidden } }
    discovery: { type: http, url: "https://reg.internal/x?token=hidden", headers: { authorization: hidden } }
  - name: cart
    endpoints: ["10.0.0.1:9000"]
    transport: { protocol: h2c, http2: { max_streams: 7, ping_interval: 30s } }
    health_check: { active: { type: grpc, service: shop.Cart } }
  - name: pages
    endpoints: [https://pages.internal]
    transport: { protocol: auto }
  - name: shadow
    discovery: { type: dns, name: s.internal, port: 80, allow: [10.0.0.0/8] }
    transport: { proxy_protocol: v1, proxy: { address: "p:3128", headers: { proxy-authorization: hidden } } }
    health_check: { active: { type: tcp, port: 81, initial: unhealthy } }
`;

/** The lines under `Upstream name`, with one space for many. */
function block(out: string, name: string): string[] {
  const lines = out.split("\n");
  const start = lines.indexOf(`Upstream ${name}`);
  assert.ok(start >= 0, out);
  const end = lines.indexOf("", start);
  return lines.slice(start + 1, end).map((line) => line.trim().replace(/ {2,}/g, ": "));
}

Deno.test("check prints policy, tiers, health, discovery, breaker and connections of each upstream", async () => {
  await withConfig(CONFIG, async (file) => {
    const { code, out } = await cli(["check", "-c", file]);
    assert.equal(code, 0, out);
    assert.deepEqual(block(out, "cart").slice(-2), [
      "health: grpc health of shop.Cart; every 10s, within 2s; 3 failures down, 2 passes up",
      "protocol: HTTP/2 in clear text, 7 requests at a time on a connection, PING after 30s of silence",
    ]);
    assert.equal(
      block(out, "pages").at(-1),
      "protocol: HTTP/2 or HTTP/1.1, as the endpoint prefers, 100 requests at a time on a connection",
    );
    assert.deepEqual(block(out, "app"), [
      "policy: ketama by header x-user, slow start 30s, panic under 50%",
      "tier 0: a.internal:443 (weight 2, zone=a), b.internal:443 (drained)",
      "tier 1: c.internal:443",
      "health: http GET /healthz, expects 200, 3xx, 400-404 and a text; every 10s, within 2s; 3 failures down, 2 passes up",
      "ejection: after 5 failures in a row or 30% failures in 30s or 3 times the median answer time; for 30s up to 5m; at most 50% of the endpoints",
      "breaker: 100 requests at a time; opens when 50% of 20 or more requests in 10s fail, or after 10 failures in a row, for 5s up to 60s",
      "tls: name app.internal, host name NOT VERIFIED, TLSv1.2 to TLSv1.3",
      "connections: 2 kept ready, used for 10m",
    ]);
    assert.deepEqual(block(out, "found"), [
      "policy: random, panic under 50%",
      "discovery: http https://reg.internal/x every 30s",
      "may reach: any address, because discovery.allow is not set",
      "sticky: cookie r, for 60s, over TLS only",
      "health: not checked",
    ]);
    assert.deepEqual(block(out, "shadow"), [
      "policy: round_robin, panic under 50%",
      "discovery: dns s.internal port 80",
      "may reach: 10.0.0.0/8",
      "health: tcp on port 81; every 10s, within 2s; 3 failures down, 2 passes up; down until checked",
      "connections: through proxy p:3128, PROXY protocol v1",
    ]);
  });
});

Deno.test("check and route print how a route asks its upstreams", async () => {
  await withConfig(CONFIG, async (file) => {
    const { out } = await cli(["check", "-c", file]);
    assert.match(
      out,
      /shared {2,}\/s\/\* {2,}split: app 75%, found 25% by cookie sid {2,}retry 2 on connect_failure, 5xx, 429, 2s each; hedge after 300ms; mirror 10% to shadow; timeouts: response_header 1s, request 5s\n/,
    );
    assert.match(out, /found \(http https:\/\/reg\.internal\/x every 30s\) {2,}no retry/);
    const route = await cli(["route", "/s/x", "-c", file]);
    assert.equal(route.code, 0);
    assert.match(route.out, /upstream {2}split: app 75%, found 25% by cookie sid\n/);
    assert.match(route.out, /\n {5,}retry 2 on connect_failure, 5xx, 429, 2s each\n {5,}hedge/);
  });
});

Deno.test("check prints modules, statuses of gRPC and times of tunnels", async () => {
  const config = `listeners: [{ address: "127.0.0.1:8080" }]
services:
  - name: edge
    routes:
      - id: calls
        upstream: app
        grpc_web: true
        retry: { on: [connect_failure, "grpc:unavailable"] }
        timeouts: { tunnel_idle: 0, tunnel: 1h, grpc: 30s }
upstreams: [{ name: app, endpoints: ["127.0.0.1:3000"] }]
`;
  await withConfig(config, async (file) => {
    const { out } = await cli(["check", "-c", file]);
    assert.match(
      out,
      /modules: grpc_web; retry 1 on connect_failure, grpc:unavailable; timeouts: tunnel_idle 0s, tunnel 60m, grpc 30s\n/,
    );
  });
});

Deno.test("nothing that check or dump prints holds a secret", async () => {
  await withConfig(CONFIG, async (file) => {
    for (const args of [["check"], ["check", "--json"], ["config", "dump"]]) {
      const { code, out } = await cli([...args, "-c", file]);
      assert.equal(code, 0);
      assert.equal(out.includes("hidden"), false, args.join(" "));
    }
    const dumped = JSON.parse((await cli(["config", "dump", "-c", file])).out);
    assert.deepEqual(dumped.services[0].routes[1].rules[0].respond.headers, { "x-a": "shown" });
    assert.equal(dumped.upstreams[1].balancing.sticky.secret, "(secret)");
    assert.deepEqual(dumped.upstreams[1].discovery.source.headers, { authorization: "(left out)" });
    const { upstreams, services } = JSON.parse((await cli(["check", "--json", "-c", file])).out);
    assert.equal(upstreams[0].policy, "ketama");
    assert.equal(upstreams[0].breaker.maxRequests, 100);
    assert.equal(upstreams[1].sticky.cookie, "r");
    assert.equal(upstreams[2].protocol, "h2c");
    assert.deepEqual(upstreams[4].discovery, {
      type: "dns",
      from: "dns s.internal port 80",
      allow: ["10.0.0.0/8"],
    });
    assert.equal(services[0].routes[0].split.parts.length, 2);
  });
});
