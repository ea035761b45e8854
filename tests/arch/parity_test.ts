/**
 * Where the cases of Pingora's tests are here: its test, what that asserts, and the tests of ours that do, by their
 * names, or why there is none. A test that is renamed has to be renamed here, too. Those of its cache are left out.
 */
import assert from "node:assert/strict";
import { ADVISORIES, BASIC_CASES, type Case, CORE_CASES } from "./parity_cases.ts";
import { ROOT } from "./source_files.ts";

const STREAMING = "tests/e2e/streaming_test.ts";
const UPGRADE = "tests/e2e/upgrade_test.ts";
const SLOW = "tests/e2e/slow_clients_test.ts";

const UPSTREAM_CASES: readonly Case[] = [
  ["ip_binding", "the upstream sees the configured source address", {
    [STREAMING]: ["the origin sees the configured local address"],
  }],
  ["duplex", "a response arrives while the upload goes on; keep-alive survives", {
    [STREAMING]: [
      "a response arrives while the upload goes on, and the connection stays usable",
    ],
  }],
  ["connection_die", "an origin that dies inside of its content cuts the response", {
    [STREAMING]: [
      "an origin that dies inside of its content makes a response that is visibly cut",
    ],
    "tests/connector/http2_session_test.ts": [
      "a connection that ends: who had no answer may try again if it was used before, who had one has half of it",
    ],
  }],
  ["upload_connection_die", "an origin that answers and closes during an upload is heard", {
    [STREAMING]: [
      "an origin that answers and closes during an upload still gets its answer through",
      "an origin that answers an upload and breaks the connection still gets its answer through",
    ],
  }],
  ["upload", "15 MB go up", {
    [STREAMING]: ["15 MB go up and are echoed intact, with a length and in chunks"],
  }],
  ["close_on_response_before_downstream_finish", "an early response says Connection: close", {
    [STREAMING]: [
      "a response before the end of the request closes the client's connection, and says so",
    ],
  }],
  ["ws_server_ends_conn", "WebSocket echo; an end from either side reaches the other", {
    [UPGRADE]: [
      "a WebSocket echoes text and binary frames, short and long",
      "a WebSocket that the server closes is closed for the client",
      "a WebSocket that the server breaks ends for the client",
      "a WebSocket that the client closes or breaks ends for the server",
    ],
  }],
  ["upgrade_smoke", "101, then raw bytes", {
    [UPGRADE]: ["after the 101 bytes pass raw in both directions"],
  }],
  ["upgrade_body", "the content of the request is delivered, then the tunnel", {
    [UPGRADE]: ["the content of the request arrives before the tunnel begins"],
  }],
  ["upgrade_body_after_101", "content and tunnel that are sent after the 101 arrive", {
    [UPGRADE]: [
      "content that the client sends ${when} it has seen an early 101 arrives, and then its tunnel",
    ],
  }],
  ["download_timeout", "a slow reader is cut by the write timeout", {
    [SLOW]: [
      "a client that stops reading is cut after the write timeout, and the upstream is let go",
    ],
  }],
  ["download_timeout_min_rate", "min_send_rate gives it more time", {
    [SLOW]: ["min_send_rate gives a slow reader the time that its rate needs"],
  }],
  [
    "h2_upstream_no_end_stream_read_timeout",
    "an HTTP/2 origin that never ends its stream holds up no other request",
    {
      "tests/connector/http2_session_test.ts": [
        "a response that does not go on, or never ends its stream, is cut without its neighbours",
      ],
    },
  ],
  ["head_with_100_continue", "HEAD, 1xx, then 200: the connection can be used again", {
    "tests/e2e/informational_test.ts": [
      "HEAD with 1xx before its answer confuses nobody, and the connection is used again",
    ],
  }],
];

const ALL = [...UPSTREAM_CASES, ...BASIC_CASES, ...CORE_CASES, ...ADVISORIES];

for (const [pingora, asserts, tests] of ALL) {
  // A reason is no test: it would only pass.
  if (typeof tests === "string") continue;
  Deno.test(`Pingora's ${pingora} is here: ${asserts}`, async () => {
    assert.ok(Object.keys(tests).length > 0, "neither a test nor a reason");
    for (const [file, names] of Object.entries(tests)) {
      const text = await Deno.readTextFile(ROOT + file);
      assert.ok(names.length > 0, file);
      for (const name of names) {
        assert.match(text, new RegExp(`["\`]${RegExp.escape(name)}["\`]`), `${file}: ${name}`);
      }
    }
  });
}

Deno.test("Each case of Pingora is named once, and all 45 of its basic tests are", () => {
  const names = ALL.flatMap(([pingora]) => pingora.split(", "));
  assert.deepEqual(names.filter((name, i) => names.indexOf(name) !== i), []);
  assert.equal(BASIC_CASES.flatMap(([pingora]) => pingora.split(", ")).length, 45);
});
