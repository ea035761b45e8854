import assert from "node:assert/strict";
import { Fields } from "../../src/http/fields.ts";
import { checkTarget, hasNoContent, RequestHead, ResponseHead } from "../../src/http/message.ts";
import { connectDownstream } from "../support/http1.ts";
import { settled } from "../support/memory_socket.ts";
import { bytes, text } from "../support/http1.ts";

Deno.test("the parser and checkTarget agree on every byte of path and query", async () => {
  for (let byte = 0; byte < 256; byte++) {
    const c = String.fromCharCode(byte);
    for (const target of [`/a${c}b`, `/a?b${c}c`]) {
      let isAllowed = true;
      try {
        checkTarget(target);
      } catch {
        isAllowed = false;
      }
      const { socket } = connectDownstream();
      socket.feed(`GET ${target} HTTP/1.1\r\nHost: a\r\n\r\n`);
      await settled();
      assert.equal(socket.text.startsWith("HTTP/1.1 200"), isAllowed, JSON.stringify(target));
    }
  }
});

Deno.test("checkTarget names the character that must be encoded", () => {
  assert.throws(() => checkTarget("/a b"), /" " must be percent-encoded/);
  assert.throws(() => checkTarget("/a\\b?c"), /"\\\\" must be percent-encoded/);
  assert.throws(() => checkTarget("a"), /must begin with "\/"/);
  checkTarget("*");
  checkTarget("/a?b\\c|{d}");
});

Deno.test("path and query are the two sides of the first question mark", () => {
  const head = new RequestHead({
    method: "GET",
    version: 11,
    fields: new Fields(),
    target: "/a?b?c",
  });
  assert.equal(head.path, "/a");
  assert.equal(head.query, "b?c");
  head.target = "/d";
  assert.equal(head.path, "/d");
  assert.equal(head.query, "");
});

Deno.test("a parsed target stays bytes until it is read, and a fork has its own", () => {
  const data = bytes("xx/path?q yy");
  const head = RequestHead.parsed("GET", 11, new Fields(), data, 2, 9, null);
  assert.equal(head.targetLength, 7);
  const out = new Uint8Array(16);
  assert.equal(text(out.subarray(0, head.writeTarget(out, 0))), "/path?q");
  const fork = head.fork();
  fork.target = "/other";
  assert.equal(head.target, "/path?q");
  assert.equal(fork.target, "/other");
});

Deno.test("the authority is the target's, else Host's, else empty", () => {
  const fields = Fields.from([["Host", "a"]]);
  const parts = { method: "GET", version: 11, fields } as const;
  assert.equal(new RequestHead(parts).authority, "a");
  assert.equal(new RequestHead({ ...parts, authority: "b" }).authority, "b");
  assert.equal(new RequestHead({ ...parts, fields: new Fields() }).authority, "");
});

Deno.test("101 is final, other 1xx are not", () => {
  assert.equal(new ResponseHead(100).informational, true);
  assert.equal(new ResponseHead(101).informational, false);
  assert.equal(new ResponseHead(200).informational, false);
});

Deno.test("HEAD, 1xx, 204, 304 and a 2xx to CONNECT have no content", () => {
  assert(hasNoContent("HEAD", 200) && hasNoContent("GET", 204) && hasNoContent("GET", 304));
  assert(hasNoContent("GET", 101) && hasNoContent("CONNECT", 200));
  assert(!hasNoContent("GET", 200) && !hasNoContent("CONNECT", 403));
});
