/** Lists of endpoints: what is read, and what is refused as a whole. */
import { deepEqual, equal, ok, throws } from "node:assert/strict";
import fc from "fast-check";
import { ProxyError } from "../../../src/base/error.ts";
import type { Endpoint } from "../../../src/balancer/backend.ts";
import { MOST_ENDPOINTS } from "../../../src/balancer/discovery/discovery.ts";
import {
  arrange,
  parseEndpoints,
  sameEndpoints,
} from "../../../src/balancer/discovery/endpoint_list.ts";
import { show } from "./listener.ts";

const SOURCE = { context: "File", errorType: "config_error", unix: true } as const;
const read = (value: unknown) => parseEndpoints(value, SOURCE);

Deno.test("entries are addresses or mappings, alone or under `endpoints`, and come out in order", () => {
  const list = [
    { address: "10.0.0.9:80", priority: 1 },
    "[fd00::1]:80",
    { address: "b.test:8080", weight: 0, labels: { zone: "eu", canary: "yes" } },
    "unix:/run/app.sock",
    "10.0.0.2:80",
  ];
  const expected = "10.0.0.2:80 [fd00::1]:80 b.test:8080*0{canary=yes}{zone=eu} " +
    "unix:/run/app.sock 10.0.0.9:80^1";
  equal(show(read(list)), expected);
  equal(show(read({ endpoints: list.toReversed() })), expected);
  deepEqual(read([]), []);
});

Deno.test("what is wrong is refused as a whole, naming the entry", () => {
  const cases: [unknown, RegExp][] = [
    [null, /expected a list/],
    ["10.0.0.1:80", /expected a list/],
    [{}, /expected a list/],
    [{ endpoints: [], more: 1 }, /no key "more"/],
    [["10.0.0.1:80", 5], /entry 2: expected an address or a mapping, found a number/],
    [["10.0.0.1"], /entry 1: "10\.0\.0\.1": a port is missing/],
    [["10.0.0.1:0"], /port 0/],
    [["10.0.0.1:70000"], /over 65535/],
    [[":80"], /host is missing/],
    [["http://a:80"], /has a scheme/],
    [["10.0.0:80"], /no valid host/],
    [["a b:80"], /entry 1/],
    [["a..b:80"], /no valid host/],
    [["::1"], /needs brackets/],
    [[{ adress: "a:80" }], /no key "adress"; known: address/],
    [[{ weight: 1 }], /`address` must be text, found nothing/],
    [[{ address: "a:80", weight: -1 }], /entry 1: a:80: `weight`/],
    [[{ address: "a:80", weight: 1.5 }], /`weight`/],
    [[{ address: "a:80", weight: null }], /`weight`/],
    [[{ address: "a:80", priority: "1" }], /`priority`/],
    [[{ address: "a:80", labels: [] }], /`labels` must be a mapping/],
    [[{ address: "a:80", labels: { zone: 1 } }], /label "zone" must be text; quote it/],
    [[{ address: "a:80", labels: { "": "x" } }], /bad name/],
    [[{ address: "a:80", labels: JSON.parse('{"__proto__":"x"}') }], /bad name/],
    [[{ address: "a:80", labels: { a: "x".repeat(257) } }], /256 characters/],
    [["a:80", "b:80", "a:80"], /entry 3: a:80 is entry 1 already/],
    [new Array(MOST_ENDPOINTS + 1).fill("a:80"), /at most 10000/],
  ];
  for (const [value, message] of cases) {
    throws(() => read(value), (error) => {
      ok(error instanceof ProxyError);
      equal(error.type, "config_error");
      ok(message.test(error.message), error.message);
      return true;
    });
  }
  throws(
    () => parseEndpoints(["unix:/run/docker.sock"], { ...SOURCE, unix: false }),
    /may not name unix sockets/,
  );
});

Deno.test("whatever is read gives endpoints or a ProxyError, and long text does not reach the message", () => {
  fc.assert(
    fc.property(fc.oneof(fc.jsonValue(), fc.array(fc.string())), (value) => {
      try {
        ok(Array.isArray(read(value)));
      } catch (error) {
        ok(error instanceof ProxyError, String(error));
        ok(error.message.length < 400 && !/[\r\n]/.test(error.message), error.message);
      }
    }),
    { numRuns: 1_000 },
  );
  throws(() => read(["x".repeat(100_000)]), (error) => (error as Error).message.length < 300);
});

const endpoint = fc.record({
  address: fc.record({
    kind: fc.constant("tcp" as const),
    host: fc.constantFrom("a", "b", "10.0.0.1", "::1"),
    port: fc.integer({ min: 1, max: 3 }),
  }),
  weight: fc.nat(2),
  priority: fc.nat(2),
  labels: fc.dictionary(fc.constantFrom("x", "y"), fc.constantFrom("1", "2"), {
    noNullPrototype: true,
  }),
});

Deno.test("two lists are the same exactly when their contents are, however they were ordered", () => {
  const set = fc.uniqueArray(endpoint, {
    selector: ({ address }) => `${address.host} ${address.port}`,
    maxLength: 8,
  });
  const canonical = (list: readonly Endpoint[]) =>
    JSON.stringify(
      list.map((one) => [one.address, one.weight, one.priority, Object.entries(one.labels).sort()]),
    );
  fc.assert(
    fc.property(set, set, fc.nat(), (a, b, turn) => {
      const at = a.length === 0 ? 0 : turn % a.length;
      const turned = [...a.slice(at), ...a.slice(0, at)];
      ok(sameEndpoints(arrange([...a]), arrange(turned)));
      const [x, y] = [arrange([...a]), arrange([...b])];
      equal(sameEndpoints(x, y), canonical(x) === canonical(y));
    }),
    { numRuns: 500 },
  );
});
