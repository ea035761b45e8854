import assert from "node:assert/strict";
import { literal, logger, startLog } from "../../src/observe/log.ts";
import { MemorySink } from "./support.ts";

Deno.test("a text line has time, level, category, message and fields", async () => {
  const sink = new MemorySink();
  const log = startLog({ sink });
  logger("server").info("listening on {address}", { address: "127.0.0.1:80" });
  logger("server").debug("not this");
  await log.close();
  assert.equal(sink.lines.length, 1);
  assert.match(
    sink.lines[0]!,
    /^\d{4}-\d\d-\d\dT[\d:.]+Z INFO {2}sluice\.server: listening on 127\.0\.0\.1:80 address="127\.0\.0\.1:80"$/,
  );
});

Deno.test("a JSON line can be parsed, numbers as numbers, secrets left out", async () => {
  const sink = new MemorySink();
  const log = startLog({ sink, format: "json", level: "debug" });
  logger("plugin", "geo").debug("a\nb", { n: 1, cookie: "s", list: [1], error: new Error("x") });
  await log.close();
  const parsed = JSON.parse(sink.lines[0]!);
  assert.equal(parsed.severity, "DEBUG");
  assert.equal(parsed.logger, "sluice.plugin.geo");
  assert.equal(parsed.message, "a\nb");
  assert.equal(parsed.n, 1);
  assert.equal(parsed.cookie, "REDACTED");
  assert.equal(parsed.list, "[1]");
  assert.match(parsed.error, /^Error: x/);
});

Deno.test("an error is logged with what caused it, to a bounded depth", async () => {
  const sink = new MemorySink();
  const log = startLog({ sink, format: "json" });
  const circle = new Error("circle");
  circle.cause = circle;
  logger("x").error("one", { error: new Error("top", { cause: new Error("root", { cause: 7 }) }) });
  logger("x").error("two", { error: circle });
  await log.close();
  const [one, two] = sink.lines.map((line) => JSON.parse(line).error as string);
  assert.match(one!, /^Error: top[^]*\nCaused by: Error: root[^]*\nCaused by: 7$/);
  assert.equal(two!.split("Caused by: Error: circle").length, 9);
});

Deno.test("nothing that is logged can make a second line or drive a terminal", async () => {
  const sink = new MemorySink();
  const log = startLog({ sink });
  logger("x").warn("evil {text}", { text: "\n\u001b[31mfake\r\u2028" });
  await log.close();
  assert.equal(sink.lines.length, 1);
  assert.match(sink.lines[0]!, /^[\x20-\x7e]+$/);
});

Deno.test("a sink that fails or stalls costs lines, and nothing is thrown", async () => {
  const sink = new MemorySink();
  const log = startLog({ sink });
  sink.failure = new Deno.errors.BrokenPipe("closed");
  logger("x").info("one");
  await log.flush();
  assert.equal(log.dropped, 1);
  sink.failure = null;
  logger("x").info("two");
  await log.flush();
  assert.match(sink.lines[0]!, /WARN {2}sluice\.log: 1 log lines were dropped/);
  assert.match(sink.lines[1]!, /two/);
  await log.close();
});

Deno.test("a text from elsewhere is no template: what it has in braces stays as it is", async () => {
  const sink = new MemorySink();
  const log = startLog({ sink });
  const text = "/{id} {{x}} } {";
  logger("x").info(`asked for ${literal(text)} by {who}`, { id: 7, who: "me" });
  await log.close();
  assert.ok(sink.lines[0]!.includes(`asked for ${text} by me`), sink.lines[0]);
});

Deno.test("a log can be started again", async () => {
  const first = new MemorySink();
  const second = new MemorySink();
  const one = startLog({ sink: first });
  const two = startLog({ sink: second, level: "error" });
  logger("x").info("nobody");
  logger("x").error("second");
  await one.flush();
  await two.close();
  assert.equal(first.lines.length, 0);
  assert.equal(second.lines.length, 1);
  await one.close();
});
