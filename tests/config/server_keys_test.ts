/** Every server key of Pingora is either taken with its meaning, or refused by its name and with what to do instead. */
import assert from "node:assert/strict";
import { loadConfig } from "../../src/config/load.ts";

/** What each of them is to set. */
const TAKEN: Readonly<Record<string, readonly [value: unknown, check: (config: Taken) => void]>> = {
  threads: [3, ({ server }) => assert.equal(server.threads, 3)],
  pid_file: ["run/s.pid", ({ server }) => assert.equal(server.pidFile, "/etc/sluice/run/s.pid")],
  error_log: ["error.log", ({ log }) => assert.equal(log.file, "/etc/sluice/error.log")],
  upgrade_sock: ["/run/up", ({ server }) => assert.equal(server.upgradeSock, "/run/up")],
  working_directory: ["/", ({ server }) => assert.equal(server.workingDirectory, "/")],
  grace_period_seconds: [7, ({ server }) => assert.equal(server.gracePeriod, 7_000)],
  upstream_keepalive_pool_size: [
    9,
    ({ server }) => assert.equal(server.upstreamKeepalivePoolSize, 9),
  ],
  max_retries: [2, ({ server }) => assert.equal(server.maxRetries, 2)],
};

const REFUSED: readonly string[] = [
  "daemon",
  "daemon_wait_for_ready",
  "daemon_ready_timeout_seconds",
  "daemon_notify_timeout_seconds",
  "user",
  "group",
  "listener_tasks_per_fd",
  "work_stealing",
  "s2n_config_cache_size",
  "graceful_shutdown_timeout_seconds",
  "client_bind_to_ipv4",
  "client_bind_to_ipv6",
  "upstream_connect_offload_threadpools",
  "upstream_connect_offload_thread_per_pool",
  "upstream_debug_ssl_keylog",
  "upgrade_sock_connect_accept_max_retries",
  "max_blocking_threads",
  "blocking_threads_ttl_seconds",
];

type Taken = NonNullable<Awaited<ReturnType<typeof loadConfig>>["config"]>;

function load(parts: Readonly<Record<string, unknown>>) {
  const text = JSON.stringify({
    version: 1,
    listeners: [{ address: "127.0.0.1:8080" }],
    services: [{ name: "main", routes: [{ rules: [{ respond: { status: 204 } }] }] }],
    ...parts,
  });
  return loadConfig("/etc/sluice/sluice.yaml", {}, { readFile: () => text });
}

for (const [key, [value, check]] of Object.entries(TAKEN)) {
  Deno.test(`server.${key} has its meaning`, async () => {
    const { config, errors } = await load({ server: { [key]: value } });
    assert.equal(errors, undefined, JSON.stringify(errors));
    check(config!);
  });
}

for (const key of REFUSED) {
  Deno.test(`server.${key} is refused by name`, async () => {
    const { errors } = await load({ server: { [key]: 1 } });
    assert.equal(errors?.length, 1);
    assert.match(errors[0]!.message, new RegExp(`\\b${key}\\b`));
    assert.notEqual(errors[0]!.remedy, "");
  });
}

Deno.test("at the top level, where Pingora has them, each is told where it belongs", async () => {
  for (const key of [...Object.keys(TAKEN), ...REFUSED]) {
    const { errors } = await load({ [key]: 1 });
    assert.equal(errors?.length, 1, key);
    assert.match(`${errors[0]!.message} ${errors[0]!.remedy}`, /server/, key);
  }
});
