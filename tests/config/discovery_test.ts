import assert from "node:assert/strict";
import { DNS } from "../../src/balancer/discovery/dns.ts";
import { FILE } from "../../src/balancer/discovery/file.ts";
import { HTTP } from "../../src/balancer/discovery/http.ts";
import { PLUGIN } from "../../src/balancer/discovery/plugin.ts";
import { SRV } from "../../src/balancer/discovery/srv.ts";
import { createDiscovery, DISCOVERIES } from "../../src/balancer/discovery/table.ts";
import { TimerWheel } from "../../src/base/timer_wheel.ts";
import { DISCOVERY_TYPES } from "../../src/config/schema_discovery.ts";
import { UPSTREAM_LIMITS } from "../../src/http/limits.ts";
import { CHUNK_LIMITS } from "../../src/http1/limits.ts";
import { configOf, errorsOf, refuses } from "./support.ts";

/** What sources work with. */
const TOOLS = {
  wheel: new TimerWheel(),
  clearTextEngine: "deno",
  limits: UPSTREAM_LIMITS,
  chunkLimits: CHUNK_LIMITS,
} as const;
const CERT = "-----BEGIN CERTIFICATE-----\n";

function discovery(text: string, rest = ""): string {
  return `listeners: [{ address: ":8080" }]
services: [{ name: edge, routes: [{ upstream: app }] }]
upstreams:
  - { name: app, discovery: { ${text} } ${rest} }
`;
}

const MINIMAL: Readonly<Record<string, string>> = {
  dns: "type: dns, name: app.internal, port: 80",
  srv: "type: srv, name: _http._tcp.app.internal",
  file: "type: file, path: e.yaml",
  http: "type: http, url: 'https://r.internal/e'",
  plugin: "type: plugin, plugin: registry",
};
const PLUGINS = { plugins: ["registry"] };
const withPlugins = (text: string) => `${text}plugins: { directory: p }\n`;

async function source(text: string) {
  const config = await configOf(withPlugins(discovery(text)), PLUGINS);
  return config.upstreams[0]!.discovery!;
}

Deno.test("the defaults of each kind are those of the source, which takes them", async () => {
  assert.deepEqual([...DISCOVERY_TYPES, "static"].sort(), Object.keys(DISCOVERIES).sort());
  const expected = {
    dns: { ...DNS, name: "app.internal", port: 80 },
    srv: { ...SRV, name: "_http._tcp.app.internal" },
    file: { ...FILE, path: "/pretend/e.yaml" },
    http: { ...HTTP, url: "https://r.internal/e" },
    plugin: { ...PLUGIN, plugin: "registry" },
  };
  for (const type of DISCOVERY_TYPES) {
    const { source: settings, allow } = await source(MINIMAL[type]!);
    assert.deepEqual(settings, expected[type], type);
    assert.equal(allow, null);
    createDiscovery(settings, { ...TOOLS, pluginSource: () => () => {} })
      .stop();
  }
});

Deno.test("every setting of a source is read", async () => {
  const dns = await source(
    `${MINIMAL["dns"]}, server: [10.0.0.53, "10.0.0.54:54"], family: ipv6, min_ttl: 2s, max_ttl: 3s,
     timeout: 4s, allow: [10.0.0.0/8, "10.1.1.1:80"]`,
  );
  assert.deepEqual(dns.source, {
    ...DNS,
    name: "app.internal",
    port: 80,
    servers: ["10.0.0.53", "10.0.0.54:54"],
    families: "ipv6",
    minTtl: 2000,
    maxTtl: 3000,
    timeout: 4000,
  });
  assert.deepEqual(dns.allow, ["10.0.0.0/8", "10.1.1.1:80"]);
  const http = await source(
    `${MINIMAL["http"]}, interval: 5s, headers: { authorization: x }, allow_empty: true`,
  );
  assert.deepEqual(http.source, {
    ...HTTP,
    url: "https://r.internal/e",
    interval: 5000,
    headers: { authorization: "x" },
    allowEmpty: true,
  });
});

Deno.test("refresh looks up at that pace, whatever the records say", async () => {
  const { source: settings } = await source(`${MINIMAL["dns"]}, refresh: 7s`);
  assert.ok(settings.type === "dns");
  assert.deepEqual([settings.interval, settings.minTtl, settings.maxTtl], [7000, 7000, 7000]);
});

Deno.test("the roots of the server hold for an https source, too", async () => {
  const config = await configOf(`${discovery(MINIMAL["http"]!)}server: { ca_file: ca.pem }\n`, {
    files: { "ca.pem": CERT },
  });
  const settings = config.upstreams[0]!.discovery!.source;
  assert.ok(settings.type === "http");
  assert.equal(settings.tls!.ca, CERT);
  assert.equal(settings.tls!.serverName, "r.internal");
  assert.equal(settings.tls!.verify, true);
});

Deno.test("certificates of discovered endpoints must bear the name that was looked up", async () => {
  const name = async (text: string) =>
    (await configOf(withPlugins(discovery(text, ", transport: { tls: true }")), PLUGINS))
      .upstreams[0]!.tls!.serverName;
  assert.equal(await name(MINIMAL["dns"]!), "app.internal");
  assert.equal(await name(MINIMAL["srv"]!), "app.internal");
  assert.equal(await name(MINIMAL["file"]!), "");
});

Deno.test("endpoints and discovery exclude each other, and one must be there", async () => {
  await refuses(
    discovery(MINIMAL["file"]!, ', endpoints: ["a:1"]'),
    /discovery stands in place of endpoints/,
  );
  await refuses(
    discovery("").replace("discovery: {  }", ""),
    /"endpoints" is missing in upstreams\[0\]/,
  );
});

Deno.test("a source that could find nothing, or nothing of use, is refused", async () => {
  const cases: [string, RegExp][] = [
    ["name: x", /"type" is missing/],
    ["type: dns, port: 80", /"name" is missing for type dns/],
    ["type: dns, name: x", /"port" is missing for type dns/],
    ["type: http", /"url" is missing for type http/],
    ["type: file", /"path" is missing for type file/],
    ["type: plugin", /"plugin" is missing for type plugin/],
    ["type: plugin, plugin: registri", /unknown plugin "registri", did you mean "registry"/],
    [`${MINIMAL["file"]}, port: 80`, /port means nothing for type file/],
    [`${MINIMAL["dns"]}, allow_empty: true`, /allow_empty means nothing for type dns/],
    [`${MINIMAL["dns"]}, allow: []`, /no endpoint could be connected to/],
    [`${MINIMAL["dns"]}, allow: ["app.internal:80"]`, /is a name, but what a look-up finds/],
    [`${MINIMAL["dns"]}, allow: ["a b"]`, /host:port, host/],
    [`${MINIMAL["dns"]}, server: ns.internal`, /name server "ns\.internal" is no IP address/],
    [`${MINIMAL["dns"]}, refresh: 5s, min_ttl: 2s`, /refresh looks up whatever the records say/],
    [`${MINIMAL["dns"]}, min_ttl: 10m`, /min_ttl of 10m is longer than max_ttl of 5m/],
    ["type: dns, name: a..b, port: 1", /must be a host name/],
    ["type: http, url: 'ftp://x'", /http:\/\/ or https:\/\/ URL/],
    ["type: http, url: 'http://u:p@x'", /user name or password/],
    ["type: http, url: 'http://x/#a'", /fragment/],
    ["type: http, url: 'http://x:0/'", /port 0/],
    [`${MINIMAL["http"]}, headers: { host: x }`, /"host" is written by Sluice/],
    ["type: consul", /"consul" is not part of this version/],
    ["type: dnss, name: x, port: 1", /did you mean "dns"/],
    [`${MINIMAL["dns"]}, max_endpoints: 5`, /max_endpoints is not part of this version/],
  ];
  for (const [text, words] of cases) {
    await refuses(withPlugins(discovery(text)), words, PLUGINS);
  }
  assert.deepEqual(await errorsOf(discovery(`${MINIMAL["file"]}, allow: ["*.internal"]`)), []);
});

Deno.test("a plugin that is the discovery of an upstream cannot be disabled", async () => {
  const config = (disabled: string) =>
    `listeners: [{ address: ":8080" }]
services: [{ name: edge, routes: [{ upstream: app }] }]
upstreams: [{ name: app, discovery: { type: plugin, plugin: finder } }]
plugins: { directory: ./plugins, disabled: [${disabled}] }
`;
  const plugins = ["finder", "other"];
  assert.deepEqual(await errorsOf(config("other"), { plugins }), []);
  const errors = await errorsOf(config("other, finder"), { plugins });
  assert.equal(errors.length, 1, errors.join("\n"));
  assert.match(errors[0]!, /^4:52 plugin "finder" is the discovery of upstreams\[0\]/);
});
