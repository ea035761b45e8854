/** `server.daemon`: the one who starts it waits until it serves, or hears why it does not. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { configFile, type ConfigParts } from "../support/config.ts";
import { eventually } from "../support/deadline.ts";
import { isAlive, Successor } from "../support/handover.ts";
import { plugin } from "../support/plugin_text.ts";
import { get, rawRequest } from "../support/raw_client.ts";
import { testAsRoot } from "../support/require.ts";
import { runSluice, type SluiceResult } from "../support/sluice.ts";

const ANSWER = { rules: [{ respond: { status: 204 } }] };
const LINUX = Deno.build.os === "linux";

/** A folder that lives as long as its test, and all that the daemons in it have written. */
class Home implements AsyncDisposable {
  readonly path: string = Deno.makeTempDirSync({ prefix: "sluice-daemon-" });

  /** Runs a verb with a config of this folder. */
  async sluice(args: readonly string[], env: Record<string, string> = {}): Promise<SluiceResult> {
    return await runSluice([...args, "-c", join(this.path, "sluice.yaml")], {
      // Each runs in a folder of its own otherwise.
      env: { XDG_RUNTIME_DIR: this.path, ...env },
    });
  }

  config(parts: ConfigParts): void {
    this.write("sluice.yaml", configFile(parts));
  }

  write(name: string, text: string): void {
    Deno.mkdirSync(join(this.path, name, ".."), { recursive: true });
    Deno.writeTextFileSync(join(this.path, name), text);
  }

  read(name: string): string {
    return Deno.readTextFileSync(join(this.path, name));
  }

  /** Names of its files that match. */
  find(pattern: RegExp): string[] {
    return [...Deno.readDirSync(this.path)].map(({ name }) => name).filter((one) =>
      pattern.test(one)
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.path, { recursive: true });
  }
}

/** The process that a starter has named. */
function daemonOf({ code, stdout, stderr }: SluiceResult): Successor {
  assert.equal(code, 0, stderr);
  return new Successor(
    Number(/^sluice runs in the background as process (\d+)\n$/m.exec(stdout)![1]),
  );
}

function portOf({ stderr }: SluiceResult): number {
  return Number(/ready on 127\.0\.0\.1:(\d+) /.exec(stderr)![1]);
}

/** Daemons of a config file that are there. */
function runningIn(home: Home): number[] {
  return [...Deno.readDirSync("/proc")].map(({ name }) => Number(name)).filter((pid) => {
    try {
      return pid > 0 && isAlive(pid) &&
        Deno.readTextFileSync(`/proc/${pid}/cmdline`).includes(home.path);
    } catch {
      return false;
    }
  });
}

function session(pid: number): number {
  return Number(Deno.readTextFileSync(`/proc/${pid}/stat`).replace(/^.*\) /s, "").split(" ")[3]);
}

function streams(pid: number): string[] {
  return ["0", "1", "2"].map((one) => Deno.readLinkSync(`/proc/${pid}/fd/${one}`));
}

Deno.test({
  name:
    "a daemon serves when its starter has ended, has a session of its own and a pid file, upgrades and stops",
  ignore: !LINUX,
  async fn() {
    await using home = new Home();
    home.config({
      server: { error_log: "error.log", upgrade_timeout: "60s" },
      route: ANSWER,
    });
    const started = await home.sluice(["run", "--daemon"]);
    await using daemon = daemonOf(started);
    const port = portOf(started);
    assert.equal((await rawRequest(port, get("/"))).status, 204);
    assert.equal(session(daemon.pid), daemon.pid);
    const log = join(home.path, "error.log");
    assert.deepEqual(streams(daemon.pid), ["/dev/null", log, log]);
    const [pidFile] = home.find(/\.pid$/);
    assert.equal(home.read(pidFile!), `${daemon.pid}\n`);
    assert.equal(
      Deno.readTextFileSync(`/proc/${daemon.pid}/environ`).includes("SLUICE_DAEMON"),
      true,
    );
    assert.equal((await home.sluice(["reload"])).code, 0);

    const upgraded = await home.sluice(["upgrade"]);
    assert.equal(upgraded.code, 0, upgraded.stderr);
    await using next = new Successor(Number(home.read(pidFile!)));
    assert.notEqual(next.pid, daemon.pid);
    await daemon.whenEnded();
    assert.equal((await rawRequest(port, get("/"))).status, 204);
    assert.deepEqual(runningIn(home), [next.pid]);
    assert.deepEqual(streams(next.pid), ["/dev/null", log, log]);

    assert.equal((await home.sluice(["stop", "--wait"])).code, 0);
    await next.whenEnded();
    assert.deepEqual(home.find(/\.(pid|sock)$/), []);
    assert.match(home.read("error.log"), /Stopped\n$/);
  },
});

Deno.test({
  name: "without an error log a daemon is started with a warning, and its streams lead nowhere",
  ignore: !LINUX,
  async fn() {
    await using home = new Home();
    home.config({ server: { daemon: true, pid_file: "own.pid" }, route: ANSWER });
    const started = await home.sluice(["run"]);
    await using daemon = daemonOf(started);
    assert.match(started.stderr, /warning: server\.error_log is not set/);
    assert.deepEqual(streams(daemon.pid), ["/dev/null", "/dev/null", "/dev/null"]);
    assert.equal(home.read("own.pid"), `${daemon.pid}\n`);
    assert.equal((await rawRequest(portOf(started), get("/"))).status, 204);
    await daemon.stop();
  },
});

Deno.test({
  name:
    "a daemon that cannot serve takes its starter with it, which tells why and leaves with its code",
  ignore: !LINUX,
  async fn() {
    await using home = new Home();
    const taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const { port } = taken.addr as Deno.NetAddr;
    home.config({
      server: { daemon: true },
      listener: { address: `127.0.0.1:${port}` },
      route: ANSWER,
    });
    const bound = await home.sluice(["run"]);
    taken.close();
    assert.equal(bound.code, 1);
    assert.match(bound.stderr, /cannot listen on .*Address already in use/);
    assert.match(
      bound.stderr,
      /error: the process in the background ended before it served, with code 1/,
    );

    home.config({ server: { daemon: true }, route: ANSWER, plugins: {} });
    home.write("plugins/broken.ts", "throw new Error('no such luck');\n");
    const broken = await home.sluice(["run"]);
    assert.equal(broken.code, 78);
    assert.match(broken.stderr, /no such luck/);

    home.config({ server: { daemon: true }, route: { nonsense: 1 } });
    const wrong = await home.sluice(["run"]);
    assert.equal(wrong.code, 78);
    assert.match(wrong.stderr, /nonsense/);
    assert.deepEqual(runningIn(home), []);
  },
});

Deno.test({
  name:
    "a daemon that does not serve in time is ended, and one whose starter has gone ends by itself",
  ignore: !LINUX,
  async fn() {
    await using home = new Home();
    const config = (timeout: string) =>
      home.config({
        server: { daemon: true, error_log: "error.log", daemon_ready_timeout: timeout },
        route: ANSWER,
        plugins: {},
      });
    home.write(
      "plugins/slow.ts",
      plugin(
        "  requestFilter() {},",
        "await new Promise((resolve) => setTimeout(resolve, 60_000));",
      ),
    );
    config("2s");
    const late = await home.sluice(["run"]);
    assert.equal(late.code, 1);
    assert.match(late.stderr, /did not serve within 2 s \(server\.daemon_ready_timeout\)/);
    assert.deepEqual(runningIn(home), []);
    assert.deepEqual(home.find(/\.(pid|sock)$/), []);

    config("60s");
    const starter = new Deno.Command(Deno.execPath(), {
      args: [
        ...["run", "-A", "--no-prompt", new URL("../../main.ts", import.meta.url).pathname],
        ...["run", "-c", join(home.path, "sluice.yaml")],
      ],
      env: { XDG_RUNTIME_DIR: home.path, TMPDIR: home.path },
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    const ofDaemon = () => runningIn(home).find((pid) => pid !== starter.pid);
    await eventually(() => ofDaemon() !== undefined, "the daemon");
    await using daemon = new Successor(ofDaemon()!);
    await eventually(() => home.find(/^sluice-.*\.sock$/).length === 1, "its admin socket");
    // It waits for its plugin now, and would for long.
    starter.kill("SIGKILL");
    await starter.status;
    await daemon.whenEnded();
    assert.deepEqual(home.find(/\.(pid|sock)$|^sluice-daemon-/), []);
    assert.match(home.read("error.log"), /has gone: this process ends\n$/);
  },
});

Deno.test({
  name:
    "where a daemon would be taken for a service that has ended, it is refused with what to do instead",
  ignore: !LINUX,
  async fn() {
    await using home = new Home();
    home.config({ server: { daemon: true, error_log: "error.log" }, route: ANSWER });
    const notify = await home.sluice(["run"], { NOTIFY_SOCKET: "/run/nobody" });
    assert.equal(notify.code, 1);
    assert.match(notify.stderr, /Type=notify of systemd\): remove daemon, or write Type=forking/);
    home.config({ route: ANSWER });
    const output = await home.sluice(["run", "-d", "--access-log", "stdout"]);
    assert.equal(output.code, 2);
    assert.match(output.stderr, /no standard output: name a file/);
  },
});

testAsRoot("the first process of a container is no daemon", async () => {
  await using home = new Home();
  home.config({ server: { daemon: true, error_log: "error.log" }, route: ANSWER });
  const { code, stderr } = await new Deno.Command("unshare", {
    args: [
      ...["--pid", "--fork", "--mount-proc", Deno.execPath(), "run", "-A", "--no-prompt"],
      ...[new URL("../../main.ts", import.meta.url).pathname, "run"],
      ...["-c", join(home.path, "sluice.yaml")],
    ],
  }).output();
  assert.equal(code, 1);
  assert.match(new TextDecoder().decode(stderr), /first process of a container.*foreground/);
}, "unshare --pid --fork --mount-proc true");
