import assert from "node:assert/strict";
import { PluginLoadError } from "../../src/sandbox/load_error.ts";
import { findPlugins, inspectPlugin, inspectPlugins } from "../../src/sandbox/loader.ts";
import type { PluginSpec } from "../../src/sandbox/spec.ts";
import { type Isolation, SANDBOXES, specOf, start } from "./support.ts";

/** A directory with files, removed in the end. */
async function tree(
  files: Readonly<Record<string, string>>,
): Promise<AsyncDisposable & { path: string }> {
  const path = await Deno.realPath(await Deno.makeTempDir());
  for (const [name, text] of Object.entries(files)) {
    const file = `${path}/${name}`;
    await Deno.mkdir(file.slice(0, file.lastIndexOf("/")), { recursive: true });
    await Deno.writeTextFile(file, text);
  }
  return { path, [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }) };
}

async function failure(work: Promise<unknown>): Promise<PluginLoadError> {
  try {
    await work;
  } catch (error) {
    assert.ok(error instanceof PluginLoadError, String(error));
    return error;
  }
  throw new Error("it was loaded");
}

const PLAIN = "export default { requestFilter() {} };\n";

Deno.test("findPlugins() takes files and folders in the order of their names, and no tests or hidden ones", async () => {
  await using dir = await tree({
    "b.ts": PLAIN,
    "a/mod.ts": PLAIN,
    "c.js": PLAIN,
    "d/mod.js": PLAIN,
    "b_test.ts": "",
    "_x.ts": "",
    ".y.ts": "",
    "z.d.ts": "",
    "read.me": "",
    "empty/other.ts": "",
  });
  assert.deepEqual(
    (await findPlugins(dir.path)).map(({ name, root }) => [name, root.slice(dir.path.length)]),
    [["a", "/a"], ["b", "/b.ts"], ["c", "/c.js"], ["d", "/d"]],
  );
});

Deno.test("findPlugins() refuses links that lead out, twins, and a directory that is not there", async () => {
  await using outside = await tree({ "p.ts": PLAIN });
  await using dir = await tree({ "a.ts": PLAIN });
  await Deno.symlink(`${outside.path}/p.ts`, `${dir.path}/p.ts`);
  assert.match((await failure(findPlugins(dir.path))).message, /"p\.ts" is a link that leads out/);
  await using twins = await tree({ "a.ts": PLAIN, "a/mod.ts": PLAIN });
  assert.match((await failure(findPlugins(twins.path))).message, /two plugins are named "a"/);
  assert.match(
    (await failure(findPlugins(`${dir.path}/nope`))).message,
    /cannot read the plugin directory/,
  );
});

Deno.test("a link inside of a plugin's folder that leads out stops the load", async () => {
  await using dir = await tree({ "p/mod.ts": PLAIN });
  await Deno.symlink("/etc/hostname", `${dir.path}/p/data.txt`);
  const error = await failure(inspectPlugin(specOf(`${dir.path}/p/mod.ts`, "worker")));
  assert.match(error.message, /leads out of it, to \/etc\/hostname/);
  assert.equal(error.file, `${dir.path}/p/data.txt`);
});

for (
  const [what, source] of [
    ["a plugin", "for (;;);"],
    ["a plugin's set-up", "export default { setup() { for (;;); } };"],
  ] as const
) {
  Deno.test(`${what} that does not end is given up after load_timeout, with what to do`, async () => {
    await using dir = await tree({ "slow.js": source });
    const spec = specOf(`${dir.path}/slow.js`, "worker", { loadTimeout: 1_500 });
    const error = await failure(start([spec]));
    assert.match(error.message, /did not finish loading within 1.5 s/);
    assert.match(error.remedy, /raise plugins\.load_timeout/);
  });
}

Deno.test("inspectPlugin() says what a plugin is", async () => {
  const manifest = await inspectPlugin(specOf("good.ts", "worker"));
  assert.equal(manifest.name, "good");
  assert.equal(manifest.version, "1.2.3");
  assert.equal(manifest.phases[0], "connectionFilter");
  assert.deepEqual(manifest.match, { path: "/*" });
  assert.deepEqual(manifest.matchHooks, { logging: { method: "GET" } });
  assert.deepEqual(manifest.limits, { timeout: 5000, heap: 48 << 20, concurrency: 200 });
  assert.equal(manifest.onError, "fail_open");
  assert.equal(manifest.hasConfigSchema, true);
});

for (
  const [what, source, message, remedy] of [
    [
      "an unknown hook",
      "export default { requestFliter() {} };",
      /unknown property "requestFliter" - did you mean "requestFilter"\?/,
      /hooks/,
    ],
    [
      "an unknown property",
      "export default { permission: {} };",
      /unknown property "permission" - did you mean "permissions"\?/,
      /head/,
    ],
    [
      "a hook that is no function",
      "export default { logging: true };",
      /"logging" must be a function, found a boolean/,
      /^/,
    ],
    ["no default export", "export const plugin = {};", /no default export/, /definePlugin/],
    [
      "a function for a plugin",
      "export default () => {};",
      /is a function, not a plugin/,
      /definePlugin/,
    ],
    [
      "a bad name",
      "export default { name: 'No Good' };",
      /"name" must be lower-case letters/,
      /geo-block/,
    ],
    [
      "an unknown permission",
      "export default { permissions: { run: true } };",
      /unknown permission "run"/,
      /nothing else is ever granted/,
    ],
    [
      "a permission that is text",
      "export default { permissions: { net: 'a:1' } };",
      /"permissions\.net" must be a list of texts/,
      /^/,
    ],
    [
      "a bad match",
      "export default { match: { path: 'x' } };",
      /"match\.path".*must begin with "\/"/,
      /^/,
    ],
    [
      "an unknown part of a match",
      "export default { match: { pth: '/' } };",
      /"match\.pth" - did you mean "path"\?/,
      /^/,
    ],
    [
      "a match for a hook it has not",
      "export default { matchHooks: { logging: {} } };",
      /"matchHooks\.logging" is for no hook/,
      /^/,
    ],
    [
      "a bad time",
      "export default { limits: { timeout: 50 } };",
      /"limits\.timeout" must be a time like "50ms"/,
      /^/,
    ],
    ["a tiny heap", "export default { limits: { heap: '1MiB' } };", /at least 8MiB/, /^/],
    [
      "a bad policy",
      "export default { onError: 'open' };",
      /"onError" must be "fail_closed" or "fail_open"/,
      /^/,
    ],
    [
      "a config that is no schema",
      "export default { config: { type: 'object' } };",
      /"config" is not a schema/,
      /Standard Schema/,
    ],
    [
      "a permission that is a function",
      "export default { permissions: { net: () => 1 } };",
      /"permissions" is not plain data/,
      /^/,
    ],
  ] as const
) {
  Deno.test(`a plugin with ${what} is refused`, async () => {
    await using dir = await tree({ "p.ts": source });
    const error = await failure(inspectPlugin(specOf(`${dir.path}/p.ts`, "process")));
    assert.match(error.message, message);
    assert.match(error.remedy, remedy);
    assert.equal(error.file, `${dir.path}/p.ts`);
  });
}

for (const isolation of SANDBOXES) {
  for (
    const [what, source, message, at] of [
      ["a syntax error", "export default {};\nconst x = ;\n", /Expression expected/, "2:11"],
      ["a missing module", '\nimport "./nope.ts";\n', /module not found/i, "2:8"],
      [
        "a throw at the top",
        "export default {};\n\nthrow new Error('no luck');\n",
        /no luck/,
        "3:7",
      ],
      [
        "text from outside",
        'import x from "/etc/hostname" with { type: "text" };\nexport default { x };\n',
        /no read access to \/etc\/hostname/,
        "1:15",
      ],
      [
        "JSON from outside",
        'import x from "../secret.json" with { type: "json" };\nexport default { x };\n',
        /no read access to .*secret\.json/,
        "1:15",
      ],
      [
        "TypeScript from outside",
        'import "../secret.ts";\n',
        /no read access to .*secret\.ts/,
        "1:8",
      ],
      [
        "a remote module",
        'import "http://127.0.0.1:9/x.ts";\n',
        /no import access to 127\.0\.0\.1:9|must not import "http:/,
        "",
      ],
      ["a data: module", 'import "data:text/javascript,export{}";\n', /must not import "data:/, ""],
      ["a blob: module", 'import "blob:null/0";\n', /blob:/, ""],
      [
        "sockets by number",
        'import net from "node:net";\nexport default { net };\n',
        /must not import "node:net"/,
        "",
      ],
      [
        "the process",
        'import p from "node:process";\np.kill(p.pid);\n',
        /must not import "node:process"/,
        "",
      ],
      ["threads", 'import "node:worker_threads";\n', /must not import "node:worker_threads"/, ""],
      ["children", 'import "node:child_process";\n', /must not import "node:child_process"/, ""],
      ["flags of V8", 'import "node:v8";\n', /must not import "node:v8"/, ""],
      ["a built-in by a file of its own", 'import "./lib.ts";\n', /must not import "node:vm"/, ""],
    ] as const
  ) {
    Deno.test(`in isolation "${isolation}", a plugin that imports or is ${what} does not load, and runs nothing`, async () => {
      await using dir = await tree({
        "p/mod.ts": source,
        "p/lib.ts": 'import "node:vm";\n',
        "secret.json": "{}",
        "secret.ts": "export {};",
      });
      const error = await failure(inspectPlugin(specOf(`${dir.path}/p/mod.ts`, isolation)));
      assert.match(error.message, message);
      if (at !== "") assert.equal(error.location, `${dir.path}/p/mod.ts:${at}`);
    });
  }

  Deno.test(`in isolation "${isolation}", a plugin anywhere may use the door, zod, its own files and what is granted`, async () => {
    await using dir = await tree({
      "p/mod.ts": `
        import { definePlugin } from "@sluice/plugin";
        import { z } from "zod";
        import data from "./data.json" with { type: "json" };
        import { help } from "./lib/help.ts";
        export default definePlugin({
          permissions: { read: ["../shared"], env: ["SLUICE_TEST"] },
          config: z.object({ level: z.number() }),
          setup: (env) => ({ shared: Deno.readTextFileSync(env.directory + "/../shared/a.txt") }),
          requestSummary: (_s, ctx) =>
            [data.a, help(), ctx.config.level, ctx.state.shared, Deno.env.get("SLUICE_TEST")].join(" "),
        });`,
      "p/data.json": '{"a": "json"}',
      "p/lib/help.ts": 'export const help = (): string => "help";',
      "shared/a.txt": "shared",
    });
    Deno.env.set("SLUICE_TEST", "set");
    const file = `${dir.path}/p/mod.ts`;
    const uses = [{ config: { level: 3 }, source: null }];
    const grant = { read: ["../shared"], env: ["SLUICE_TEST"] };
    await using bench = await start([specOf(file, isolation, { uses, grant })]);
    const { FakeSession } = await import("../support/fake_session.ts");
    assert.equal(
      await bench.handler().call("requestSummary", new FakeSession()),
      "json help 3 shared set",
    );
  });

  Deno.test(`in isolation "${isolation}", a bad configuration is told with its place, before anything runs`, async () => {
    const source = { file: "sluice.yaml", line: 7, column: 9 };
    const uses = [{ config: { greeting: 1, limit: "x" }, source }];
    const error = await failure(start([specOf("good.ts", isolation, { uses })]));
    assert.match(
      error.message,
      /plugin "good": its configuration is not valid: greeting: .*; limit: /,
    );
    assert.equal(error.location, "sluice.yaml:7:9");
  });

  Deno.test(`in isolation "${isolation}", a throw in setup is told with its place`, async () => {
    await using dir = await tree({
      "p.ts": "export default {\n  setup() {\n    throw new Error('no database');\n  },\n};\n",
    });
    const error = await failure(start([specOf(`${dir.path}/p.ts`, isolation)]));
    assert.match(error.message, /setup failed: Error: no database/);
    assert.equal(error.location, `${dir.path}/p.ts:3:11`);
  });
}

Deno.test("a right that was not granted stops the load, and what to add is said", async () => {
  await using dir = await tree({
    "p.ts":
      'export default { permissions: { net: ["a.example:443", "b.example"], read: ["./x"] } };',
  });
  const load = async (grant: PluginSpec["grant"], isolation: Isolation = "process") => {
    const [one] = await inspectPlugins([specOf(`${dir.path}/p.ts`, isolation, { grant })]);
    return one!.error;
  };
  const error = await load({ net: ["a.example"] });
  assert.match(error!.message, /net \(b\.example\) and read \(\.\/x\)/);
  assert.match(
    error!.remedy,
    /plugins:\n {2}grant:\n {4}p:\n {6}net: \["b\.example"\]\n {6}read: \["\.\/x"\]$/,
  );
  assert.equal(await load({ net: ["*.example"], read: [dir.path] }), null);
  assert.equal(await load({ net: true, read: true }), null);
  assert.equal(await load("as-requested"), null);
});
