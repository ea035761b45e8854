/** The words of gRPC that a proxy has to know. */
import assert from "node:assert/strict";
import { Fields } from "../../src/http/fields.ts";
import {
  encodeMessage,
  grpcKind,
  readStatus,
  readTimeout,
  statusOfHttp,
  writeTimeout,
} from "../../src/http/grpc.ts";

Deno.test("a content type is one of gRPC only if its name ends where it should", () => {
  const cases: [string | null, ReturnType<typeof grpcKind>][] = [
    ["application/grpc", "grpc"],
    ["application/grpc+proto", "grpc"],
    ["application/grpc+json; charset=utf-8", "grpc"],
    ["application/grpc;x=y", "grpc"],
    ["Application/GRPC", "grpc"],
    ["application/grpc-web", "grpc_web"],
    ["application/grpc-web+proto", "grpc_web"],
    ["application/grpc-web-text", "grpc_web"],
    ["application/grpc-web-text+proto", "grpc_web"],
    ["application/grpc-webs", null],
    ["application/grpc-websocket", null],
    ["application/grpcx", null],
    ["text/application/grpc", null],
    ["application/json", null],
    ["", null],
    [null, null],
  ];
  for (const [type, kind] of cases) assert.equal(grpcKind(type), kind, String(type));
});

Deno.test("deadlines are read in every unit, and nothing else is one", () => {
  const cases: [string, number | null][] = [
    ["1H", 3_600_000],
    ["2M", 120_000],
    ["3S", 3000],
    ["4m", 4],
    ["5000u", 5],
    ["6000000n", 6],
    ["0m", 0],
    ["99999999H", 99_999_999 * 3_600_000],
    ["100000000m", null],
    ["1", null],
    ["m", null],
    ["-1m", null],
    ["1.5S", null],
    ["1 S", null],
    ["1s", null],
    ["", null],
    ["1m, 2m", null],
  ];
  for (const [text, ms] of cases) assert.equal(readTimeout(text), ms, text);
});

Deno.test("what is written as a deadline is read back, and never as less", () => {
  for (const ms of [0, 0.2, 1, 999, 12_345.6, 99_999_999, 1e8, 1e9 + 1, 1e12, 9.9e13]) {
    const text = writeTimeout(ms);
    const read = readTimeout(text);
    assert.notEqual(read, null, text);
    assert.ok(read! >= ms && read! <= ms * 1.01 + 1, `${ms} as ${text}`);
  }
  assert.equal(writeTimeout(-5), "0m");
});

// gRPC: HTTP to gRPC Status Code Mapping
Deno.test("HTTP statuses have the codes of the mapping", () => {
  const mapping: Record<number, number> = {
    400: 13,
    401: 16,
    403: 7,
    404: 12,
    429: 14,
    502: 14,
    503: 14,
    504: 14,
    500: 2,
    418: 2,
    200: 2,
  };
  for (const [http, code] of Object.entries(mapping)) {
    assert.equal(statusOfHttp(Number(http)), code, http);
  }
});

Deno.test("a message is percent-encoded UTF-8", () => {
  assert.equal(encodeMessage("plain text."), "plain text.");
  assert.equal(encodeMessage("100% ü\r\n\u{1F600}"), "100%25 %C3%BC%0D%0A%F0%9F%98%80");
  assert.equal(decodeURIComponent(encodeMessage("~ ü % \0")), "~ ü % \0");
});

Deno.test("a status is a small number or nothing", () => {
  const cases: [string, number][] = [["0", 0], ["14", 14], ["", -1], ["x", -1], ["1e3", -1], [
    "1234",
    -1,
  ]];
  for (const [value, code] of cases) {
    assert.equal(readStatus(Fields.from([["grpc-status", value]])), code, value);
  }
  assert.equal(readStatus(new Fields()), -1);
});
