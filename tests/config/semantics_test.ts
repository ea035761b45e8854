import assert from "node:assert/strict";
import { configOf, errorsOf, minimal, refuses } from "./support.ts";

async function oneError(text: string, words: RegExp, plugins: string[] = []): Promise<void> {
  const errors = await errorsOf(text, { plugins });
  assert.equal(errors.length, 1, errors.join("\n") || "no error");
  assert.match(errors[0]!, words);
}

function routes(...lines: string[]): string {
  return `listeners: [{ name: web, address: ":8080" }]
services:
  - name: edge
    routes:
${
    lines.map((line) => `      - ${line}\n`).join("")
  }upstreams: [{ name: app, endpoints: ["127.0.0.1:3000"] }]
`;
}

Deno.test("names must be unique", async () => {
  await oneError(
    minimal().replace("endpoints:", 'endpoints: ["h:1"] }, { name: app, endpoints:'),
    /upstream "app" is named a second time, first at upstreams\[0\]/,
  );
  await oneError(
    routes("{ id: a, match: { path: /a }, upstream: app }", "{ id: a, upstream: app }"),
    /route "a" is named a second time, first at services\[0\]\.routes\[0\]/,
  );
});

Deno.test("two listeners cannot share an address", async () => {
  const two = (a: string, b: string) =>
    minimal().replace(
      '[{ name: web, address: "127.0.0.1:8080" }]',
      `[{ name: a, address: "${a}" }, { name: b, address: "${b}" }]`,
    );
  for (
    const [a, b] of [
      ["127.0.0.1:80", "127.0.0.1:80"],
      [":80", "127.0.0.1:80"],
      ["127.0.0.1:80", "0.0.0.0:80"],
      ["[::]:80", "[::1]:80"],
      ["unix:/a", "unix:/a"],
    ] as const
  ) await oneError(two(a, b), /is taken by listeners\[0\] already/);
  for (
    const [a, b] of [
      ["127.0.0.1:80", "127.0.0.1:81"],
      ["127.0.0.1:80", "127.0.0.2:80"],
      ["[::1]:80", "127.0.0.1:80"],
      ["127.0.0.1:0", "127.0.0.1:0"],
      ["unix:/a", "unix:/b"],
    ] as const
  ) assert.deepEqual(await errorsOf(two(a, b)), []);
});

Deno.test("a listener without TLS has a protocol that can be spoken without it", async () => {
  const speaks = (protocols: string) =>
    minimal().replace("name: web,", `name: web, protocols: ${protocols},`);
  await oneError(speaks("[h2]"), /h2 needs tls, which agrees on it by ALPN/);
  for (const fine of ["[h1]", "[h1, h2]", "[h2c]", "[h1, h2c]", "[h2, h2c]"]) {
    assert.deepEqual(await errorsOf(speaks(fine)), []);
  }
});

Deno.test("a listener belongs to exactly one service", async () => {
  const text = (first: string, second: string) =>
    `listeners:
  - { name: a, address: ":80" }
  - { name: b, address: ":81" }
services:
  - { name: one, ${first} routes: [{ upstream: app }] }
  - { name: two, ${second} routes: [{ upstream: app }] }
upstreams: [{ name: app, endpoints: ["h:1"] }]
`;
  assert.deepEqual(await errorsOf(text("listeners: [a],", "listeners: [b],")), []);
  await oneError(text("listeners: [a, b],", "listeners: [b],"), /"b" is used by services\[0\]/);
  await oneError(text("listeners: [a],", ""), /"listeners" is missing in services\[1\]/);
  await oneError(
    minimal().replace("name: edge,", "name: edge, listeners: [web],")
      .replace("}]\nservices", ' }, { name: z, address: ":9" }]\nservices'),
    /listeners\[1\] belongs to no service/,
  );
});

Deno.test("a route that an earlier one swallows is an error", async () => {
  const swallowed: [string, string][] = [
    ["{ upstream: app }", "{ match: { path: /a }, upstream: app }"],
    ["{ match: { path: /a/* }, upstream: app }", "{ match: { path: /a }, upstream: app }"],
    ["{ match: { path: /* }, upstream: app }", "{ match: { path: [/a, /b/*] }, upstream: app }"],
    [
      '{ match: { host: "*.e.com" }, upstream: app }',
      "{ match: { host: a.E.com, path: /x }, upstream: app }",
    ],
    [
      "{ match: { header: { x-a: true } }, upstream: app }",
      '{ match: { header: { X-A: "1" }, method: GET }, upstream: app }',
    ],
  ];
  for (const [first, second] of swallowed) {
    await oneError(
      routes(first, second),
      /routes\[1\] is never reached: services\[0\]\.routes\[0\]/,
    );
  }
  const apart: [string, string][] = [
    ["{ match: { path: /a }, upstream: app }", "{ upstream: app }"],
    ["{ match: { path: /a/* }, upstream: app }", "{ match: { path: /ab }, upstream: app }"],
    [
      '{ match: { host: "*.e.com" }, upstream: app }',
      "{ match: { host: e.com }, upstream: app }",
    ],
    [
      "{ match: { method: GET }, upstream: app }",
      "{ match: { method: [GET, PUT] }, upstream: app }",
    ],
  ];
  for (const [first, second] of apart) {
    assert.deepEqual(await errorsOf(routes(first, second)), []);
  }
});

Deno.test("a route must lead somewhere", async () => {
  await oneError(routes("{ id: a }"), /routes\[0\] leads nowhere/);
  assert.deepEqual(
    await errorsOf(routes("{ rules: [{ respond: { status: 204 } }] }")),
    [],
  );
});

Deno.test("at least one endpoint needs a weight", async () => {
  const text = (weight: number) =>
    minimal().replace('["127.0.0.1:3000"]', `[{ address: "h:1", weight: ${weight} }]`);
  await oneError(text(0), /all weights are 0/);
  assert.deepEqual(await errorsOf(text(1)), []);
});

Deno.test("matches are checked where they stand", async () => {
  await oneError(
    routes("{ match: { path: [/a, b] }, upstream: app }"),
    /^5:31 path "b" must begin with "\/"/,
  );
  await oneError(
    routes("{ match: { method: get }, upstream: app }"),
    /methods are case-sensitive, write "GET"/,
  );
  await oneError(
    routes("{ upstream: app, rules: [{ match: { host: 'a:1' }, respond: { status: 200 } }] }"),
    /leave the port out/,
  );
});

Deno.test("rules cannot touch what belongs to the connection", async () => {
  const rule = (text: string) => routes(`{ upstream: app, rules: [{ ${text} }] }`);
  await oneError(rule("request: { set: { Connection: close } }"), /belongs to the connection/);
  await oneError(rule("response: { remove: [content-length] }"), /belongs to the connection/);
  await oneError(rule('request: { set: { "a b": x } }'), /not a field name/);
  await oneError(rule('request: { set: { a: "x\\ny" } }'), /cannot have this value/);
  await oneError(rule("request: { set: { a: x, A: y } }"), /"A" is set twice/);
  await oneError(rule("request: { set: { a: x }, remove: [A] }"), /both set and removed/);
  await oneError(rule("respond: { status: 204, body: x }"), /no content/);
  await oneError(rule("match: { path: /a }"), /does nothing/);
});

Deno.test("plugins must be there, and are used once per route", async () => {
  const uses = (text: string) =>
    `${routes(`{ upstream: app, plugins: ${text} }`)}plugins: { directory: p }\n`;
  await oneError(uses("[geo-blok]"), /unknown plugin "geo-blok", did you mean "geo-block"/, [
    "geo-block",
  ]);
  await oneError(uses("[a, { use: a }]"), /plugin "a" is used a second time/, ["a"]);
  await oneError(
    uses("[a]").replace("name: edge", "name: edge\n    plugins: [a]"),
    /plugin "a" is used a second time, first at services\[0\]\.plugins\[0\]/,
    ["a"],
  );
  await oneError(
    routes("{ upstream: app, plugins: [a] }"),
    /unknown plugin "a"/,
  );
});

Deno.test("inline needs trust, and settings need a plugin that exists", async () => {
  const plugins = (text: string) => minimal(`plugins: { directory: p, ${text} }\n`);
  await oneError(plugins("isolation: { a: inline }"), /may not run inline/, ["a"]);
  await oneError(plugins("isolation: inline"), /may not run inline/, ["a"]);
  assert.deepEqual(
    await errorsOf(plugins("isolation: { a: inline }, trust: [a]"), { plugins: ["a"] }),
    [],
  );
  await oneError(plugins("grant: { b: as-requested }"), /unknown plugin "b"/, ["alpha"]);
  await oneError(plugins("disabled: [alhpa]"), /did you mean "alpha"/, ["alpha"]);
  await oneError(minimal("plugins: { timeout: 1s }"), /"directory" is missing in plugins/);
});

Deno.test("plugins that nobody names run everywhere, before those that are named", async () => {
  const config = await configOf(
    `${
      routes(
        "{ match: { path: /a }, upstream: app, plugins: [{ use: c, with: { n: 1 } }] }",
        "{ match: { path: /b }, upstream: app, plugins: [{ use: c, with: { n: 2 }, when: { method: GET } }, a] }",
        "{ upstream: app, plugins: [{ use: c, with: { n: 1 } }] }",
      )
    }plugins: { directory: p, disabled: [d], grant: { a: { net: ["h:1"] } }, heap: { a: 16MiB }, timeout: 9ms }\n`,
    { plugins: ["d", "c", "b", "a", "z"] },
  );
  assert.deepEqual(config.plugins.map((one) => one.name), ["a", "b", "c", "d", "z"]);
  const names = config.services[0]!.routes.map((route) =>
    route.plugins.map((use) => `${config.plugins[use.plugin]!.name}${use.use}`)
  );
  assert.deepEqual(names, [["b0", "z0", "c0"], ["b0", "z0", "c1", "a0"], ["b0", "z0", "c0"]]);
  assert.deepEqual(config.plugins[2]!.uses.map((use) => use.config), [{ n: 1 }, { n: 2 }]);
  assert.equal(config.plugins[2]!.uses[0]!.source!.line, 5);
  assert.deepEqual(config.plugins[3]!.uses, []);
  assert.deepEqual(config.services[0]!.routes[1]!.plugins[2]!.when, { method: "GET" });
  assert.deepEqual(config.plugins[0]!.grant, { net: ["h:1"] });
  assert.deepEqual(config.plugins[1]!.grant, {});
  assert.equal(config.plugins[0]!.heap, 16 * 1024 * 1024);
  assert.equal(config.plugins[1]!.heap, null);
  assert.equal(config.plugins[1]!.timeout, 9);
  assert.equal(config.plugins[0]!.file, "/pretend/p/a.ts");
});

Deno.test("engines handle and epoll are refused where they cannot serve; auto is not", async () => {
  const config = (listener: string) =>
    `listeners: [${listener}]
services: [{ name: edge, routes: [{ upstream: app }] }]
upstreams: [{ name: app, endpoints: ["127.0.0.1:3000"] }]`;
  await refuses(
    config(`{ address: "localhost:8080", engine: handle }`),
    /engine: handle cannot serve this listener because of the host name/,
  );
  await refuses(config(`{ address: "unix:/tmp/x", engine: handle }`), /because of the unix socket/);
  await refuses(
    config(
      `{ address: "127.0.0.1:80", engine: handle, proxy_protocol: { trusted: [10.0.0.0/8] } }`,
    ),
    /because of proxy_protocol/,
  );
  await refuses(
    config(`{ address: "localhost:8080", engine: epoll }`),
    /engine: epoll cannot serve this listener because of the host name/,
  );
  const epoll = await configOf(config(`{ address: "127.0.0.1:8080", engine: epoll }`));
  assert.equal(epoll.listeners[0]!.engine, "epoll");
  const auto = await configOf(config(`{ address: "localhost:8080", engine: auto }`));
  assert.equal(auto.listeners[0]!.engine, "deno");
});
