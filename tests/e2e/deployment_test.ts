/** What is there to run the program as a service: the container of the example, and the unit of systemd. */
import assert from "node:assert/strict";
import { eventually, withDeadline } from "../support/deadline.ts";
import { field, text } from "../support/http_text.ts";
import { Image } from "../support/image.ts";
import { FakeServiceManager } from "../support/notify.ts";
import { plugin } from "../support/plugin_text.ts";
import { get, RawClient, rawRequest } from "../support/raw_client.ts";
import { startSimpleOrigin } from "../support/simple_origin.ts";

const ROOT = new URL("../../", import.meta.url).pathname;
const DOCKERFILE = "examples/deployment/Dockerfile";
const HEARD = plugin(
  `  responseFilter(session) { session.response.headers.set("X-Heard", "yes"); },`,
);

/** A program that was started, and what it says. */
class Running implements AsyncDisposable {
  readonly child: Deno.ChildProcess;
  output = "";
  readonly #ended: Promise<number>;

  constructor(command: Deno.Command) {
    this.child = command.spawn();
    const collect = async (stream: ReadableStream<Uint8Array>) => {
      for await (const piece of stream.pipeThrough(new TextDecoderStream())) this.output += piece;
    };
    const { stdout, stderr, status } = this.child;
    this.#ended = Promise.all([status, collect(stdout), collect(stderr)]).then(([{ code }]) =>
      code
    );
  }

  async said(pattern: RegExp): Promise<RegExpExecArray> {
    let found: RegExpExecArray | null = null;
    await eventually(
      () => (found = pattern.exec(this.output)) !== null,
      () => `${pattern} in\n${this.output}`,
      60_000,
    );
    return found!;
  }

  /** Resolves with the exit code. */
  ended(): Promise<number> {
    return withDeadline(this.#ended, 60_000, () => `the end of\n${this.output}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Whoever starts it in a namespace may go without it.
    for (const pid of [...children(this.child.pid).map((one) => one.pid), this.child.pid]) {
      try {
        Deno.kill(pid, "SIGKILL");
      } catch { /* It has ended. */ }
    }
    await this.#ended;
  }
}

/** The config of the example, on ports of loopback, beside a folder of plugins. */
async function containerConfig(directory: string, mark: string): Promise<string> {
  const yaml = await Deno.readTextFile(`${ROOT}examples/deployment/sluice.yaml`);
  const path = `${directory}/sluice.yaml`;
  const text = yaml.replace(/0\.0\.0\.0:\d+/g, "127.0.0.1:0")
    .replace("shutdown_delay: 5s", "shutdown_delay: 300ms")
    .replace(
      "- upstream: app",
      `- { upstream: app, rules: [{ response: { set: { X-Mark: ${mark} } } }] }`,
    );
  for (const changed of ["127.0.0.1:0", "300ms", mark]) assert.ok(text.includes(changed));
  await Deno.mkdir(`${directory}/plugins`, { recursive: true });
  await Deno.writeTextFile(`${directory}/plugins/heard.ts`, HEARD);
  await Deno.writeTextFile(
    path,
    `${text}plugins: { directory: ./plugins, isolation: { heard: process } }\n`,
  );
  await Deno.chmod(directory, 0o755);
  return path;
}

interface Process {
  readonly pid: number;
  readonly state: string;
}

function children(parent: number): Process[] {
  const found: Process[] = [];
  for (const { name } of Deno.readDirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const status = Deno.readTextFileSync(`/proc/${name}/status`);
      if (Number(/^PPid:\s+(\d+)$/m.exec(status)![1]) !== parent) continue;
      found.push({ pid: Number(name), state: /^State:\s+(\w)/m.exec(status)![1]! });
    } catch { /* It has ended. */ }
  }
  return found;
}

function unshares(): boolean {
  try {
    const { success } = new Deno.Command("unshare", {
      args: ["--pid", "--fork", "--mount-proc", "--kill-child", "true"],
      stdout: "null",
      stderr: "null",
    }).outputSync();
    return success;
  } catch {
    return false;
  }
}

Deno.test("the container has all that it runs from, offline, for a user who may only read it", async (t) => {
  await using origin = await startSimpleOrigin();
  await using image = await Image.build(DOCKERFILE);
  const directory = `${image.directory}/etc`;
  await Deno.mkdir(directory);
  const config = await containerConfig(directory, "one");
  const env = { APP: origin.url };

  await t.step("check", async () => {
    await using check = new Running(image.command(image.entry(["check", "-c", config]), env));
    assert.equal(await check.ended(), 0, check.output);
    assert.match(check.output, /^Upstream app$/m);
  });

  const entry = image.entry().map((arg) => arg === "/etc/sluice/sluice.yaml" ? config : arg);
  assert.ok(entry.includes(config), "the container reads its config from where it is mounted");
  const answer = async (port: number) => await rawRequest(port, get("/bytes/10"));

  await t.step("run", async () => {
    await using program = new Running(image.command(entry, env));
    const port = Number((await program.said(/ready on 127\.0\.0\.1:(\d+)/))[1]);
    const { status, fields } = await answer(port);
    assert.equal(status, 200, program.output);
    assert.equal(field({ fields }, "x-heard"), "yes");
    program.child.kill("SIGTERM");
    assert.equal(await program.ended(), 0, program.output);
  });

  await t.step("as the first process: signals, and no zombies", async () => {
    if (!unshares()) {
      console.log("not shown here: unshare --pid needs Linux and root");
      return;
    }
    const through = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"];
    await using program = new Running(image.command(entry, env, through));
    const port = Number((await program.said(/ready on 127\.0\.0\.1:(\d+)/))[1]);
    const [{ pid: first }] = children(program.child.pid) as [Process];
    assert.match(Deno.readTextFileSync(`/proc/${first}/status`), /^NSpid:\s+\d+\s+1$/m);
    assert.equal(field(await answer(port), "x-mark"), "one");

    // What a plugin leaves when it dies is cleared away, and another takes its place.
    const [sandbox] = children(first);
    Deno.kill(sandbox!.pid, "SIGKILL");
    await eventually(
      () => {
        const now = children(first);
        return now.length === 1 && now[0]!.pid !== sandbox!.pid && now[0]!.state !== "Z";
      },
      () => `another plugin, and no zombie: ${JSON.stringify(children(first))}`,
      60_000,
    );
    await eventually(
      async () => field(await answer(port), "x-heard") === "yes",
      "the plugin to be at work again",
      60_000,
    );

    await containerConfig(directory, "two");
    Deno.kill(first, "SIGHUP");
    await program.said(/"Reloaded"/);
    assert.equal(field(await answer(port), "x-mark"), "two");

    Deno.kill(first, "SIGQUIT");
    await program.said(/The upgrade has failed: this is the first process of a container/);

    await using client = await RawClient.connect(port);
    await client.send(get("/delay/1500"));
    await eventually(() => origin.count("/delay/1500") === 1, "the request at the origin");
    Deno.kill(first, "SIGTERM");
    assert.equal(text(await client.response("GET", 30_000)), "late");
    assert.equal(await program.ended(), 0, program.output);
  });
});

/** The value of a key of the unit, with the paths of this machine. */
function unitLine(unit: string, key: string, config: string): readonly string[] {
  const line = new RegExp(`^${key}=(.*)$`, "m").exec(unit)![1]!;
  return line.split(" ").map((word) =>
    word.replace("/usr/local/bin/deno", Deno.execPath())
      .replace("/opt/sluice/", ROOT)
      .replace("/etc/sluice/sluice.yaml", config)
  );
}

Deno.test("the commands of the unit start the program, tell systemd, reload, and fail when a config is refused", async () => {
  const unit = await Deno.readTextFile(`${ROOT}contrib/systemd/sluice.service`);
  using manager = await FakeServiceManager.start();
  await using origin = await startSimpleOrigin();
  const directory = await Deno.makeTempDir({ prefix: "sluice-unit-" });
  const config = `${directory}/sluice.yaml`;
  const good = JSON.stringify({
    listeners: [{ name: "web", address: "127.0.0.1:0" }],
    services: [{ name: "main", routes: [{ upstream: "origin" }] }],
    upstreams: [{ name: "origin", endpoints: [origin.address] }],
  });
  const command = (key: string) => {
    const [program, ...args] = unitLine(unit, key, config);
    return new Deno.Command(program!, {
      args,
      cwd: directory,
      env: { NO_COLOR: "1", RUNTIME_DIRECTORY: directory, NOTIFY_SOCKET: manager.path },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    });
  };
  const reload = async () => {
    await using running = new Running(command("ExecReload"));
    return [await running.ended(), running.output] as const;
  };
  try {
    await Deno.writeTextFile(config, good);
    await using program = new Running(command("ExecStart"));
    const port = Number((await program.said(/ready on 127\.0\.0\.1:(\d+)/))[1]);
    await manager.heard(/^READY=1/);
    assert.equal((await rawRequest(port, get("/bytes/1"))).status, 200);
    assert.deepEqual((await reload())[0], 0);
    await Deno.writeTextFile(config, "this: is no config");
    const [code, said] = await reload();
    assert.equal(code, 1, said);
    assert.match(said, /unknown key "this"/);
    assert.equal((await rawRequest(port, get("/bytes/1"))).status, 200);
    program.child.kill("SIGTERM");
    assert.equal(await program.ended(), 0);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});
