/** Starting and checking: exit codes, and one clear message with file and line for whatever is wrong. */
import assert from "node:assert/strict";
import { configFile } from "../support/config.ts";
import { text } from "../support/http_text.ts";
import { get, rawRequest } from "../support/raw_client.ts";
import { freePort } from "../support/ports.ts";
import { startSimpleOrigin } from "../support/simple_origin.ts";
import {
  runSluice,
  type SluiceOptions,
  type SluiceResult,
  type SluiceStartError,
  startSluice,
} from "../support/sluice.ts";

const GOOD = configFile({ origin: "127.0.0.1:1", plugins: {} });
const HELLO = `import { definePlugin } from "@sluice/plugin";

export default definePlugin({
  requestFilter(session) {
    if (session.request.path === "/hello") return session.respond(200, "Hello.\\n");
  },
});
`;

/** Runs `check`, and `run` as well, because what check refuses must not start. */
async function refusal(
  plugins: Record<string, string>,
  config: string = GOOD,
): Promise<SluiceResult> {
  const checked = await runSluice(["check", "-c", "sluice.yaml"], { config, plugins });
  assert.equal(checked.code, 78, checked.stdout + checked.stderr);
  const started = await runSluice(["run", "-c", "sluice.yaml"], { config, plugins });
  assert.equal(started.code, 78, started.stdout + started.stderr);
  assert.doesNotMatch(started.stderr, /ready on/);
  assert.doesNotMatch(started.stderr, /^\s+at .*\/src\//m, "a stack trace is not a message");
  return { ...checked, stderr: checked.stderr + started.stderr };
}

Deno.test("check accepts a good config, says what it found, and binds nothing", async () => {
  const taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = taken.addr as Deno.NetAddr;
  try {
    const config = configFile({
      origin: "127.0.0.1:1",
      listener: { address: `127.0.0.1:${port}` },
      plugins: {},
    });
    const { code, stdout, stderr } = await runSluice(["check", "-c", "sluice.yaml"], {
      config,
      plugins: { "hello.ts": HELLO },
    });
    assert.equal(code, 0, stderr);
    assert.match(stdout, /hello/);
    assert.match(stdout, /requestFilter/);
  } finally {
    taken.close();
  }
});

Deno.test("an unknown key is refused with file, line, column and a suggestion, exit code 78", async () => {
  const config = 'version: 1\nlisteners:\n  - { name: web, adress: "127.0.0.1:0" }\nservices: []\n';
  const { stderr } = await refusal({}, config);
  assert.match(stderr, /sluice\.yaml:3:\d+: error: .*adress/);
  assert.match(stderr, /address/);
});

Deno.test("all that is wrong with a config is told at once", async () => {
  const config = `version: 2
listeners:
  - { name: web, address: "127.0.0.1:99999" }
services:
  - name: main
    routes: [{ id: a, upstream: nowhere }]
`;
  const { stderr } = await refusal({}, config);
  for (const line of [1, 3]) assert.match(stderr, new RegExp(`sluice\\.yaml:${line}:`));
});

Deno.test("YAML that cannot be read is refused with its line", async () => {
  const { stderr } = await refusal({}, "version: 1\nlisteners: [\n");
  assert.match(stderr, /sluice\.yaml:\d+:\d+: error/);
});

Deno.test("a config that does not exist is refused by name", async () => {
  const { code, stderr } = await runSluice(["run", "-c", "missing.yaml"]);
  assert.equal(code, 78);
  assert.match(stderr, /missing\.yaml/);
});

Deno.test("a plugin with a syntax error is refused with its file and line", async () => {
  const { stderr } = await refusal({
    "broken.ts":
      'import { definePlugin } from "@sluice/plugin";\n\nexport default definePlugin({\n  name: "broken",,\n});\n',
  });
  assert.match(stderr, /plugins\/broken\.ts:4/);
});

Deno.test("a hook that does not exist is refused with its name and the right one", async () => {
  const { stderr } = await refusal({
    "typo.ts": `import { definePlugin } from "@sluice/plugin";
export default definePlugin({
  requestFliter() {},
} as Record<string, unknown>);
`,
  });
  assert.match(stderr, /plugins\/typo\.ts/);
  assert.match(stderr, /requestFliter/);
  assert.match(stderr, /requestFilter/);
});

Deno.test("a right that was not granted is refused, with the YAML that would grant it", async () => {
  const plugins = {
    "asker.ts": `import { definePlugin } from "@sluice/plugin";
export default definePlugin({
  permissions: { net: ["geo.internal:443"] },
  requestFilter() {},
});
`,
  };
  const { stderr } = await refusal(plugins);
  assert.match(stderr, /asker/);
  assert.match(stderr, /geo\.internal:443/);
  assert.match(stderr, /grant/);
  const granted = configFile({
    origin: "127.0.0.1:1",
    plugins: { grant: { asker: { net: ["geo.internal:443"] } } },
  });
  const { code, stdout } = await runSluice(["check", "-c", "sluice.yaml"], {
    config: granted,
    plugins,
  });
  assert.equal(code, 0, stdout);
  assert.match(stdout, /geo\.internal:443/);
});

Deno.test("a plugin config that its schema refuses is told with the line in the YAML", async () => {
  const config = `version: 1
listeners: [{ name: web, address: "127.0.0.1:0" }]
services:
  - name: main
    routes:
      - id: all
        upstream: origin
        plugins:
          - use: picky
            with: { size: large }
upstreams: [{ name: origin, endpoints: ["127.0.0.1:1"] }]
plugins: { directory: ./plugins }
`;
  const { stderr } = await refusal({
    "picky.ts": `import { definePlugin } from "@sluice/plugin";
import { z } from "zod";
export default definePlugin({
  config: z.object({ size: z.number() }),
  requestFilter() {},
});
`,
  }, config);
  assert.match(stderr, /sluice\.yaml:(9|10)/);
  assert.match(stderr, /size/);
});

Deno.test("a plugin that throws in setup is refused with what it said", async () => {
  const { stderr } = await refusal({
    "sad.ts": `import { definePlugin } from "@sluice/plugin";
export default definePlugin({
  setup() { throw new Error("no licence key"); },
  requestFilter() {},
});
`,
  });
  assert.match(stderr, /sad/);
  assert.match(stderr, /no licence key/);
});

Deno.test("a plugin file without a default export is refused", async () => {
  const { stderr } = await refusal({ "empty.ts": "export const nothing = 1;\n" });
  assert.match(stderr, /plugins\/empty\.ts/);
  assert.match(stderr, /default/);
});

Deno.test("a route that names a plugin nobody has is refused with its line", async () => {
  const config = configFile({
    origin: "127.0.0.1:1",
    route: { plugins: ["helo"] },
    plugins: {},
  });
  const { stderr } = await refusal({ "hello.ts": HELLO }, config);
  assert.match(stderr, /sluice\.yaml:\d+:\d+: error.*helo/);
  assert.match(stderr, /hello/);
});

Deno.test("a wrong flag is a usage error, exit code 2", async () => {
  for (
    const args of [
      ["run", "--no-such-flag"],
      ["run", "--listen", "nonsense", "--upstream", "http://127.0.0.1:1"],
      ["run", "--listen", "127.0.0.1:0", "--upstream", "ftp://127.0.0.1:1"],
      ["no-such-verb"],
      ["run", "-c", "a.yaml", "--upstream", "http://127.0.0.1:1"],
    ]
  ) {
    const { code, stderr } = await runSluice(args);
    assert.equal(code, 2, `${args}: ${stderr}`);
    assert.ok(stderr.length > 0, `${args}`);
  }
});

Deno.test("a port that is taken is a run-time error, exit code 1, and names the port", async () => {
  const taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = taken.addr as Deno.NetAddr;
  try {
    const { code, stderr } = await runSluice(
      ["run", "--listen", `127.0.0.1:${port}`, "--upstream", "http://127.0.0.1:1"],
    );
    assert.equal(code, 1, stderr);
    assert.match(stderr, new RegExp(`127\\.0\\.0\\.1:${port}`));
  } finally {
    taken.close();
  }
});

Deno.test("a pid file of a process that runs is refused, and one that was left behind is not", async () => {
  const folder = await Deno.makeTempDir();
  const pidFile = `${folder}/sluice.pid`;
  const options: SluiceOptions = {
    config: configFile({ origin: "127.0.0.1:1", server: { pid_file: pidFile } }),
  };
  const pid = () => Number(Deno.readTextFileSync(pidFile));
  try {
    {
      await using first = await startSluice(options);
      assert.equal(pid(), first.pid);
      await assert.rejects(startSluice(options), (error: SluiceStartError) => {
        assert.equal(error.code, 1);
        assert.match(error.output, new RegExp(`sluice\\.pid .* process ${first.pid}, which runs`));
        return true;
      });
      assert.equal(pid(), first.pid);
      await first.kill();
    }
    // This test runs, and has nothing to do with it.
    Deno.writeTextFileSync(pidFile, `${Deno.pid}\n`);
    await using second = await startSluice(options);
    assert.equal(pid(), second.pid);
    assert.equal(await second.stop(), 0);
    assert.throws(() => Deno.statSync(pidFile), Deno.errors.NotFound);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("--help of every verb exits 0 and shows an example", async () => {
  for (const verb of [[], ["run"], ["check"], ["route"], ["config"], ["plugin"], ["demo"]]) {
    const { code, stdout } = await runSluice([...verb, "--help"]);
    assert.equal(code, 0, verb.join(" "));
    assert.match(stdout, /Usage/);
  }
});

Deno.test("a plugin dropped into the folder acts at the next start, wherever the folder is", async () => {
  await using sluice = await startSluice({
    upstream: `http://127.0.0.1:${freePort()}`,
    plugins: { "hello.ts": HELLO },
  });
  assert.equal(text(await rawRequest(sluice.port(), get("/hello"))), "Hello.\n");
});

Deno.test("a plugin may be a folder with files of its own, in TypeScript", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({
    upstream: origin.url,
    plugins: {
      "many/mod.ts": `import { definePlugin } from "@sluice/plugin";
import { WORDS, type Word } from "./words.ts";
const first: Word = WORDS[0]!;
export default definePlugin({
  responseFilter(session) { session.response.headers.set("X-Word", first); },
});
`,
      "many/words.ts": `export type Word = "one" | "two";
export const WORDS: readonly Word[] = ["one", "two"];
`,
    },
  });
  const answer = await rawRequest(sluice.port(), get("/bytes/1"));
  assert.equal(answer.fields.find(([name]) => name === "X-Word")?.[1], "one");
});

Deno.test("two plugins with one fault each are both told of", async () => {
  const { stderr } = await refusal({
    "one.ts": "export default 1;\n",
    "two.ts": "export default 2;\n",
  });
  assert.match(stderr, /one\.ts/);
  assert.match(stderr, /two\.ts/);
});
