import assert from "node:assert/strict";
import { Fields } from "../../src/http/fields.ts";
import {
  OPTION_CLOSE,
  OPTION_KEEP_ALIVE,
  OPTION_UPGRADE,
  stripHopByHop,
} from "../../src/http/hop_by_hop.ts";
import { dropForbiddenTrailers, isAllowedInTrailers } from "../../src/http/trailers.ts";

function strip(block: string): [number, string[]] {
  const fields = Fields.fromBlock(block);
  const options = stripHopByHop(fields);
  return [options, [...fields].map(([name]) => name)];
}

Deno.test("fields that concern one connection are taken off, with what Connection names", () => {
  assert.deepEqual(
    strip(
      "Host: a\r\nConnection: x-one,  X-TWO ,\r\nX-One: 1\r\nx-two: 2\r\nX-Three: 3\r\nTE: a\r\n" +
        "Transfer-Encoding: chunked\r\nContent-Length: 1\r\nKeep-Alive: b\r\nProxy-Connection: c\r\n" +
        "Proxy-Authorization: d\r\nProxy-Authenticate: e\r\nUpgrade: f\r\nTrailer: g\r\nHTTP2-Settings: h\r\n",
    ),
    [0, ["Host", "X-Three"]],
  );
});

Deno.test("several Connection fields count together, in any case", () => {
  assert.deepEqual(
    strip("Connection: Close\r\nA: 1\r\nconnection: KEEP-alive, upgrade, a\r\nB: 2\r\n"),
    [OPTION_CLOSE | OPTION_KEEP_ALIVE | OPTION_UPGRADE, ["B"]],
  );
});

Deno.test("what says who asks for what cannot be taken off by naming it", () => {
  const names = [
    "Host",
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Forwarded-Host",
    "X-Real-IP",
    "Forwarded",
    "Via",
    "Authorization",
    "Cookie",
    "Set-Cookie",
    "Date",
    "Content-Type",
    "Content-Encoding",
    "Content-Range",
  ];
  const block = `Connection: ${names.join(", ")}\r\n` +
    names.map((name) => `${name}: x\r\n`).join("");
  assert.deepEqual(strip(block), [0, names]);
});

Deno.test("a Connection field with thousands of names costs one pass", () => {
  const many = Array.from({ length: 10_000 }, (_, i) => `x-${i}`).join(",");
  const [, names] = strip(`Connection: ${many}\r\nX-9999: 1\r\nY: 2\r\n`);
  assert.deepEqual(names, ["Y"]);
});

Deno.test("trailers may not hold framing, routing, authentication or cache control", () => {
  for (
    const name of [
      "content-length",
      "transfer-encoding",
      "host",
      "connection",
      "te",
      "trailer",
      "authorization",
      "cookie",
      "set-cookie",
      "content-type",
      "content-encoding",
      "content-range",
      "cache-control",
      "expires",
      "age",
      "vary",
      "expect",
      "range",
      "if-match",
      "location",
      "x-forwarded-for",
      "client-cert",
      "client-cert-chain",
      "www-authenticate",
      "proxy-authorization",
      ":status",
    ]
  ) {
    assert(!isAllowedInTrailers(name), name);
    assert(!isAllowedInTrailers(name.replaceAll("-", "_")) || !name.includes("-"), name);
  }
  for (const name of ["grpc-status", "grpc-message", "server-timing", "digest", "etag", "x-a"]) {
    assert(isAllowedInTrailers(name), name);
  }
  const trailers = Fields.from([["Grpc-Status", "0"], ["Content-Length", "1"], ["Vary", "x"], [
    "vary",
    "y",
  ]]);
  dropForbiddenTrailers(trailers);
  assert.deepEqual([...trailers], [["Grpc-Status", "0"]]);
});
