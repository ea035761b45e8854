import { deepEqual, equal, ok } from "node:assert/strict";
import fc from "fast-check";
import { proxyHeader } from "../../src/connector/proxy_protocol.ts";
import type { Address } from "../../src/transport/address.ts";

const SIGNATURE = "0d0a0d0a000d0a515549540a";

Deno.test("version 1 writes what the specification shows", () => {
  equal(
    text(proxyHeader("v1", ends("192.168.0.1", 56324, "192.168.0.11", 443))),
    "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n",
  );
  equal(
    text(proxyHeader("v1", ends("2001:db8::1", 1, "2001:db8::2", 65535))),
    "PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n",
  );
  equal(text(proxyHeader("v1", null)), "PROXY UNKNOWN\r\n");
});

Deno.test("version 2 writes what the specification shows", () => {
  equal(
    hex(proxyHeader("v2", ends("192.168.0.1", 56324, "192.168.0.11", 443))),
    `${SIGNATURE}2111000cc0a80001c0a8000bdc0401bb`,
  );
  equal(
    hex(proxyHeader("v2", ends("::1", 1, "2001:db8::2", 2))),
    `${SIGNATURE}2121002400000000000000000000000000000001` +
      "20010db800000000000000000000000200010002",
  );
  equal(hex(proxyHeader("v2", null)), `${SIGNATURE}20000000`);
});

Deno.test("ends of different families are told in IPv6", () => {
  equal(
    text(proxyHeader("v1", ends("192.0.2.1", 1, "2001:db8::2", 2))),
    "PROXY TCP6 ::ffff:c000:201 2001:db8::2 1 2\r\n",
  );
});

Deno.test("a zone is not told, and a mapped address is told as IPv4", () => {
  equal(
    text(proxyHeader("v1", ends("fe80::1%eth0", 1, "fe80::2", 2))),
    "PROXY TCP6 fe80::1 fe80::2 1 2\r\n",
  );
  equal(
    text(proxyHeader("v1", ends("::ffff:192.0.2.1", 1, "192.0.2.2", 2))),
    "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
  );
});

Deno.test("a client that did not come by TCP has no address", () => {
  const client = {
    source: { kind: "unix", path: "" },
    destination: { kind: "unix", path: "/run/s.sock" },
  } as const;
  equal(text(proxyHeader("v1", client)), "PROXY UNKNOWN\r\n");
  equal(hex(proxyHeader("v2", client)), `${SIGNATURE}21000000`);
  equal(text(proxyHeader("v1", ends("nonsense", 1, "192.0.2.1", 2))), "PROXY UNKNOWN\r\n");
});

Deno.test("whatever the ends: one line of at most 107 bytes, and a length that holds", () => {
  const ip = fc.oneof(fc.ipV4(), fc.ipV6(), fc.string());
  fc.assert(fc.property(ip, ip, fc.nat(65_535), fc.nat(65_535), (from, to, a, b) => {
    const client = ends(from, a, to, b);
    const line = text(proxyHeader("v1", client));
    ok(line.length <= 107);
    ok(/^PROXY (?:UNKNOWN|TCP[46] [0-9a-f:.]+ [0-9a-f:.]+ \d+ \d+)\r\n$/.test(line), line);
    const bytes = proxyHeader("v2", client);
    equal(bytes.length, 16 + (bytes[14]! << 8 | bytes[15]!));
    if (bytes[13] === 0x11) {
      deepEqual([...bytes.subarray(16, 20)].join("."), line.split(" ")[2]);
      equal(bytes[24]! << 8 | bytes[25]!, a);
      equal(bytes[26]! << 8 | bytes[27]!, b);
    }
  }));
});

function ends(from: string, fromPort: number, to: string, toPort: number) {
  const address = (host: string, port: number): Address => ({ kind: "tcp", host, port });
  return { source: address(from, fromPort), destination: address(to, toPort) };
}

function text(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}

function hex(bytes: Uint8Array): string {
  return [...bytes].map((one) => one.toString(16).padStart(2, "0")).join("");
}
