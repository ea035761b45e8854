/** Old configs that requests and tunnels still need: how many there may be in a service worker, and who sees them. */
import assert from "node:assert/strict";
import * as c from "../../src/http2/constants.ts";
import { cli } from "../cli/support.ts";
import { configFile } from "../support/config.ts";
import { eventually } from "../support/deadline.ts";
import { field, text } from "../support/http_text.ts";
import { metricsUntil } from "../support/metrics.ts";
import { get, RawClient, rawRequest } from "../support/raw_client.ts";
import { RawHttp2, statusOf, valueOf } from "../support/raw_http2.ts";
import { reload } from "../support/reload.ts";
import { startSimpleOrigin } from "../support/simple_origin.ts";
import { type Sluice, startSluice } from "../support/sluice.ts";
import { EchoSocket } from "../support/web_socket.ts";

interface Running extends AsyncDisposable {
  readonly sluice: Sluice;
  readonly port: number;
  readonly admin: { readonly path: string };
  /** Serves by the next config, which marks its answers with its number. */
  next(): Promise<void>;
}

async function start(server: Readonly<Record<string, unknown>>): Promise<Running> {
  await using stack = new AsyncDisposableStack();
  // Answers to /never are never complete, and /silent has none at all.
  const origin = stack.use(
    await startSimpleOrigin({
      handler: ({ target }) =>
        target === "/never"
          ? "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun"
          : target === "/silent"
          ? ""
          : undefined,
    }),
  );
  const config = (number: number) => (directory: string) =>
    configFile({
      origin: origin.address,
      server,
      listener: { protocols: ["h1", "h2c"] },
      route: { rules: [{ response: { set: { "X-Number": String(number) } } }] },
      top: {
        admin: { listen: `unix:${directory}/admin.sock` },
        telemetry: { metrics: {} },
      },
    });
  const sluice = stack.use(await startSluice({ config: config(0) }));
  let number = 0;
  const moved = stack.move();
  return {
    sluice,
    port: sluice.port(),
    admin: { path: `${sluice.directory}/admin.sock` },
    async next() {
      assert.equal(await reload(sluice, config(++number)(sluice.directory)), true, sluice.stderr());
    },
    [Symbol.asyncDispose]: () => moved[Symbol.asyncDispose](),
  };
}

/** The only service worker, in the words of the admin interface. */
async function worker(admin: Running["admin"]): Promise<Record<string, number>> {
  return JSON.parse(text(await rawRequest(admin, get("/status")))).workers[0];
}

Deno.test("of editions with requests left, those beyond server.max_retired_editions are cut, the oldest first", async () => {
  await using running = await start({ max_retired_editions: 2 });
  const { port, admin, next, sluice } = running;
  await using first = await EchoSocket.open(port);
  await using download = await RawClient.connect(port);
  await download.send(get("/never"));
  await download.takeUntil("begun");
  await using pending = await RawClient.connect(port);
  await pending.send(get("/silent"));
  // One connection has requests of two editions.
  await using http2 = await RawHttp2.connect(port);
  const [old, young] = [http2.take(), http2.take()];
  await http2.send(http2.request(old, "GET", "/never"));
  await http2.until(() => http2.seen(old).body.length > 0, "the first content");
  await eventually(async () => (await worker(admin)).requests === 4, "four requests");
  await next();
  await using second = await EchoSocket.open(port);
  await http2.send(http2.request(young, "GET", "/never"));
  await http2.until(() => http2.seen(young).body.length > 0, "the first content");
  await next();
  await using third = await EchoSocket.open(port);
  for (const socket of [first, second, third]) await socket.echo("two are allowed");
  await eventually(
    async () => (await worker(admin)).retired_editions === 2,
    "the worker to tell of them",
    30_000,
  );
  const shown = await cli(["status", "--admin", `unix:${admin.path}`]);
  assert.match(shown.out, /^worker main-0 .* requests, 2 older configs in use$/m);

  await next();
  await first.whenEnded();
  await download.whenEnded();
  await pending.whenEnded();
  assert.equal((await http2.over(old)).reset, c.INTERNAL_ERROR);
  assert.equal(http2.seen(young).reset, -1, "another edition's stream on the same connection");
  await second.echo("the younger ones stay");
  await third.echo("the younger ones stay");
  const after = http2.take();
  await http2.send(http2.request(after, "GET", "/bytes/1"));
  const answer = await http2.over(after);
  assert.deepEqual([statusOf(answer), valueOf(answer.sections.at(-1)!, "x-number")], ["200", "3"]);
  const metrics = await metricsUntil(
    admin,
    (now) => now.get('sluice_retired_requests_cut_total{service="main"}') === 4,
    "the count of what was cut",
  );
  assert.equal(metrics.get('sluice_retired_editions{service="main"}'), 2);
  await sluice.waitForOutput(/Cut 4 requests and tunnels .*server\.max_retired_editions \(2\).*/);
  const lines = (await sluice.waitForAccessLog(5)).filter(({ severity }) => severity === "ERROR");
  assert.deepEqual(lines.map((line) => line["url.path"]).sort(), [
    "/never",
    "/never",
    "/silent",
    "/websocket",
  ]);
  for (const line of lines) assert.equal(line["proxy.error_source"], "internal");
  assert.equal(lines.find((line) => line["tunnel.end"])!["tunnel.end"], "shutdown");
});

Deno.test("a tunnel opened after each of many reloads leaves no more editions than allowed", async () => {
  await using running = await start({ max_retired_editions: 4 });
  const { port, admin, next } = running;
  const sockets: EchoSocket[] = [];
  await using _all = {
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) await socket[Symbol.asyncDispose]();
    },
  };
  for (let i = 0; i < 25; i++) {
    sockets.push(await EchoSocket.open(port));
    await next();
  }
  for (const socket of sockets.slice(0, -4)) await socket.whenEnded();
  for (const socket of sockets.slice(-4)) await socket.echo("still there");
  await eventually(
    async () => {
      const { retired_editions, requests } = await worker(admin);
      return retired_editions === 4 && requests === 4;
    },
    "the worker to tell of four",
    30_000,
  );
  assert.equal(field(await rawRequest(port, get("/bytes/1")), "x-number"), "25");
});
