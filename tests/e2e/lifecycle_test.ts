/** What signals, verbs and the service manager do to the running program, and what it tells them. */
import assert from "node:assert/strict";
import { configFile } from "../support/config.ts";
import { eventually } from "../support/deadline.ts";
import { field, text } from "../support/http_text.ts";
import { isAlive, Successor, upgrade } from "../support/handover.ts";
import { FakeServiceManager } from "../support/notify.ts";
import { get, rawRequest } from "../support/raw_client.ts";
import { response } from "../support/raw_origin.ts";
import { reload, writeConfig, writePlugin } from "../support/reload.ts";
import { testWith } from "../support/require.ts";
import { startSimpleOrigin } from "../support/simple_origin.ts";
import { runSluice, type Sluice, startSluice } from "../support/sluice.ts";

function config(mark: string, origin: string, server: Record<string, unknown> = {}) {
  return (directory: string) =>
    configFile({
      origin,
      server,
      route: { rules: [{ response: { set: { "X-Mark": mark } } }] },
      top: { admin: { listen: `unix:${directory}/admin.sock` } },
    });
}

async function mark(sluice: Sluice): Promise<string | null> {
  return field(await rawRequest(sluice.port(), get("/bytes/1")), "x-mark");
}

function verb(sluice: Sluice, ...args: string[]) {
  return runSluice([...args, "-c", `${sluice.directory}/sluice.yaml`]);
}

Deno.test("reload, config diff and upgrade are verbs, and end with the right codes", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({ config: config("one", origin.address) });
  const { directory } = sluice;
  assert.match((await verb(sluice, "config", "diff")).stdout, /^nothing would change\n$/);

  writeConfig(sluice, config("two", origin.address)(directory));
  const diff = await verb(sluice, "config", "diff");
  assert.equal(diff.code, 0, diff.stderr);
  assert.match(diff.stdout, /^swap +route all +rules, for requests that begin then\n1 change\n$/);
  const done = await verb(sluice, "reload");
  assert.equal(done.code, 0, done.stderr);
  assert.match(done.stdout, /^Generation 2 of the config serves\.\n$/);
  assert.equal(await mark(sluice), "two");

  // Another address: other rights, and so other workers.
  const moved = config("two", "127.0.0.1:1")(directory);
  Deno.writeTextFileSync(`${directory}/moved.yaml`, moved);
  const offline = await verb(
    sluice,
    "config",
    "diff",
    `${directory}/sluice.yaml`,
    `${directory}/moved.yaml`,
    "--json",
  );
  assert.equal(offline.code, 0, offline.stderr);
  const { changes } = JSON.parse(offline.stdout);
  assert.deepEqual(
    changes.map(({ kind, name, action }: Record<string, string>) => [action, kind, name]),
    [["restart", "service", "main"], ["swap", "upstream", "origin"]],
  );

  writeConfig(sluice, config("three", origin.address, { thredas: 1 })(directory));
  const refused = await runSluice([
    "reload",
    "--wait",
    "--admin",
    `unix:${directory}/admin.sock`,
  ]);
  assert.equal(refused.code, 1);
  assert.match(
    refused.stderr,
    /sluice\.yaml:\d+:\d+: error: unknown key "thredas".*"threads"\?\n[^]*\^+/,
  );
  assert.equal(await mark(sluice), "two");

  writeConfig(sluice, config("four", origin.address)(directory));
  const asked = await verb(sluice, "reload", "--no-wait");
  assert.equal(asked.code, 0, asked.stderr);
  await eventually(async () => await mark(sluice) === "four", "the new config");

  const upgraded = await verb(sluice, "upgrade");
  assert.equal(upgraded.code, 0, upgraded.stderr);
  const pid = Number(/^Process (\d+) serves\.\n$/.exec(upgraded.stdout)![1]);
  await using next = new Successor(pid);
  assert.equal(await sluice.exited, 0);
  assert.equal(await mark(sluice), "four");
  await next.stop();
  const nobody = await verb(sluice, "reload", "--wait");
  assert.equal(nobody.code, 1);
  assert.match(nobody.stderr, /nobody listens on/);
});

Deno.test("run --watch reloads when a plugin changes, without a config file, too", async () => {
  const plugin = (name: string) =>
    `import { definePlugin } from "@sluice/plugin";
export default definePlugin({
  requestFilter(session) { return session.respond(200, "${name}"); },
});
`;
  await using sluice = await startSluice({
    plugins: { "who.ts": plugin("one") },
    args: ["--watch"],
  });
  const who = async () => text(await rawRequest(sluice.port(), get("/")));
  assert.equal(await who(), "one");
  writePlugin(sluice, "who.ts", plugin("two"));
  await eventually(async () => await who() === "two", "the new plugin", 40_000);
});

Deno.test("server.watch reloads by itself when the config or a plugin changes", async () => {
  await using origin = await startSimpleOrigin();
  const version = (name: string) =>
    `import { definePlugin } from "@sluice/plugin";
export default definePlugin({
  requestFilter(session) { return session.respond(200, "${name}"); },
});
`;
  const text1 = configFile({
    origin: origin.address,
    server: { watch: true },
    plugins: {},
    route: { plugins: ["who"] },
  });
  await using sluice = await startSluice({ config: text1, plugins: { "who.ts": version("one") } });
  const who = async () => text(await rawRequest(sluice.port(), get("/")));
  assert.equal(await who(), "one");
  writePlugin(sluice, "who.ts", version("two"));
  await eventually(async () => await who() === "two", "the new plugin", 40_000);
  writeConfig(sluice, configFile({ origin: origin.address }));
  await eventually(async () => await who() === "hello", "the new config", 40_000);
});

/** CLOCK_MONOTONIC in microseconds, as somebody else reads it. */
async function monotonicTime(): Promise<number> {
  const { stdout } = await new Deno.Command("python3", {
    args: ["-c", "import time; print(time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000)"],
  }).output();
  return Number(new TextDecoder().decode(stdout));
}

testWith(
  ["python3"],
  "with the right ffi the service manager is told when a reload began, by the clock of the kernel; without it, that it did",
  async () => {
    await using origin = await startSimpleOrigin();
    for (const ffi of [true, false]) {
      using manager = await FakeServiceManager.start();
      await using sluice = await startSluice({
        config: config("one", origin.address),
        env: { NOTIFY_SOCKET: manager.path },
        ...(ffi ? {} : { rights: ["-A", "--deny-ffi"] }),
      });
      const before = await monotonicTime();
      assert.equal(await reload(sluice), true);
      const told = await manager.heard(/^RELOADING=1/);
      const time = /^RELOADING=1\nMONOTONIC_USEC=(\d+)\nSTATUS=/.exec(told)?.[1];
      assert.equal(time !== undefined, ffi, told);
      if (time === undefined) continue;
      const after = await monotonicTime();
      assert.ok(before <= Number(time) && Number(time) <= after, `${before} ${time} ${after}`);
    }
  },
);

Deno.test("the service manager is told: ready, reloading, ready again, and stopping", async () => {
  using manager = await FakeServiceManager.start();
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({
    config: config("one", origin.address),
    env: { NOTIFY_SOCKET: manager.path, WATCHDOG_USEC: "200000" },
  });
  await manager.heard(/^READY=1\nSTATUS=Serving generation 1/);
  await manager.heard(/^WATCHDOG=1$/);
  assert.equal(await reload(sluice), true);
  await manager.heard(/^RELOADING=1/);
  await manager.heard(/^READY=1\nSTATUS=Serving generation 2/);
  assert.equal(await sluice.stop(), 0);
  await manager.heard(/^STOPPING=1/);
});

Deno.test("after an upgrade the service manager hears the new process only, and that it is the main one", async () => {
  using manager = await FakeServiceManager.start();
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({
    config: config("one", origin.address),
    env: { NOTIFY_SOCKET: manager.path },
  });
  await using next = await upgrade(sluice);
  await manager.heard(new RegExp(`^MAINPID=${next.pid}\nREADY=1`));
  assert.equal(await sluice.exited, 0);
  assert.deepEqual(manager.messages.filter((message) => message.includes("STOPPING")), []);
  await next.stop();
  await manager.heard(/^STOPPING=1/);
});

testWith(
  ["python3"],
  "sockets of a service manager are listened on, by address or by name",
  async () => {
    await using origin = await startSimpleOrigin();
    // What systemd does: it binds, and starts the program with the descriptors from 3 on.
    const script = `
import os, socket, sys
def bound():
    s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen(64); return s
a, b = bound(), bound()
print(a.getsockname()[1], b.getsockname()[1], flush=True)
os.dup2(a.fileno(), 30); os.dup2(b.fileno(), 31)
os.dup2(30, 3); os.dup2(31, 4)
for fd in (3, 4): os.set_inheritable(fd, True)
for fd in (30, 31): os.close(fd)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="2", LISTEN_FDNAMES="first:second")
os.execvp(sys.argv[1], sys.argv[1:])
`;
    const directory = await Deno.makeTempDir();
    const file = `${directory}/sluice.yaml`;
    Deno.writeTextFileSync(
      file,
      JSON.stringify({
        admin: "off",
        // Both are found by their names: the ports are those that were bound.
        listeners: [
          { name: "first", address: "127.0.0.1:0" },
          { name: "second", address: "127.0.0.1:0" },
        ],
        services: [{ name: "main", threads: 2, routes: [{ upstream: "origin" }] }],
        upstreams: [{ name: "origin", endpoints: [origin.address] }],
      }),
    );
    const root = new URL("../../", import.meta.url).pathname;
    const child = new Deno.Command("python3", {
      args: [
        ...["-c", script, Deno.execPath(), "run", "-A", "--no-prompt", "--config"],
        ...[`${root}deno.json`, `${root}main.ts`, "run", "-c", file],
      ],
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    try {
      const ready = Promise.withResolvers<string>();
      void (async () => {
        let seen = "";
        for await (const piece of child.stderr.pipeThrough(new TextDecoderStream())) {
          seen += piece;
          const line = /ready on (.*) \(/.exec(seen);
          if (line !== null) ready.resolve(line[1]!);
        }
        ready.reject(new Error(seen));
      })();
      const announced = await ready.promise;
      const reader = child.stdout.getReader();
      const ports = new TextDecoder().decode((await reader.read()).value).trim().split(" ");
      assert.equal(announced, ports.map((port) => `127.0.0.1:${port}`).join(", "));
      for (const port of ports) {
        assert.equal((await rawRequest(Number(port), get("/bytes/1"))).status, 200);
      }
      await reader.cancel();
      child.kill("SIGTERM");
      assert.equal((await child.status).code, 0);
    } finally {
      if (isAlive(child.pid)) child.kill("SIGKILL");
      await Deno.remove(directory, { recursive: true });
    }
  },
);

Deno.test("shutdown_delay goes on serving while /readyz says no, and new connections come in till then", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({
    config: config("one", origin.address, { shutdown_delay: "4s" }),
  });
  const admin = { path: `${sluice.directory}/admin.sock` };
  const ready = async () => (await rawRequest(admin, get("/readyz", { Host: "localhost" }))).status;
  assert.equal(await ready(), 200);
  sluice.signal("SIGTERM");
  await eventually(async () => await ready() === 503, "not to be ready");
  assert.equal(await mark(sluice), "one");
  await sluice.waitForOutput(/Draining: SIGTERM/);
  assert.equal(await sluice.exited, 0);
});

Deno.test("while the program starts, /readyz says 503 starting, /livez lives, and clients wait instead of being refused", async () => {
  let go = () => {};
  const gate = new Promise<void>((resolve) => go = resolve);
  await using origin = await startSimpleOrigin({
    async handler({ target }) {
      if (target !== "/setup") return undefined;
      await gate;
      return response("set up");
    },
  });
  let directory = "";
  const starting = startSluice({
    config(folder) {
      directory = folder;
      return configFile({
        origin: origin.address,
        plugins: { grant: { slow: { net: [origin.address] } } },
        top: { admin: { listen: `unix:${folder}/admin.sock` } },
      });
    },
    plugins: {
      "slow.ts": `import { definePlugin } from "@sluice/plugin";
export default definePlugin({
  permissions: { net: ["${origin.address}"] },
  async setup() { await (await fetch("${origin.url}/setup")).text(); },
});
`,
    },
  });
  starting.catch(() => {});
  const admin = () => ({ path: `${directory}/admin.sock` });
  const ask = async (path: string) => {
    const answer = await rawRequest(admin(), get(path, { Host: "localhost" }));
    return [answer.status, text(answer)];
  };
  try {
    await eventually(() => origin.count("/setup") > 0, "the plugin to be set up", 30_000);
    assert.deepEqual(await ask("/readyz"), [503, "starting\n"]);
    assert.deepEqual(await ask("/livez"), [200, "alive\n"]);
    const { state, listeners } = JSON.parse((await ask("/status"))[1] as string);
    assert.equal(state, "starting");
    // The port is held already.
    const early = rawRequest(Number(/\d+$/.exec(listeners[0].address)![0]), get("/bytes/1"));
    early.catch(() => {});
    assert.deepEqual(await ask("/readyz"), [503, "starting\n"]);
    go();
    assert.equal((await early).status, 200);
  } finally {
    go();
    await using _ = await starting;
    assert.deepEqual(await ask("/readyz"), [200, "ready\n"]);
  }
});
