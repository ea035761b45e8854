import assert from "node:assert/strict";
import { DaemonError } from "../../src/server/daemon.ts";
import { cli, CONFIG, pretendProgram, withConfig } from "./support.ts";

const VERBS = [
  [],
  ["run"],
  ["check"],
  ["demo"],
  ["config"],
  ["config", "schema"],
  ["config", "dump"],
  ["route"],
  ["plugin"],
  ["plugin", "new"],
  ["plugin", "list"],
  ["plugin", "restart"],
  ["status"],
  ["upstreams"],
  ["upstreams", "list"],
  ["upstreams", "enable"],
  ["upstreams", "disable"],
  ["upstreams", "weight"],
  ["log-level"],
  ["metrics"],
  ["stop"],
  ["version"],
];

Deno.test("every verb has help with an example, and help is no failure", async () => {
  for (const verb of VERBS) {
    const { code, out, err } = await cli([...verb, "--help"]);
    assert.equal(code, 0, verb.join(" "));
    assert.match(out, /^Usage: sluice/);
    assert.match(out, /\nExample:\n {2}sluice /);
    assert.equal(err, "");
  }
});

Deno.test("wrong usage ends with 2 and says what is wrong", async () => {
  const cases: [string[], RegExp][] = [
    [[], /Usage/],
    [["bogus"], /unknown command/],
    [["run", "--bogus"], /unknown option/],
    [["-t"], /unknown option[^]*sluice check/],
    [["run", "--conf", "x.yaml"], /unknown option[^]*-c or --config/],
    [["run", "--upgrade"], /unknown option[^]*sluice upgrade/],
    [["run", "--threads", "0"], /from 1 to 256/],
    [["run", "--threads", "1e1"], /from 1 to 256/],
    [["run", "-c", "x.yaml", "--upstream", "h:1"], /stands against/],
    [["run", "--upstream", "ftp://h"], /--upstream: error/],
    [["run", "--grant", "everything"], /as-requested/],
    [["route"], /missing required argument/],
    [["plugin", "new", "Bad Name"], /not a plugin name/],
  ];
  for (const [args, words] of cases) {
    const { code, err } = await cli(args);
    assert.equal(code, 2, args.join(" "));
    assert.match(err, words);
  }
});

Deno.test("a bad config ends with 78 and shows the line", async () => {
  await withConfig(
    CONFIG.replace("upstream: app\n        rules", "upstream: ap\n        rules"),
    async (file) => {
      for (
        const args of [["run", "-c", file], ["check", "-c", file], ["config", "dump", "-c", file]]
      ) {
        const { code, err } = await cli(args);
        assert.equal(code, 78);
        assert.match(err, /:7:19: error: unknown upstream "ap", did you mean "app"\?/);
        assert.match(err, /\^\^/);
        assert.match(err, /1 error\n$/);
      }
      const json = await cli(["check", "-c", file, "--json"]);
      assert.equal(json.code, 78);
      const parsed = JSON.parse(json.out);
      assert.equal(parsed.ok, false);
      assert.equal(parsed.errors[0].line, 7);
    },
  );
  assert.equal((await cli(["check", "-c", "/nowhere.yaml"])).code, 78);
});

Deno.test("check prints listeners, routes and plugins with asked and granted rights", async () => {
  await withConfig(CONFIG, async (file) => {
    const { code, out } = await cli(["check", "-c", file]);
    assert.equal(code, 0);
    assert.match(out, /web {2}127\.0\.0\.1:8080 {2}service edge/);
    assert.match(out, /api {3}GET, \/v1\/\* {2,}app \(TLS app\.example:443\) {2}plugins: geo/);
    assert.match(out, /geo 1\.0\.0\n/);
    assert.match(out, /asks for {3}net: h:1 h:2\n/);
    assert.match(out, /granted {4}net: h:1\n/);
    assert.match(out, /no errors\n$/);
    const json = JSON.parse((await cli(["check", "-c", file, "--json"])).out);
    assert.equal(json.ok, true);
    assert.deepEqual(json.plugins[0].granted, { net: ["h:1"] });
  });
});

Deno.test("check says who a program becomes, and that it goes on in the background", async () => {
  const config = CONFIG + "server: { user: 0, group: 0, daemon: true, pid_file: /run/s.pid }\n";
  await withConfig(config, async (file) => {
    const { code, out, err } = await cli(["check", "-c", file]);
    assert.equal(code, 0, err);
    assert.match(out, /^Process\n {2}user {6}root:\S+, once ports are bound\n/);
    assert.match(
      out,
      / {2}daemon {4}serves within 60s, or is ended\n {2}pid file {2}\/run\/s.pid\n/,
    );
    const { process } = JSON.parse((await cli(["check", "-c", file, "--json"])).out);
    assert.equal(process.user.uid, 0);
    assert.deepEqual([process.daemon, process.pidFile], [true, "/run/s.pid"]);
  });
});

Deno.test("run -d starts a process in the background and says which; it serves in the foreground otherwise", async () => {
  await withConfig(CONFIG, async (file) => {
    const program = pretendProgram();
    const { code, out, err } = await cli(["run", "-d", "-c", file], program);
    assert.equal(code, 0);
    assert.equal(out, "sluice runs in the background as process 4711\n");
    assert.match(err, /^warning: server\.error_log is not set/);
    assert.equal(program.ran.length, 0);
    for (const [ended, expected] of [[78, 78], [null, 1]] as const) {
      const failing = pretendProgram({
        startDaemon: () => Promise.reject(new DaemonError("it ended", ended)),
      });
      const failed = await cli(["run", "-d", "-c", file], failing);
      assert.equal(failed.code, expected);
      assert.match(failed.err, /error: it ended\n$/);
    }
  });
});

Deno.test("check and run say what is unlikely to be meant, and go on", async () => {
  const config = CONFIG.replace("upstream: app\n", "upstream: app\n        grpc_web: true\n");
  assert.notEqual(config, CONFIG);
  await withConfig(config, async (file) => {
    const words = /sluice\.yaml:8:19: warning: services\[0\]\.routes\[0\] carries gRPC/;
    const { code, out, err } = await cli(["check", "-c", file]);
    assert.equal(code, 0);
    assert.match(out, /no errors, 1 warning\n$/);
    assert.match(err, words);
    const json = JSON.parse((await cli(["check", "-c", file, "--json"])).out);
    assert.deepEqual([json.ok, json.errors, json.warnings.length], [true, [], 1]);
    assert.equal(json.warnings[0].line, 8);
    const program = pretendProgram();
    const run = await cli(["run", "-c", file], program);
    assert.deepEqual([run.code, program.ran.length], [0, 1]);
    assert.match(run.err, words);
  });
});

Deno.test("check ends with 78 when a plugin cannot be loaded, and shows where", async () => {
  await withConfig(CONFIG, async (file, folder) => {
    await Deno.writeTextFile(`${folder}/geo.ts`, "first\nsecond line\n");
    const program = pretendProgram({
      inspectPlugins: () =>
        Promise.resolve({
          reports: [],
          errors: [{
            message: "it is broken",
            file: `${folder}/geo.ts`,
            line: 2,
            column: 3,
            remedy: "mend it",
          }],
        }),
    });
    const { code, err } = await cli(["check", "-c", file], program);
    assert.equal(code, 78);
    assert.match(
      err,
      /geo\.ts:2:3: error: it is broken\n {4}2 \| second line\n {6}\| {3}\^\n {3}remedy: mend it/,
    );
  });
});

Deno.test("run starts the server with the file, flags over it, and says when it is ready", async () => {
  await withConfig(CONFIG, async (file) => {
    const program = pretendProgram();
    const { code, err } = await cli(
      ["run", "-c", file, "--threads", "2", "--access-log", "stdout"],
      program,
    );
    assert.equal(code, 0);
    assert.equal(
      err,
      "sluice is ready on 127.0.0.1:4711 (2 routes, 1 plugin)\n" +
        "  plugin geo  worker  may: net: h:1\n",
    );
    assert.equal(program.ran[0]!.services[0]!.threads, 2);
    assert.equal(program.ran[0]!.accessLog.output, "stdout");
  });
});

Deno.test("run works without a file", async () => {
  const program = pretendProgram();
  const { code } = await cli(["run", "--plugins", "p", "--upstream", "http://h:1"], program);
  assert.equal(code, 0);
  assert.equal(program.ran[0]!.plugins[0]!.name, "geo");
});

Deno.test("plugins that cannot be loaded end run with 78, each with its place and remedy", async () => {
  const problems = [
    { message: "it is broken", file: "p/geo.ts", line: 2, column: 3, remedy: "mend it" },
    { message: "it asks for more", file: "p/jwt.ts", remedy: "grant it" },
  ];
  const program = pretendProgram({
    runServer: () => Promise.reject(Object.assign(new Error("no"), { problems })),
  });
  const { code, err } = await cli(["run", "--plugins", "p", "--upstream", "h:1"], program);
  assert.equal(code, 78);
  assert.match(err, /p\/geo\.ts:2:3: error: it is broken\n[^]* remedy: mend it/);
  assert.match(err, /p\/jwt\.ts: error: it asks for more\n {3}remedy: grant it/);
});

Deno.test("a server that fails ends with 1 and its message", async () => {
  const program = pretendProgram({
    runServer: () => Promise.reject(new Error("Cannot listen: the port is taken")),
  });
  const { code, err } = await cli(["run", "--upstream", "h:1"], program);
  assert.equal(code, 1);
  assert.equal(err, "error: Cannot listen: the port is taken\n");
});

Deno.test("config schema prints the schema, with those of plugins when a folder is given", async () => {
  const plain = JSON.parse((await cli(["config", "schema"])).out);
  assert.ok(plain.properties.listeners);
  assert.equal(plain.$defs, undefined);
  const full = JSON.parse((await cli(["config", "schema", "--plugins", "p"])).out);
  assert.deepEqual(full.$defs["plugin-geo"], { type: "object" });
});

Deno.test("config dump shows defaults and no secrets", async () => {
  await withConfig(
    CONFIG.replace(
      "upstream: app\n        rules",
      "upstream: app\n        plugins: [{ use: geo, with: { key: hunter2 } }]\n        rules",
    ),
    async (file) => {
      const { code, out } = await cli(["config", "dump", "-c", file]);
      assert.equal(code, 0);
      assert.equal(JSON.parse(out).listeners[0].backlog, 511);
      assert.equal(out.includes("hunter2"), false);
    },
  );
});

Deno.test("plugin list and version print what there is", async () => {
  assert.match((await cli(["plugin", "list", "--plugins", "p"])).out, /geo 1\.0\.0/);
  assert.match((await cli(["version"])).out, /^sluice \d+\.\d+\.\d+\ndeno \d/);
});
