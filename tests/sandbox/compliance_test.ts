import assert from "node:assert/strict";
import { ProxyError } from "../../src/base/error.ts";
import type { PhaseName } from "../../src/plugin/phases.ts";
import type { Failure } from "../../src/plugin/session.ts";
import type { HealthChange } from "../../src/plugin/upstream.ts";
import type { PluginEvent } from "../../src/sandbox/runner.ts";
import { FakeSession, type FakeSessionParts } from "../support/fake_session.ts";
import { type Isolation, specOf, start } from "./support.ts";

interface Case {
  readonly phase: PhaseName;
  readonly parts?: FakeSessionParts;
  readonly first?: () => unknown;
  readonly second?: unknown;
}

const failure = (): Failure => ({
  type: "connect_refused",
  source: "upstream",
  message: "nobody there",
  status: 502,
  retry: false,
});

const healthChange = (kind: HealthChange["kind"]): HealthChange => ({
  upstream: "app",
  endpoint: "127.0.0.1:3",
  kind,
  reason: "on purpose",
  at: 1,
  worker: "edge-0",
});

const CASES: readonly Case[] = [
  { phase: "earlyRequestFilter", parts: { vars: { gone: 1, stays: "x" } } },
  ...["/text", "/json?q=1", "/problem", "/response", "/throw", "/other"].map((target) => ({
    phase: "requestFilter" as const,
    parts: { target },
  })),
  { phase: "proxyUpstreamFilter", parts: { target: "/refuse" } },
  { phase: "proxyUpstreamFilter", parts: { method: "PUT", body: new Uint8Array(50).fill(7) } },
  { phase: "proxyUpstreamFilter", parts: { method: "PUT", body: new Uint8Array(500) } },
  { phase: "upstreamPeer", parts: { attempt: 0 } },
  { phase: "upstreamPeer", parts: { attempt: 1 } },
  { phase: "upstreamPeer", parts: { attempt: 2 } },
  { phase: "failToConnect", first: failure },
  { phase: "upstreamRequestFilter", parts: { attempt: 3 } },
  { phase: "requestBodyFilter", first: () => new Uint8Array([1]), second: false },
  { phase: "requestBodyFilter", first: () => new Uint8Array(3), second: false },
  { phase: "requestBodyFilter", first: () => new Uint8Array(10), second: false },
  { phase: "requestBodyFilter", first: () => new Uint8Array(9000).fill(5), second: false },
  { phase: "requestBodyFilter", first: () => new Uint8Array(0), second: true },
  {
    phase: "upstreamResponseFilter",
    parts: { responseHeaders: [["Server", "x"], ["Content-Type", "a/b"]] },
  },
  { phase: "upstreamResponseTrailerFilter" },
  { phase: "responseFilter" },
  { phase: "errorWhileProxy", first: failure },
  { phase: "failToProxy", first: failure },
  { phase: "suppressErrorLog", first: failure },
  { phase: "requestSummary" },
  { phase: "logging", parts: { outcome: { status: 404, error: failure() } } },
  { phase: "persistConnectionContext" },
  { phase: "onConnectionReuse", first: () => ({ kept: "/x", size: 10n }) },
  { phase: "upstreamHealth", first: () => healthChange("ejected") },
  { phase: "upstreamHealth", first: () => healthChange("returned") },
  ...["good.test", "none.test", "null.test", "wrong.test", "throw.test"].map((serverName) => ({
    phase: "certificate" as const,
    first: () => ({ serverName, listener: "web" }),
  })),
];

/** All results of all cases, as they can be compared. */
async function runAll(isolation: Isolation): Promise<unknown[]> {
  await using bench = await start([specOf("good.ts", isolation)]);
  const handler = bench.handler();
  const results: unknown[] = [];
  for (const { phase, parts, first, second } of CASES) {
    const session = new FakeSession(parts);
    const argument = first?.();
    let result: unknown;
    try {
      result = await handler.call(phase, session, argument, second);
    } catch (error) {
      assert.ok(error instanceof ProxyError);
      result = [error.type, error.source, error.message];
    }
    results.push({
      phase,
      result,
      state: session.state(),
      limits: session.bodyLimits,
      skipped: session.skipped,
    });
    if (phase === "failToConnect" || phase === "errorWhileProxy") results.push(argument);
  }
  for (const address of ["192.0.2.1", "203.0.113.9"]) {
    results.push(
      await handler.call("connectionFilter", { address, port: 1, listener: "web" }),
    );
  }
  results.push(
    [...handler.phases],
    handler.failOpen,
    handler.match("logging"),
    handler.match("upstreamPeer"),
  );
  const line = await bench.event((event) => event.kind === "log");
  results.push({ ...line });
  const named = (length: number) => (event: PluginEvent) =>
    event.kind === "endpoints" && event.list.length === length;
  // In setup two are named, and in the hook one.
  results.push(await bench.event(named(2)), await bench.event(named(1)));
  return results;
}

let inline: Promise<unknown[]> | null = null;
const inlineResults = () => inline ??= runAll("inline");

Deno.test("inline, a plugin does what its hooks say", async () => {
  const results = await inlineResults() as { phase: string; result: unknown; state: unknown }[];
  const at = (index: number) => results[index]!;
  assert.deepEqual(
    (at(1).result as { body: Uint8Array }).body,
    new TextEncoder().encode("hello, 192.0.2.1"),
  );
  assert.deepEqual(at(5).result, [
    "plugin_error",
    "internal",
    'plugin "good", requestFilter: RangeError: thrown on purpose',
  ]);
  assert.match(JSON.stringify(at(6).state), /\/new\?target=1/);
  assert.equal(at(7).result, false);
  assert.match(String((at(9).result as string[])[2]), /longer than 100 bytes/);
  assert.equal(at(11).result, "group");
  assert.deepEqual(
    results.find((one) => one.phase === "requestSummary")?.result,
    "GET /a/b?c=d by 4711",
  );
  assert.deepEqual(results.find((one) => one.phase === "upstreamHealth")?.result, [
    "plugin_error",
    "internal",
    `plugin "good", upstreamHealth: Error: told: ${JSON.stringify(healthChange("ejected"))}`,
  ]);
  assert.deepEqual(
    results.filter(({ phase }) => phase === "certificate").map(({ result }) => result),
    [
      { cert: "for good.test on web", key: "a key" },
      undefined,
      undefined,
      [
        "plugin_error",
        "internal",
        'plugin "good", certificate: ProtocolError: the certificate is not { cert, key } with PEM texts',
      ],
      ["plugin_error", "internal", 'plugin "good", certificate: Error: no authority'],
    ],
  );
  assert.deepEqual(results.slice(-2), [
    {
      kind: "endpoints",
      plugin: "good",
      list: ["127.0.0.1:1", { address: "127.0.0.1:2", weight: 2, labels: { a: "b" } }],
    },
    { kind: "endpoints", plugin: "good", list: [{ address: "127.0.0.1:3", priority: 3 }] },
  ]);
});

for (const isolation of ["worker", "process"] as const) {
  Deno.test(`in isolation "${isolation}", a plugin has the same effects and results as inline`, async () => {
    assert.deepStrictEqual(await runAll(isolation), await inlineResults());
  });
}
