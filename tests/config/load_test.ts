import assert from "node:assert/strict";
import fc from "fast-check";
import { formatErrors } from "../../src/config/errors.ts";
import { DOWNSTREAM_LIMITS } from "../../src/http/limits.ts";
import { PEER_OPTIONS } from "../../src/connector/peer.ts";
import { configOf, errorsOf, loadText, minimal, rawErrors } from "./support.ts";

Deno.test("the smallest config gets every default", async () => {
  const config = await configOf(minimal());
  assert.equal(config.version, 1);
  assert.equal(config.server.threads, 3);
  assert.equal(config.server.gracePeriod, 10_000);
  assert.deepEqual(config.listeners[0]!.limits, DOWNSTREAM_LIMITS);
  assert.equal(config.listeners[0]!.unixMode, 0o660);
  assert.equal(config.listeners[0]!.pluginBodyBuffer, 1024 * 1024);
  assert.deepEqual(config.upstreams[0]!.options, PEER_OPTIONS);
  assert.equal(config.upstreams[0]!.tls, null);
  assert.deepEqual(config.services[0]!.listeners, ["web"]);
  assert.equal(config.services[0]!.routes[0]!.id, "edge/0");
  assert.deepEqual(config.accessLog, { output: "off", query: "redact" });
});

Deno.test("a config is frozen all the way down, and can be posted", async () => {
  const config = await configOf(minimal());
  assert.throws(() => {
    (config.listeners[0]!.limits as { fields: number }).fields = 1;
  }, TypeError);
  assert.deepEqual(structuredClone(config), config);
});

Deno.test("all errors are reported at once, by line", async () => {
  const errors = await errorsOf(`version: 2
listeners:
  - name: web
    adress: 127.0.0.1:8080
services:
  - name: edge
    listeners: [wep]
    routes:
      - upstream: ap
        retry: { attempts: many }
upstreams:
  - name: app
    endpoints: [127.0.0.1:99999]
    load_balancing: { policy: randon }
`);
  assert.deepEqual(errors.map((one) => one.split(" ")[0]), [
    "1:10",
    "3:5",
    "4:5",
    "7:17",
    "9:19",
    "10:28",
    "13:17",
    "14:31",
  ]);
  assert.match(errors[1]!, /"address" is missing in listeners\[0\]/);
  assert.match(errors[2]!, /unknown key "adress" in listeners\[0\], did you mean "address"\?/);
  assert.match(errors[3]!, /unknown listener "wep", did you mean "web"\?/);
  assert.match(errors[4]!, /unknown upstream "ap", did you mean "app"\?/);
  assert.match(errors[7]!, /found "randon", did you mean "random"\?/);
});

Deno.test("an error is printed with its line, a caret and a remedy", async () => {
  const errors = await rawErrors(minimal("server: { grace_period: 10 }\n"));
  assert.equal(
    formatErrors(errors),
    `/pretend/sluice.yaml:4:25: error: server.grace_period must be a duration such as 10s, 250ms or 5m, found 10: the unit is missing
    4 | server: { grace_period: 10 }
      |                         ^^
   remedy: write 10s or 10ms
`,
  );
});

Deno.test("a caret stands right after tabs, and long lines are cut around it", async () => {
  const errors = await rawErrors(
    minimal(`x-pad: [ "${"y".repeat(300)}" ]\nserver: { x-a: "\t", treads: 1 }\n`),
  );
  const [, line, caret] = formatErrors(errors).split("\n");
  assert.equal(line!.slice(caret!.indexOf("^"), caret!.indexOf("^") + 6), "treads");
  const long = await rawErrors(minimal(`x-a: {}\nserver: { "${"k".repeat(300)}": 1 }\n`));
  assert.ok(formatErrors(long).split("\n").slice(1, 3).every((one) => one.length < 140));
});

Deno.test("keys that begin with x- are passed over, and other unknown keys are not", async () => {
  await configOf(minimal("x-notes: { anything: [1] }\nserver: { x-a: 1, threads: 1 }\n"));
  const errors = await errorsOf(minimal("server: { x-a: 1, y-a: 1 }\n"));
  assert.equal(errors.length, 1);
  assert.match(errors[0]!, /unknown key "y-a" in server/);
});

Deno.test("x- names are ordinary where names are the user's", async () => {
  const config = await configOf(`listeners: [{ address: ":80" }]
services:
  - name: edge
    routes:
      - match: { header: { x-beta: "1" } }
        rules: [{ request: { set: { x-a: b } } }]
        upstream: app
upstreams: [{ name: app, endpoints: ["127.0.0.1:3000"] }]
`);
  const route = config.services[0]!.routes[0]!;
  assert.deepEqual(route.match, { header: { "x-beta": "1" } });
  assert.deepEqual(route.rules[0]!.request, { "x-a": "b" });
  assert.equal(config.services[0]!.listeners[0], "0.0.0.0:80");
});

Deno.test("a key that stands twice is an error at the second place", async () => {
  const errors = await errorsOf(minimal("server: { threads: 1 }\nserver: { threads: 2 }\n"));
  assert.deepEqual(errors, ['5:1 key "server" stands here a second time']);
});

Deno.test("an IPv6 address without quotes is explained", async () => {
  for (const address of ["[::]:8080", "[::1]", "::1"]) {
    const errors = await rawErrors(
      minimal().replace('"127.0.0.1:8080"', address).replace("[{ name", "[ { name"),
    );
    assert.ok(errors.length > 0, address);
  }
  const text = `listeners:\n  - address: [::]:8080\n`;
  const errors = await rawErrors(text);
  assert.equal(errors[0]!.line, 2);
  assert.match(errors[0]!.remedy, /quote it: "\[::\]:8080"/);
  const listed = await rawErrors(minimal().replace("address:", "name2: x\n    address: [::]\n"));
  assert.ok(listed.length > 0);
});

Deno.test("anchors work, merge keys are refused, and aliases cannot explode", async () => {
  const config = await configOf(
    minimal("x-t: &t 7s\nserver: { grace_period: *t }\n"),
  );
  assert.equal(config.server.gracePeriod, 7000);
  const merged = await errorsOf(minimal("x-t: &t { threads: 1 }\nserver: { <<: *t }\n"));
  assert.ok(merged.some((one) => one.includes("merge keys")));
  const rows = ["x-0: &a0 [x, x, x, x, x, x, x, x, x]"];
  for (let i = 1; i < 9; i++) {
    rows.push(`x-${i}: &a${i} [${Array(9).fill(`*a${i - 1}`).join(", ")}]`);
  }
  const bomb = await errorsOf(minimal(rows.join("\n")));
  assert.ok(bomb.length > 0);
});

Deno.test("references are put in before values are checked", async () => {
  const config = await configOf(
    `listeners: [{ name: web, address: "\${HOST:-127.0.0.1}:\${PORT}" }]
services: [{ name: edge, routes: [{ upstream: app }] }]
upstreams: [{ name: app, endpoints: ["\${file:up.txt}"] }]
server: { threads: "\${N}" }
`,
    { env: { PORT: "81", N: "2" }, files: { "up.txt": "10.0.0.1:80\n" } },
  );
  assert.deepEqual(config.listeners[0]!.address, { kind: "tcp", host: "127.0.0.1", port: 81 });
  assert.equal(config.server.threads, 2);
  assert.deepEqual(config.upstreams[0]!.endpoints[0]!.address, {
    kind: "tcp",
    host: "10.0.0.1",
    port: 80,
  });
});

Deno.test("what a reference stands for is never shown", async () => {
  const secret = "hunter2-secret";
  const result = await loadText(
    `listeners: [{ name: "\${S}", address: "\${S}", forwarded: "\${S}", unix_mode: "\${S}" }]
services:
  - name: edge
    listeners: ["\${S}", "\${S}", "\${S}x"]
    routes:
      - upstream: "\${S}"
        match: { path: "\${S}", method: "\${S} \${S}", host: "\${S} ", header: { a: "\${S}\\n" } }
        plugins: ["\${S}"]
        retry: { attempts: "\${S}", buffer_bytes: "\${S}" }
        rules:
          - { request: { set: { x: "\${S}\\n" }, remove: ["\${S} "] } }
        mirror: [{ upstream: "\${S}", percent: "\${S}", timeout: "\${S}" }]
        hedge: { after: "\${S}" }
      - split: [{ upstream: "\${S}" }, { upstream: "\${S}" }]
        split_by: { on: "\${S}", name: "\${S} " }
        retry: { on: ["\${S}"], budget: "\${S}", per_try_timeout: "\${S}" }
upstreams:
  - { name: app, endpoints: ["\${S}", "\${S}:80:80", { address: "ftp://\${S}" }] }
  - { name: app2, endpoints: ["\${S}:80"], transport: { tls: { ca: "\${S}" }, timeouts: { read: "\${S}" } } }
  - name: app3
    load_balancing: { policy: "\${S}", hash: { on: header, name: "\${S} " }, sticky: { cookie: "\${S} ", secret: "\${S}" } }
    discovery: { type: dns, name: "\${S} ", port: "\${S}", server: "\${S}", allow: ["\${S}:1", "\${S} "] }
    health_check: { active: { path: "\${S}", host: "\${S} ", method: "\${S}x", headers: { a: "\${S}\\n" }, expect: { status: ["\${S}"] } } }
    transport: { proxy: { address: "\${S}" }, proxy_protocol: "\${S}", tls: { min_version: "\${S}" } }
  - { name: app4, discovery: { type: http, url: "\${S}" }, circuit_breaker: { error_ratio: "\${S}" } }
  - { name: app5, discovery: { type: plugin, plugin: "\${S}" }, transport: { proxy: { address: "https://\${S}:1" } } }
plugins: { directory: "\${S}", isolation: "\${S}", grant: { a: "\${S}" }, trust: ["\${S}"] }
server: { threads: "\${S}", allowed_peers: ["\${S} "] }
`,
    {
      env: { S: secret },
      findPlugins: (directory) => {
        throw new Deno.errors.NotFound(`nothing at ${directory}`);
      },
    },
  );
  const text = formatErrors(result.errors!);
  assert.ok(result.errors!.length > 40);
  assert.equal(text.includes(secret), false, text);
});

Deno.test("a reference that stands for nothing is an error at its place", async () => {
  const [error] = await rawErrors(minimal('x-a: 1\nserver: { ca_file: "a/${NONE}/b" }\n'));
  assert.deepEqual([error!.line, error!.column, error!.length], [5, 23, 7]);
  assert.match(error!.message, /NONE is not set/);
});

Deno.test("keys of later versions are refused by name", async () => {
  const cases: [string, RegExp][] = [
    ["telemetry: { tracing: {} }", /telemetry\.tracing is not part/],
    ["telemetry: { access_log: { format: clf } }", /"clf" is not part of this version/],
    ["server: { work_stealing: true }", /server\.work_stealing is not part/],
  ];
  for (const [line, words] of cases) assert.match((await errorsOf(minimal(line)))[0]!, words);
  const nested: [string, string, RegExp][] = [
    ["address:", "protocols: [h1, h3], address:", /protocols\[1\]: "h3" is not part/],
    ["upstream: app", "cache: {}, upstream: app", /routes\[0\]\.cache is not part/],
    ["endpoints:", "outlier_detection: {}, endpoints:", /outlier_detection is not part/],
    ["endpoints:", "health_check: { active: { type: https } }, endpoints:", /"https" is not part/],
    ["endpoints:", "discovery: { type: consul }, x-e:", /"consul" is not part/],
    ["endpoints:", "transport: { protocol: h3 }, endpoints:", /"h3" is not part/],
  ];
  for (const [from, to, words] of nested) {
    const errors = await errorsOf(minimal().replace(from, to));
    assert.equal(errors.length, 1, errors.join("\n"));
    assert.match(errors[0]!, words);
  }
});

Deno.test("a file that cannot be read, or is no mapping, is one plain error", async () => {
  const missing = await loadText("");
  assert.ok(missing.errors!.length > 0);
  for (const text of ["- a\n", "just text\n", "a: [\n", "\u0000", "a: b: c\n"]) {
    assert.ok((await errorsOf(text)).length > 0, JSON.stringify(text));
  }
});

Deno.test("whatever stands in a file, loading it ends with a config or with errors in the file", async () => {
  const piece = fc.constantFrom(
    "listeners:",
    "services:",
    "upstreams:",
    "plugins:",
    "- ",
    "name: a",
    "address: ",
    "\n",
    "\n  ",
    "\n    ",
    "[",
    "]",
    "{",
    "}",
    ":",
    "&a ",
    "*a",
    "${A}",
    '"',
    "'",
    "routes:",
    "match:",
    "path: /a",
    "?",
    "!!set",
    "null",
    "1",
    "__proto__: 1",
    "|",
    "\t",
    "#",
    "<<: *a",
  );
  await fc.assert(
    fc.asyncProperty(fc.array(piece, { maxLength: 25 }), async (pieces) => {
      const text = pieces.join("");
      const result = await loadText(text, { env: { A: "1" } });
      const lines = text.split("\n").length;
      for (const error of result.errors ?? []) {
        assert.ok(error.line >= 0 && error.line <= lines + 1);
      }
      formatErrors(result.errors ?? []);
    }),
    { numRuns: 400 },
  );
});

Deno.test("a value that holds itself is an error where it does, whatever else is wrong with it", async () => {
  const cases: [string, RegExp][] = [
    ["&a \n  <<: *a", /^2:7 \*a stands inside of what it stands for$/],
    [minimal("x-own: &own [1, [*own]]\n"), /^4:18 \*own stands inside/],
    [minimal("x-own: &own { b: { *own : 1 } }\n"), /^4:20 \*own stands inside/],
    [minimal("x-own: &own\n  ? [*own]\n  : 1\n"), /^5:6 \*own stands inside/],
  ];
  for (const [text, words] of cases) {
    const errors = await errorsOf(text);
    assert.equal(errors.length, 1, errors.join("\n"));
    assert.match(errors[0]!, words);
  }
  const twice = await errorsOf(minimal("x-a: &a [1]\nx-b: [*a, *a]\n"));
  assert.deepEqual(twice, []);
});

Deno.test("a file whose values stand in each other too deep is refused", async () => {
  const nested = (levels: number) =>
    minimal(`x-deep: ${"[".repeat(levels)}${"]".repeat(levels)}\n`);
  assert.deepEqual(await errorsOf(nested(99)), []);
  for (const levels of [101, 1000, 6000]) {
    const errors = await errorsOf(nested(levels));
    assert.equal(errors.length, 1, errors.slice(0, 3).join("\n"));
    assert.match(errors[0]!, /4:\d+ values stand in each other more than 100 levels deep/);
  }
});

Deno.test("cutting a sound config anywhere gives errors, never a crash", async () => {
  const text = minimal("server: { threads: 2 }\n");
  for (let i = 0; i < text.length; i++) {
    const result = await loadText(text.slice(0, i));
    if (result.errors !== undefined) formatErrors(result.errors);
  }
});
