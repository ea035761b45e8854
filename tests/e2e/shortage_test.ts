/** What the machine may run out of: descriptors, disk, the file of a log. Requests are served all the same. */
import assert from "node:assert/strict";
import { configFile } from "../support/config.ts";
import { eventually } from "../support/deadline.ts";
import { upgrade } from "../support/handover.ts";
import { metricsUntil } from "../support/metrics.ts";
import { plugin } from "../support/plugin_text.ts";
import { get, RawClient, rawRequest } from "../support/raw_client.ts";
import { reload, writePlugin } from "../support/reload.ts";
import { testAsRoot, testWith } from "../support/require.ts";
import { startSimpleOrigin } from "../support/simple_origin.ts";
import { type Sluice, startSluice } from "../support/sluice.ts";

const LINUX = Deno.build.os === "linux";

/** Config of a program whose metrics can be asked for on a port of its own. */
function measured(parts: Parameters<typeof configFile>[0]): string {
  return configFile({
    ...parts,
    top: { telemetry: { metrics: { listen: "127.0.0.1:0" } }, ...parts.top },
  });
}

/** Has a command run with a small disk at $DISK that is full, and which nobody else sees. */
const ON_FULL_DISK = `unshare -m sh -c 'mount -t tmpfs -o size=64k none "$DISK" && ` +
  `{ head -c 1000000 /dev/zero > "$DISK/filler" 2>/dev/null; exec "$@"; }' sh`;

/** The port of the metrics. */
function metricsOf(sluice: Sluice): number {
  return Number(/^ {2}metrics {2,}127\.0\.0\.1:(\d+)/m.exec(sluice.stderr())![1]);
}

Deno.test("without descriptors it says so, keeps what it has, and takes new connections as soon as it can", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({
    upstream: origin.url,
    shell: 'ulimit -n 160; exec "$@"',
  });
  const port = sluice.port();
  await using kept = await RawClient.connect(port);
  assert.equal((await kept.request(get("/bytes/1"))).status, 200);
  const many: RawClient[] = [];
  try {
    // The kernel takes them all; only some can be accepted.
    for (let i = 0; i < 200; i++) many.push(await RawClient.connect(port));
    await sluice.waitForOutput(
      /Listener .*cannot accept connections.*(EMFILE|too many open files)/i,
    );
    assert.equal((await kept.request(get("/bytes/1"))).status, 200);
  } finally {
    for (const client of many) client.close();
  }
  await eventually(
    async () => {
      try {
        return (await rawRequest(port, get("/bytes/1"))).status === 200;
      } catch {
        return false;
      }
    },
    "an answer on a new connection",
    60_000,
  );
  assert.equal(await sluice.stop(), 0);
});

Deno.test("a full disk costs lines of the access log, is told once, and delays nobody", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({
    upstream: origin.url,
    args: ["--access-log", "stdout"],
    shell: 'exec "$@" >/dev/full',
  });
  const port = sluice.port();
  await using client = await RawClient.connect(port);
  for (let i = 0; i < 20; i++) {
    assert.equal((await client.request(get("/bytes/1"))).status, 200);
  }
  await sluice.waitForOutput(/The access log cannot be written.*(ENOSPC|No space left)/i);
  for (let i = 0; i < 20; i++) {
    assert.equal((await client.request(get("/bytes/1"))).status, 200);
  }
  assert.equal(await sluice.stop(), 0);
  assert.equal([...sluice.stderr().matchAll(/The access log cannot be written/g)].length, 1);
});

Deno.test("an access log that was removed is begun anew, and that is told", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({ config: configFile({ origin: origin.address }) });
  const file = `${sluice.directory}/access.jsonl`;
  await rawRequest(sluice.port(), get("/bytes/1"));
  await sluice.waitForAccessLog(1);
  Deno.removeSync(file);
  await eventually(
    async () => {
      await rawRequest(sluice.port(), get("/bytes/1"));
      return sluice.accessLog().length > 0;
    },
    "a new access log",
    60_000,
  );
  await sluice.waitForOutput(/access\.jsonl was gone; it was begun anew/);
});

Deno.test({
  name:
    "without descriptors, reloads and upgrades are refused and cost nobody anything; with some, they are done",
  ignore: !LINUX,
  async fn() {
    const limit = 160;
    await using origin = await startSimpleOrigin();
    const parts = { origin: origin.address, plugins: {} };
    await using sluice = await startSluice({
      config: configFile(parts),
      plugins: { "one.ts": plugin("  requestFilter() {},") },
      shell: `ulimit -n ${limit}; exec "$@"`,
    });
    const port = sluice.port();
    const open = () => [...Deno.readDirSync(`/proc/${sluice.pid}/fd`)].length - 1;
    await using kept = await RawClient.connect(port);
    const serves = async () => {
      assert.equal((await kept.request(get("/bytes/1"))).status, 200);
    };
    await serves();
    const before = open();
    const many: RawClient[] = [];
    try {
      // Enough for the config and the files of the plugin, and not for a thread: the runtime would end all.
      while (open() < limit - 12) {
        const client = await RawClient.connect(port);
        many.push(client);
        assert.equal((await client.request(get("/bytes/1"))).status, 200);
      }
      const held = open();
      writePlugin(sluice, "one.ts", plugin("  requestFilter() {},", "// Another."));
      assert.equal(await reload(sluice), false);
      await sluice.waitForOutput(
        /sandbox of plugin "one" cannot be started: that takes \d+ file descriptors, and \d+ are free\. Raise/,
      );
      await eventually(() => open() <= held, "the descriptors that it tried to use");
      await serves();
      for (let i = 0; i < 200; i++) many.push(await RawClient.connect(port));
      await sluice.waitForOutput(/cannot accept connections.*(EMFILE|too many open files)/i);
      assert.equal(await reload(sluice), false);
      await sluice.waitForOutput(/sluice\.yaml: error: .*too many open files/i);
      sluice.signal("SIGQUIT");
      await sluice.waitForOutput(/The upgrade has failed: .*this process goes on/);
      await serves();
    } finally {
      for (const client of many) client.close();
    }
    await eventually(() => open() < before + 20, "the end of the other connections", 60_000);
    await serves();
    assert.equal(await reload(sluice), true);
    await serves();
    await using next = await upgrade(sluice);
    assert.equal(await sluice.exited, 0);
    assert.equal((await rawRequest(port, get("/bytes/1"))).status, 200);
    await next.stop();
  },
});

testWith(
  ["prlimit"],
  "a service worker that ends when there are no descriptors is replaced as soon as there are",
  async () => {
    await using origin = await startSimpleOrigin();
    await using sluice = await startSluice({
      config: configFile({
        origin: origin.address,
        plugins: { isolation: { dies: "inline" }, trust: ["dies"] },
      }),
      plugins: {
        "dies.ts": plugin(`  requestFilter(session) {
    if (session.request.path === "/end") self.close();
  },`),
      },
      threads: 1,
    });
    const port = sluice.port();
    assert.equal((await rawRequest(port, get("/bytes/1"))).status, 200);
    const open = [...Deno.readDirSync(`/proc/${sluice.pid}/fd`)].length - 1;
    const limit = async (most: number) => {
      const { success } = await new Deno.Command("prlimit", {
        args: ["--pid", String(sluice.pid), `--nofile=${most}:`],
      }).output();
      assert.ok(success);
    };
    await limit(open);
    await rawRequest(port, get("/end")).catch(() => {});
    await sluice.waitForOutput(
      /Worker 0 of service main died: service worker main-0 cannot be started: that takes 10 file/,
    );
    await limit(1024);
    await eventually(
      async () => {
        try {
          return (await rawRequest(port, get("/bytes/1"))).status === 200;
        } catch {
          return false;
        }
      },
      "another worker",
      30_000,
    );
  },
);

testAsRoot(
  "on a full disk it serves without pid file and logs, says so once, counts what it drops, and goes on when there is room",
  async () => {
    await using stack = new AsyncDisposableStack();
    const disk = await Deno.makeTempDir({ prefix: "sluice-disk-" });
    stack.defer(() => Deno.remove(disk));
    await using sluice = await startSluice({
      // Nobody is there: each request is worth a line of the operational log, too.
      config: measured({
        origin: "127.0.0.1:1",
        server: { error_log: `${disk}/error.log`, pid_file: `${disk}/sluice.pid` },
      }),
      args: ["--access-log", `${disk}/access.jsonl`],
      env: { DISK: disk },
      shell: `exec ${ON_FULL_DISK} "$@"`,
      threads: 1,
    });
    // Nobody but the program sees that disk.
    const seen = `/proc/${sluice.pid}/root${disk}`;
    const read = (name: string) => Deno.readTextFileSync(`${seen}/${name}`);
    const names = () => [...Deno.readDirSync(seen)].map(({ name }) => name).sort();
    const port = sluice.port();
    const ask = async () => {
      const { status } = await rawRequest(port, get("/lost"));
      assert.ok(status === 502 || status === 504, `status ${status}`);
    };
    for (let i = 0; i < 20; i++) await ask();
    const dropped = (log: string) => `sluice_log_lines_dropped_total{log="${log}"}`;
    await metricsUntil(
      metricsOf(sluice),
      (metrics) =>
        metrics.get(dropped("access"))! >= 20 && metrics.get(dropped("operational"))! >= 20,
      "both counts",
    );
    assert.deepEqual(names(), ["access.jsonl", "error.log", "filler"]);
    const told = () =>
      [...sluice.stderr().matchAll(/The log \S+\/error\.log cannot be written.*No space left/g)]
        .length;
    // Each thread has a log of its own: the main thread, and the one worker.
    assert.ok(told() === 1 || told() === 2, sluice.stderr());

    Deno.removeSync(`${seen}/filler`);
    await eventually(
      async () => {
        await ask();
        return /"http\.access\.dropped".*\n.*"\/lost"/.test(read("access.jsonl"));
      },
      "the access log",
      60_000,
    );
    await eventually(
      () => /\d+ log lines were dropped because they could not be written/.test(read("error.log")),
      "the error log",
      60_000,
    );
    assert.ok(told() <= 2, sluice.stderr());

    // Lost: it is begun anew by the thread that finds that out, and the other one finds it there.
    Deno.removeSync(`${seen}/error.log`);
    await eventually(
      async () => {
        await ask();
        sluice.signal("SIGHUP");
        await new Promise((resolve) => setTimeout(resolve, 100));
        const text = names().includes("error.log") ? read("error.log") : "";
        return /sluice\.server: Reloaded/.test(text) && /sluice\.service\.main/.test(text) &&
          /error\.log was gone; it was begun anew/.test(text);
      },
      "another error log, with lines of both threads",
      30_000,
    );
    const code = await sluice.stop();
    assert.equal(code, 0, sluice.stderr());
  },
  `export DISK=$(mktemp -d) && ${ON_FULL_DISK} true; code=$?; rmdir "$DISK"; exit $code`,
);
