/** Reload: another config serves without a lost request, or the one before goes on as if nothing had been asked. */
import assert from "node:assert/strict";
import { configFile, type ConfigParts } from "../support/config.ts";
import { eventually } from "../support/deadline.ts";
import { field, text } from "../support/http_text.ts";
import { get, RawClient, rawRequest } from "../support/raw_client.ts";
import { freePort } from "../support/ports.ts";
import { startRawOrigin } from "../support/raw_origin.ts";
import { Authority } from "../support/authority.ts";
import { reload, writeConfig, writePlugin } from "../support/reload.ts";
import { testWith } from "../support/require.ts";
import { startSimpleOrigin } from "../support/simple_origin.ts";
import { runSluice, startSluice } from "../support/sluice.ts";
import { EchoSocket } from "../support/web_socket.ts";

/** Says which sandbox answers, and what it was configured with. */
const WHO = (version: string) =>
  `import { definePlugin } from "@sluice/plugin";
const id = crypto.randomUUID();
export default definePlugin({
  config: { "~standard": { version: 1, vendor: "test", validate: (value) => ({ value }) } },
  setup: ({ config }) => config ?? null,
  requestFilter(session, ctx) {
    if (session.request.path === "/who") {
      return session.respond(200, JSON.stringify({ id, version: "${version}", config: ctx.state }));
    }
  },
});
`;

interface Who {
  readonly id: string;
  readonly version: string;
  readonly config: unknown;
}

async function who(port: number): Promise<Who> {
  return JSON.parse(text(await rawRequest(port, get("/who")))) as Who;
}

/** A route that adds a field to responses, to see which config serves. */
function marked(mark: string, parts: ConfigParts = {}): string {
  return configFile({
    ...parts,
    route: { rules: [{ response: { set: { "X-Mark": mark } } }], ...parts.route },
  });
}

async function mark(port: number, path = "/bytes/1"): Promise<string | null> {
  return field(await rawRequest(port, get(path)), "x-mark") ?? null;
}

Deno.test("SIGHUP serves by the new routes, on connections that were open before, too", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({
    config: marked("one", { origin: origin.address }),
    threads: 2,
  });
  const port = sluice.port();
  await using client = await RawClient.connect(port);
  assert.equal(field(await client.request(get("/bytes/1")), "x-mark"), "one");
  assert.equal(await reload(sluice, marked("two", { origin: origin.address })), true);
  assert.equal(field(await client.request(get("/bytes/1")), "x-mark"), "two");
  for (let i = 0; i < 8; i++) assert.equal(await mark(port), "two");
  await sluice.waitForOutput(/Reloaded generation=2/);
});

Deno.test("a config that is refused changes nothing, and is told with its carets", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({ config: marked("one", { origin: origin.address }) });
  const port = sluice.port();
  const wrong = marked("two", { origin: origin.address }).replace('"version"', '"verzion"');
  assert.equal(await reload(sluice, wrong), false);
  await sluice.waitForOutput(/sluice\.yaml:2:3: error: unknown key "verzion"/);
  await sluice.waitForOutput(/\^{3}/);
  await sluice.waitForOutput(/generation 1 goes on/);
  assert.equal(await mark(port), "one");
  assert.equal(await reload(sluice, marked("three", { origin: origin.address })), true);
  assert.equal(await mark(port), "three");
});

Deno.test("plugins that cannot be set up are tried once, and told all at once, on the command line as in the log", async () => {
  await using origin = await startSimpleOrigin();
  const grant = { sad: "as-requested", bad: "as-requested" };
  const parts: ConfigParts = { origin: origin.address, plugins: {} };
  await using sluice = await startSluice({
    config: marked("one", parts),
    plugins: { "good.ts": WHO("1") },
  });
  for (const name of ["sad", "bad"]) {
    writePlugin(
      sluice,
      `${name}.ts`,
      `import { definePlugin } from "@sluice/plugin";
export default definePlugin({
  permissions: { net: ["${origin.address}"] },
  async setup() {
    await (await fetch("${origin.url}/bytes/1?${name}")).text();
    throw new Error("${name} has no licence");
  },
  requestFilter() {},
});
`,
    );
  }
  writeConfig(sluice, marked("two", { ...parts, plugins: { grant } }));
  const { code, stderr } = await runSluice(
    ["reload", "-c", `${sluice.directory}/sluice.yaml`],
    { env: { XDG_RUNTIME_DIR: sluice.directory } },
  );
  assert.equal(code, 1);
  for (const name of ["sad", "bad"]) {
    assert.match(
      stderr,
      new RegExp(
        `^[^ ]*/${name}\\.ts:6:\\d+: error: plugin "${name}": setup failed: Error: ${name} has no licence$`,
        "m",
      ),
    );
    await sluice.waitForOutput(
      new RegExp(`error: plugin "${name}": setup failed: Error: ${name} has no licence`),
    );
    assert.equal(origin.count(`/bytes/1?${name}`), 1);
  }
  assert.equal(await mark(sluice.port()), "one");
});

Deno.test("an address that cannot be bound refuses the whole config", async () => {
  await using origin = await startSimpleOrigin();
  await using taken = await startSimpleOrigin();
  await using sluice = await startSluice({ config: marked("one", { origin: origin.address }) });
  const config = JSON.parse(marked("two", { origin: origin.address }));
  config.listeners.push({ name: "more", address: taken.address });
  assert.equal(await reload(sluice, JSON.stringify(config)), false);
  await sluice.waitForOutput(/Listener "more" cannot listen on .*in use/i);
  assert.equal(await mark(sluice.port()), "one");
});

Deno.test("a request that runs ends as it began, and the next one is served anew", async () => {
  await using origin = await startSimpleOrigin();
  const parts = { origin: origin.address };
  await using sluice = await startSluice({ config: marked("one", parts) });
  await using client = await RawClient.connect(sluice.port());
  await client.send(get("/delay/800"));
  await eventually(() => origin.count("/delay/800") === 1, "the request at the origin");
  assert.equal(await reload(sluice, marked("two", parts)), true);
  assert.equal(field(await client.response(), "x-mark"), "one");
  assert.equal(field(await client.request(get("/bytes/1")), "x-mark"), "two");
});

Deno.test("connections to upstreams that have not changed are used again", async () => {
  await using origin = await startSimpleOrigin();
  const parts = { origin: origin.address };
  await using sluice = await startSluice({ config: marked("0", parts) });
  const port = sluice.port();
  await rawRequest(port, get("/bytes/1"));
  for (let i = 1; i <= 3; i++) {
    assert.equal(await reload(sluice, marked(String(i), parts)), true);
    assert.equal(await mark(port), String(i));
  }
  assert.equal(origin.raw.connections.length, 1);
});

Deno.test("WebSockets survive reloads that leave their upstream alone, and those that change all", async () => {
  await using origin = await startSimpleOrigin();
  await using other = await startSimpleOrigin();
  await using sluice = await startSluice({ config: marked("one", { origin: origin.address }) });
  const port = sluice.port();
  await using socket = await EchoSocket.open(port);
  await socket.echo("before");
  assert.equal(await reload(sluice, marked("two", { origin: origin.address })), true);
  await socket.echo("same upstream");
  // Another address: the worker is replaced, because it has no right to reach it.
  assert.equal(await reload(sluice, marked("three", { origin: other.address })), true);
  await socket.echo("another upstream");
  assert.equal(await mark(port), "three");
  assert.equal(other.count("/bytes/1"), 1);
  await socket.echo("after");
});

Deno.test("listeners come and go while the others serve", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({
    config: marked("one", { origin: origin.address }),
    threads: 2,
  });
  const [port, more] = [sluice.port(), freePort()];
  const config = JSON.parse(marked("two", { origin: origin.address }));
  config.listeners.push({ name: "more", address: `127.0.0.1:${more}` });
  await using open = await RawClient.connect(port);
  await open.request(get("/bytes/1"));
  assert.equal(await reload(sluice, JSON.stringify(config)), true);
  assert.equal(await mark(more), "two");
  assert.equal(await mark(port), "two");
  await using idle = await RawClient.connect(more);
  await idle.request(get("/bytes/1"));
  assert.equal(await reload(sluice, marked("three", { origin: origin.address })), true);
  // It is idle: there is nothing to wait for.
  await idle.whenEnded();
  await assert.rejects(RawClient.connect(more), /ECONNREFUSED/);
  assert.equal(await mark(port), "three");
});

Deno.test("more threads and fewer, and a service that comes and goes", async () => {
  await using origin = await startSimpleOrigin();
  const parts = (threads: number) => ({ origin: origin.address, server: { threads } });
  await using sluice = await startSluice({ config: marked("one", parts(1)), threads: null });
  const port = sluice.port();
  const second = freePort();
  const config = JSON.parse(marked("two", parts(2)));
  config.listeners.push({ name: "more", address: `127.0.0.1:${second}` });
  config.services[0].listeners = ["web"];
  config.services.push({
    name: "other",
    listeners: ["more"],
    routes: [{ rules: [{ respond: { status: 203, body: "other" } }] }],
  });
  assert.equal(await reload(sluice, JSON.stringify(config)), true);
  assert.equal((await rawRequest(second, get("/"))).status, 203);
  assert.equal(await mark(port), "two");
  assert.equal(await reload(sluice, marked("three", parts(1))), true);
  // The worker that is one too many, and those of the service that is no more.
  await sluice.waitForOutput(/Worker 1 of service main, which was replaced, has ended/);
  // They let go of the port in their own time.
  await eventually(
    () =>
      rawRequest(second, get("/")).then(() => false, (error) => /ECONNREFUSED/.test(String(error))),
    "the port to be closed",
    60_000,
  );
  assert.equal(await mark(port), "three");
  assert.equal(await sluice.stop(), 0);
});

for (const isolation of ["worker", "process"] as const) {
  Deno.test(`in isolation ${isolation}, plugins that have not changed keep their sandbox, and others get a fresh one`, () =>
    plugins(isolation));
}

async function plugins(isolation: "worker" | "process"): Promise<void> {
  await using origin = await startSimpleOrigin();
  const config = (use: unknown) =>
    configFile({
      origin: origin.address,
      plugins: { isolation },
      route: { plugins: [{ use: "who", with: use }] },
    });
  await using sluice = await startSluice({
    config: config({ a: 1 }),
    plugins: { "who.ts": WHO("1") },
    threads: 2,
  });
  const port = sluice.port();
  const first = await who(port);
  assert.deepEqual(first.config, { a: 1 });
  assert.equal(await reload(sluice), true);
  assert.equal((await who(port)).id, first.id);

  // Its file has changed.
  writePlugin(sluice, "who.ts", WHO("2"));
  assert.equal(await reload(sluice), true);
  const second = await who(port);
  assert.equal(second.version, "2");
  assert.notEqual(second.id, first.id);

  // Its config has changed.
  assert.equal(await reload(sluice, config({ a: 2 })), true);
  const third = await who(port);
  assert.deepEqual(third.config, { a: 2 });
  assert.notEqual(third.id, second.id);

  // It is broken: the one before goes on, and the place is told.
  writePlugin(sluice, "who.ts", "export default {{;");
  assert.equal(await reload(sluice), false);
  await sluice.waitForOutput(/who\.ts:1:\d+: error/);
  assert.equal((await who(port)).id, third.id);
}

Deno.test("a plugin that is added, replaced and removed under load fails no request", async () => {
  await using origin = await startSimpleOrigin();
  const without = configFile({ origin: origin.address });
  const using = configFile({
    origin: origin.address,
    plugins: {},
    route: { plugins: ["who"] },
  });
  await using sluice = await startSluice({
    config: without,
    plugins: { "who.ts": WHO("0") },
    threads: 2,
  });
  const port = sluice.port();
  let over = false;
  let answered = 0;
  const load = Array.from({ length: 8 }, async () => {
    await using client = await RawClient.connect(port);
    while (!over) {
      const answer = await client.request(get("/bytes/10"));
      assert.equal(answer.status, 200, answer.raw + text(answer));
      answered++;
    }
  });
  for (let i = 1; i <= 4; i++) {
    writePlugin(sluice, "who.ts", WHO(String(i)));
    assert.equal(await reload(sluice, using), true);
    assert.equal((await who(port)).version, String(i));
    if (i % 2 === 0) assert.equal(await reload(sluice, without), true);
  }
  over = true;
  await Promise.all(load);
  assert.ok(answered > 100, `${answered} answers`);
});

Deno.test("an inline plugin that has changed runs by its new code, in workers of its own", async () => {
  await using origin = await startSimpleOrigin();
  const config = configFile({
    origin: origin.address,
    plugins: { isolation: { who: "inline" }, trust: ["who"] },
    route: { plugins: ["who"] },
  });
  await using sluice = await startSluice({ config, plugins: { "who.ts": WHO("1") } });
  const first = await who(sluice.port());
  assert.equal(await reload(sluice), true);
  assert.equal((await who(sluice.port())).id, first.id);
  writePlugin(sluice, "who.ts", WHO("2"));
  assert.equal(await reload(sluice), true);
  assert.equal((await who(sluice.port())).version, "2");
});

Deno.test("a download that runs over a replaced worker arrives whole", async () => {
  let go = () => {};
  const gate = new Promise<void>((resolve) => go = resolve);
  await using slow = await startRawOrigin(async (connection) => {
    await connection.request();
    await connection.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst");
    await gate;
    await connection.send("last.");
    await connection.request();
    await connection.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    await connection.whenEnded();
  });
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({ config: marked("one", { origin: slow.address }) });
  await using client = await RawClient.connect(sluice.port());
  await client.send(get("/"));
  await client.takeUntil("first");
  assert.equal(await reload(sluice, marked("two", { origin: origin.address })), true);
  assert.equal(await mark(sluice.port()), "two");
  go();
  assert.equal(await client.takeUntil("last."), "last.");
  // Its head has promised that the connection goes on, and so it does, with the last word on the next request.
  assert.equal(field(await client.request(get("/")), "connection"), "close");
  // Nothing keeps the old worker after that.
  await sluice.waitForOutput(/which was replaced, has ended cut=0/, 40_000);
});

Deno.test("what was replaced is cut when its time is over", async () => {
  await using origin = await startSimpleOrigin();
  await using other = await startSimpleOrigin();
  const server = { retire_timeout: "300ms" };
  await using sluice = await startSluice({
    config: marked("one", { origin: origin.address, server }),
  });
  await using socket = await EchoSocket.open(sluice.port());
  assert.equal(await reload(sluice, marked("two", { origin: other.address, server })), true);
  await socket.whenEnded();
  await sluice.waitForOutput(/which was replaced, has ended cut=1/, 40_000);
});

Deno.test("no more replaced workers than allowed go on at a time", async () => {
  await using a = await startSimpleOrigin();
  await using b = await startSimpleOrigin();
  const config = (origin: string) => marked("x", { origin, server: { max_retired: 1 } });
  await using sluice = await startSluice({ config: config(a.address) });
  const port = sluice.port();
  await using first = await EchoSocket.open(port);
  assert.equal(await reload(sluice, config(b.address)), true);
  await using second = await EchoSocket.open(port);
  await first.echo("one is allowed");
  assert.equal(await reload(sluice, config(a.address)), true);
  await first.whenEnded();
  await second.echo("the younger one stays");
});

Deno.test("the address that a config with port 0 got stays through reloads", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({ config: marked("one", { origin: origin.address }) });
  const port = sluice.port();
  writeConfig(
    sluice,
    marked("two", { origin: origin.address, listener: { limits: { fields: 5 } } }),
  );
  assert.equal(await reload(sluice), true);
  const many = Object.fromEntries(Array.from({ length: 9 }, (_, i) => [`X-${i}`, "1"]));
  assert.equal((await rawRequest(port, get("/bytes/1", many))).status, 431);
  assert.equal(await mark(port), "two");
});

testWith(
  ["openssl", "curl"],
  "a listener shows another certificate and asks for other TLS after a reload, and its connections stay",
  async () => {
    await using origin = await startSimpleOrigin();
    using authority = new Authority();
    const [one, two] = [authority.sign("one.test"), authority.sign("two.test")];
    const config = (name: string, tls: Record<string, unknown> = {}) =>
      marked(name, {
        origin: origin.address,
        listener: {
          tls: {
            certificates: [{ cert: `${name}.pem`, key: `${name}.key` }],
            watch: false,
            ...tls,
          },
        },
      });
    await using sluice = await startSluice({
      config: config("one"),
      files: {
        ...{ "one.pem": one.cert, "one.key": one.key },
        ...{ "two.pem": two.cert, "two.key": two.key },
        "root.pem": authority.ca,
      },
      threads: 2,
    });
    const port = sluice.port();
    const ask = async (host: string, ...more: string[]) => {
      const { success, stdout } = await new Deno.Command("curl", {
        args: [
          ...["-s", "--cacert", `${sluice.directory}/root.pem`, "--max-time", "10", ...more],
          ...["--connect-to", `::127.0.0.1:${port}`, "-D", "-", `https://${host}/bytes/1`],
        ],
        stderr: "null",
      }).output();
      return success ? /x-mark: (\w+)/i.exec(new TextDecoder().decode(stdout))?.[1] : null;
    };
    assert.equal(await ask("one.test"), "one");
    // A connection of before, which is asked again after each reload.
    await using open = await Deno.connectTls({
      hostname: "127.0.0.1",
      port,
      caCerts: [authority.ca],
      unsafelyDisableHostnameVerification: true,
    });
    const again = async () => {
      await open.write(new TextEncoder().encode(get("/bytes/1", { Host: "one.test" })));
      const buffer = new Uint8Array(4096);
      return new TextDecoder().decode(buffer.subarray(0, await open.read(buffer) ?? 0));
    };
    assert.match(await again(), /X-Mark: one/i);
    assert.equal(await reload(sluice, config("two")), true);
    assert.equal(await ask("two.test"), "two");
    assert.equal(await ask("one.test"), null);
    assert.match(await again(), /^HTTP\/1\.1 (200|421) /);
    // Other versions take the other engine, and so another listener on the same queue.
    assert.equal(await reload(sluice, config("two", { min_version: "1.3" })), true);
    assert.equal(await ask("two.test"), "two");
    assert.equal(await ask("two.test", "--tls-max", "1.2"), null);
    // A pair that does not fit is refused as a whole.
    Deno.copyFileSync(`${sluice.directory}/one.key`, `${sluice.directory}/two.key`);
    assert.equal(await reload(sluice), false);
    assert.equal(await ask("two.test"), "two");
  },
);

Deno.test("the admin interface and the metrics move to where a reload puts them", async () => {
  await using origin = await startSimpleOrigin();
  const port = freePort();
  const config = (top: Record<string, unknown>) => configFile({ origin: origin.address, top });
  await using sluice = await startSluice({
    config: (directory) => config({ admin: { listen: `unix:${directory}/one.sock` } }),
  });
  const ask = async (path: string) =>
    (await rawRequest(
      { path: `${sluice.directory}/${path}` },
      get("/livez", { Host: "localhost" }),
    ))
      .status;
  assert.equal(await ask("one.sock"), 200);
  assert.equal(
    await reload(
      sluice,
      config({
        admin: { listen: `unix:${sluice.directory}/two.sock` },
        telemetry: { metrics: { listen: `127.0.0.1:${port}` } },
      }),
    ),
    true,
  );
  assert.equal(await ask("two.sock"), 200);
  await assert.rejects(ask("one.sock"));
  await rawRequest(sluice.port(), get("/bytes/1"));
  await eventually(async () =>
    /sluice_workers\{service="main"\} 1/.test(
      text(await rawRequest(port, get("/metrics", { Host: "localhost" }))),
    ), "the metrics");
});

Deno.test("endpoints that a plugin names go over to what the changed plugin names, without a gap", async () => {
  await using one = await startSimpleOrigin();
  await using two = await startSimpleOrigin();
  const finder = (address: string) =>
    `import { definePlugin } from "@sluice/plugin";
export default definePlugin({
  setup(env) { env.setEndpoints(["${address}"]); },
});
`;
  const config = (allow: string[]) =>
    configFile({
      route: { upstream: "found" },
      plugins: {},
      upstreams: [{ name: "found", discovery: { type: "plugin", plugin: "finder", allow } }],
    });
  await using sluice = await startSluice({
    config: config(["127.0.0.1"]),
    plugins: { "finder.ts": finder(one.address) },
  });
  const port = sluice.port();
  const path = "/bytes/1";
  assert.equal((await rawRequest(port, get(path))).status, 200);
  assert.equal(one.count(path), 1);
  let over = false;
  const load = (async () => {
    while (!over) assert.equal((await rawRequest(port, get("/bytes/2"))).status, 200);
  })();
  writePlugin(sluice, "finder.ts", finder(two.address));
  assert.equal(await reload(sluice), true);
  await eventually(async () => {
    await rawRequest(port, get(path));
    return two.count(path) > 0;
  }, "the endpoint of the changed plugin");
  // The upstream itself becomes another: its discovery begins anew, and is not empty meanwhile.
  assert.equal(await reload(sluice, config(["127.0.0.0/8"])), true);
  assert.equal((await rawRequest(port, get(path))).status, 200);
  over = true;
  await load;
});
