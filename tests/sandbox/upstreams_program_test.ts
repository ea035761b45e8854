/** What plugins say of upstreams, and are told of them, in the running program. */
import assert from "node:assert/strict";
import { configFile } from "../support/config.ts";
import { eventually } from "../support/deadline.ts";
import { text } from "../support/http_text.ts";
import { get, RawClient } from "../support/raw_client.ts";
import { freePort } from "../support/ports.ts";
import { response } from "../support/raw_origin.ts";
import { type SimpleOrigin, startSimpleOrigin } from "../support/simple_origin.ts";
import { type Sluice, startSluice } from "../support/sluice.ts";

type Isolation = "worker" | "process" | "inline";

const ALL: readonly Isolation[] = ["worker", "process", "inline"];

/** Names the endpoints that stand in a file beside it. */
const REGISTRY = `
import { definePlugin } from "@sluice/plugin";

const read = (env: { directory: string }) =>
  JSON.parse(Deno.readTextFileSync(env.directory + "/endpoints.json"));

export default definePlugin({
  tickInterval: "50ms",
  setup(env) {
    env.setEndpoints(read(env));
    return { directory: env.directory };
  },
  tick(ctx) {
    try {
      ctx.setEndpoints(read(ctx.state));
    } catch { /* The file is being written. */ }
  },
});
`;

const TELLER = `
import { definePlugin } from "@sluice/plugin";

export default definePlugin({
  upstreamHealth({ upstream, endpoint, kind, reason, at, worker }, ctx) {
    if (!(at > 1.7e12) || reason === "") throw new Error("not told when and why");
    ctx.log.info(\`told \${upstream} \${endpoint} \${kind} \${worker};\`);
  },
});
`;

/** An origin that answers its name, with a status that can be changed. */
interface Named {
  readonly origin: SimpleOrigin;
  status: number;
}

async function startNamed(stack: AsyncDisposableStack, name: string): Promise<Named> {
  const origin = await startSimpleOrigin({
    handler: () => Promise.resolve(response(name, {}, `${named.status} Said`)),
  });
  const named: Named = { origin: stack.use(origin), status: 200 };
  return named;
}

function levels(name: string, isolation: Isolation): Record<string, unknown> {
  return {
    isolation: { [name]: isolation },
    ...(isolation === "inline" ? { trust: [name] } : {}),
  };
}

async function ask(sluice: Sluice): Promise<string> {
  await using client = await RawClient.connect(sluice.port());
  return text(await client.request(get("/")));
}

/** How often a pattern stands in what the program has written. */
function count(sluice: Sluice, pattern: RegExp): number {
  return [...sluice.stderr().matchAll(new RegExp(pattern, "g"))].length;
}

for (const isolation of ALL) {
  Deno.test(`traffic follows the endpoints that a plugin in isolation "${isolation}" names in setup and in tick; a malformed list changes nothing`, async () => {
    await using stack = new AsyncDisposableStack();
    const { origin: a } = await startNamed(stack, "a");
    const { origin: b } = await startNamed(stack, "b");
    const sluice = stack.use(
      await startSluice({
        threads: 2,
        config: configFile({
          route: { upstream: "found" },
          plugins: levels("registry", isolation),
          upstreams: [{
            name: "found",
            discovery: { type: "plugin", plugin: "registry", allow: ["127.0.0.1"] },
          }],
        }),
        plugins: {
          "registry/mod.ts": REGISTRY,
          "registry/endpoints.json": JSON.stringify([a.address]),
        },
      }),
    );
    const name = (list: unknown) =>
      Deno.writeTextFile(
        `${sluice.directory}/plugins/registry/endpoints.json`,
        JSON.stringify(list),
      );
    const all = (name: string) =>
      eventually(async () => {
        // Both service workers are asked, as connections fall.
        for (let i = 0; i < 8; i++) if (await ask(sluice) !== name) return false;
        return true;
      }, `only ${name} to be asked:\n${sluice.stderr()}`);

    if (isolation === "inline") await all("a");
    else for (let i = 0; i < 8; i++) assert.equal(await ask(sluice), "a");

    await name([{ address: b.address, weight: 2, labels: { zone: "b" } }]);
    await all("b");

    await name([a.address, { address: b.address, "{wieght}": 1 }]);
    await sluice.waitForOutput(
      /Discovery of upstream found fails: .*Plugin "registry": entry 2: there is no key "\{wieght\}".*its 1 endpoints stay/,
    );
    for (let i = 0; i < 8; i++) assert.equal(await ask(sluice), "b");

    await name([a.address]);
    await sluice.waitForOutput(/Discovery of upstream found works again/);
    await all("a");
    assert.equal(count(sluice, /Discovery of upstream found fails/), 1);
    assert.equal(await sluice.stop(), 0);
  });

  Deno.test(`what active checks find is told to a plugin in isolation "${isolation}" once, however many threads there are`, async () => {
    await using stack = new AsyncDisposableStack();
    const a = await startNamed(stack, "a");
    const b = await startNamed(stack, "b");
    const sluice = stack.use(
      await startSluice({
        threads: 2,
        config: configFile({
          route: { upstream: "app" },
          plugins: levels("teller", isolation),
          upstreams: [{
            name: "app",
            endpoints: [a.origin.address, b.origin.address],
            health_check: {
              active: { interval: "1s", timeout: "1s", healthy: 1, unhealthy: 1 },
            },
          }],
        }),
        plugins: { "teller.ts": TELLER },
      }),
    );
    const told = (kind: string) => new RegExp(`told app ${b.origin.address} ${kind} null;`);
    b.status = 503;
    await sluice.waitForOutput(told("unhealthy"));
    b.status = 200;
    await sluice.waitForOutput(told("healthy"));
    assert.equal(await sluice.stop(), 0);
    // A machine that stands still makes checks fail by itself; but what is told once has its opposite told next.
    for (const { address } of [a.origin, b.origin]) {
      const kinds = [
        ...sluice.stderr().matchAll(new RegExp(`told app ${address} (\\w+) null;`, "g")),
      ]
        .map(([, kind]) => kind);
      assert.deepEqual(kinds, kinds.map((_, i) => i % 2 === 0 ? "unhealthy" : "healthy"), address);
    }
    assert.doesNotMatch(sluice.stderr(), /told \S+ \S+ \S+ (?!null)/);
  });

  Deno.test(`a plugin in isolation "${isolation}" is told of an ejection and its end by the service worker that ejects`, async () => {
    await using stack = new AsyncDisposableStack();
    const a = await startNamed(stack, "a");
    const b = await startNamed(stack, "b");
    const sluice = stack.use(
      await startSluice({
        config: configFile({
          route: { upstream: "app" },
          plugins: levels("teller", isolation),
          upstreams: [{
            name: "app",
            endpoints: [a.origin.address, b.origin.address],
            health_check: {
              passive: { consecutive_failures: 2, statuses: ["5xx"], eject: "1s" },
            },
          }],
        }),
        plugins: { "teller.ts": TELLER },
      }),
    );
    b.status = 500;
    for (let i = 0; i < 8; i++) await ask(sluice);
    await sluice.waitForOutput(new RegExp(`told app ${b.origin.address} ejected main-0;`));
    b.status = 200;
    await sluice.waitForOutput(new RegExp(`told app ${b.origin.address} returned main-0;`));
    assert.equal(await sluice.stop(), 0);
    assert.equal(count(sluice, /told /), 2);
  });
}

Deno.test("a plugin that names endpoints although no upstream asks for them is warned once", async () => {
  await using stack = new AsyncDisposableStack();
  const { origin } = await startNamed(stack, "a");
  const sluice = stack.use(
    await startSluice({
      config: configFile({ origin: origin.address, plugins: {} }),
      plugins: {
        "registry.ts": `export default {
          tickInterval: "20ms",
          setup(env) { env.setEndpoints([]); return { n: 0 }; },
          tick(ctx) {
            ctx.setEndpoints([]);
            if (++ctx.state.n === 20) ctx.log.info("often enough");
          },
        };`,
      },
    }),
  );
  await sluice.waitForOutput(/often enough/);
  assert.equal(await ask(sluice), "a");
  assert.equal(
    count(
      sluice,
      /Plugin registry names endpoints, but no upstream has "type: plugin" and "plugin: registry" in its discovery/,
    ),
    1,
  );
});

Deno.test("one plugin may find the endpoints of several upstreams", async () => {
  await using stack = new AsyncDisposableStack();
  const { origin } = await startNamed(stack, "a");
  const discovery = { type: "plugin", plugin: "registry", allow: ["127.0.0.1"] };
  const sluice = stack.use(
    await startSluice({
      config: configFile({
        route: { upstream: "one" },
        plugins: {},
        upstreams: [{ name: "one", discovery }, { name: "two", discovery }],
      }),
      plugins: {
        "registry.ts": `export default {
          setup(env) { env.setEndpoints(["${origin.address}"]); },
          upstreamPeer: (session) => session.request.path === "/two" ? "two" : undefined,
        };`,
      },
    }),
  );
  await using client = await RawClient.connect(sluice.port());
  for (const path of ["/one", "/two"]) assert.equal(text(await client.request(get(path))), "a");
});

Deno.test("what a plugin logs and a client asks for stands in the log as it was, braces and all", async () => {
  const sluice = await startSluice({
    config: configFile({ origin: `127.0.0.1:${freePort()}`, plugins: {} }),
    plugins: {
      "teller.ts":
        'export default { setup(env) { env.log.info(JSON.stringify({ a: {}, plugin: "{b}" }) + " {{c}}"); } };',
    },
  });
  await using _running = sluice;
  await sluice.waitForOutput(/: \{"a":\{\},"plugin":"\{b\}"\} \{\{c\}\}\n/);
  await using client = await RawClient.connect(sluice.port());
  await client.request(get("/{request_id}"));
  await sluice.waitForOutput(/Request failed: GET \/\{request_id\},/);
});

/** A plugin that the manual shows, with other addresses and at another pace. */
async function shown(
  name: string,
  changes: readonly (readonly [string, string])[],
): Promise<string> {
  const page = await Deno.readTextFile(new URL("../../docs/plugins.md", import.meta.url));
  const found = [...page.matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map(([, text]) => text!)
    .find((text) => text.includes(`name: "${name}"`));
  assert.ok(found !== undefined, `docs/plugins.md shows no plugin ${name}`);
  return changes.reduce((text, [from, to]) => {
    assert.ok(text.includes(from), `plugin ${name} has no ${from}`);
    return text.replaceAll(from, to);
  }, found);
}

Deno.test("the plugins of the manual that find endpoints and tell of their health do what it says", async () => {
  await using stack = new AsyncDisposableStack();
  const a = await startNamed(stack, "a");
  const b = await startNamed(stack, "b");
  const alerts: string[] = [];
  let instances = [a];
  const hub = stack.adopt(
    Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, async (request) => {
      if (request.method === "GET") {
        return Response.json(
          instances.map(({ origin }) => ({ host: "127.0.0.1", port: origin.port, zone: "x" })),
        );
      }
      alerts.push((await request.json()).text);
      return new Response(null, { status: 204 });
    }),
    (server) => server.shutdown(),
  );
  const address = `127.0.0.1:${hub.addr.port}`;
  const sluice = stack.use(
    await startSluice({
      config: configFile({
        route: { upstream: "app" },
        plugins: { grant: { registry: { net: [address] }, "tell-oncall": { net: [address] } } },
        upstreams: [{
          name: "app",
          discovery: { type: "plugin", plugin: "registry", allow: ["127.0.0.0/8"] },
          health_check: {
            active: { interval: "1s", timeout: "1s", healthy: 1, unhealthy: 1 },
          },
        }],
      }),
      plugins: {
        "registry.ts": await shown("registry", [["127.0.0.1:8500", address], ['"5s"', '"50ms"']]),
        "tell-oncall.ts": await shown("tell-oncall", [["127.0.0.1:9100", address]]),
      },
    }),
  );
  assert.equal(await ask(sluice), "a");
  instances = [b];
  await eventually(async () => await ask(sluice) === "b", "b to be asked");
  b.status = 503;
  const alert = new RegExp(`^app: ${b.origin.address} is unhealthy: .*503`);
  await eventually(
    () => alerts.some((text) => alert.test(text)),
    () => `an alert, got ${alerts}:\n${sluice.stderr()}`,
  );
});
