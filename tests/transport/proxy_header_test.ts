/** The PROXY protocol as its receiver reads it: what is taken, what is refused, and that no input gets further. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { proxyHeader } from "../../src/connector/proxy_protocol.ts";
import { readProxyHeader } from "../../src/transport/proxy_accept.ts";
import {
  MAX_PROXY_HEADER,
  parseProxyHeader,
  type ProxyHeader,
} from "../../src/transport/proxy_header.ts";

const SIGNATURE = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a];
const latin1 = (text: string) => Uint8Array.from(text, (c) => c.charCodeAt(0));
const tcp = (host: string, port: number) => ({ kind: "tcp" as const, host, port });

function v2(
  command: number,
  family: number,
  body: readonly number[],
  length: number = body.length,
): Uint8Array {
  return Uint8Array.of(...SIGNATURE, command, family, length >> 8, length & 255, ...body);
}

const IPV4 = [192, 0, 2, 1, 198, 51, 100, 2, 0x30, 0x39, 0x01, 0xbb];

const GOOD: readonly [string, Uint8Array, ProxyHeader & { kind: "header" }][] = [
  ["v1 TCP4", latin1("PROXY TCP4 192.0.2.1 198.51.100.2 12345 443\r\n"), {
    kind: "header",
    length: 45,
    ends: { source: tcp("192.0.2.1", 12345), destination: tcp("198.51.100.2", 443) },
  }],
  ["v1 TCP6", latin1("PROXY TCP6 2001:db8::1 ::1 0 65535\r\n"), {
    kind: "header",
    length: 36,
    ends: { source: tcp("2001:db8::1", 0), destination: tcp("::1", 65535) },
  }],
  ["v1 UNKNOWN", latin1("PROXY UNKNOWN\r\n"), { kind: "header", length: 15, ends: null }],
  ["v1 UNKNOWN with anything behind it", latin1("PROXY UNKNOWN ffff: x y z\r\n"), {
    kind: "header",
    length: 27,
    ends: null,
  }],
  ["v2 TCP4", v2(0x21, 0x11, IPV4), {
    kind: "header",
    length: 28,
    ends: { source: tcp("192.0.2.1", 12345), destination: tcp("198.51.100.2", 443) },
  }],
  ["v2 TCP4 with TLVs", v2(0x21, 0x11, [...IPV4, 0x04, 0, 1, 0, 0xee, 0, 0]), {
    kind: "header",
    length: 35,
    ends: { source: tcp("192.0.2.1", 12345), destination: tcp("198.51.100.2", 443) },
  }],
  ["v2 LOCAL", v2(0x20, 0x00, []), { kind: "header", length: 16, ends: null }],
  ["v2 LOCAL, whatever else it says", v2(0x20, 0x99, [1, 2, 3]), {
    kind: "header",
    length: 19,
    ends: null,
  }],
  ["v2 UNSPEC", v2(0x21, 0x00, []), { kind: "header", length: 16, ends: null }],
  [
    "v2 TCP6",
    v2(0x21, 0x21, [
      ...[0x20, 0x01, 0x0d, 0xb8, ...new Array(11).fill(0), 1],
      ...[...new Array(10).fill(0), 255, 255, 192, 0, 2, 7],
      ...[0, 80, 1, 187],
    ]),
    {
      kind: "header",
      length: 52,
      ends: { source: tcp("2001:db8::1", 80), destination: tcp("192.0.2.7", 443) },
    },
  ],
  [
    "v2 UNIX",
    v2(0x21, 0x31, [...padded("/run/a.sock"), ...padded("\0abstract")]),
    {
      kind: "header",
      length: 232,
      ends: {
        source: { kind: "unix", path: "/run/a.sock" },
        destination: { kind: "unix", path: "\0abstract" },
      },
    },
  ],
];

function padded(path: string): number[] {
  return [...latin1(path.padEnd(108, "\0"))];
}

for (const [name, bytes, expected] of GOOD) {
  Deno.test(`${name} is read, split at every byte, and what follows is left`, () => {
    for (let cut = 0; cut < bytes.length; cut++) {
      assert.deepEqual(parseProxyHeader(bytes.subarray(0, cut)), { kind: "incomplete" }, `${cut}`);
    }
    assert.deepEqual(parseProxyHeader(bytes), expected);
    assert.deepEqual(parseProxyHeader(Uint8Array.of(...bytes, 0x16, 3, 1)), expected);
  });
}

for (
  const [bytes, reason] of [
    [latin1("PROXY TCP4 192.0.2.1 198.51.100.2 12345 443\n"), /CRLF/],
    [latin1("PROXY TCP4 192.0.2.1  198.51.100.2 12345 443\r\n"), /six words/],
    [latin1("PROXY TCP4 192.0.2.1 198.51.100.2 12345\r\n"), /six words/],
    [latin1("PROXY TCP4 192.0.2.1 198.51.100.2 12345 443 \r\n"), /six words/],
    [latin1("PROXY TCP5 192.0.2.1 198.51.100.2 12345 443\r\n"), /family/],
    [latin1("PROXY tcp4 192.0.2.1 198.51.100.2 12345 443\r\n"), /family/],
    [latin1("PROXY TCP4 192.0.2.01 198.51.100.2 12345 443\r\n"), /address/],
    [latin1("PROXY TCP4 ::1 ::1 1 2\r\n"), /address/],
    [latin1("PROXY TCP6 192.0.2.1 ::1 1 2\r\n"), /address/],
    [latin1("PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n"), /address/],
    [latin1("PROXY TCP4 192.0.2.1 198.51.100.2 65536 443\r\n"), /port/],
    [latin1("PROXY TCP4 192.0.2.1 198.51.100.2 -1 443\r\n"), /port/],
    [latin1("PROXY TCP4 192.0.2.1 198.51.100.2 080 443\r\n"), /port/],
    [latin1(`PROXY UNKNOWN ${"x".repeat(200)}\r\n`), /107 bytes/],
    [latin1(`PROXY ${"x".repeat(101)}`), /107 bytes/],
    [v2(0x11, 0x11, IPV4), /version/],
    [v2(0x22, 0x11, IPV4), /command/],
    [v2(0x21, 0x12, IPV4), /0x12/],
    [v2(0x21, 0x41, IPV4), /0x41/],
    [v2(0x21, 0x11, IPV4.slice(1)), /too short/],
    [v2(0x21, 0x21, IPV4), /too short/],
    [v2(0x21, 0x11, [...IPV4, 4]), /cut off/],
    [v2(0x21, 0x11, [...IPV4, 4, 0, 9, 1]), /cut off/],
    [v2(0x21, 0x11, [], MAX_PROXY_HEADER), /4096 bytes/],
  ] as const
) {
  Deno.test(`a header is refused: ${reason} ${bytes.length}`, () => {
    const found = parseProxyHeader(bytes);
    assert.equal(found.kind, "malformed");
    assert.match((found as { reason: string }).reason, reason);
  });
}

Deno.test("what HTTP and TLS begin with is no header, and it is clear as soon as it can be", () => {
  for (
    const text of [
      "GET / ",
      "P",
      "PR",
      "PRI * HTTP/2.0",
      "PROPFIND / ",
      "\x16\x03\x01",
      "\r\n\r\nG",
    ]
  ) {
    const kind = parseProxyHeader(latin1(text)).kind;
    const begins = ["P", "PR"].includes(text);
    assert.equal(kind, begins ? "incomplete" : "none", JSON.stringify(text));
  }
});

Deno.test("what our sender writes, our receiver reads", () => {
  const host = fc.oneof(fc.ipV4(), fc.ipV6().filter((ip) => !ip.includes(".")));
  const port = fc.integer({ min: 0, max: 65535 });
  fc.assert(
    fc.property(host, port, host, port, fc.constantFrom("v1", "v2"), (a, p, b, q, version) => {
      const bytes = proxyHeader(version, { source: tcp(a, p), destination: tcp(b, q) });
      const found = parseProxyHeader(bytes);
      assert.equal(
        found.kind,
        "header",
        `${new TextDecoder().decode(bytes)} ${JSON.stringify(found)}`,
      );
      const { ends, length } = found as ProxyHeader & { kind: "header" };
      assert.equal(length, bytes.length);
      assert.equal(ends!.source.kind === "tcp" && ends!.source.port, p);
      assert.equal(ends!.destination.kind === "tcp" && ends!.destination.port, q);
    }),
  );
});

Deno.test("random bytes never throw, and a verdict does not change with more bytes", () => {
  const start = fc.constantFrom<number[]>([], [...latin1("PROXY ")], SIGNATURE, [
    ...SIGNATURE,
    0x21,
  ]);
  const random = fc.tuple(start, fc.uint8Array({ maxLength: 300 })).map(([head, tail]) =>
    Uint8Array.of(...head, ...tail)
  );
  fc.assert(
    fc.property(random, (bytes) => {
      let settled: ProxyHeader | null = null;
      for (let cut = 0; cut <= bytes.length; cut++) {
        const found = parseProxyHeader(bytes.subarray(0, cut));
        if (settled !== null) assert.deepEqual(found.kind, settled.kind);
        else if (found.kind !== "incomplete") settled = found;
        if (found.kind === "header") assert.ok(found.length <= cut);
      }
      const longest = parseProxyHeader(
        Uint8Array.of(...bytes, ...new Uint8Array(MAX_PROXY_HEADER)),
      );
      assert.notEqual(longest.kind, "incomplete");
    }),
    { numRuns: 500 },
  );
});

/** A connection that gives its bytes in pieces of `size`, and then hangs. */
function pieces(bytes: Uint8Array, size: number) {
  let at = 0;
  let fail: (error: Error) => void = () => {};
  return {
    read(into: Uint8Array): Promise<number | null> {
      if (at === bytes.length) return new Promise((_, reject) => fail = reject);
      const piece = bytes.subarray(at, Math.min(at + Math.min(size, into.length), bytes.length));
      into.set(piece);
      at += piece.length;
      return Promise.resolve(piece.length);
    },
    close: () => fail(new Deno.errors.Interrupted("operation canceled")),
  };
}

const policy = (parts: Partial<Parameters<typeof readProxyHeader>[2]> = {}) => ({
  trusts: (host: string) => host === "10.0.0.1",
  required: false,
  timeout: 200,
  ...parts,
});

Deno.test("a header in any pieces leaves what follows it", async () => {
  const bytes = Uint8Array.of(...GOOD[0]![1], 0x16, 0x03, 0x01);
  for (const size of [1, 7, 45, 46, 1000]) {
    const { ends, early } = await readProxyHeader(
      pieces(bytes, size),
      tcp("10.0.0.1", 1),
      policy(),
    );
    assert.deepEqual(ends?.source, tcp("192.0.2.1", 12345));
    assert.ok(
      early.length <= 3 && [0x16, 0x03, 0x01].slice(0, early.length).join() === early.join(),
    );
  }
});

Deno.test("a header that does not come in time is header_timeout", async () => {
  for (const text of ["", "PROXY TCP4 192.0.2.1"]) {
    await assert.rejects(
      readProxyHeader(pieces(latin1(text), 100), tcp("10.0.0.1", 1), policy()),
      { type: "header_timeout", source: "downstream" },
    );
  }
});

Deno.test("strangers are not asked, and refused where a header is required", async () => {
  const stranger = tcp("10.0.0.2", 1);
  const { ends, early } = await readProxyHeader(pieces(GOOD[0]![1], 100), stranger, policy());
  assert.deepEqual([ends, early.length], [null, 0]);
  await assert.rejects(
    readProxyHeader(pieces(GOOD[0]![1], 100), stranger, policy({ required: true })),
    /not from a trusted network/,
  );
  await assert.rejects(
    readProxyHeader(pieces(latin1("GET /"), 100), tcp("10.0.0.1", 1), policy({ required: true })),
    /there is none/,
  );
  // A unix socket is guarded by its mode.
  const unix = { kind: "unix" as const, path: "" };
  const own = await readProxyHeader(pieces(GOOD[4]![1], 100), unix, policy({ required: true }));
  assert.deepEqual(own.ends?.source, tcp("192.0.2.1", 12345));
});
