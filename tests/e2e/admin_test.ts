/** The admin interface and the verbs that use it, through the whole program. */
import assert from "node:assert/strict";
import { adminSocket } from "../../src/config/admin_socket.ts";
import { cli } from "../cli/support.ts";
import { configFile } from "../support/config.ts";
import { eventually, withDeadline } from "../support/deadline.ts";
import { field, type RawResponse, text } from "../support/http_text.ts";
import { get, RawClient, rawRequest, request } from "../support/raw_client.ts";
import { runSluice, type Sluice, type SluiceOptions, startSluice } from "../support/sluice.ts";
import { startMember, startMembers, tally } from "./upstream_support.ts";

const JSON_TYPE = { "Content-Type": "application/json" };

interface Admin {
  readonly sluice: Sluice;
  readonly path: string;
  /** Asks for something and gives the JSON of its answer. */
  // deno-lint-ignore no-explicit-any -- the shape is what the tests are about
  json(method: string, path: string, content?: unknown): Promise<any>;
  send(request: string): Promise<RawResponse>;
}

async function start(
  parts: Parameters<typeof configFile>[0],
  options: Omit<SluiceOptions, "config"> = {},
): Promise<Admin> {
  const sluice = await startSluice({
    ...options,
    config: (directory) =>
      configFile({
        ...parts,
        top: { admin: { listen: `unix:${directory}/admin.sock` }, ...parts.top },
      }),
  });
  const path = `${sluice.directory}/admin.sock`;
  const send = (text: string) => rawRequest({ path }, text);
  return {
    sluice,
    path,
    send,
    async json(method, path, content) {
      const body = content === undefined ? null : JSON.stringify(content);
      const answer = await send(request(method, path, body === null ? {} : JSON_TYPE, body));
      return { status: answer.status, ...JSON.parse(text(answer)) };
    },
  };
}

Deno.test("status, config, plugins and probes tell how the program is", async () => {
  await using stack = new AsyncDisposableStack();
  const [a] = await startMembers(stack, "a");
  const admin = await start({
    origin: a.address,
    plugins: { grant: { asks: { env: ["HOME"] } } },
    route: { plugins: [{ use: "asks", with: { secret: "do not show" } }] },
  }, {
    plugins: {
      "asks.ts": `import { definePlugin } from "@sluice/plugin";
import { z } from "zod";
export default definePlugin({
  version: "3.2.1",
  config: z.object({ secret: z.string() }),
  permissions: { env: ["HOME"] },
  requestFilter() {},
});
`,
    },
    threads: 2,
  });
  stack.use(admin.sluice);
  assert.equal(Deno.statSync(admin.path).mode! & 0o777, 0o600);
  const status = await admin.json("GET", "/status");
  assert.equal(status.state, "ready");
  assert.equal(status.pid, admin.sluice.pid);
  assert.match(status.version, /^\d+\.\d+\.\d+/);
  assert.deepEqual(status.listeners, [{
    name: "web",
    address: `127.0.0.1:${admin.sluice.port()}`,
  }]);
  assert.deepEqual(status.plugins, [{ name: "asks", state: "running" }]);
  // deno-lint-ignore no-explicit-any -- as above
  assert.deepEqual(status.workers.map((one: any) => [one.id, one.state, one.restarts]), [
    ["main-0", "ready", 0],
    ["main-1", "ready", 0],
  ]);
  assert.ok(status.workers[0].heartbeat_age_seconds < 5);
  assert.deepEqual([status.workers[0].requests, status.workers[0].retired_editions], [0, 0]);
  assert.ok(status.uptime_seconds > 0 && Date.parse(status.started_at) <= Date.now());
  assert.deepEqual(
    [status.config.generation, status.config.last_load_successful],
    [1, true],
  );

  const config = await admin.send(get("/config"));
  assert.equal(config.status, 200);
  assert.match(text(config), /"gracePeriod": 10000/);
  assert.doesNotMatch(text(config), /do not show/);

  const { plugins } = await admin.json("GET", "/plugins");
  assert.equal(plugins.length, 1);
  assert.deepEqual(
    { ...plugins[0], file: "", generation: 0 },
    {
      ...{ name: "asks", version: "3.2.1", file: "", isolation: "worker" },
      ...{ phases: ["requestFilter"], asked: { env: ["HOME"] } },
      granted: { env: ["HOME"], net: [], read: [], sys: [], write: [] },
      ...{ state: "running", generation: 0, crashes: 0, restarts: 0, lastCrash: null },
    },
  );
  for (const path of ["/livez", "/readyz"]) {
    assert.equal((await admin.send(get(path))).status, 200);
  }
});

Deno.test("endpoints are taken out, put back and weighed for all workers, and it outlives what discovery finds", async () => {
  await using stack = new AsyncDisposableStack();
  const [a, b] = await startMembers(stack, "a", "b");
  const list = (...members: { address: string }[]) =>
    JSON.stringify(members.map(({ address }) => address));
  const admin = await start({
    route: { upstream: "found" },
    upstreams: [{ name: "found", discovery: { type: "file", path: "./members.json" } }],
  }, { files: { "members.json": list(a, b) }, threads: 2 });
  const { sluice } = admin;
  stack.use(sluice);
  const shares = async (count = 24) => {
    const seen: Record<string, number> = {};
    for (let i = 0; i < count / 6; i++) {
      await using client = await RawClient.connect(sluice.port());
      for (const [who, times] of Object.entries(await tally(client, 6))) {
        seen[who] = (seen[who] ?? 0) + times;
      }
    }
    return seen;
  };
  const member = (one: { address: string }) => `/upstreams/found/endpoints/${one.address}`;
  const view = async (one: { address: string }) =>
    (await admin.json("GET", "/upstreams/found")).endpoints.find(
      (endpoint: { id: string }) => endpoint.id === one.address,
    );
  assert.deepEqual(Object.keys(await shares()).sort(), ["a", "b"]);
  const before = await view(a);
  assert.deepEqual([before.state, before.enabled, before.weight], ["ready", true, 1]);
  assert.ok(before.requests >= 6 && before.connections.idle >= 1, JSON.stringify(before));
  const served = (await view(a)).requests + (await view(b)).requests;
  assert.equal(served, a.served + b.served);

  const out = await admin.json("PATCH", member(b), { enabled: false });
  assert.deepEqual([out.state, out.enabled, out.usable], ["drained", false, false]);
  assert.deepEqual(await shares(), { a: 24 });
  // It leaves, and comes back as it was.
  await Deno.writeTextFile(`${sluice.directory}/members.json`, list(a));
  await eventually(async () => await view(b) === undefined, "b to leave");
  await Deno.writeTextFile(`${sluice.directory}/members.json`, list(a, b));
  await eventually(async () => (await view(b))?.state === "drained", "b to come back drained");
  assert.deepEqual(await shares(), { a: 24 });
  const back = await admin.json("PATCH", member(b), { enabled: true, weight: 3 });
  assert.deepEqual([back.state, back.weight, back.configured_weight], ["ready", 3, 1]);
  // Each worker shares by itself, in turns of four.
  const weighed = await shares(48);
  assert.ok(weighed["b"]! > 2 * weighed["a"]!, JSON.stringify(weighed));
  const plain = await admin.json("PATCH", member(b), { weight: null });
  assert.equal(plain.weight, 1);

  const wrong: [string, unknown, number][] = [
    [member(a), {}, 422],
    [member(a), { enabled: "no" }, 422],
    [member(a), { weight: -1 }, 422],
    [member(a), { weight: 1.5 }, 422],
    [member(a), { weight: 65_536 }, 422],
    [member(a), { enabled: true, other: 1 }, 422],
    ["/upstreams/found/endpoints/127.0.0.9:1", { enabled: false }, 404],
    ["/upstreams/none/endpoints/127.0.0.9:1", { enabled: false }, 404],
  ];
  for (const [path, content, status] of wrong) {
    const answer = await admin.json("PATCH", path, content);
    assert.equal(answer.status, status, JSON.stringify(content));
    assert.ok(answer.detail.length > 10);
  }
  assert.deepEqual(Object.keys(await shares()).sort(), ["a", "b"]);
});

Deno.test("a worker that takes the place of another knows what operators have set", async () => {
  await using stack = new AsyncDisposableStack();
  const [a, b] = await startMembers(stack, "a", "b");
  const admin = await start({
    origin: [a.address, b.address],
    plugins: { isolation: { end: "inline" }, trust: ["end"] },
  }, {
    plugins: {
      "end.ts": `import { definePlugin } from "@sluice/plugin";
export default definePlugin({
  requestFilter(session) { if (session.request.path === "/end") self.close(); },
});
`,
    },
  });
  const { sluice } = admin;
  stack.use(sluice);
  await admin.json("PATCH", `/upstreams/origin/endpoints/${a.address}`, { enabled: false });
  await admin.json("PUT", "/log-level", { level: "debug" });
  await using client = await RawClient.connect(sluice.port());
  await client.send(get("/end"));
  await sluice.waitForOutput(/Worker 0 of service main serves again/, 30_000);
  await using next = await RawClient.connect(sluice.port());
  assert.deepEqual(await tally(next, 6), { b: 6 });
  const status = await admin.json("GET", "/status");
  assert.equal(status.workers[0].restarts, 1);
  // Only somebody who logs at that level says so.
  await rawRequest(sluice.port(), "GET / HTTP/1.1\r\n\r\n");
  await sluice.waitForOutput(/DEBUG sluice\.service\.main: Refused a request/);
});

Deno.test("the log level is read and set, for main thread and workers", async () => {
  await using stack = new AsyncDisposableStack();
  const member = stack.use(await startMember("a"));
  const admin = await start({ origin: member.address });
  const { sluice } = admin;
  stack.use(sluice);
  const malformed = () => rawRequest(sluice.port(), "GET / HTTP/1.1\r\n\r\n");
  assert.equal((await admin.json("GET", "/log-level")).level, "info");
  await malformed();
  assert.equal((await admin.json("PUT", "/log-level", { level: "debug" })).level, "debug");
  await sluice.waitForOutput(/The log level is debug now/);
  assert.doesNotMatch(sluice.stderr(), /Refused a request/);
  // Workers are told in their own time.
  await eventually(async () => {
    await malformed();
    return sluice.stderr().includes("Refused a request");
  }, "a refused request in the log");
  for (const level of ["loud", 3, null]) {
    assert.equal((await admin.json("PUT", "/log-level", { level })).status, 422);
  }
  assert.equal((await admin.json("GET", "/log-level")).level, "debug");
});

Deno.test("a plugin is started anew from what is on disk, and a broken one changes nothing", async () => {
  await using stack = new AsyncDisposableStack();
  const answers = (what: string) =>
    `import { definePlugin } from "@sluice/plugin";
export default definePlugin({ requestFilter(session) { return session.respond(200, "${what}"); } });
`;
  const admin = await start({ plugins: {}, route: { plugins: [{ use: "says" }] } }, {
    plugins: { "says.ts": answers("one") },
  });
  const { sluice } = admin;
  stack.use(sluice);
  const ask = async () => text(await rawRequest(sluice.port(), get("/")));
  assert.equal(await ask(), "one");
  await Deno.writeTextFile(`${sluice.directory}/plugins/says.ts`, answers("two"));
  assert.equal(await ask(), "one");
  const restarted = await admin.json("POST", "/plugins/says/restart");
  assert.deepEqual([restarted.status, restarted.state, restarted.restarts], [200, "running", 1]);
  await eventually(async () => await ask() === "two", "the new plugin to answer");
  await Deno.writeTextFile(`${sluice.directory}/plugins/says.ts`, "export default nonsense(;");
  const broken = await admin.json("POST", "/plugins/says/restart");
  assert.equal(broken.status, 422);
  assert.match(broken.detail, /^It goes on as it was: /);
  assert.equal(await ask(), "two");
  assert.equal((await admin.json("POST", "/plugins/none/restart")).status, 404);
});

Deno.test("a drain lets requests finish, says so to probes, and ends with 0", async () => {
  await using stack = new AsyncDisposableStack();
  const member = stack.use(await startMember("late", { delay: 1_500 }));
  const admin = await start({ origin: member.address });
  const { sluice, path } = admin;
  stack.use(sluice);
  await using client = await RawClient.connect(sluice.port());
  await client.send(get("/"));
  await eventually(() => member.served === 1, "the request to arrive");
  const asked = await admin.json("POST", "/drain");
  assert.deepEqual([asked.status, asked.state], [202, "draining"]);
  const ready = await rawRequest({ path }, get("/readyz"));
  assert.deepEqual([ready.status, text(ready)], [503, "draining\n"]);
  assert.equal((await rawRequest({ path }, get("/livez"))).status, 200);
  assert.equal(text(await client.response()), "late");
  assert.equal(await withDeadline(sluice.exited, 30_000, "the end"), 0);
  assert.throws(() => Deno.statSync(path), Deno.errors.NotFound);
});

Deno.test("what is no request of ours is refused with a problem document", async () => {
  await using stack = new AsyncDisposableStack();
  const member = stack.use(await startMember("a"));
  const admin = await start({ origin: member.address });
  stack.use(admin.sluice);
  const cases: [string, number, string][] = [
    [get("/nothing"), 404, "not_found"],
    [get("/status/more"), 404, "not_found"],
    [get("/upstreams/none"), 404, "no_such_upstream"],
    [get("/upstreams/%zz"), 404, "not_found"],
    [request("POST", "/status", {}, ""), 405, "method_not_allowed"],
    [get("/drain"), 405, "method_not_allowed"],
    [request("constructor", "/drain"), 405, "method_not_allowed"],
    [get("/status", { Origin: "http://evil.example" }), 403, "origin_denied"],
    [request("POST", "/drain", { Origin: "null" }, ""), 403, "origin_denied"],
    [request("PUT", "/log-level", {}, '{"level":"debug"}'), 415, "not_json"],
    [request("PUT", "/log-level", { "Content-Type": "text/plain" }, "{}"), 415, "not_json"],
    [request("PUT", "/log-level", JSON_TYPE, "oops"), 400, "not_json"],
    [request("PUT", "/log-level", JSON_TYPE, "[]"), 400, "not_json"],
    [request("PUT", "/log-level", JSON_TYPE, " ".repeat(70_000)), 413, "body_too_large"],
    [get(`/${"x".repeat(9_000)}`), 414, "target_too_long"],
    ["GET / HTTP/1.1\r\n\r\n", 400, "invalid_request"],
  ];
  for (const [one, status, name] of cases) {
    const answer = await admin.send(one);
    assert.equal(answer.status, status, one.slice(0, 60));
    assert.equal(field(answer, "content-type"), "application/problem+json", one.slice(0, 60));
    const problem = JSON.parse(text(answer));
    assert.equal(problem.type, `urn:sluice:problem:${name}`);
    assert.equal(problem.status, status);
    assert.ok(problem.title.length > 0 && problem.detail.length > 0);
  }
  const { status } = await admin.send(get("/status", { Origin: "http://test.example" }));
  assert.equal(status, 200, "a page of this very origin may ask");
});

Deno.test("over TCP there must be a token, and a Host of this host", async () => {
  await using stack = new AsyncDisposableStack();
  const member = stack.use(await startMember("a"));
  const token = "a token that nobody guesses".replaceAll(" ", "-");
  const sluice = stack.use(
    await startSluice({
      config: configFile({
        origin: member.address,
        top: { admin: { listen: "127.0.0.1:0", token: "${file:./token}" } },
      }),
      files: { token: `${token}\n` },
    }),
  );
  await sluice.waitForOutput(/admin\s+127\.0\.0\.1:\d+/);
  const port = Number(/admin\s+127\.0\.0\.1:(\d+)/.exec(sluice.stderr())![1]);
  const ask = (fields: Record<string, string>) => rawRequest(port, get("/status", fields));
  const bearer = { Authorization: `Bearer ${token}` };
  const own = { Host: `127.0.0.1:${port}` };
  assert.equal((await ask({ ...own, ...bearer })).status, 200);
  assert.equal((await ask({ Host: "localhost", ...bearer })).status, 200);
  const missing = await ask(own);
  assert.equal(missing.status, 401);
  assert.equal(field(missing, "www-authenticate"), "Bearer");
  for (const wrong of [`Bearer ${token}x`, `Basic ${token}`, "Bearer", `Bearer ${token} x`]) {
    assert.equal((await ask({ ...own, Authorization: wrong })).status, 401, wrong);
  }
  assert.equal((await ask({ Host: "evil.example", ...bearer })).status, 403);
  assert.equal((await ask({ ...own, ...bearer, Origin: "http://evil.example" })).status, 403);
  // The verbs find both in the config.
  const config = `${sluice.directory}/sluice.yaml`;
  const text = await Deno.readTextFile(config);
  await Deno.writeTextFile(
    config,
    text.replace('127.0.0.1:0",\n    "token', `127.0.0.1:${port}","token`),
  );
  const status = await runSluice(["status", "-c", config]);
  assert.equal(status.code, 0, status.stderr);
  assert.match(status.stdout, /^state +ready\n/);
  const named = await runSluice(["status", "--admin", `127.0.0.1:${port}`], {
    env: { SLUICE_ADMIN_TOKEN: token },
  });
  assert.equal(named.code, 0, named.stderr);
  const without = await runSluice(["status", "--admin", `127.0.0.1:${port}`]);
  assert.equal(without.code, 1);
  assert.match(without.stderr, /token/i);
  // The token is nowhere to be seen.
  const shown = await rawRequest(port, get("/config", { ...own, ...bearer }));
  assert.doesNotMatch(new TextDecoder().decode(shown.body), new RegExp(token));
});

Deno.test("the verbs do what the interface can, and end with the right codes", async () => {
  await using stack = new AsyncDisposableStack();
  const [a, b] = await startMembers(stack, "a", "b");
  const admin = await start({
    origin: [a.address, b.address],
    top: { telemetry: { metrics: {} }, admin: undefined },
  }, { env: {} });
  const { sluice } = admin;
  stack.use(sluice);
  // The usual place is found by the config file.
  const env = { XDG_RUNTIME_DIR: sluice.directory };
  const spawn = (...args: string[]) =>
    runSluice([...args, "-c", `${sluice.directory}/sluice.yaml`], { env });
  // In this process, most of them: starting one takes longer than all they do.
  const path = /admin\s+(unix:\S+)/.exec(sluice.stderr())![1]!;
  const run = async (...args: string[]) => {
    const { code, out, err } = await cli([...args, "--admin", path]);
    return { code, stdout: out, stderr: err };
  };
  const status = await spawn("status", "--json");
  assert.equal(status.code, 0, status.stderr);
  assert.equal(JSON.parse(status.stdout).pid, sluice.pid);
  const upstreams = await run("upstreams");
  assert.equal(upstreams.code, 0, upstreams.stderr);
  assert.match(upstreams.stdout, /^origin \(round_robin\)\n {2}ENDPOINT +STATE +WEIGHT/);
  assert.match(upstreams.stdout, new RegExp(`${a.address} +ready +1 +0 +0 +0 +0 active, 0 idle`));
  assert.match((await run("upstreams", "disable", "origin", a.address)).stdout, /is drained/);
  await using client = await RawClient.connect(sluice.port());
  assert.deepEqual(await tally(client, 4), { b: 4 });
  assert.match((await run("upstreams", "enable", "origin", a.address)).stdout, /is ready/);
  assert.match((await run("upstreams", "weight", "origin", a.address, "9")).stdout, /weight 9/);
  assert.match((await run("upstreams", "list")).stdout, /9 \(config: 1\)/);
  assert.match(
    (await run("upstreams", "weight", "origin", a.address, "config")).stdout,
    /weight 1/,
  );
  assert.equal((await run("log-level")).stdout, "info\n");
  assert.equal((await run("log-level", "error")).stdout, "error\n");
  assert.match((await run("metrics")).stdout, /^sluice_workers\{service="main"\} 1$/m);
  const wrong: [string[], number, RegExp][] = [
    [["upstreams", "disable", "origin", "127.0.0.9:1"], 1, /has no endpoint/],
    [["upstreams", "disable", "none", a.address], 1, /no upstream "none"/],
    [["upstreams", "weight", "origin", a.address, "heavy"], 2, /the weight heavy is none/],
    [["plugin", "restart", "none"], 1, /no plugin "none"/],
    [["log-level", "loud"], 1, /debug, info, warning, error/],
  ];
  for (const [args, code, words] of wrong) {
    const ended = await run(...args);
    assert.equal(ended.code, code, args.join(" "));
    assert.match(ended.stderr, words);
  }
  await eventually(
    async () =>
      /^worker main-0 +ready, 0 restarts, heard of .* ago, 1 connections, 0 requests$/m
        .test((await run("status")).stdout),
    "the worker to tell of the connection",
    30_000,
  );
  const stopped = await spawn("stop", "--wait");
  assert.deepEqual([stopped.code, stopped.stdout], [0, "stopped\n"]);
  assert.equal(await withDeadline(sluice.exited, 30_000, "the end"), 0);
  const after = await spawn("status");
  assert.equal(after.code, 1);
  assert.match(after.stderr, /nobody listens on unix:.*is Sluice running/);
  const nowhere = await cli(["status", "-c", "/nowhere/none.yaml"]);
  assert.equal(nowhere.code, 78);
  const bad = await cli(["status", "--admin", "nonsense nonsense"]);
  assert.equal(bad.code, 2);
});

Deno.test("a second program with the same config serves without the usual admin interface", async () => {
  await using stack = new AsyncDisposableStack();
  const member = stack.use(await startMember("a"));
  const sluice = stack.use(await startSluice({ config: configFile({ origin: member.address }) }));
  await sluice.waitForOutput(/admin\s+unix:/);
  const path = /admin\s+unix:(\S+)/.exec(sluice.stderr())![1]!;
  const second = new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "-A", "--no-prompt", "main.ts", "run", "-c", `${sluice.directory}/sluice.yaml`],
    ],
    cwd: new URL("../..", import.meta.url).pathname,
    env: { NO_COLOR: "1", XDG_RUNTIME_DIR: sluice.directory },
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  let said = "";
  let told = false;
  for await (const piece of second.stderr.pipeThrough(new TextDecoderStream())) {
    said += piece;
    if (told || !said.includes("ready on")) continue;
    second.kill("SIGTERM");
    told = true;
  }
  assert.equal((await second.status).code, 0, said);
  assert.match(said, /No admin interface: .*another process listens on it/);
  // The first one is not disturbed.
  assert.equal((await rawRequest({ path }, get("/livez"))).status, 200);
});

Deno.test("whoever holds connections and asks nothing keeps nobody from the probes", async () => {
  await using sluice = await startSluice({
    config: configFile({
      route: { rules: [{ respond: { status: 204 } }] },
      top: { telemetry: { metrics: { listen: "127.0.0.1:0" } } },
    }),
  });
  const [, port] = await sluice.waitForOutput(/metrics[^\n]*? 127\.0\.0\.1:(\d+)/);
  const held: Deno.Conn[] = [];
  try {
    for (let i = 0; i < 100; i++) {
      const connection = await Deno.connect({ hostname: "127.0.0.1", port: Number(port) });
      held.push(connection);
      // Some begin to ask, and never end.
      if (i % 2 === 0) {
        await connection.write(new TextEncoder().encode("GET /livez HT")).catch(() => 0);
      }
    }
    for (let i = 0; i < 5; i++) {
      assert.equal((await rawRequest(Number(port), get("/livez"))).status, 200);
    }
  } finally {
    for (const connection of held) connection.close();
  }
});

Deno.test("a folder that somebody else has made where the socket usually is, is used by neither side", async () => {
  const temporary = Deno.makeTempDirSync({ prefix: "sluice-test-" });
  const folder = `${temporary}/sluice-${Deno.uid()}`;
  const env = { XDG_RUNTIME_DIR: "", TMPDIR: temporary };
  const config = configFile({ route: { rules: [{ respond: { status: 204 } }] } });
  const shown: string[] = [];
  // Whoever listens by that name is shown what a verb has to say.
  const trap = (path: string) => {
    const listener = Deno.listen({ transport: "unix", path });
    (async () => {
      for await (const connection of listener) {
        const buffer = new Uint8Array(4096);
        const length = await connection.read(buffer);
        shown.push(new TextDecoder().decode(buffer.subarray(0, length ?? 0)));
        connection.close();
      }
    })();
    return listener;
  };
  try {
    Deno.mkdirSync(`${temporary}/real`);
    Deno.symlinkSync(`${temporary}/real`, folder);
    await using sluice = await startSluice({ config, env });
    await sluice.waitForOutput(/No admin interface: the folder ".*" is none: something else is/);
    const file = `${sluice.directory}/sluice.yaml`;
    using _listener = trap(adminSocket(file, { TMPDIR: temporary }).replace(/^.*\//, `${folder}/`));
    const asked = await runSluice(["status", "-c", file], { env });
    assert.equal(asked.code, 1, asked.stdout + asked.stderr);
    assert.match(asked.stderr, /who listens there need not be Sluice/);
    assert.deepEqual(shown, []);
  } finally {
    Deno.removeSync(temporary, { recursive: true });
  }
});
