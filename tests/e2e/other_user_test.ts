/** `server.user`: ports are bound by root, and everything else is done by another user. */
import assert from "node:assert/strict";
import { testCertificates } from "../support/certs.ts";
import { configFile } from "../support/config.ts";
import { curl } from "../support/curl.ts";
import { Successor, upgrade } from "../support/handover.ts";
import { text } from "../support/http_text.ts";
import { plugin } from "../support/plugin_text.ts";
import { get, rawRequest } from "../support/raw_client.ts";
import { reload } from "../support/reload.ts";
import { testAsRoot } from "../support/require.ts";
import { sharedProgram } from "../support/shared_program.ts";
import { startSimpleOrigin } from "../support/simple_origin.ts";
import { runSluice, type Sluice, SluiceStartError, startSluice } from "../support/sluice.ts";

const USER = "www-data";
const [UID, GID, GROUPS] = Deno.build.os === "linux" && Deno.uid() === 0
  ? [id("-u"), id("-g"), id("-G")]
  : ["", "", ""];

function id(flag: string): string {
  const { stdout } = new Deno.Command("id", { args: [flag, USER] }).outputSync();
  return new TextDecoder().decode(stdout).trim();
}

/** Whether the system keeps low ports for root: containers are often told that it need not. */
const LOW_ARE_KEPT = Deno.build.os === "linux" &&
  Number(Deno.readTextFileSync("/proc/sys/net/ipv4/ip_unprivileged_port_start")) >= 1024;

/** Ports below 1024 that nobody has. */
function lowPorts(count: number): number[] {
  const found: number[] = [];
  for (let port = 600 + Math.floor(Math.random() * 300); found.length < count; port++) {
    try {
      Deno.listen({ hostname: "127.0.0.1", port }).close();
      found.push(port);
    } catch {
      // Somebody has it.
    }
  }
  return found;
}

/** Distinct identities of all threads of a process, and how many threads it has. */
function identities(pid: number): { threads: number; distinct: string[] } {
  const found: string[] = [];
  for (const { name } of Deno.readDirSync(`/proc/${pid}/task`)) {
    const status = statusOf(`/proc/${pid}/task/${name}`);
    // It has ended meanwhile.
    if (status === null) continue;
    found.push(
      ["Uid", "Gid", "Groups", "CapEff", "CapPrm"].map((key) =>
        `${key} ${new RegExp(`^${key}:\\s+(.*?)\\s*$`, "m").exec(status)![1]}`.replace(/\t/g, " ")
      ).join("; "),
    );
  }
  return { threads: found.length, distinct: [...new Set(found)] };
}

function statusOf(folder: string): string | null {
  try {
    return Deno.readTextFileSync(`${folder}/status`);
  } catch {
    return null;
  }
}

const all = (n: string) => `${n} ${n} ${n} ${n}`;
const WHOLLY = [
  `Uid ${all(UID)}; Gid ${all(GID)}; Groups ${GROUPS}; CapEff ${"0".repeat(16)}; CapPrm ${
    "0".repeat(16)
  }`,
];

function children(pid: number): number[] {
  return [...Deno.readDirSync("/proc")].map(({ name }) => Number(name)).filter((one) => {
    try {
      return one > 0 &&
        new RegExp(`^PPid:\\s+${pid}$`, "m").test(Deno.readTextFileSync(`/proc/${one}/status`));
    } catch {
      return false;
    }
  });
}

const WHO = plugin(
  `  name: "NAME",
  requestFilter: (session) => session.respond(200, "NAME"),`,
);

/** A folder of the user in that of the config, which is root's and which everybody may read. */
function folders(directory: string): void {
  Deno.chmodSync(directory, 0o755);
  if (Deno.statSync(directory).uid !== 0) throw new Error("the folder should be root's");
  Deno.mkdirSync(`${directory}/run`, { recursive: true });
  Deno.chownSync(`${directory}/run`, Number(UID), Number(GID));
}

testAsRoot(
  "ports below 1024, sockets, logs, plugins, reloads and upgrades work for another user, and nothing is root's any more",
  async () => {
    const program = await sharedProgram();
    await using origin = await startSimpleOrigin();
    const [web, tls, added] = lowPorts(3) as [number, number, number];
    const { ca, server: pair } = testCertificates();
    const config = (
      directory: string,
      extra: readonly unknown[] = [],
      endpoints = [origin.address],
    ) =>
      JSON.stringify({
        server: { user: USER, pid_file: "sluice.pid" },
        admin: { listen: `unix:${directory}/run/admin.sock` },
        listeners: [
          { name: "web", address: `127.0.0.1:${web}`, engine: "auto" },
          {
            name: "tls",
            address: `127.0.0.1:${tls}`,
            tls: { certificates: [{ cert: "a.pem", key: "a.key" }] },
          },
          { name: "local", address: `unix:${directory}/run/web.sock` },
          ...extra,
        ],
        services: [{
          name: "main",
          routes: [
            { match: { path: "/who/worker" }, plugins: [{ use: "inworker" }] },
            { match: { path: "/who/process" }, plugins: [{ use: "inprocess" }] },
            { upstream: "origin" },
          ],
        }],
        upstreams: [{ name: "origin", endpoints }],
        plugins: {
          directory: "plugins",
          isolation: { inprocess: "process" },
        },
      });
    await using sluice = await startSluice({
      program,
      env: program.env,
      threads: 2,
      files: { "a.pem": pair.cert, "a.key": pair.key },
      plugins: {
        "inworker.ts": WHO.replaceAll("NAME", "inworker"),
        "inprocess.ts": WHO.replaceAll("NAME", "inprocess"),
      },
      config: (directory) => {
        folders(directory);
        Deno.writeTextFileSync(`${directory}/ca.pem`, ca);
        Deno.chmodSync(`${directory}/a.key`, 0o600);
        return config(directory);
      },
    });
    const { directory, pid } = sluice;
    const fetches = async () => {
      assert.equal((await rawRequest(web, get("/bytes/10"))).status, 200);
      assert.equal((await rawRequest({ path: `${directory}/run/web.sock` }, get("/"))).status, 200);
      const secure = await curl(
        ...["-s", "--cacert", `${directory}/ca.pem`, `https://127.0.0.1:${tls}/bytes/10`],
        ...["-o", "/dev/null", "-w", "%{http_code}"],
      );
      assert.equal(secure.stdout, "200", secure.stderr);
    };
    await fetches();
    // Native handles listen on low ports, too: each worker is lent the socket that root has bound.
    const admin = { path: `${directory}/run/admin.sock` };
    const { listeners } = JSON.parse(
      text(await rawRequest(admin, get("/config", { Host: "localhost" }))),
    );
    assert.equal(listeners[0].engine, "handle");
    for (const where of ["worker", "process"]) {
      assert.equal(text(await rawRequest(web, get(`/who/${where}`))), `in${where}`);
    }
    const { threads, distinct } = identities(pid);
    assert.ok(threads > 5, `${threads} threads`);
    assert.deepEqual(distinct, WHOLLY);
    const sandboxes = children(pid);
    assert.equal(sandboxes.length, 1);
    assert.deepEqual(identities(sandboxes[0]!).distinct, WHOLLY);
    for (const file of ["sluice.pid", "access.jsonl", "run/web.sock", "run/admin.sock"]) {
      const { uid, gid } = Deno.statSync(`${directory}/${file}`);
      assert.deepEqual([uid, gid], [Number(UID), Number(GID)], file);
    }
    assert.equal(Deno.readTextFileSync(`${directory}/sluice.pid`), `${pid}\n`);
    await sluice.waitForOutput(new RegExp(`Runs as ${USER}:\\S+ from now on`));
    await sluice.waitForOutput(/may not read "[^"]*a\.key": it was read as root/);

    // The key belongs to root, and a reload reads it as the user.
    assert.equal(await reload(sluice), false);
    await sluice.waitForOutput(/"a\.key" cannot be read: permission denied/);
    Deno.chownSync(`${directory}/a.key`, Number(UID), Number(GID));
    if (LOW_ARE_KEPT) {
      const low = { name: "low", address: `127.0.0.1:${added}` };
      assert.equal(await reload(sluice, config(directory, [low])), false);
      await sluice.waitForOutput(
        new RegExp(`cannot listen on 127\\.0\\.0\\.1:${added}: .*runs as user ${UID}.*restart it`),
      );
    }
    await fetches();
    // Another address to be reached: other workers listen on the low ports in the place of these.
    const high = { name: "high", address: "127.0.0.1:0" };
    const endpoints = [origin.address, origin.address.replace("127.0.0.1", "localhost")];
    assert.equal(await reload(sluice, config(directory, [high], endpoints)), true);
    await fetches();

    await using next = await upgrade(sluice);
    assert.equal(await sluice.exited, 0);
    await fetches();
    assert.deepEqual(identities(next.pid).distinct, WHOLLY);
    assert.equal(Deno.readTextFileSync(`${directory}/sluice.pid`), `${next.pid}\n`);
    await next.stop();
    // The folder is root's, so the file cannot be removed; it names nobody any more.
    assert.equal(Deno.readTextFileSync(`${directory}/sluice.pid`), "");
    assert.throws(() => Deno.statSync(`${directory}/run/web.sock`), Deno.errors.NotFound);
  },
);

testAsRoot(
  "a daemon of another user keeps its log and its pid file, opens the log anew and stops",
  async () => {
    const program = await sharedProgram();
    const [port] = lowPorts(1) as [number];
    const folder = await Deno.makeTempDir({ prefix: "sluice-daemon-" });
    await using stack = new AsyncDisposableStack();
    stack.defer(() => Deno.remove(folder, { recursive: true }));
    folders(folder);
    Deno.writeTextFileSync(
      `${folder}/sluice.yaml`,
      configFile({
        server: {
          daemon: true,
          user: Number(UID),
          group: USER,
          pid_file: "run/sluice.pid",
          error_log: "error.log",
        },
        listener: { address: `127.0.0.1:${port}` },
        route: { rules: [{ respond: { status: 204 } }] },
        top: { admin: { listen: `unix:${folder}/run/admin.sock` } },
      }),
    );
    const started = await runSluice(["run", "-c", `${folder}/sluice.yaml`], {
      program,
      env: program.env,
    });
    assert.equal(started.code, 0, started.stderr);
    const pid = Number(/as process (\d+)\n$/.exec(started.stdout)![1]);
    const daemon = stack.use(new Successor(pid));
    assert.equal((await rawRequest(port, get("/"))).status, 204);
    assert.deepEqual(identities(pid).distinct, WHOLLY);
    assert.equal(Deno.readTextFileSync(`${folder}/run/sluice.pid`), `${pid}\n`);
    const log = `${folder}/error.log`;
    assert.equal(Deno.statSync(log).uid, Number(UID));
    // As logrotate does it, with "create 0640 www-data www-data".
    Deno.renameSync(log, `${log}.1`);
    Deno.writeTextFileSync(log, "");
    Deno.chownSync(log, Number(UID), Number(GID));
    daemon.signal("SIGUSR2");
    await daemon.stop();
    assert.match(Deno.readTextFileSync(log), /Stopped\n$/);
    assert.throws(() => Deno.statSync(`${folder}/run/sluice.pid`), Deno.errors.NotFound);
  },
);

/** A config for a user, which answers by itself. */
const configOf = (user: string) => (directory: string) => {
  folders(directory);
  return configFile({ server: { user }, route: { rules: [{ respond: { status: 204 } }] } });
};

async function refused(start: Promise<Sluice>, message: RegExp): Promise<void> {
  await assert.rejects(async () => {
    await using _ = await start;
  }, (error) => {
    assert.ok(error instanceof SluiceStartError, String(error));
    assert.equal(error.code, 1);
    assert.match(error.output, message);
    return true;
  });
}

const POWERLESS = "setpriv --bounding-set=-setuid --inh-caps=-all";

testAsRoot(
  "who cannot become another user, or could not run as that user, does not start, and says why",
  async () => {
    const program = await sharedProgram();
    const common = { program, env: program.env, args: ["--access-log", "off"] };
    await refused(
      startSluice({
        ...common,
        config: configOf("nobody"),
        shell: `exec setpriv --reuid=${UID} --regid=${GID} --clear-groups "$@"`,
      }),
      new RegExp(`cannot become nobody:\\S+: it runs as user ${UID}, and only root can`),
    );
    await refused(
      startSluice({
        ...common,
        config: configOf(USER),
        rights: ["--allow-net", "--allow-read", "--allow-write", "--allow-env", "--allow-sys"],
      }),
      /cannot become .*without a call into libc: run with --allow-ffi/,
    );
    await using stack = new AsyncDisposableStack();
    stack.defer(() => Deno.chmodSync(program.cache, 0o777));
    Deno.chmodSync(program.cache, 0o700);
    await refused(
      startSluice({ ...common, config: configOf(USER) }),
      new RegExp(`may not read "${program.cache}".*DENO_DIR`),
    );
  },
);

testAsRoot("root without the right to become somebody else is told which that is", async () => {
  const program = await sharedProgram();
  await refused(
    startSluice({
      program,
      env: program.env,
      args: ["--access-log", "off"],
      config: configOf(USER),
      shell: `exec ${POWERLESS} "$@"`,
    }),
    /has refused .*\(setuid\).*CAP_SETUID/,
  );
}, `${POWERLESS} true`);

testAsRoot("files are given only where nobody could have put a link in their place", async () => {
  const program = await sharedProgram();
  await using sluice = await startSluice({
    program,
    env: program.env,
    args: ["--access-log", "off"],
    config: (directory) => {
      folders(directory);
      Deno.writeTextFileSync(`${directory}/precious`, "root's\n");
      Deno.symlinkSync(`${directory}/precious`, `${directory}/sluice.pid`);
      return configFile({
        server: { user: USER, pid_file: "sluice.pid" },
        route: { rules: [{ respond: { status: 204 } }] },
      });
    },
  });
  assert.equal((await rawRequest(sluice.port(), get("/"))).status, 204);
  assert.equal(Deno.statSync(`${sluice.directory}/precious`).uid, 0);
  assert.equal(Deno.readTextFileSync(`${sluice.directory}/precious`), "root's\n");
  await sluice.waitForOutput(/sluice\.pid" is not given to/);
  await sluice.waitForOutput(/The pid file cannot be written/);
});
