/** Endpoints from DNS, against a server of the tests. */
import { deepEqual, equal, ok, throws } from "node:assert/strict";
import { createDns, DNS, type DnsConfig } from "../../../src/balancer/discovery/dns.ts";
import {
  createSrv,
  SRV,
  type SrvConfig,
  toEndpoints,
} from "../../../src/balancer/discovery/srv.ts";
import { eventually, withDeadline } from "../../support/deadline.ts";
import { DnsServer, type Zone } from "./dns_server.ts";
import { Answers, Listener, show, TestTools } from "./listener.ts";

/** Refresh times that a test need not wait for: it asks by `refresh`. */
const SLOW = { interval: 600_000, minTtl: 600_000, maxTtl: 600_000 };

function dns(server: DnsServer, settings: Partial<DnsConfig> = {}): DnsConfig {
  return { ...DNS, name: "api.test", port: 80, servers: [server.address], ...SLOW, ...settings };
}

function srv(server: DnsServer, settings: Partial<SrvConfig> = {}): SrvConfig {
  return { ...SRV, name: "_http._tcp.api.test", servers: [server.address], ...SLOW, ...settings };
}

async function start(zone: Zone) {
  const server = await DnsServer.start(zone);
  return { server, tools: new TestTools(), listener: new Listener() };
}

Deno.test("all addresses of a name become endpoints, IPv4 and IPv6, in a stable order", async () => {
  const { server, tools, listener } = await start({
    "A api.test": { ttl: 60, a: ["10.0.0.2", "10.0.0.1"] },
    "AAAA api.test": { ttl: 60, aaaa: ["fd00::1"] },
  });
  await using _server = server;
  using _tools = tools;
  const discovery = createDns(dns(server), tools);
  const answers = new Answers(discovery, tools);
  discovery.start(listener);
  equal(await listener.nth(1), "update 10.0.0.1:80 10.0.0.2:80 [fd00::1]:80");
  server.zone["A api.test"] = { ttl: 60, a: ["10.0.0.1", "10.0.0.2"] };
  discovery.refresh();
  await answers.successes(2);
  server.zone["A api.test"] = { ttl: 60, a: ["10.0.0.3"] };
  discovery.refresh();
  equal(await listener.nth(2), "update 10.0.0.3:80 [fd00::1]:80");
  discovery.stop();
});

Deno.test("only the families that are wanted are asked for", async () => {
  const { server, tools, listener } = await start({
    "A api.test": { ttl: 60, a: ["10.0.0.1"] },
    "AAAA api.test": { ttl: 60, aaaa: ["fd00::1"] },
  });
  await using _server = server;
  using _tools = tools;
  const discovery = createDns(dns(server, { families: "ipv6" }), tools);
  discovery.start(listener);
  equal(await listener.nth(1), "update [fd00::1]:80");
  deepEqual(server.questions, ["AAAA api.test"]);
  discovery.stop();
});

Deno.test("the time to live decides when it asks again, within its bounds", async () => {
  const { server, tools, listener } = await start({
    "A api.test": { ttl: 3_600, a: ["10.0.0.1"] },
  });
  await using _server = server;
  using _tools = tools;
  const asked = () => server.questions.filter((one) => one === "A api.test").length;
  // An hour is cut down to 20 ms, and nothing is raised to 20 ms.
  for (const ttl of [3_600, 0]) {
    server.zone["A api.test"] = { ttl, a: ["10.0.0.1"] };
    const before = asked();
    const discovery = createDns(
      dns(server, { interval: 600_000, minTtl: 20, maxTtl: 20, families: "ipv4" }),
      tools,
    );
    discovery.start(listener);
    await eventually(() => asked() >= before + 3, "a third question");
    discovery.stop();
  }
});

Deno.test("negative answers and silence keep the last good set, and are told once", async () => {
  const { server, tools, listener } = await start({
    "A api.test": { ttl: 60, a: ["10.0.0.1"] },
    "AAAA api.test": "no data",
  });
  await using _server = server;
  using _tools = tools;
  const discovery = createDns(dns(server, { queryTimeout: 50, tries: 1, backoff: 10 }), tools);
  const answers = new Answers(discovery, tools);
  discovery.start(listener);
  equal(await listener.nth(1), "update 10.0.0.1:80");
  for (const answer of ["no such name", "server failure", "no data"] as const) {
    server.zone["A api.test"] = answer;
    const { failures } = discovery.state();
    discovery.refresh();
    await answers.failures(failures + 1);
  }
  deepEqual(listener.told, ["update 10.0.0.1:80", "error dns_error"]);
  server.zone["A api.test"] = "silence";
  server.zone["AAAA api.test"] = "silence";
  await eventually(
    () => discovery.state().error?.startsWith('dns_timeout: Looking up "api.test"') === true,
    "the timeout",
  );
  equal(discovery.state().endpoints, 1);
  server.zone["A api.test"] = { ttl: 60, a: ["10.0.0.1"] };
  server.zone["AAAA api.test"] = "no data";
  equal(await listener.nth(3), "recovered");
  equal(listener.told.length, 3);
  discovery.stop();
});

Deno.test("a family that goes missing beside the other is believed gone at the second answer", async () => {
  const { server, tools, listener } = await start({
    "A api.test": { ttl: 60, a: ["10.0.0.1"] },
    "AAAA api.test": { ttl: 60, aaaa: ["fd00::1"] },
  });
  await using _server = server;
  using _tools = tools;
  const discovery = createDns(dns(server, { queryTimeout: 50, tries: 1 }), tools);
  const answers = new Answers(discovery, tools);
  discovery.start(listener);
  await listener.nth(1);
  let count = 1;
  const ask = async () => {
    discovery.refresh();
    await answers.successes(++count);
  };
  server.zone["AAAA api.test"] = "silence";
  for (let i = 0; i < 3; i++) await ask();
  server.zone["AAAA api.test"] = "server failure";
  await ask();
  equal(listener.told.length, 1);
  await ask();
  deepEqual(listener.told, ["update 10.0.0.1:80 [fd00::1]:80", "update 10.0.0.1:80"]);
  discovery.stop();
});

Deno.test("a stop in the middle of a question ends it at once", async () => {
  const { server, tools, listener } = await start({
    "A api.test": "silence",
    "AAAA api.test": "silence",
  });
  await using _server = server;
  using _tools = tools;
  const discovery = createDns(dns(server, { queryTimeout: 60_000 }), tools);
  discovery.start(listener);
  await eventually(() => server.questions.length >= 2, "the questions");
  discovery.stop();
  deepEqual(listener.told, []);
});

Deno.test("SRV records become endpoints with port, weight, priority and target", async () => {
  const { server, tools, listener } = await start({
    "SRV _http._tcp.api.test": {
      ttl: 60,
      srv: [[10, 5, 8080, "b.test"], [20, 0, 81, "c.test"], [10, 1, 8080, "a.test"]],
    },
    "A a.test": { ttl: 60, a: ["10.0.0.1"] },
    "A b.test": { ttl: 60, a: ["10.0.0.2"] },
    "A c.test": { ttl: 60, a: ["10.0.0.3"] },
  });
  await using _server = server;
  using _tools = tools;
  const discovery = createSrv(srv(server, { families: "ipv4" }), tools);
  const answers = new Answers(discovery, tools);
  discovery.start(listener);
  equal(
    await listener.nth(1),
    "update 10.0.0.1:8080^10{target=a.test} 10.0.0.2:8080*5^10{target=b.test} " +
      "10.0.0.3:81^20{target=c.test}",
  );
  // A target that is missing once may be a mistake of its server.
  server.zone["A b.test"] = "server failure";
  discovery.refresh();
  await answers.successes(2);
  equal(listener.told.length, 1);
  discovery.refresh();
  equal(
    await listener.nth(2),
    "update 10.0.0.1:8080^10{target=a.test} 10.0.0.3:81^20{target=c.test}",
  );
  discovery.stop();
});

Deno.test("a service that is decidedly not to be had is empty, which has to be allowed", async () => {
  const zone: Zone = { "SRV _http._tcp.api.test": { ttl: 60, srv: [[0, 0, 0, "."]] } };
  for (const allowEmpty of [false, true]) {
    const { server, tools, listener } = await start(zone);
    await using _server = server;
    using _tools = tools;
    const discovery = createSrv(srv(server, { allowEmpty }), tools);
    discovery.start(listener);
    equal(await listener.nth(1), allowEmpty ? "update " : "error no_upstream");
    discovery.stop();
  }
});

Deno.test("SRV records that cannot be used are refused as a whole", async () => {
  const { server, tools, listener } = await start({
    "SRV _http._tcp.api.test": { ttl: 60, srv: [[0, 1, 80, "a.test"], [0, 1, 0, "b.test"]] },
    "A a.test": { ttl: 60, a: ["10.0.0.1"] },
  });
  await using _server = server;
  using _tools = tools;
  const discovery = createSrv(srv(server), tools);
  discovery.start(listener);
  equal(await listener.nth(1), "error dns_error");
  ok(/record for "b\.test", port 0, cannot/.test(listener.error!.message), listener.error!.message);
  discovery.stop();
});

Deno.test("many targets are looked up a few at a time, and all become endpoints", async () => {
  const count = 12;
  const zone: Zone = {
    "SRV _http._tcp.api.test": {
      ttl: 60,
      srv: Array.from({ length: count }, (_, i) => [0, 1, 80, `h${i}.test`] as const),
    },
  };
  for (let i = 0; i < count; i++) zone[`A h${i}.test`] = { ttl: 60, a: [`10.0.0.${i}`] };
  const { server, tools, listener } = await start(zone);
  await using _server = server;
  using _tools = tools;
  const discovery = createSrv(srv(server, { families: "ipv4" }), tools);
  discovery.start(listener);
  await withDeadline(listener.nth(1), 30_000, "the endpoints");
  equal(listener.endpoints.length, count);
  discovery.stop();
});

Deno.test("a target shares its weight among its addresses, and one address counts once", () => {
  const found = (...addresses: string[]) => ({ addresses, remembered: [] });
  const service = (target: string, weight: number, priority = 0) => ({
    target,
    port: 80,
    weight,
    priority,
  });
  const answers = new Map([
    ["one.test", found("10.0.0.1")],
    ["two.test", found("10.0.0.2", "10.0.0.3")],
    ["same.test", found("10.0.0.1")],
    ["none.test", found()],
  ]);
  equal(
    show(toEndpoints([service("one.test", 10), service("two.test", 10)], answers)),
    "10.0.0.1:80*20{target=one.test} 10.0.0.2:80*10{target=two.test} 10.0.0.3:80*10{target=two.test}",
  );
  for (const order of [[0, 1], [1, 0]]) {
    const services = [service("one.test", 1, 5), service("same.test", 9, 3)];
    equal(
      show(toEndpoints(order.map((i) => services[i]!), answers)),
      "10.0.0.1:80*9^3{target=same.test}",
    );
  }
  deepEqual(toEndpoints([service("none.test", 1)], answers), []);
  equal(
    show(toEndpoints([service("one.test", 65_535), service("two.test", 1)], answers)).split(" ")[0],
    "10.0.0.1:80*65535{target=one.test}",
  );
});

Deno.test("settings that make no sense are refused by name", () => {
  using tools = new TestTools();
  const base: DnsConfig = { ...DNS, name: "api.test", port: 80 };
  const cases: [Partial<DnsConfig>, RegExp][] = [
    [{ name: "10.0.0.1" }, /it is an address/],
    [{ name: "a b" }, /not a host name/],
    [{ port: 0 }, /port must be/],
    [{ minTtl: 5, maxTtl: 4 }, /`maxTtl`/],
    [{ servers: ["dns.test"] }, /DNS server "dns\.test"/],
    [{ servers: ["10.0.0.1:99999"] }, /DNS server/],
  ];
  for (const [settings, message] of cases) {
    throws(() => createDns({ ...base, ...settings }, tools), message);
  }
});
