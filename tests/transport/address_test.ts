import { deepEqual, equal, ok } from "node:assert/strict";
import fc from "fast-check";
import {
  type Address,
  formatAddress,
  parseAddress,
  unmapIpv4,
} from "../../src/transport/address.ts";

Deno.test("parseAddress reads every form", () => {
  const cases: [string, number | undefined, Address][] = [
    ["a.test:80", undefined, { kind: "tcp", host: "a.test", port: 80 }],
    ["a.test", 443, { kind: "tcp", host: "a.test", port: 443 }],
    ["[::1]:8080", undefined, { kind: "tcp", host: "::1", port: 8080 }],
    [":8080", undefined, { kind: "tcp", host: "0.0.0.0", port: 8080 }],
    ["unix:/run/app.sock", undefined, { kind: "unix", path: "/run/app.sock" }],
  ];
  for (const [text, port, address] of cases) deepEqual(parseAddress(text, port), address);
});

Deno.test("parseAddress says what is wrong", () => {
  for (
    const [text, what] of [
      ["a.test", /port is missing/],
      ["a.test:65536", /over 65535/],
      ["::1", /needs brackets/],
      ["unix:", /needs a path/],
      ["", /port is missing/],
      ["http://a.test:80", /expected/],
      ["a b:80", /expected/],
      ["a.test:80:81", /expected/],
    ] as const
  ) {
    const result = parseAddress(text);
    ok(typeof result === "string" && what.test(result), `${text}: ${JSON.stringify(result)}`);
  }
});

Deno.test("what formatAddress writes, parseAddress reads; and nothing makes it throw", () => {
  const host = fc.oneof(fc.domain(), fc.ipV4(), fc.ipV6().filter((ip) => !ip.includes("%")));
  fc.assert(fc.property(host, fc.nat(65535), (host, port) => {
    deepEqual(parseAddress(formatAddress({ kind: "tcp", host, port })), {
      kind: "tcp",
      host,
      port,
    });
  }));
  fc.assert(fc.property(fc.string({ minLength: 1 }), (path) => {
    deepEqual(parseAddress(formatAddress({ kind: "unix", path })), { kind: "unix", path });
  }));
  fc.assert(fc.property(fc.string(), (text) => {
    const result = parseAddress(text, 80);
    ok(typeof result === "string" || result.kind === "unix" || result.host !== "");
  }));
});

Deno.test("unmapIpv4 leaves real IPv6 alone", () => {
  equal(unmapIpv4("::ffff:192.0.2.1"), "192.0.2.1");
  equal(unmapIpv4("::ffff:1"), "::ffff:1");
  equal(unmapIpv4("2001:db8::1"), "2001:db8::1");
});
