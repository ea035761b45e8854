/** Every server key of Pingora is either taken with its meaning, or refused by its name and with what to do instead. */
import assert from "node:assert/strict";
import { systemAccounts } from "../../src/config/accounts.ts";
import { loadConfig } from "../../src/config/load.ts";

type Taken = NonNullable<Awaited<ReturnType<typeof loadConfig>>["config"]>;

/** All of them. */
const PINGORA: readonly string[] = [
  "version",
  "daemon",
  "error_log",
  "pid_file",
  "upgrade_sock",
  "user",
  "group",
  "working_directory",
  "threads",
  "listener_tasks_per_fd",
  "work_stealing",
  "ca_file",
  "s2n_config_cache_size",
  "grace_period_seconds",
  "graceful_shutdown_timeout_seconds",
  "client_bind_to_ipv4",
  "client_bind_to_ipv6",
  "upstream_keepalive_pool_size",
  "upstream_connect_offload_threadpools",
  "upstream_connect_offload_thread_per_pool",
  "upstream_debug_ssl_keylog",
  "max_retries",
  "upgrade_sock_connect_accept_max_retries",
  "max_blocking_threads",
  "blocking_threads_ttl_seconds",
  "daemon_wait_for_ready",
  "daemon_ready_timeout_seconds",
  "daemon_notify_timeout_seconds",
];

const ROOTS = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";

/** Files that are there. */
const FILES: Readonly<Record<string, string>> = {
  "/etc/passwd": "root:x:0:0::/:/bin/sh\nweb:x:33:44::/:/bin/sh\n+::::::\nnonsense\n",
  "/etc/group": "root:x:0:\nweb:x:44:\nlogs:x:45:web\n",
  "/etc/sluice/roots.pem": ROOTS,
};

/** What each of them is to set. `version` stands at the top, and `group` beside `user`. */
const TAKEN: Readonly<Record<string, readonly [value: unknown, check: (config: Taken) => void]>> = {
  threads: [3, ({ server }) => assert.equal(server.threads, 3)],
  pid_file: [
    "run/s.pid",
    ({ server }) =>
      assert.deepEqual(server.pidFile, { path: "/etc/sluice/run/s.pid", named: true }),
  ],
  error_log: ["error.log", ({ log }) => assert.equal(log.file, "/etc/sluice/error.log")],
  upgrade_sock: ["/run/up", ({ server }) => assert.equal(server.upgradeSock, "/run/up")],
  working_directory: ["/", ({ server }) => assert.equal(server.workingDirectory, "/")],
  grace_period_seconds: [7, ({ server }) => assert.equal(server.gracePeriod, 7_000)],
  upstream_keepalive_pool_size: [
    9,
    ({ server }) => assert.equal(server.upstreamKeepalivePoolSize, 9),
  ],
  max_retries: [2, ({ server }) => assert.equal(server.maxRetries, 2)],
  ca_file: [
    "roots.pem",
    ({ upstreams }) => assert.deepEqual(upstreams[0]!.tls?.ca, ROOTS),
  ],
  user: [
    "web",
    ({ server }) =>
      assert.deepEqual(server.identity, { user: "web", uid: 33, group: "web", gid: 44 }),
  ],
  daemon: [
    true,
    ({ server }) => {
      assert.equal(server.daemon, true);
      assert.equal(server.daemonReadyTimeout, 60_000);
      assert.equal(server.pidFile?.named, false);
      assert.match(server.pidFile!.path, /^\/run\/user\/1\/sluice-[0-9a-f]{12}\.pid$/);
    },
  ],
};

const REFUSED = PINGORA.filter((key) =>
  key !== "version" && key !== "group" && !Object.hasOwn(TAKEN, key)
);

function load(parts: Readonly<Record<string, unknown>>) {
  const text = JSON.stringify({
    version: 1,
    listeners: [{ address: "127.0.0.1:8080" }],
    services: [{ name: "main", routes: [{ upstream: "app" }] }],
    upstreams: [{ name: "app", endpoints: ["https://127.0.0.1:1"], transport: { tls: {} } }],
    ...parts,
  });
  const readFile = (path: string) => {
    if (path === "/etc/sluice/sluice.yaml") return text;
    if (!Object.hasOwn(FILES, path)) throw new Deno.errors.NotFound(path);
    return FILES[path]!;
  };
  return loadConfig("/etc/sluice/sluice.yaml", { XDG_RUNTIME_DIR: "/run/user/1" }, {
    readFile,
    accounts: () => systemAccounts(readFile),
  });
}

for (const [key, [value, check]] of Object.entries(TAKEN)) {
  Deno.test(`server.${key} has its meaning`, async () => {
    const { config, errors } = await load({ server: { [key]: value } });
    assert.equal(errors, undefined, JSON.stringify(errors));
    check(config!);
  });
}

Deno.test("version is the one there is, and no other", async () => {
  assert.equal((await load({ version: 1 })).errors, undefined);
  for (const version of [0, 2, "1", null]) {
    const { errors } = await load({ version });
    assert.equal(errors?.length, 1, JSON.stringify(errors));
    assert.match(errors[0]!.message, /version/);
  }
});

Deno.test("users and groups are found by name, and then by number, and must be there", async () => {
  const identity = async (server: unknown) => {
    const { config, errors } = await load({ server });
    return config === undefined
      ? errors.map(({ message, remedy }) => `${message}: ${remedy}`)
      : config.server.identity;
  };
  assert.equal(await identity({}), null);
  assert.deepEqual(await identity({ user: "web", group: "logs" }), {
    user: "web",
    uid: 33,
    group: "logs",
    gid: 45,
  });
  assert.deepEqual(await identity({ user: 33, group: "46" }), {
    user: "web",
    uid: 33,
    group: null,
    gid: 46,
  });
  assert.deepEqual(await identity({ user: 99, group: 44 }), {
    user: null,
    uid: 99,
    group: "web",
    gid: 44,
  });
  for (
    const [server, words] of [
      [{ user: "wab" }, /"wab".*did you mean "?web/],
      [{ user: "web", group: "logz" }, /"logz".*did you mean "?logs/],
      [{ user: 99 }, /no user "99" in \/etc\/passwd, and so no group: name the group/],
      [{ group: "web" }, /"group" stands without "user": name the user/],
      [{ user: "a b" }, /server\.user/],
      [{ user: -1 }, /from 0 to 4294967294/],
      [{ user: 4294967295 }, /from 0 to 4294967294/],
    ] as const
  ) {
    const errors = await identity(server);
    assert.equal(Array.isArray(errors) && errors.length, 1, JSON.stringify([server, errors]));
    assert.match((errors as string[])[0]!, words);
  }
});

Deno.test("what only root could do later is refused beside a user", async () => {
  const rest = (listener: unknown) =>
    load({
      server: { user: "web" },
      listeners: [{ address: "127.0.0.1:8080", ...listener as object }],
    });
  const kernel = await rest({ engine: "epoll" });
  assert.match(kernel.errors![0]!.message, /the right ffi is not given to workers/);
  const owned = await rest({ address: "unix:/a.sock", unix_owner: { user: 1, group: 1 } });
  assert.match(owned.errors![0]!.message, /cannot give them away/);
  for (const engine of ["handle", "auto"]) {
    assert.equal((await rest({ engine })).config!.listeners[0]!.engine, "handle");
  }
});

Deno.test("a daemon has no standard output to write an access log to", async () => {
  const { errors } = await load({
    server: { daemon: true },
    telemetry: { access_log: { output: "stdout" } },
  });
  assert.equal(errors?.length, 1);
  assert.match(errors[0]!.message, /no standard output/);
});

for (const key of REFUSED) {
  Deno.test(`server.${key} is refused by name`, async () => {
    const { errors } = await load({ server: { [key]: 1 } });
    assert.equal(errors?.length, 1);
    assert.match(errors[0]!.message, new RegExp(`\\b${key}\\b`));
    assert.notEqual(errors[0]!.remedy, "");
  });
}

Deno.test("at the top level, where Pingora has them, each is told where it belongs", async () => {
  for (const key of PINGORA.filter((key) => key !== "version")) {
    const { errors } = await load({ [key]: 1 });
    assert.equal(errors?.length, 1, key);
    assert.match(`${errors[0]!.message} ${errors[0]!.remedy}`, /server/, key);
  }
});
