import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import fc from "fast-check";
import type { Fields } from "../../src/http/fields.ts";
import { parseFieldSection, takeFields } from "../../src/http1/field_section_parser.ts";
import { PHASE_NAMES } from "../../src/plugin/phases.ts";
import { FrameReader } from "../../src/sandbox/frame_reader.ts";
import { FrameWriter } from "../../src/sandbox/frame_writer.ts";
import { SECTIONS, shapeOf } from "../../src/sandbox/protocol.ts";
import * as at from "../../src/sandbox/snapshot.ts";
import { FakeSession } from "../support/fake_session.ts";

/** The message of a call, as the sandbox gets it. */
function cross(phase: typeof PHASE_NAMES[number], session: FakeSession, first?: unknown) {
  const out = new FrameWriter();
  at.encodeCall(out, 7, 1, shapeOf(phase), session, first, undefined);
  const reader = new FrameReader(1 << 20, at.snapshotReader());
  reader.feed(out.bytes.slice(0, out.position));
  return reader.next()!;
}

const list = (fields: Fields) => [...fields];

// What is not latin-1 makes all texts wide, so each property is tried with and without.
const text = fc.oneof(fc.string(), fc.string({ unit: "binary" }));
const fieldList = fc.array(
  fc.tuple(
    fc.stringMatching(/^[a-zA-Z-]{1,20}$/),
    fc.stringMatching(/^[!-~\u00a0-\u00ff]{0,30}$/),
  ),
  { maxLength: 20 },
);

Deno.test("all that a hook may see of a session crosses as it was", () => {
  fc.assert(fc.property(
    fc.constantFrom(...PHASE_NAMES.filter((name) => shapeOf(name).session === "request")),
    fieldList,
    fieldList,
    fc.record({
      target: text.map((one) => `/${one}`),
      authority: text,
      method: text,
      route: fc.option(text),
      attempt: fc.nat(100),
      status: fc.integer({ min: 200, max: 599 }),
      vars: fc.dictionary(text, fc.oneof(text, fc.double(), fc.uint8Array())),
      upstream: fc.option(fc.record({
        name: fc.option(text),
        address: text,
        reused: fc.boolean(),
      })),
    }),
    (phase, headers, responseHeaders, parts) => {
      const session = new FakeSession({ ...parts, headers, responseHeaders });
      const shape = shapeOf(phase);
      const snapshot = cross(phase, session)[4] as at.Snapshot;
      assert.equal(snapshot.request.text(at.ID), session.id);
      assert.equal(snapshot.request.text(at.REQUEST_METHOD), session.request.method);
      assert.equal(snapshot.request.text(at.REQUEST_TARGET), session.request.target);
      assert.equal(snapshot.request.text(at.AUTHORITY), session.request.authority);
      assert.equal(snapshot.request.text(at.CLIENT_ADDRESS), session.client.address);
      assert.equal(snapshot.request.route, session.route);
      assert.equal(snapshot.attempt, session.attempt);
      assert.equal(snapshot.elapsed, session.elapsed);
      assert.equal(snapshot.hasUpstream, session.upstream !== null);
      if (session.upstream !== null) {
        assert.equal(snapshot.textOrNull(at.UPSTREAM_NAME), session.upstream.name);
        assert.equal(snapshot.text(at.UPSTREAM_ADDRESS), session.upstream.address);
        assert.equal(snapshot.reused, session.upstream.reused);
      }
      assert.deepEqual(snapshot.vars ?? [], [...session.values].flat());
      assert.deepEqual(list(snapshot.request.lines.toFields()), list(session.fields("request")));
      const section = SECTIONS[shape.section];
      assert.deepEqual(
        list(snapshot.lines.toFields()),
        section === undefined ? [] : list(session.fields(section)),
      );
      if (section === "upstream_request") {
        assert.equal(snapshot.text(at.SECTION_TARGET), session.upstreamRequest.target);
      }
      if (section === "response" || section === "upstream_response") {
        assert.equal(snapshot.status, parts.status);
      }
      assert.equal(snapshot.outcome !== null, shape.over);
    },
  ));
});

/** Fields as a client has sent them. */
function received(lines: string): Fields {
  const bytes = new Uint8Array(Buffer.from(`${lines}\r\n`, "latin1"));
  const rules = { fields: 100, malformed: "bad_request", tooMany: "bad_request", what: "Head" };
  parseFieldSection(bytes, 0, bytes.length, rules as never);
  return takeFields(bytes);
}

Deno.test("white space around a value, or none, hides no field from a plugin and changes no value", () => {
  const space = fc.constantFrom("", " ", "\t", "  ", " \t ");
  const value = fc.stringMatching(/^([!-~\u00a0-\u00ff]{1,8}( [!-~]{1,8})?)?$/);
  fc.assert(fc.property(
    fc.array(fc.tuple(fc.constantFrom("X-Role", "Host", "x-a"), space, value, space)),
    (sent) => {
      const fields = received(
        sent.map(([name, before, value, after]) => `${name}:${before}${value}${after}\r\n`)
          .join(""),
      );
      const session = new FakeSession();
      session.fields = () => fields;
      const snapshot = cross("requestFilter", session)[4] as at.Snapshot;
      const wanted = sent.map(([name, , value]) => [name, value]);
      assert.deepEqual(list(fields), wanted);
      for (const lines of [snapshot.request.lines, snapshot.lines]) {
        assert.deepEqual(list(lines.toFields()), wanted);
        for (const [name] of wanted) assert.deepEqual(lines.getAll(name!), fields.getAll(name!));
      }
    },
  ));
});

Deno.test("calls that are kept while many others come stay what they were, however the stream is cut", () => {
  // Lengths on both sides of what lies in a piece of its own, narrow and wide.
  const targets = Array.from({ length: 400 }, (_, i) => `/${i % 7 === 0 ? "€" : "é"}${i}`)
    .map((target, i) => target + "x".repeat(i % 100 === 99 ? 40_000 : (i * 97) % 1500));
  const out = new FrameWriter();
  const reader = new FrameReader(1 << 20, at.snapshotReader());
  const kept: at.Snapshot[] = [];
  for (const [i, target] of targets.entries()) {
    const headers: [string, string][] = [["X-Target", `${target.length}`]];
    const session = new FakeSession({ target, headers });
    at.encodeCall(out, i, 0, shapeOf("requestFilter"), session, undefined, undefined);
    // A few at a time, and the last of them in part.
    if (i % 3 !== 0 && i < targets.length - 1) continue;
    const sent = out.bytes.slice(0, out.position);
    const cut = (i * 389) % sent.length;
    for (const piece of [sent.subarray(0, cut), sent.subarray(cut)]) {
      reader.feed(piece);
      for (let m = reader.next(); m !== null; m = reader.next()) kept.push(m[4] as at.Snapshot);
    }
    out.clear();
  }
  assert.equal(kept.length, targets.length);
  kept.forEach((snapshot, i) => {
    assert.equal(snapshot.request.text(at.REQUEST_TARGET), targets[i]);
    assert.equal(snapshot.request.lines.get("x-target"), `${targets[i]!.length}`);
  });
});

Deno.test("what cannot be sent leaves nothing of its call behind", () => {
  const out = new FrameWriter();
  const session = new FakeSession({ vars: { bad: (() => {}) as never } });
  assert.throws(
    () => at.encodeCall(out, 1, 0, shapeOf("requestFilter"), session, undefined, undefined),
    TypeError,
  );
  assert.equal(out.position, 0);
});

Deno.test("the request to the upstream is found whatever was changed of what was received", () => {
  const name = fc.constantFrom("Host", "Accept", "Cookie", "X-A", "x-b", "X-Long-Name", "Via");
  const value = fc.stringMatching(/^[!-~\u00a0-\u00ff]{0,12}$/);
  const space = fc.constantFrom("", " ", "\t", "  ");
  const change = fc.tuple(fc.constantFrom("set", "append", "delete"), name, value);
  fc.assert(fc.property(
    fc.array(fc.tuple(name, space, value, space), { maxLength: 12 }),
    fc.array(change, { maxLength: 6 }),
    fc.boolean(),
    (sent, changes, forked) => {
      const bytes = sent.map(([name, before, value, after]) =>
        `${name}:${before}${value}${after}\r\n`
      ).join("");
      const request = received(bytes);
      const upstream = forked ? request.fork() : received(bytes);
      for (const [kind, name, value] of changes) {
        if (kind === "delete") upstream.delete(name);
        else upstream[kind as "set" | "append"](name, value);
      }
      const session = new FakeSession();
      session.fields = (section) => section === "request" ? request : upstream;
      const snapshot = cross("upstreamRequestFilter", session)[4] as at.Snapshot;
      assert.deepEqual(list(snapshot.request.lines.toFields()), list(request));
      assert.deepEqual(list(snapshot.lines.toFields()), list(upstream));
      for (const name of ["host", "ACCEPT", "cookie", "x-a", "X-B", "x-long-name", "via", "no"]) {
        for (
          const [lines, fields] of [[snapshot.request.lines, request], [
            snapshot.lines,
            upstream,
          ]] as const
        ) {
          assert.equal(lines.get(name), fields.get(name));
          assert.deepEqual(lines.getAll(name), fields.getAll(name));
          assert.equal(lines.has(name), fields.has(name));
        }
      }
    },
  ));
});
