/** The handshake of WebSocket between HTTP versions. */
import assert from "node:assert/strict";
import type { ProxyError } from "../../src/base/error.ts";
import { Fields } from "../../src/http/fields.ts";
import type { Version } from "../../src/http/message.ts";
import {
  acceptOf,
  adaptRequest,
  adaptResponse,
  makeKey,
  namesProtocol,
  type WebSocketSides,
} from "../../src/http/websocket.ts";

const KEY = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const HANDSHAKE = [
  ["Sec-WebSocket-Key", KEY],
  ["Sec-WebSocket-Version", "13"],
  ["Sec-WebSocket-Protocol", "chat, superchat"],
  ["Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits"],
] as const;
/** The same over HTTP/2, which has no key. */
const EXTENDED = HANDSHAKE.slice(1);

function sides(client: Version, upstream: Version, method: string = "GET"): WebSocketSides {
  return { client, upstream, method };
}

function refusal(run: () => unknown): ProxyError {
  try {
    run();
  } catch (error) {
    return error as ProxyError;
  }
  assert.fail("nothing was thrown");
}

// RFC 6455 §1.3, the example
Deno.test("the accept value is that of the RFC", () => {
  assert.equal(acceptOf(KEY), ACCEPT);
});

Deno.test("a key is 16 bytes, and another one each time", () => {
  const keys = new Set(Array.from({ length: 100 }, makeKey));
  assert.equal(keys.size, 100);
  for (const key of keys) assert.equal(atob(key).length, 16);
});

Deno.test("between equal versions the handshake passes as it is", () => {
  for (const [version, fields] of [[11, HANDSHAKE], [20, EXTENDED]] as const) {
    const client = Fields.from(fields);
    const request = client.fork();
    assert.equal(adaptRequest(sides(version, version), request, client), "");
    assert.deepEqual([...request], [...client]);
  }
  const response = Fields.from([["Sec-WebSocket-Accept", "whatever it says"]]);
  adaptResponse(sides(11, 11), response, Fields.from(HANDSHAKE), "");
  assert.equal(response.get("sec-websocket-accept"), "whatever it says");
});

Deno.test("to an HTTP/1.1 upstream an HTTP/2 client gets a key, whose answer is checked and taken off", () => {
  const client = Fields.from(EXTENDED);
  const request = client.fork();
  const key = adaptRequest(sides(20, 11), request, client);
  assert.equal(request.get("sec-websocket-key"), key);
  assert.equal(request.get("sec-websocket-protocol"), "chat, superchat");
  assert.notEqual(adaptRequest(sides(20, 11), request, client), key);
  assert.equal(request.getAll("sec-websocket-key").length, 1);
  const response = Fields.from([
    ["Sec-WebSocket-Accept", acceptOf(key)],
    ["Sec-WebSocket-Protocol", "chat"],
  ]);
  adaptResponse(sides(20, 11), response, client, key);
  assert.deepEqual([...response], [["Sec-WebSocket-Protocol", "chat"]]);
});

Deno.test("an upstream that does not prove that it has read our key is refused", () => {
  const client = Fields.from(EXTENDED);
  const good = acceptOf(KEY);
  for (const values of [[], [good.toLowerCase()], [good, good], [`${good} `, "x"], [""]]) {
    const response = Fields.from(values.map((value) => ["Sec-WebSocket-Accept", value.trim()]));
    const error = refusal(() => adaptResponse(sides(20, 11), response, client, KEY));
    assert.equal(error.type, "upgrade_failed");
    assert.equal(error.status, 502);
    assert.equal(error.source, "upstream");
  }
});

Deno.test("to an HTTP/2 upstream the key of an HTTP/1.1 client is dropped, and answered by us", () => {
  const client = Fields.from(HANDSHAKE);
  const request = client.fork();
  assert.equal(adaptRequest(sides(11, 20), request, client), "");
  assert.deepEqual([...request], [...Fields.from(EXTENDED)]);
  const response = Fields.from([["Sec-WebSocket-Protocol", "chat"]]);
  adaptResponse(sides(11, 20), response, client, "");
  assert.equal(response.get("sec-websocket-accept"), ACCEPT);
  assert.equal(response.get("sec-websocket-protocol"), "chat");
});

Deno.test("an attempt at HTTP/1.1 after one at HTTP/2 has the client's key again", () => {
  const client = Fields.from(HANDSHAKE);
  const request = client.fork();
  adaptRequest(sides(11, 20), request, client);
  assert.equal(adaptRequest(sides(11, 11), request, client), "");
  assert.equal(request.get("sec-websocket-key"), KEY);
});

Deno.test("an accept value that an HTTP/2 upstream makes up does not reach the client", () => {
  const response = Fields.from([["Sec-WebSocket-Accept", "forged"]]);
  adaptResponse(sides(20, 20), response, Fields.from(EXTENDED), "");
  assert.equal(response.has("sec-websocket-accept"), false);
  const other = Fields.from([["Sec-WebSocket-Accept", "forged"]]);
  adaptResponse(sides(11, 20), other, Fields.from(HANDSHAKE), "");
  assert.deepEqual(other.getAll("sec-websocket-accept"), [ACCEPT]);
});

// RFC 6455 §4.2.1 and §4.4
Deno.test("a handshake that an HTTP/2 upstream could not refuse is refused here", () => {
  const cases: [status: number, method: string, fields: [string, string][]][] = [
    [400, "POST", [["Sec-WebSocket-Key", KEY], ["Sec-WebSocket-Version", "13"]]],
    [400, "GET", [["Sec-WebSocket-Version", "13"]]],
    [400, "GET", [["Sec-WebSocket-Key", KEY]]],
    [426, "GET", [["Sec-WebSocket-Key", KEY], ["Sec-WebSocket-Version", "8"]]],
    [426, "GET", [["Sec-WebSocket-Key", KEY], ["Sec-WebSocket-Version", "13, 8"]]],
    [400, "GET", [["Sec-WebSocket-Key", "c2hvcnQ="], ["Sec-WebSocket-Version", "13"]]],
    // The last letter has bits that 16 bytes do not have.
    [400, "GET", [["Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZR=="], [
      "Sec-WebSocket-Version",
      "13",
    ]]],
    [400, "GET", [
      ["Sec-WebSocket-Key", KEY],
      ["Sec-WebSocket-Key", KEY],
      ["Sec-WebSocket-Version", "13"],
    ]],
  ];
  for (const [status, method, fields] of cases) {
    const client = Fields.from(fields);
    const error = refusal(() => adaptRequest(sides(11, 20, method), client.fork(), client));
    assert.equal(error.type, "upgrade_failed");
    assert.equal(error.status, status);
    assert.equal(error.source, "downstream");
    // To an upstream that sees them it is left to refuse them.
    adaptRequest(sides(11, 11, method), client.fork(), client);
  }
});

Deno.test("a protocol is found in a list in any case", () => {
  assert.equal(namesProtocol("a, WebSocket", "websocket"), true);
  assert.equal(namesProtocol("websockets", "websocket"), false);
  assert.equal(namesProtocol(null, "websocket"), false);
});
