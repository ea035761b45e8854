import assert from "node:assert/strict";
import { basename, dirname } from "node:path";
import { findAdmin } from "../../src/config/find_admin.ts";
import { adminSocket } from "../../src/config/admin_socket.ts";
import { configOf, errorsOf } from "./support.ts";

const REST = `listeners: [{ name: web, address: "127.0.0.1:8080" }]
services: [{ name: edge, routes: [{ id: all, upstream: app }] }]
upstreams: [{ name: app, endpoints: ["127.0.0.1:1"] }]
`;

Deno.test("metrics are off unless they are asked for", async () => {
  assert.equal((await configOf(REST)).metrics, null);
  assert.deepEqual((await configOf(`${REST}telemetry: { metrics: {} }`)).metrics, {
    listen: null,
    path: "/metrics",
  });
  assert.deepEqual(
    (await configOf(`${REST}telemetry: { metrics: { listen: ":6192", path: /m } }`)).metrics,
    { listen: { kind: "tcp", host: "0.0.0.0", port: 6192 }, path: "/m" },
  );
});

Deno.test("the admin interface is at its usual place, where the config says, or nowhere", async () => {
  const usual = (await configOf(REST, { env: { XDG_RUNTIME_DIR: "/run/user/1" } })).admin!;
  assert.equal(usual.named, false);
  assert.match(
    usual.address.kind === "unix" ? usual.address.path : "",
    /^\/run\/user\/1\/sluice-[0-9a-f]{12}\.sock$/,
  );
  const service = (await configOf(REST, { env: { RUNTIME_DIRECTORY: "/run/sluice:/run/b" } }))
    .admin!;
  assert.deepEqual(service.address, { kind: "unix", path: "/run/sluice/admin.sock" });
  assert.notEqual(adminSocket("/a/sluice.yaml", {}), adminSocket("/b/sluice.yaml", {}));
  const named = (await configOf(`${REST}admin: { listen: "unix:./a.sock" }`)).admin;
  assert.deepEqual(named, {
    address: { kind: "unix", path: "/pretend/a.sock" },
    named: true,
    token: null,
  });
  assert.equal((await configOf(`${REST}admin: off`)).admin, null);
});

Deno.test("what cannot be right about operations is refused at its place", async () => {
  const token = { TOKEN: "0123456789abcdef" };
  const cases: [string, RegExp, Record<string, string>?][] = [
    ["admin: { listen: 127.0.0.1:6190 }", /"token" is missing in admin/],
    [
      "admin: { listen: ':6190', token: '${TOKEN}' }",
      /4:18 .*can be reached from other hosts/,
      token,
    ],
    [
      "admin: { listen: 10.0.0.1:6190, token: '${TOKEN}' }",
      /can be reached from other hosts/,
      token,
    ],
    [
      "admin: { listen: 'unix:/a', token: 0123456789abcdef }",
      /a token in the config file is no secret/,
    ],
    ["admin: { listen: 127.0.0.1:1, token: '${TOKEN}' }", /too short/, { TOKEN: "short" }],
    ["admin: { listen: 127.0.0.1:1, token: '${TOKEN}' }", /printable/, {
      TOKEN: "0123456789 abcdef",
    }],
    ["admin: on", /admin/],
    ["admin: { lisen: 'unix:/a' }", /did you mean "listen"/],
    ["telemetry: { metrics: { listen: 127.0.0.1:8080 } }", /is taken by listeners\[0\]/],
    [
      "telemetry: { metrics: { listen: ':6190' } }\nadmin: { listen: 127.0.0.1:6190, token: '${TOKEN}' }",
      /5:18 .*is taken by telemetry\.metrics\.listen/,
      token,
    ],
    ["telemetry: { metrics: { path: metrics } }", /is no path/],
    ["telemetry: { metrics: { path: /livez } }", /is taken by a probe/],
    ["telemetry: { metrics: off }", /telemetry\.metrics/],
  ];
  for (const [line, words, env] of cases) {
    const errors = await errorsOf(REST + line, env === undefined ? {} : { env });
    assert.match(errors.join("\n"), words, line);
  }
  assert.deepEqual(
    await errorsOf(`${REST}admin: { listen: "[::1]:6190", token: "\${TOKEN}" }`, { env: token }),
    [],
  );
});

Deno.test("a plugin that a route or a service names cannot be disabled", async () => {
  const config = (service: string, route: string, disabled: string) =>
    `listeners: [{ name: web, address: "127.0.0.1:8080" }]
services: [{ name: edge, plugins: [${service}], routes: [{ upstream: app, plugins: [${route}] }] }]
upstreams: [{ name: app, endpoints: ["127.0.0.1:3000"] }]
plugins: { directory: plugins, disabled: [${disabled}] }
`;
  const plugins = ["a", "b", "c"];
  assert.deepEqual(await errorsOf(config("a", "{ use: b }", "c"), { plugins }), []);
  const errors = await errorsOf(config("a", "{ use: b }", "c, b, a"), { plugins });
  assert.deepEqual(errors, [
    '4:46 plugin "b" is to run by services[0].routes[0].plugins[0]',
    '4:49 plugin "a" is to run by services[0].plugins[0]',
  ]);
});

Deno.test("verbs find the interface in a file that is broken elsewhere", () => {
  const find = (text: string, env = {}) =>
    findAdmin("/etc/sluice/sluice.yaml", {
      env,
      readFile: (path) => path.endsWith(".yaml") ? text : "the token\n",
    });
  assert.deepEqual(find("listeners: 17\nadmin: { listen: 'unix:a.sock' }"), {
    address: { kind: "unix", path: "/etc/sluice/a.sock" },
    token: null,
    sharedFolder: null,
    user: null,
  });
  assert.deepEqual(find("admin: { listen: '127.0.0.1:1', token: '${file:t}' }\nx: '${NONE}'"), {
    address: { kind: "tcp", host: "127.0.0.1", port: 1 },
    token: "the token",
    sharedFolder: null,
    user: null,
  });
  const env = { XDG_RUNTIME_DIR: "/run/user/1" };
  assert.deepEqual(find("version: 1", env), {
    address: { kind: "unix", path: adminSocket("/etc/sluice/sluice.yaml", env) },
    token: null,
    sharedFolder: null,
    user: null,
  });
  // Where everybody can make folders, it is worth a look whose this one is.
  const usual = adminSocket("/etc/sluice/sluice.yaml", {});
  assert.equal(find("version: 1").sharedFolder, dirname(usual));
  // A program that becomes another user has it where that user may have one.
  const place = findAdmin("/etc/sluice/sluice.yaml", {
    env,
    readFile: (path) =>
      path === "/etc/passwd" ? "web:x:33:44::/:/bin/sh\n" : "server: { user: web }",
  });
  assert.equal(place.user, 33);
  assert.deepEqual(place.address, {
    kind: "unix",
    path: adminSocket("/etc/sluice/sluice.yaml", env, 33),
  });
  assert.equal(basename(place.sharedFolder!), "sluice-33");
  assert.throws(() => find("admin: off"), /says "admin: off"/);
  assert.throws(() => find("a: ["), /is no YAML/);
  assert.throws(() => find("admin: { listen: nonsense }"), /is no address/);
});
