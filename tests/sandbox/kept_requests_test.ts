import assert from "node:assert/strict";
import fc from "fast-check";
import type { PhaseName } from "../../src/plugin/phases.ts";
import { FrameReader } from "../../src/sandbox/frame_reader.ts";
import { FrameWriter } from "../../src/sandbox/frame_writer.ts";
import { KeptRequests, MAX_KEPT, MAX_KEPT_BYTES } from "../../src/sandbox/kept_requests.ts";
import { ProtocolError, shapeOf } from "../../src/sandbox/protocol.ts";
import {
  encodeCall,
  REQUEST_TARGET,
  type Snapshot,
  snapshotReader,
} from "../../src/sandbox/snapshot.ts";
import { FakeSession } from "../support/fake_session.ts";

/** One service worker's end of a channel, and the sandbox's. */
function channel() {
  const kept = new KeptRequests();
  const out = new FrameWriter();
  const reader = new FrameReader(1 << 20, snapshotReader());
  const call = (session: FakeSession, phase: PhaseName = "requestFilter") => {
    encodeCall(out, 1, 0, shapeOf(phase), session, undefined, undefined, kept);
    const bytes = out.position;
    reader.feed(out.bytes.slice(0, bytes));
    out.clear();
    return { bytes, snapshot: reader.next()![4] as Snapshot };
  };
  return { kept, call };
}

const request = (target: string, more: readonly [string, string][] = []) =>
  new FakeSession({ target, headers: [["Host", "example.com"], ["X-Target", target], ...more] });

Deno.test("a request is sent once, and the calls that follow only name it", () => {
  const { call } = channel();
  const session = request("/a", [["Cookie", "x".repeat(2000)]]);
  const first = call(session);
  const second = call(session, "responseFilter");
  assert.ok(first.bytes > 2000);
  assert.ok(second.bytes < 300, `${second.bytes} bytes`);
  assert.equal(second.snapshot.request.text(REQUEST_TARGET), "/a");
  assert.equal(second.snapshot.request.lines.get("cookie")!.length, 2000);
});

Deno.test("whatever requests begin, are told of and end, each call sees its own", () => {
  fc.assert(fc.property(
    fc.array(fc.tuple(fc.nat(9), fc.constantFrom("call", "end"), fc.nat(1)), { maxLength: 120 }),
    (steps) => {
      const lines = [channel(), channel()];
      const live = new Map<number, FakeSession>();
      const seen: [Snapshot, string][] = [];
      let made = 0;
      for (const [who, what, line] of steps) {
        let session = live.get(who);
        if (what === "end") {
          if (session !== undefined) session.release();
          live.delete(who);
          continue;
        }
        if (session === undefined) live.set(who, session = request(`/${made++}`));
        seen.push([lines[line]!.call(session).snapshot, session.request.target]);
      }
      // Also those that a plugin has kept, whose number has long been given to others.
      for (const [snapshot, target] of seen) {
        assert.equal(snapshot.request.text(REQUEST_TARGET), target);
        assert.equal(snapshot.request.lines.get("x-target"), target);
      }
    },
  ));
});

Deno.test("no more requests are kept than there are numbers, nor larger ones; all are sent", () => {
  const { call } = channel();
  const many = Array.from({ length: MAX_KEPT + 10 }, (_, i) => request(`/${i}`));
  for (const one of many) call(one);
  assert.equal(many.filter((one) => one.kept !== null).length, MAX_KEPT);
  for (const [i, one] of many.entries()) {
    assert.equal(call(one, "responseFilter").snapshot.request.text(REQUEST_TARGET), `/${i}`);
  }

  const other = channel();
  const large = request("/large", [["X-Large", "x".repeat(MAX_KEPT_BYTES)]]);
  assert.ok(other.call(large).bytes > MAX_KEPT_BYTES);
  assert.ok(other.call(large).bytes > MAX_KEPT_BYTES);
  assert.equal(large.kept, null);

  // Once one is over there is room again, also for others.
  many[0]!.release();
  const small = request("/small");
  call(small);
  assert.notEqual(small.kept, null);
});

Deno.test("a call that cannot be sent keeps nothing, and the next one sends all", () => {
  const { call } = channel();
  const session = request("/a");
  session.values.set("bad", (() => {}) as never);
  assert.throws(() => call(session), TypeError);
  assert.equal(session.kept, null);
  session.values.clear();
  assert.equal(call(session).snapshot.request.text(REQUEST_TARGET), "/a");
  assert.equal(call(session).snapshot.request.text(REQUEST_TARGET), "/a");
});

Deno.test("a request is not kept for a call that comes when it is over", () => {
  const { call } = channel();
  const session = request("/a");
  call(session, "logging");
  assert.equal(session.kept, null);
});

Deno.test("a call for a request that was never sent breaks the line", () => {
  const kept = new KeptRequests();
  const out = new FrameWriter();
  const session = request("/a");
  const encode = () =>
    encodeCall(out, 1, 0, shapeOf("requestFilter"), session, undefined, undefined, kept);
  encode();
  out.clear();
  encode();
  const reader = new FrameReader(1 << 20, snapshotReader());
  reader.feed(out.bytes.slice(0, out.position));
  assert.throws(() => reader.next(), ProtocolError);
});
