import assert from "node:assert/strict";
import fc from "fast-check";
import {
  AccessLog,
  type AccessRecord,
  emptyAccessRecord,
  formatAccessRecord,
  openAccessLog,
} from "../../src/observe/access_log.ts";
import { MemorySink } from "./support.ts";

function record(changes: Partial<AccessRecord> = {}): AccessRecord {
  return {
    ...emptyAccessRecord(),
    timestamp: 1_700_000_000_123,
    requestId: "r1",
    method: "GET",
    authority: "example.com",
    path: "/a",
    clientAddress: "192.0.2.1",
    clientPort: 5000,
    peerAddress: "10.0.0.1",
    status: 200,
    duration: 1.23456,
    listener: "web",
    service: "edge",
    ...changes,
  };
}

Deno.test("a record becomes a line with the names of OpenTelemetry", () => {
  const line = formatAccessRecord(
    record({
      query: "a=1&token=x",
      route: "api",
      userAgent: "curl/8",
      bytesIn: 3,
      bytesOut: 4,
      upstreamName: "pool",
      upstreamAddress: "10.0.0.2:80",
      upstreamStatus: 200,
      upstreamAttempts: 2,
      upstreamConnect: 0.5,
      upstreamFirstByte: 1,
      upstreamReused: true,
      upstreamVersion: "2",
      shortCircuit: "geo",
    }),
    "redact",
  );
  assert.deepEqual(JSON.parse(line), {
    "timestamp": "2023-11-14T22:13:20.123Z",
    "severity": "INFO",
    "event.name": "http.access",
    "request_id": "r1",
    "http.request.method": "GET",
    "url.scheme": "http",
    "server.address": "example.com",
    "url.path": "/a",
    "url.query": "a=1&token=REDACTED",
    "http.route": "api",
    "network.protocol.version": "1.1",
    "client.address": "192.0.2.1",
    "client.port": 5000,
    "network.peer.address": "10.0.0.1",
    "user_agent.original": "curl/8",
    "http.response.status_code": 200,
    "http.request.body.size": 3,
    "http.response.body.size": 4,
    "duration_ms": 1.235,
    "upstream.name": "pool",
    "upstream.address": "10.0.0.2:80",
    "upstream.protocol.version": "2",
    "upstream.status": 200,
    "upstream.attempts": 2,
    "upstream.connect_ms": 0.5,
    "upstream.ttfb_ms": 1,
    "upstream.reused": true,
    "plugin.short_circuit": "geo",
    "sluice.listener": "web",
    "sluice.service": "edge",
  });
});

Deno.test("what does not exist is left out", () => {
  const keys = Object.keys(JSON.parse(formatAccessRecord(record(), "keep")));
  for (const key of ["url.query", "http.route", "user_agent.original", "proxy.error"]) {
    assert.equal(keys.includes(key), false, key);
  }
  assert.equal(keys.some((key) => key.startsWith("upstream.")), false);
});

Deno.test("queries are kept, redacted or dropped", () => {
  const one = record({ query: "token=x" });
  assert.equal(JSON.parse(formatAccessRecord(one, "keep"))["url.query"], "token=x");
  assert.equal(JSON.parse(formatAccessRecord(one, "redact"))["url.query"], "token=REDACTED");
  assert.equal("url.query" in JSON.parse(formatAccessRecord(one, "drop")), false);
});

Deno.test("failures are errors, what the client did wrong is not", () => {
  const severity = (changes: Partial<AccessRecord>) =>
    JSON.parse(formatAccessRecord(record(changes), "keep"))["severity"];
  assert.equal(
    severity({ status: 502, error: "connection_refused", errorSource: "upstream" }),
    "ERROR",
  );
  assert.equal(severity({ status: 200, error: "x", errorSource: "upstream" }), "ERROR");
  assert.equal(severity({ status: 404 }), "INFO");
  assert.equal(severity({ status: 0, error: "client_closed", errorSource: "downstream" }), "INFO");
});

Deno.test("whatever a client sends, the line is one line of JSON that says so", () => {
  const text = fc.string({ unit: "binary", maxLength: 40 });
  fc.assert(fc.property(text, text, text, text, (path, query, userAgent, method) => {
    const line = formatAccessRecord(record({ path, query, userAgent, method }), "keep");
    assert.match(line, /^[\x20-\x7e]+$/);
    const parsed = JSON.parse(line);
    assert.equal(parsed["sluice.service"], "edge");
    assert.equal(parsed["http.response.status_code"], 200);
  }));
});

Deno.test("several writers append whole lines to one file, and none is lost", async () => {
  const folder = await Deno.makeTempDir();
  const file = `${folder}/access.log`;
  const logs = [1, 2, 3].map(() => openAccessLog({ output: { file }, query: "keep" })!);
  for (let i = 0; i < 600; i++) {
    logs[i % 3]!.write(record({ requestId: String(i), path: `/${"p".repeat(i % 500)}` }));
    if (i % 50 === 0) await logs[i % 3]!.flush();
  }
  await Promise.all(logs.map((log) => log.close()));
  const lines = (await Deno.readTextFile(file)).trimEnd().split("\n");
  const ids = lines.map((line) => Number(JSON.parse(line)["request_id"])).sort((a, b) => a - b);
  assert.deepEqual(ids, Array.from({ length: 600 }, (_, i) => i));
  await Deno.remove(folder, { recursive: true });
});

Deno.test("after reopen, lines go to a new file, and the moved one has the older", async () => {
  const folder = await Deno.makeTempDir();
  const file = `${folder}/access.log`;
  const log = openAccessLog({ output: { file }, query: "keep" })!;
  log.write(record({ requestId: "old" }));
  await log.flush();
  await Deno.rename(file, `${file}.1`);
  await log.reopen();
  log.write(record({ requestId: "new" }));
  await log.close();
  assert.match(await Deno.readTextFile(`${file}.1`), /"old"/);
  assert.match(await Deno.readTextFile(file), /^[^\n]*"new"[^\n]*\n$/);
  await Deno.remove(folder, { recursive: true });
});

Deno.test("a log that cannot be opened says why, and one that is off is none", () => {
  assert.throws(
    () => openAccessLog({ output: { file: "/nowhere/at/all.log" }, query: "keep" }),
    /Cannot open the log "\/nowhere\/at\/all\.log": its folder does not exist/,
  );
  assert.equal(openAccessLog({ output: "off", query: "keep" }), null);
});

Deno.test("what was dropped is counted and said in JSON", async () => {
  const sink = new MemorySink();
  const log = new AccessLog({ sink, maxBytes: 256 * 1024 });
  sink.stall();
  for (let i = 0; i < 3000; i++) log.write(record({ path: `/${"x".repeat(500)}` }));
  assert.ok(log.dropped > 0);
  const { dropped } = log;
  sink.resume();
  await log.flush();
  log.write(record());
  await log.close();
  const note = JSON.parse(sink.lines.at(-2)!);
  assert.equal(note["event.name"], "http.access.dropped");
  assert.equal(note["dropped"], dropped);
});
