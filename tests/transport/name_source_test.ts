/**
 * Names over a name server of our own, the hosts file and the system, and what a narrow thread may look up.
 *
 * @module
 */
import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import fc from "fast-check";
import { dial } from "../../src/transport/dial.ts";
import { handleEngineAvailable } from "../../src/transport/native_handle.ts";
import { HostsFile, parseHosts } from "../../src/transport/hosts_file.ts";
import { nameSource, type NameSourceOptions } from "../../src/transport/name_source.ts";
import { HostResolver } from "../../src/transport/resolver.ts";
import { DnsServer } from "./dns_server.ts";

const NO_HOSTS = new HostsFile("/nowhere/hosts");

Deno.test("both families are asked, IPv6 comes first, the smallest TTL counts", async () => {
  await using server = new DnsServer();
  server.zone.set("a.test A", { ttl: 30, records: ["192.0.2.1", "192.0.2.2"] });
  server.zone.set("a.test AAAA", { ttl: 20, records: ["2001:db8::1"] });
  const { addresses, ttl } = await source(server)("a.test");
  deepEqual(addresses, ["2001:db8::1", "192.0.2.1", "192.0.2.2"]);
  equal(ttl, 20_000);
});

Deno.test("one family is enough, whatever the other says, or if it says nothing", async () => {
  for (const other of [{ code: 0 }, { code: 2 }, { code: 3 }, { silent: true }] as const) {
    await using server = new DnsServer();
    server.zone.set("a.test A", { ttl: 30, records: ["192.0.2.1"] });
    server.zone.set("a.test AAAA", other);
    const start = performance.now();
    const { addresses, ttl } = await source(server)("a.test");
    deepEqual(addresses, ["192.0.2.1"]);
    equal(ttl, 30_000);
    ok(performance.now() - start < 8_000, "it is not waited for");
  }
});

Deno.test("a name that does not exist is dns_error", async () => {
  await using server = new DnsServer();
  await rejects(source(server)("nothing.test"), {
    type: "dns_error",
    source: "upstream",
    retry: true,
  });
  equal(server.count("nothing.test A"), 1);
});

Deno.test("a server that does not answer is dns_timeout, by itself and for who waits", async () => {
  await using server = new DnsServer();
  for (const type of ["A", "AAAA"]) server.zone.set(`slow.test ${type}`, { silent: true });
  await rejects(source(server, { tryTimeout: 150 })("slow.test"), { type: "dns_timeout" });
  const resolver = new HostResolver({ source: source(server, { tryTimeout: 2_000 }) });
  await rejects(
    dial({ kind: "tcp", host: "slow.test", port: 80 }, { timeout: 60, resolver }),
    { type: "dns_timeout", source: "upstream" },
  );
  equal(resolver.stats().asking, 1, "the look-up goes on without who has waited");
  while (resolver.stats().asking > 0) await new Promise((resolve) => setTimeout(resolve, 20));
  equal(resolver.stats().failures, 1);
});

Deno.test("connections by name: TTL holds, a new address is found, and a dead server harms nobody", async () => {
  await using server = new DnsServer();
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  server.zone.set("o.test A", { ttl: 1, records: ["127.0.0.1"] });
  const resolver = new HostResolver({
    source: source(server, { tryTimeout: 2_000 }),
    staleTime: 60_000,
  });
  const times = { lookup: 0, connect: 0, tls: 0 };
  const connect = async () => {
    const [other, socket] = await Promise.all([
      listener.accept(),
      dial({ kind: "tcp", host: "o.test", port }, { timeout: 30_000, resolver, times }),
    ]);
    other.close();
    return socket;
  };
  const first = await connect();
  ok(times.lookup > 0 && times.connect > 0);
  (await connect()).destroy();
  equal(server.count("o.test A"), 1);
  server.zone.set("o.test A", { silent: true });
  server.zone.set("o.test AAAA", { silent: true });
  await new Promise((resolve) => setTimeout(resolve, 1_050));
  (await connect()).destroy();
  equal(resolver.stats().asking, 1, "nobody waits for the new look-up");
  equal(first.closed, false, "a good connection stays");
  first.destroy();
  listener.close();
  while (resolver.stats().asking > 0) await new Promise((resolve) => setTimeout(resolve, 20));
});

Deno.test("the hosts file comes before the DNS", async () => {
  const path = Deno.makeTempFileSync();
  Deno.writeTextFileSync(path, "192.0.2.7 a.test b.test # and c.test\n");
  await using server = new DnsServer();
  server.zone.set("a.test A", { ttl: 30, records: ["192.0.2.1"] });
  const ask = source(server, { hosts: new HostsFile(path, 0), hostsTtl: 7_000 });
  deepEqual(await ask("a.test"), { addresses: ["192.0.2.7"], ttl: 7_000 });
  equal(server.asked.length, 0);
  Deno.writeTextFileSync(path, "");
  deepEqual((await ask("a.test")).addresses, ["192.0.2.1"], "it is read again");
  Deno.removeSync(path);
});

Deno.test("names that the DNS cannot know are the system's", async () => {
  await using server = new DnsServer();
  const { addresses, ttl } = await source(server, { systemTtl: 3_000 })("localhost");
  ok(addresses.includes("127.0.0.1") || addresses.includes("::1"), addresses.join());
  equal(ttl, 3_000);
  equal(server.asked.length, 0, "a name of one label is not asked for");
});

Deno.test({
  name: "where only the name may be connected to, the runtime looks it up when it connects",
  permissions: { net: ["localhost:47231"], read: true, env: true, sys: true },
  fn: async () => {
    deepEqual(await nameSource({ hosts: NO_HOSTS, systemTtl: 1 })("localhost"), {
      addresses: ["localhost"],
      ttl: 1,
    });
    for (
      const engine of handleEngineAvailable() ? ["deno", "handle"] as const : ["deno"] as const
    ) {
      const resolver = new HostResolver({ source: nameSource() });
      // Nobody listens there; but it was looked up, and was allowed to be tried.
      await rejects(
        dial({ kind: "tcp", host: "localhost", port: 47231 }, { timeout: 5_000, engine, resolver }),
        { type: "connect_refused" },
      );
      await rejects(
        dial({ kind: "tcp", host: "localhost", port: 47232 }, { timeout: 5_000, engine, resolver }),
        { type: "connect_error", message: /net access/ },
      );
    }
  },
});

Deno.test({
  name:
    "where a name may be looked up but its addresses not be connected to, the name is connected to",
  permissions: { net: ["localhost"], read: false, env: true, sys: true },
  fn: async () => {
    const resolver = new HostResolver({ source: nameSource({ hosts: NO_HOSTS }) });
    ok(/^127\.|^::1$/.test((await resolver.resolve("localhost", { timeout: 5_000 }))[0]!));
    await rejects(
      dial({ kind: "tcp", host: "localhost", port: 47231 }, { timeout: 5_000, resolver }),
      { type: "connect_refused" },
    );
  },
});

Deno.test("a hosts file: comments, several names, several addresses, nonsense", () => {
  const names = parseHosts(
    "127.0.0.1\tlocalhost  Loop\r\n::1 localhost#x\n#192.0.2.1 a\nnonsense b\n192.0.2.1\n 192.0.2.2 c c \n",
  );
  deepEqual([...names], [
    ["localhost", ["127.0.0.1", "::1"]],
    ["loop", ["127.0.0.1"]],
    ["c", ["192.0.2.2"]],
  ]);
});

Deno.test("a hosts file of any bytes does no harm", () => {
  fc.assert(fc.property(
    fc.string({ unit: fc.constantFrom(..."127.0.:1# \t\r\nab%", "\0", "é") }),
    (text) => {
      for (const [name, addresses] of parseHosts(text)) {
        ok(name !== "" && !/[\s#]/.test(name));
        ok(addresses.length > 0);
      }
    },
  ));
});

Deno.test("a hosts file that is not there has no names", async () => {
  equal(await NO_HOSTS.find("localhost"), null);
});

function source(server: DnsServer, options: NameSourceOptions = {}) {
  return nameSource({
    servers: [server.address],
    tryTimeout: 10_000,
    tries: 1,
    hosts: NO_HOSTS,
    ...options,
  });
}
