/** What is allowed and yet unlikely to be meant. */
import assert from "node:assert/strict";
import { formatWarnings } from "../../src/config/errors.ts";
import { loadText } from "./support.ts";

async function warningsOf(text: string): Promise<string[]> {
  const { warnings, errors } = await loadText(text);
  assert.equal(errors, undefined);
  return warnings!.map(({ line, column, message }) => `${line}:${column} ${message}`);
}

const config = (route: string, transport = "{}") =>
  `listeners: [{ address: ":8080", protocols: [h1, h2c] }]
services: [{ name: edge, routes: [{ ${route} }] }]
upstreams:
  - { name: app, endpoints: ["10.0.0.1:1"], transport: ${transport} }
  - { name: new, endpoints: ["10.0.0.1:2"], transport: { protocol: h2c } }
`;
const OLD =
  "services[0].routes[0] carries gRPC, and upstreams[0], where it leads, speaks only HTTP/1.1";

Deno.test("a route that says gRPC is warned of where its upstream speaks only HTTP/1.1", async () => {
  const places: [route: string, place: string][] = [
    ["upstream: app, grpc_web: true", "true"],
    ["upstream: app, timeouts: { grpc: 1m }", "1m"],
    ['upstream: app, retry: { "on": [reset, "grpc:unavailable"] }', '"grpc:'],
    ['upstream: app, match: { header: { Content-Type: "application/grpc*" } }', '"application'],
    ["upstream: app, match: { header: { content-type: application/grpc+proto } }", "application"],
    ["split: [{ upstream: new }, { upstream: app, weight: 0 }], grpc_web: true", "true"],
  ];
  for (const [route, place] of places) {
    for (const transport of ["{}", "{ protocol: h1 }", "{ protocol: auto }"]) {
      const text = config(route, transport);
      const column = text.split("\n")[1]!.indexOf(place) + 1;
      assert.deepEqual(await warningsOf(text), [`2:${column} ${OLD}`], route);
    }
    for (const transport of ["{ protocol: h2c }", "{ protocol: auto, tls: {} }"]) {
      assert.deepEqual(await warningsOf(config(route, transport)), [], `${route} ${transport}`);
    }
  }
});

Deno.test("other routes are not warned of", async () => {
  for (
    const route of [
      "upstream: app",
      "upstream: app, grpc_web: false",
      "upstream: app, retry: { on: [reset] }",
      'upstream: app, match: { header: { content-type: "application/grpc-web*" } }',
      "upstream: app, match: { header: { content-type: true } }",
      "upstream: new, grpc_web: true",
      "grpc_web: true, rules: [{ respond: { status: 200 } }]",
    ]
  ) assert.deepEqual(await warningsOf(config(route)), [], route);
});

Deno.test("a warning has its line, a caret and what to do", async () => {
  const { warnings } = await loadText(config("upstream: app, grpc_web: true"));
  const [place, line, caret, remedy] = formatWarnings(warnings!).split("\n");
  assert.equal(place, `/pretend/sluice.yaml:2:62: warning: ${OLD}`);
  assert.match(line!, /^ {4}2 \| services/);
  assert.equal(caret!.trim(), "| " + " ".repeat(61) + "^^^^");
  assert.match(remedy!, /remedy: set transport\.protocol of upstreams\[0\] to h2c/);
});
