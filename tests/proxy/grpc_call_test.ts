/** What becomes of an answer of a plugin or a rule to a gRPC call. */
import assert from "node:assert/strict";
import { Fields } from "../../src/http/fields.ts";
import { ResponseHead } from "../../src/http/message.ts";
import { grpcReply } from "../../src/proxy/grpc_call.ts";
import { bytes } from "../support/wire.ts";

type Lines = [string, string][];

function answer(status: number, fields: Lines, body = "") {
  const made = grpcReply(new ResponseHead(status, Fields.from(fields)), bytes(body));
  if (made === null) return null;
  assert.equal(made.head.status, 200);
  assert.equal(made.status.get("grpc-status"), String(made.code));
  return [made.code, made.status.get("grpc-message"), [...made.head.fields]];
}

const TEXT: Lines = [["content-type", "text/plain; charset=utf-8"]];
const PROBLEM: Lines = [["content-type", "application/problem+json"]];
const GRPC: [string, string] = ["Content-Type", "application/grpc"];

Deno.test("an answer of HTTP becomes the status that gRPC has for it", () => {
  const codes: [number, number][] = [
    ...[[400, 13], [401, 16], [403, 7], [404, 12], [429, 14], [502, 14], [503, 14]],
    ...[[504, 14], [200, 2], [204, 2], [302, 2], [409, 2], [500, 2]],
  ] as [number, number][];
  for (const [status, code] of codes) {
    assert.deepEqual(answer(status, []), [code, `HTTP status ${status}`, [GRPC]]);
  }
});

Deno.test("a short text is the message, and so are the words of a problem", () => {
  const message = (fields: Lines, body: string) => answer(403, fields, body)![1];
  assert.equal(message(TEXT, " not you: 100%\n"), "not you: 100%25");
  assert.equal(message([["Content-Type", "TEXT/PLAIN"]], "a\nb"), "a%0Ab");
  assert.equal(message(PROBLEM, '{"title":"t","detail":"d","status":403}'), "d");
  assert.equal(message(PROBLEM, '{"title":"t"}'), "t");
  for (
    const [fields, body] of [
      [TEXT, ""],
      [TEXT, "x".repeat(1025)],
      [[], "no type"],
      [[["content-type", "text/html"]], "<p>"],
      [PROBLEM, '{"title":1}'],
      [PROBLEM, "{"],
      [PROBLEM, "null"],
    ] as [Lines, string][]
  ) assert.equal(message(fields, body), "HTTP status 403", body);
});

Deno.test("other fields stay, what is said of the content does not", () => {
  const fields: Lines = [
    ["WWW-Authenticate", "Bearer"],
    ["Set-Cookie", "a=1"],
    ["Content-Language", "en"],
    ["set-cookie", "b=2"],
    ...TEXT,
  ];
  assert.deepEqual(answer(401, fields, "who?"), [
    16,
    "who?",
    [GRPC, ["WWW-Authenticate", "Bearer"], ["Set-Cookie", "a=1"], ["set-cookie", "b=2"]],
  ]);
});

Deno.test("an answer of gRPC stays one", () => {
  assert.deepEqual(answer(200, [GRPC, ["Grpc-Status", "8"], ["grpc-message", "slow"]]), [
    8,
    "slow",
    [GRPC],
  ]);
  assert.equal(answer(200, [GRPC], "\0\0\0\0\0"), null);
  assert.equal(answer(200, [GRPC, ["grpc-status", "0"]], "\0\0\0\0\0"), null);
  // What is no status is none.
  assert.deepEqual(answer(403, [["grpc-status", "seven"], ...TEXT], "no"), [7, "no", [GRPC]]);
});
