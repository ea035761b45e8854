/** The messages of gRPC health checks, byte by byte. */
import { deepEqual, equal, ok, throws } from "node:assert/strict";
import fc from "fast-check";
import {
  decodeCheckResponse,
  encodeCheckRequest,
  GrpcFormatError,
  grpcMessage,
} from "../../../src/balancer/health/grpc_health.ts";

/** A message in its frame. */
function framed(...message: number[]): Uint8Array {
  return Uint8Array.of(0, 0, 0, 0, message.length, ...message);
}

Deno.test("a request names its service, or leaves it out", () => {
  deepEqual([...encodeCheckRequest("")], [0, 0, 0, 0, 0]);
  deepEqual([...encodeCheckRequest("ab")], [0, 0, 0, 0, 4, 0x0a, 2, 97, 98]);
  deepEqual([...encodeCheckRequest("ü")], [0, 0, 0, 0, 4, 0x0a, 2, 0xc3, 0xbc]);
  const long = encodeCheckRequest("x".repeat(300));
  deepEqual([...long.subarray(0, 8)], [0, 0, 0, 1, 47, 0x0a, 0xac, 2]);
  equal(long.length, 5 + 1 + 2 + 300);
});

Deno.test("an answer is one message, whose status is read and whose other fields are skipped", () => {
  equal(decodeCheckResponse(framed()), "UNKNOWN");
  equal(decodeCheckResponse(framed(8, 1)), "SERVING");
  equal(decodeCheckResponse(framed(8, 2)), "NOT_SERVING");
  equal(decodeCheckResponse(framed(8, 3)), "SERVICE_UNKNOWN");
  equal(decodeCheckResponse(framed(8, 2, 8, 1)), "SERVING", "the last one counts");
  // A varint, 64 bits, a string and 32 bits of fields that are not known.
  const others = [16, 200, 1, 25, 1, 2, 3, 4, 5, 6, 7, 8, 34, 2, 1, 2, 45, 1, 2, 3, 4];
  equal(decodeCheckResponse(framed(...others, 8, 1)), "SERVING");
});

Deno.test("what is not such an answer is refused", () => {
  const cases: [Uint8Array, RegExp][] = [
    [new Uint8Array(0), /no message/],
    [Uint8Array.of(0, 0, 0), /no message/],
    [Uint8Array.of(1, 0, 0, 0, 2, 8, 1), /compressed/],
    [Uint8Array.of(0, 0, 0, 0, 3, 8, 1), /not exactly one/],
    [Uint8Array.of(0, 0, 0, 0, 2, 8, 1, 0, 0, 0, 0, 0), /not exactly one/],
    [framed(8), /inside a number/],
    [framed(8, 9), /status 9 is not known/],
    [framed(8, ...Array(10).fill(255), 1), /more than ten bytes/],
    [framed(18, 5, 1), /inside a field/],
    [framed(0, 1), /number 0/],
    [framed(19), /wire type 3/],
  ];
  for (const [content, words] of cases) {
    throws(() => decodeCheckResponse(content), (error) => {
      ok(error instanceof GrpcFormatError);
      ok(words.test(error.message), error.message);
      return true;
    });
  }
});

Deno.test("any bytes are read, or refused as such", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
      try {
        decodeCheckResponse(framed(...bytes));
      } catch (error) {
        ok(error instanceof GrpcFormatError, String(error));
      }
    }),
    { numRuns: 3000 },
  );
});

Deno.test("a message of the server is decoded, or left as it is", () => {
  equal(grpcMessage("no%20such"), "no such");
  equal(grpcMessage("100%"), "100%");
  equal(grpcMessage(null), "");
});
