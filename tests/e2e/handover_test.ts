/** Another process takes the place of this one: no connection is refused, no request is lost, or nothing changes. */
import assert from "node:assert/strict";
import { configFile } from "../support/config.ts";
import { eventually } from "../support/deadline.ts";
import { text } from "../support/http_text.ts";
import { isAlive, Successor, upgrade } from "../support/handover.ts";
import { get, RawClient, rawRequest } from "../support/raw_client.ts";
import { startRawOrigin } from "../support/raw_origin.ts";
import { writePlugin } from "../support/reload.ts";
import { startSimpleOrigin } from "../support/simple_origin.ts";
import { startSluice } from "../support/sluice.ts";
import { EchoSocket } from "../support/web_socket.ts";

const WHO = `import { definePlugin } from "@sluice/plugin";
export default definePlugin({
  requestFilter(session) {
    if (session.request.path === "/version") return session.respond(200, "VERSION");
  },
});
`;

Deno.test("another process takes over under load: every connection is accepted, every request answered", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({
    config: configFile({ origin: origin.address, plugins: {} }),
    plugins: { "who.ts": WHO.replace("VERSION", "one") },
    threads: 2,
  });
  const port = sluice.port();
  let over = false;
  let answered = 0;
  const fresh = Array.from({ length: 6 }, async () => {
    while (!over) {
      const answer = await rawRequest(port, get("/bytes/100"));
      assert.equal(answer.status, 200);
      assert.equal(answer.body.length, 100);
      answered++;
    }
  });
  const kept = Array.from({ length: 4 }, async () => {
    while (!over) {
      await using client = await RawClient.connect(port);
      for (;;) {
        const answer = await client.request(get("/bytes/100"));
        assert.equal(answer.status, 200);
        answered++;
        if (over || answer.fields.some(([name]) => name.toLowerCase() === "connection")) break;
      }
    }
  });
  const load = Promise.all([...fresh, ...kept]);
  await eventually(() => answered > 50, "some answers", 40_000);
  writePlugin(sluice, "who.ts", WHO.replace("VERSION", "two"));
  await using second = await upgrade(sluice);
  assert.equal(await sluice.exited, 0);
  assert.equal(text(await rawRequest(port, get("/version"))), "two");
  // And once more, from a process that has taken over itself.
  writePlugin(sluice, "who.ts", WHO.replace("VERSION", "three"));
  await using third = await upgrade(sluice, second.pid);
  await second.whenEnded();
  assert.equal(text(await rawRequest(port, get("/version"))), "three");
  const before = answered;
  await eventually(() => answered > before + 50, "more answers", 40_000);
  over = true;
  await load;
  await third.stop();
  await assert.rejects(RawClient.connect(port), /ECONNREFUSED/);
});

Deno.test("what the old process has begun, it finishes: downloads and WebSockets", async () => {
  let go = () => {};
  const gate = new Promise<void>((resolve) => go = resolve);
  await using slow = await startRawOrigin(async (connection) => {
    await connection.request();
    await connection.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst");
    await gate;
    await connection.send("last.");
    await connection.whenEnded();
  });
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({
    config: JSON.stringify({
      server: { grace_period: "30s" },
      listeners: [{ name: "web", address: "127.0.0.1:0" }],
      services: [{
        name: "main",
        routes: [
          { match: { path: "/slow" }, upstream: "slow" },
          { upstream: "origin" },
        ],
      }],
      upstreams: [
        { name: "slow", endpoints: [slow.address] },
        { name: "origin", endpoints: [origin.address] },
      ],
    }),
  });
  const port = sluice.port();
  await using client = await RawClient.connect(port);
  await client.send(get("/slow"));
  await client.takeUntil("first");
  await using socket = await EchoSocket.open(port);
  await socket.echo("before");
  await using next = await upgrade(sluice);
  await socket.echo("after");
  assert.equal((await rawRequest(port, get("/bytes/1"))).status, 200);
  go();
  assert.equal(await client.takeUntil("last."), "last.");
  await socket.echo("still");
  await socket[Symbol.asyncDispose]();
  assert.equal(await sluice.exited, 0);
  await next.stop();
});

Deno.test("a process that another has relieved is not reloaded: it says which one is", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({
    config: configFile({ origin: origin.address, server: { grace_period: "60s" } }),
  });
  await using socket = await EchoSocket.open(sluice.port());
  await using next = await upgrade(sluice);
  sluice.signal("SIGHUP");
  await sluice.waitForOutput(
    new RegExp(
      `The new config is refused[^]*process ${next.pid} serves in the place of this one: reload that`,
    ),
    60_000,
  );
  await socket.echo("still");
  next.signal("SIGHUP");
  await sluice.waitForOutput(/Reloaded generation=2/, 40_000);
  await socket[Symbol.asyncDispose]();
  assert.equal(await sluice.exited, 0);
  await next.stop();
});

Deno.test("a new process that says nothing is given up after upgrade_timeout", async () => {
  await using origin = await startSimpleOrigin();
  const parts = { origin: origin.address, server: { upgrade_timeout: "3s" }, plugins: {} };
  await using sluice = await startSluice({
    config: configFile(parts),
    plugins: { "slow.ts": WHO },
  });
  writePlugin(
    sluice,
    "slow.ts",
    WHO.replace(
      "requestFilter",
      "async setup() { await new Promise(() => {}); },\n  requestFilter",
    ),
  );
  sluice.signal("SIGQUIT");
  const [, pid] = await sluice.waitForOutput(/Process (\d+) is to take over/);
  await sluice.waitForOutput(
    /The upgrade has failed: the new process did not serve within 3 s/,
    60_000,
  );
  await new Successor(Number(pid)).whenEnded();
  assert.equal((await rawRequest(sluice.port(), get("/bytes/1"))).status, 200);
  assert.equal(await sluice.stop(), 0);
});

Deno.test("unix listeners, the pid file and the admin interface go over to the new process", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({
    config: (directory) =>
      JSON.stringify({
        server: { pid_file: "sluice.pid" },
        admin: { listen: `unix:${directory}/admin.sock` },
        listeners: [
          { name: "web", address: "127.0.0.1:0" },
          { name: "local", address: `unix:${directory}/web.sock` },
        ],
        services: [{ name: "main", routes: [{ upstream: "origin" }] }],
        upstreams: [{ name: "origin", endpoints: [origin.address] }],
      }),
  });
  const path = `${sluice.directory}/web.sock`;
  const admin = { path: `${sluice.directory}/admin.sock` };
  const pidFile = `${sluice.directory}/sluice.pid`;
  const pidOf = async () =>
    JSON.parse(text(await rawRequest(admin, get("/status", { Host: "localhost" })))).pid;
  assert.equal(Number(Deno.readTextFileSync(pidFile)), sluice.pid);
  assert.equal(await pidOf(), sluice.pid);
  let over = false;
  const load = Array.from({ length: 4 }, async () => {
    while (!over) assert.equal((await rawRequest({ path }, get("/bytes/10"))).status, 200);
  });
  await using next = await upgrade(sluice);
  assert.equal(await pidOf(), next.pid);
  assert.equal(Number(Deno.readTextFileSync(pidFile)), next.pid);
  assert.equal(await sluice.exited, 0);
  assert.equal(Number(Deno.readTextFileSync(pidFile)), next.pid);
  assert.equal((await rawRequest({ path }, get("/bytes/10"))).status, 200);
  over = true;
  await Promise.all(load);
  await next.stop();
  assert.throws(() => Deno.statSync(pidFile), Deno.errors.NotFound);
  assert.throws(() => Deno.statSync(path), Deno.errors.NotFound);
});

Deno.test("the admin interface upgrades, and says which process serves", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({
    config: (directory) =>
      configFile({
        origin: origin.address,
        top: { admin: { listen: `unix:${directory}/admin.sock` } },
      }),
  });
  const path = `${sluice.directory}/admin.sock`;
  const answer = await rawRequest(
    { path },
    `POST /upgrade HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n`,
    "POST",
    30_000,
  );
  assert.equal(answer.status, 200, text(answer));
  const { pid } = JSON.parse(text(answer));
  await using next = new Successor(pid);
  assert.ok(isAlive(pid));
  assert.equal(await sluice.exited, 0);
  assert.equal((await rawRequest(sluice.port(), get("/bytes/1"))).status, 200);
  await next.stop();
});
