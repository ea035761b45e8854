/** What each signal does to the running program, in each of its states; the table is in docs/lifecycle.md. */
import assert from "node:assert/strict";
import { configFile } from "../support/config.ts";
import { eventually, withDeadline } from "../support/deadline.ts";
import { isAlive, Successor, upgrade } from "../support/handover.ts";
import { field } from "../support/http_text.ts";
import { get, RawClient, rawRequest } from "../support/raw_client.ts";
import { startRawOrigin } from "../support/raw_origin.ts";
import { writeConfig, writePlugin } from "../support/reload.ts";
import { startSimpleOrigin } from "../support/simple_origin.ts";
import { type Sluice, startSluice } from "../support/sluice.ts";

/** A plugin that never gets ready. */
const STUCK = `import { definePlugin } from "@sluice/plugin";
export default definePlugin({
  setup: () => { console.log("is being set up"); return new Promise(() => {}); },
  requestFilter() {},
});
`;
/** A plugin that takes as long as it may to end. */
const LINGERING = `import { definePlugin } from "@sluice/plugin";
export default definePlugin({
  dispose: () => new Promise(() => {}),
  requestFilter() {},
});
`;

const DOWNLOAD = "/download";

/** A program in the middle of a download, of which the second half comes when it is asked for. */
interface Midway extends AsyncDisposable {
  readonly sluice: Sluice;
  readonly client: RawClient;
  finish(): void;
}

async function midway(
  parts: Parameters<typeof configFile>[0] = {},
  plugins: Readonly<Record<string, string>> = {},
): Promise<Midway> {
  const stack = new AsyncDisposableStack();
  const finished = Promise.withResolvers<void>();
  const origin = stack.use(
    await startRawOrigin(async (connection) => {
      await connection.request();
      await connection.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst");
      await finished.promise;
      await connection.send("last.");
      await connection.whenEnded();
    }),
  );
  const sluice = stack.use(
    await startSluice({
      config: (directory) =>
        configFile({
          origin: origin.address,
          ...parts,
          server: { grace_period: "60s", pid_file: "sluice.pid", ...parts.server },
          ...(Object.keys(plugins).length === 0 ? {} : { plugins: {} }),
          top: { admin: { listen: `unix:${directory}/admin.sock` } },
        }),
      plugins,
      threads: 2,
    }),
  );
  const client = stack.use(await RawClient.connect(sluice.port()));
  await client.send(get(DOWNLOAD));
  await client.takeUntil("first");
  return {
    sluice,
    client,
    finish: () => finished.resolve(),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

/** What a program that has ended in order leaves: a log that is whole, and none of its files. */
function leftInOrder(sluice: Sluice): void {
  assert.equal(sluice.accessLog().filter((line) => line["url.path"] === DOWNLOAD).length, 1);
  for (const path of ["sluice.pid", "admin.sock"]) {
    assert.throws(() => Deno.statSync(`${sluice.directory}/${path}`), Deno.errors.NotFound, path);
  }
  assert.match(sluice.stderr(), /Stopped/);
}

async function refuses(port: number): Promise<boolean> {
  try {
    await using client = await RawClient.connect(port);
    await client.send(get("/bytes/1"));
    return !await client.fill();
  } catch {
    return true;
  }
}

Deno.test("SIGTERM lets a download finish, takes nothing new, and exits 0 right after", async () => {
  await using test = await midway();
  const { sluice, client } = test;
  sluice.signal("SIGTERM");
  await eventually(() => refuses(sluice.port()), "new connections to be refused");
  const start = performance.now();
  test.finish();
  assert.equal(await client.takeUntil("last."), "last.");
  await client.whenEnded();
  assert.equal(await sluice.exited, 0);
  assert.ok(performance.now() - start < 30_000, "it does not wait for the end of the grace period");
  leftInOrder(sluice);
});

Deno.test("SIGTERM closes idle connections and ends at once", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({
    config: configFile({ origin: origin.address, server: { grace_period: "60s" } }),
  });
  await using idle = await RawClient.connect(sluice.port());
  await idle.request(get("/bytes/1"));
  await using fresh = await RawClient.connect(sluice.port());
  assert.equal(await sluice.stop(30_000), 0);
  await idle.whenEnded();
  await fresh.whenEnded();
});

Deno.test("SIGINT cuts a download, leaves its line in the log and no file behind, and exits 0", async () => {
  await using test = await midway();
  const { sluice, client } = test;
  await using idle = await RawClient.connect(sluice.port());
  sluice.signal("SIGINT");
  await client.whenEnded();
  await idle.whenEnded();
  assert.equal(await withDeadline(sluice.exited, 30_000, "the end after SIGINT"), 0);
  assert.match(sluice.stderr(), /Cutting what runs: SIGINT/);
  assert.doesNotMatch(sluice.stderr(), /Draining/);
  leftInOrder(sluice);
});

for (const signal of ["SIGTERM", "SIGINT"] as const) {
  Deno.test(`${signal} while it drains cuts what runs: in order, and with code 130`, async () => {
    await using test = await midway();
    const { sluice, client } = test;
    sluice.signal("SIGTERM");
    await sluice.waitForOutput(/Draining: SIGTERM/);
    // One that comes twice at the same moment counts once.
    await new Promise((resolve) => setTimeout(resolve, 300));
    sluice.signal(signal);
    await client.whenEnded();
    assert.equal(await withDeadline(sluice.exited, 30_000, "the end"), 130);
    assert.match(sluice.stderr(), new RegExp(`Cutting what runs: ${signal}`));
    leftInOrder(sluice);
  });
}

Deno.test("SIGINT during shutdown_delay ends it, and what runs", async () => {
  await using test = await midway({ server: { shutdown_delay: "60s" } });
  const { sluice, client } = test;
  sluice.signal("SIGTERM");
  await sluice.waitForOutput(/goes on serving until load balancers have noticed/);
  assert.ok(!await refuses(sluice.port()));
  sluice.signal("SIGINT");
  await client.whenEnded();
  assert.equal(await withDeadline(sluice.exited, 30_000, "the end"), 130);
});

Deno.test("one more signal while it is cut ends the process without another word", async () => {
  await using test = await midway({}, { "lingering.ts": LINGERING });
  const { sluice } = test;
  sluice.signal("SIGINT");
  await sluice.waitForOutput(/Cutting what runs/);
  sluice.signal("SIGTERM");
  assert.equal(await sluice.exited, 130);
  assert.doesNotMatch(sluice.stderr(), /Stopped/);
});

const STARTING = [["SIGTERM", "worker"], ["SIGINT", "process"]] as const;

for (const [signal, isolation] of STARTING) {
  Deno.test(`${signal} to a program that is still starting ends it, even if a plugin (${isolation}) would never be ready`, async () => {
    const directory = await Deno.makeTempDir({ prefix: "sluice-" });
    await Deno.mkdir(`${directory}/plugins`);
    await Deno.writeTextFile(`${directory}/plugins/stuck.ts`, STUCK);
    await Deno.mkdir(`${directory}/tmp`);
    const config = configFile({
      origin: "127.0.0.1:9",
      plugins: { isolation: { stuck: isolation } },
    });
    await Deno.writeTextFile(`${directory}/sluice.yaml`, config);
    const root = new URL("../../", import.meta.url).pathname;
    const child = new Deno.Command(Deno.execPath(), {
      args: [
        ...["run", "-A", "--no-prompt", "--config", `${root}deno.json`, `${root}main.ts`],
        ...["run", "-c", `${directory}/sluice.yaml`],
      ],
      env: { XDG_RUNTIME_DIR: directory, TMPDIR: `${directory}/tmp` },
      stdout: "null",
      stderr: "piped",
    }).spawn();
    try {
      let said = "";
      for await (const text of child.stderr.pipeThrough(new TextDecoderStream())) {
        if (!said.includes("is being set up") && (said + text).includes("is being set up")) {
          child.kill(signal);
        }
        said += text;
      }
      assert.equal((await child.status).code, 0, said);
      assert.match(said, new RegExp(`Stopping: ${signal}, before anything served`));
      assert.doesNotMatch(said, /ready on/);
      assert.deepEqual([...Deno.readDirSync(`${directory}/tmp`)], []);
    } finally {
      if (isAlive(child.pid)) child.kill("SIGKILL");
      await Deno.remove(directory, { recursive: true });
    }
  });
}

Deno.test("SIGQUIT: another process serves, and this one finishes its download and exits 0", async () => {
  await using test = await midway();
  const { sluice, client } = test;
  await using next = await upgrade(sluice);
  test.finish();
  assert.equal(await client.takeUntil("last."), "last.");
  assert.equal(await sluice.exited, 0);
  assert.ok(isAlive(next.pid));
  assert.ok(!await refuses(sluice.port()));
  await next.stop();
});

Deno.test("SIGQUIT whose new process fails changes nothing: this one goes on", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({ config: configFile({ origin: origin.address }) });
  const port = sluice.port();
  await using kept = await RawClient.connect(port);
  writeConfig(sluice, "this: is no config");
  sluice.signal("SIGQUIT");
  await sluice.waitForOutput(
    /The upgrade has failed: the new process ended before it served, with code 78.*goes on/,
    30_000,
  );
  await sluice.waitForOutput(/unknown key "this"/);
  assert.equal((await kept.request(get("/bytes/1"))).status, 200);
  assert.equal((await rawRequest(port, get("/bytes/1"))).status, 200);
  // The next one may be better.
  writeConfig(sluice, configFile({ origin: origin.address }));
  await using next = await upgrade(sluice);
  assert.equal(await sluice.exited, 0);
  assert.equal((await rawRequest(port, get("/bytes/1"))).status, 200);
  await next.stop();
});

Deno.test("SIGTERM while another process gets ready gives the upgrade up, and drains", async () => {
  await using test = await midway({}, { "stuck.ts": LINGERING });
  const { sluice, client } = test;
  writePlugin(sluice, "stuck.ts", STUCK);
  sluice.signal("SIGQUIT");
  const [, pid] = await sluice.waitForOutput(/Process (\d+) is to take over/, 30_000);
  await using next = new Successor(Number(pid));
  await sluice.waitForOutput(/is being set up/, 30_000);
  // A second one means the upgrade that is under way.
  sluice.signal("SIGQUIT");
  sluice.signal("SIGTERM");
  await sluice.waitForOutput(/The upgrade is given up: this process is about to end/);
  await next.whenEnded();
  test.finish();
  assert.equal(await client.takeUntil("last."), "last.");
  assert.equal(await sluice.exited, 0);
  assert.equal(sluice.stderr().match(/is to take over/g)?.length, 1);
  leftInOrder(sluice);
});

Deno.test("SIGTERM after SIGQUIT cuts what this process still has, and the new one serves", async () => {
  await using test = await midway();
  const { sluice, client } = test;
  await using next = await upgrade(sluice);
  sluice.signal("SIGTERM");
  await client.whenEnded();
  assert.equal(await withDeadline(sluice.exited, 30_000, "the end"), 130);
  test.finish();
  assert.ok(!await refuses(sluice.port()));
  await next.stop();
});

Deno.test("SIGHUP serves by a good config, and is refused with a bad one; SIGUSR2 opens the logs anew", async (t) => {
  await using origin = await startSimpleOrigin();
  const config = (mark: string) =>
    configFile({
      origin: origin.address,
      server: { error_log: "error.log" },
      route: { rules: [{ response: { set: { "X-Mark": mark } } }] },
    });
  await using sluice = await startSluice({ config: config("one") });
  const { directory } = sluice;
  const errors = `${directory}/error.log`;
  const mark = async () => field(await rawRequest(sluice.port(), get("/bytes/1")), "x-mark");
  const told = (pattern: RegExp) =>
    eventually(
      () => {
        try {
          return pattern.test(Deno.readTextFileSync(errors));
        } catch {
          return false;
        }
      },
      `${pattern} in the error log`,
      30_000,
    );
  await t.step("SIGHUP, good", async () => {
    writeConfig(sluice, config("two"));
    sluice.signal("SIGHUP");
    await told(/Reloaded generation=2/);
    assert.equal(await mark(), "two");
  });
  await t.step("SIGHUP, bad", async () => {
    writeConfig(sluice, "this: is no config");
    sluice.signal("SIGHUP");
    await told(/The new config is refused; generation 2 goes on/);
    await told(/unknown key "this"/);
    assert.equal(await mark(), "two");
  });
  await t.step("SIGUSR2, with a log whose file has gone", async () => {
    await sluice.waitForAccessLog(2);
    Deno.renameSync(`${directory}/access.jsonl`, `${directory}/access.old`);
    Deno.removeSync(errors);
    sluice.signal("SIGUSR2");
    await eventually(() => {
      try {
        return Deno.statSync(`${directory}/access.jsonl`).isFile && Deno.statSync(errors).isFile;
      } catch {
        return false;
      }
    }, "new log files");
    await mark();
    await sluice.waitForAccessLog(1);
    writeConfig(sluice, config("three"));
    sluice.signal("SIGHUP");
    await told(/Reloaded generation=3/);
  });
  assert.equal(await sluice.stop(), 0);
});
