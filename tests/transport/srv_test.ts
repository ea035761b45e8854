import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import fc from "fast-check";
import { ProxyError } from "../../src/base/error.ts";
import { orderSrv, resolveSrv, type SrvTarget } from "../../src/transport/srv.ts";
import { DnsServer } from "./dns_server.ts";

const NAME = "_http._tcp.a.test";

Deno.test("servers come by priority, with ports and weights", async () => {
  await using server = new DnsServer();
  server.zone.set(`${NAME} SRV`, {
    ttl: 30,
    targets: [
      { priority: 20, weight: 0, port: 8080, name: "c.test" },
      { priority: 10, weight: 5, port: 80, name: "a.test" },
    ],
  });
  deepEqual(await ask(server), [
    { host: "a.test", port: 80, priority: 10, weight: 5 },
    { host: "c.test", port: 8080, priority: 20, weight: 0 },
  ]);
});

Deno.test("no such service, a service that is said not to be there, and no answer", async () => {
  await using server = new DnsServer();
  await rejects(ask(server), { type: "dns_error", message: /no such service/ });
  server.zone.set(`${NAME} SRV`, {
    ttl: 30,
    targets: [{ priority: 0, weight: 0, port: 0, name: "." }],
  });
  await rejects(ask(server), { type: "dns_error", message: /not available/ });
  server.zone.set(`${NAME} SRV`, { silent: true });
  await rejects(ask(server, { tryTimeout: 100 }), {
    type: "dns_timeout",
    message: /no name server answers/,
  });
  await rejects(ask(server, { timeout: 30, tryTimeout: 1_000 }), { type: "dns_timeout" });
  const abort = new AbortController();
  const reason = new ProxyError("client_closed", "gone");
  const failing = rejects(ask(server, { signal: abort.signal }), reason);
  abort.abort(reason);
  await failing;
});

Deno.test("within a priority the lot falls by weight, and weight 0 hardly ever comes first", () => {
  const targets = [["a", 60], ["b", 30], ["c", 10], ["d", 0]]
    .map(([host, weight]) => ({ host, port: 1, priority: 1, weight }) as SrvTarget);
  const first = new Map<string, number>();
  const rounds = 20_000;
  for (let i = 0; i < rounds; i++) {
    const [one] = orderSrv(targets, Math.random);
    first.set(one!.host, (first.get(one!.host) ?? 0) + 1);
  }
  for (const { host, weight } of targets) {
    const share = (first.get(host) ?? 0) / rounds;
    ok(Math.abs(share - weight / 100) < 0.025, `${host}: ${share}`);
  }
});

Deno.test("every server comes exactly once, and never before one of a better priority", () => {
  fc.assert(fc.property(
    fc.array(fc.record({
      host: fc.string(),
      port: fc.nat(65_535),
      priority: fc.nat(3),
      weight: fc.nat(65_535),
    })),
    fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
    (targets, lot) => {
      const order = orderSrv(targets, () => lot);
      equal(order.length, targets.length);
      equal(new Set(order).size, targets.length);
      for (let i = 1; i < order.length; i++) {
        ok(order[i - 1]!.priority <= order[i]!.priority);
      }
    },
  ));
});

function ask(server: DnsServer, options: Partial<Parameters<typeof resolveSrv>[1]> = {}) {
  return resolveSrv(NAME, {
    timeout: 30_000,
    servers: [server.address],
    tryTimeout: 10_000,
    tries: 1,
    ...options,
  });
}
