/** What README, docs and doc comments show does work. */
import assert from "node:assert/strict";
import { dirname, join } from "node:path";
import { parse } from "yaml";
import { serveOrigin } from "../support/first_party.ts";
import { runSluice, startSluice } from "../support/sluice.ts";

const ROOT = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");
const PAGES = [
  "README.md",
  "CHANGELOG.md",
  "docs/README.md",
  "docs/config.md",
  "docs/http2.md",
  "docs/lifecycle.md",
  "docs/metrics.md",
  "docs/operations.md",
  "docs/performance.md",
  "docs/phases.md",
  "docs/plugins.md",
  "docs/protocols.md",
  "docs/security.md",
  "docs/tls.md",
  "docs/upstreams.md",
  "examples/quickstart/README.md",
  "examples/failover/README.md",
  "examples/load-balancing/README.md",
  "examples/grpc/README.md",
  "examples/tls/README.md",
  "examples/deployment/README.md",
];

function read(path: string): Promise<string> {
  return Deno.readTextFile(join(ROOT, path));
}

/** The blocks of one language. */
function blocks(markdown: string, language: string): string[] {
  return [...markdown.matchAll(/^```(\w+)[^\n]*\n([\s\S]*?)^```$/gm)]
    .filter((found) => found[1] === language)
    .map((found) => found[2]!);
}

/** The plugins that a page shows, by file name. */
async function shownPlugins(page: string): Promise<Record<string, string>> {
  const files: Record<string, string> = {};
  for (const [i, text] of blocks(await read(page), "ts").entries()) {
    const name = /^ {2}name: "([^"]+)"/m.exec(text)?.[1] ?? `plugin-${i}`;
    files[`${name}.ts`] = text;
  }
  return files;
}

for (const page of ["README.md", "docs/plugins.md", "docs/tls.md", "docs/upstreams.md"]) {
  Deno.test(`the plugins that ${page} shows have the right types and can be loaded`, async () => {
    const plugins = await shownPlugins(page);
    const names = Object.keys(plugins);
    assert.ok(names.length > 0);
    const directory = await Deno.makeTempDir();
    try {
      for (const name of names) await Deno.writeTextFile(join(directory, name), plugins[name]!);
      const { code, stderr } = await new Deno.Command(Deno.execPath(), {
        args: [
          "check",
          "--config",
          join(ROOT, "deno.json"),
          ...names.map((n) => join(directory, n)),
        ],
        env: { NO_COLOR: "1" },
      }).output();
      assert.equal(code, 0, new TextDecoder().decode(stderr));
    } finally {
      await Deno.remove(directory, { recursive: true });
    }
    const listed = await runSluice(["plugin", "list", "--plugins", "plugins"], { plugins });
    assert.equal(listed.code, 0, listed.stderr);
    for (const name of names) assert.ok(listed.stdout.includes(name), listed.stdout);
  });
}

Deno.test("the first plugin of the README does what the README says", async () => {
  await using origin = serveOrigin(() => new Response("from the origin"));
  const [text] = Object.values(await shownPlugins("README.md"));
  await using sluice = await startSluice({
    plugins: { "hello.ts": text! },
    upstream: `http://127.0.0.1:${origin.port}`,
  });
  const answered = await fetch(`${sluice.url}/hello`);
  assert.equal(await answered.text(), "Hello, 127.0.0.1.\n");
  const passed = await fetch(`${sluice.url}/echo`);
  assert.equal(await passed.text(), "from the origin");
  assert.equal(passed.headers.get("x-hello"), "world");
});

Deno.test("the YAML in the doc comment of each plugin fits its schema", async () => {
  let count = 0;
  for await (const { name, isDirectory } of Deno.readDir(join(ROOT, "plugins"))) {
    if (!isDirectory) continue;
    count++;
    const comment = (await read(`plugins/${name}/mod.ts`)).replace(/^ \* ?/gm, "");
    const [yaml] = blocks(comment.slice(0, comment.indexOf("*/")), "yaml");
    assert.ok(yaml !== undefined, `plugins/${name}/mod.ts shows no YAML`);
    const hash = `$pbkdf2-sha256$i=600000$${"A".repeat(22)}$${"A".repeat(43)}`;
    const { plugins } = parse(yaml.replace(/\$\{file:[^}]*\}/g, hash));
    assert.equal(plugins[0].use, name);
    const { default: plugin } = await import(join(ROOT, "plugins", name, "mod.ts"));
    assert.equal(plugin.name, name);
    for (const config of [plugins[0].with, {}]) {
      const { issues } = await plugin.config["~standard"].validate(config);
      assert.equal(issues, undefined, `${name}: ${JSON.stringify(issues)}`);
    }
  }
  assert.ok(count >= 6);
});

for (const page of PAGES) {
  Deno.test(`the links of ${page} lead somewhere`, async () => {
    const text = (await read(page)).replace(/^```[\s\S]*?^```$/gm, "");
    for (const [, target] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target!) || target!.startsWith("#")) continue;
      const path = join(dirname(page), target!.split("#")[0]!);
      await assert.doesNotReject(Deno.stat(join(ROOT, path)), `${page} links to ${path}`);
    }
  });
}
