/** Upstreams by name: all addresses of a name are tried, within the rights of a service worker. */
import assert from "node:assert/strict";
import { lookup } from "node:dns/promises";
import { DnsServer } from "../balancer/discovery/dns_server.ts";
import { configFile } from "../support/config.ts";
import { eventually } from "../support/deadline.ts";
import { text } from "../support/http_text.ts";
import { get, rawRequest } from "../support/raw_client.ts";
import { startSluice } from "../support/sluice.ts";

/** Runs inside of the service worker, and so tells what that one may do. */
const PROBE = `import { definePlugin } from "@sluice/plugin";
export default definePlugin({
  async requestFilter(session) {
    const [, may, host, port] = session.request.path.split("/");
    if (may !== "may") return;
    const { state } = await Deno.permissions.query({ name: "net", host: host + ":" + port });
    return session.respond(200, state);
  },
});
`;

/** An origin on one of the addresses of localhost; nobody listens on the others. */
function serveOn(hostname: string): Deno.HttpServer<Deno.NetAddr> | null {
  try {
    return Deno.serve({ hostname, port: 0, onListen: () => {} }, () => new Response(hostname));
  } catch {
    return null;
  }
}

// Which addresses localhost has differs from machine to machine; one has it always.
for (const { address: hostname } of await lookup("localhost", { all: true })) {
  const probe = serveOn(hostname);
  if (probe === null) continue;
  await probe.shutdown();
  Deno.test(`an upstream called localhost is reached on ${hostname}, wherever it listens`, async () => {
    const origin = serveOn(hostname)!;
    try {
      await using sluice = await startSluice({
        config: configFile({ origin: `localhost:${origin.addr.port}` }),
        threads: 2,
      });
      for (let i = 0; i < 4; i++) {
        const answer = await rawRequest(sluice.port(), get("/", { Connection: "close" }));
        assert.equal(answer.status, 200, sluice.stderr());
        assert.equal(text(answer), hostname);
      }
    } finally {
      await origin.shutdown();
    }
  });
}

/** Origins on one port of several addresses, each of which answers with its address. */
function startOn(
  stack: AsyncDisposableStack,
  ...hosts: string[]
): { port: number; stop: (host: string) => Promise<void> } {
  const servers = new Map<string, Deno.HttpServer<Deno.NetAddr>>();
  let port = 0;
  for (const hostname of hosts) {
    const server = Deno.serve(
      { hostname, port, onListen: () => {} },
      () => new Response(hostname),
    );
    port = server.addr.port;
    servers.set(hostname, server);
  }
  stack.defer(() => Promise.all([...servers.values()].map((one) => one.shutdown())).then(() => {}));
  return {
    port,
    async stop(host) {
      await servers.get(host)!.shutdown();
      servers.delete(host);
    },
  };
}

/** A client that asks without pause, and the names of who answered. */
class Reader {
  readonly answers: string[] = [];
  readonly failures: string[] = [];
  #on = true;
  readonly #running: Promise<void>;

  constructor(port: number) {
    this.#running = this.#read(port);
  }

  /** Waits until `done` holds for the next `count` answers. */
  async until(done: (last: readonly string[]) => boolean, what: string, count = 20): Promise<void> {
    await eventually(
      () => {
        const last = this.answers.slice(-count);
        return last.length === count && done(last);
      },
      `${what}; failed: ${this.failures.slice(0, 3)}`,
      60_000,
    );
  }

  async stop(): Promise<void> {
    this.#on = false;
    await this.#running;
  }

  async #read(port: number): Promise<void> {
    while (this.#on) {
      try {
        // Each on a connection of its own, so that a worker that was replaced is not asked for ever.
        const answer = await rawRequest(port, get("/", { Connection: "close" }));
        if (answer.status === 200) this.answers.push(text(answer));
        else this.failures.push(`${answer.status} ${text(answer)}`);
      } catch (error) {
        this.failures.push(String(error));
      }
    }
  }
}

const all = (host: string) => (last: readonly string[]) => last.every((one) => one === host);

Deno.test("a name that leads elsewhere while the program runs is followed, and no request fails", async () => {
  const began = performance.now();
  await using stack = new AsyncDisposableStack();
  const origins = startOn(stack, "127.0.0.1", "127.0.0.2", "127.0.0.3");
  const { port } = origins;
  const dns = stack.use(
    await DnsServer.start({
      "A app.test": { ttl: 1, a: ["127.0.0.1"] },
      "AAAA app.test": "no data",
    }),
  );
  const sluice = stack.use(
    await startSluice({
      config: configFile({
        origin: `app.test:${port}`,
        server: { name_servers: [dns.address] },
        transport: { keepalive: { max_idle: 0 } },
        // An origin that is stopped may break a request that has just come.
        route: {
          plugins: [{ use: "probe" }],
          retry: { attempts: 2, on: ["connect_failure", "reset"] },
        },
        plugins: { isolation: { probe: "inline" }, trust: ["probe"] },
      }),
      plugins: { "probe.ts": PROBE },
      threads: 2,
    }),
  );
  /** Whether a service worker may connect to an address, whatever any name says. */
  const may = async (host: string) =>
    text(await rawRequest(sluice.port(), get(`/may/${host}/${port}`)));
  const reader = new Reader(sluice.port());
  await reader.until(all("127.0.0.1"), "the first address to serve");
  assert.equal(await may("127.0.0.1"), "granted");
  assert.equal(await may("127.0.0.2"), "prompt");

  // It leads to one more address, which gets its share.
  dns.zone["A app.test"] = { ttl: 1, a: ["127.0.0.1", "127.0.0.2"] };
  await reader.until((last) => new Set(last).size === 2, "both addresses to serve");
  await sluice.waitForOutput(/Other service workers take over, because names .*127\.0\.0\.2/);
  await eventually(async () => await may("127.0.0.2") === "granted", "the right to 127.0.0.2");
  assert.equal(await may("127.0.0.3"), "prompt");

  // Workers that were replaced finish what they have, and know one address only.
  for (const worker of [0, 1]) {
    await sluice.waitForOutput(
      new RegExp(`Worker ${worker} of service main, which was replaced, has ended`),
      60_000,
    );
  }

  // Where nobody listens, the other address answers.
  await origins.stop("127.0.0.1");
  await reader.until(all("127.0.0.2"), "the address that is left to serve");

  // A name server that fails changes nothing.
  dns.zone["A app.test"] = "server failure";
  await sluice.waitForOutput(/Upstream host app\.test cannot be looked up: .*stay/);
  await reader.until(all("127.0.0.2"), "what is known to stay");

  // It leads somewhere else altogether: at once, and without a failure on the way.
  dns.zone["A app.test"] = { ttl: 1, a: ["127.0.0.3"] };
  await reader.until(all("127.0.0.3"), "the new address to serve");
  assert.equal(await may("127.0.0.3"), "granted");
  await reader.stop();
  assert.deepEqual(reader.failures, []);
  // Asked as the answers run out, which is every second, and not for each request.
  const questions = dns.questions.filter((one) => one === "A app.test").length;
  const seconds = (performance.now() - began) / 1_000;
  assert.ok(questions < 30 + 3 * seconds, `${questions} questions in ${seconds} s`);
  assert.equal(await sluice.stop(), 0);
});

Deno.test("with the network of its addresses granted, a name is followed without other workers", async () => {
  await using stack = new AsyncDisposableStack();
  const { port } = startOn(stack, "127.0.0.1", "127.0.0.2");
  const dns = stack.use(
    await DnsServer.start({
      "A app.test": { ttl: 1, a: ["127.0.0.1"] },
      "AAAA app.test": "no data",
    }),
  );
  const sluice = stack.use(
    await startSluice({
      config: configFile({
        origin: `app.test:${port}`,
        server: { name_servers: [dns.address], allowed_peers: ["127.0.0.0/8"] },
        transport: { keepalive: { max_idle: 0 } },
      }),
    }),
  );
  const reader = new Reader(sluice.port());
  await reader.until(all("127.0.0.1"), "the first address to serve");
  dns.zone["A app.test"] = { ttl: 1, a: ["127.0.0.2"] };
  await reader.until(all("127.0.0.2"), "the other address to serve");
  await reader.stop();
  assert.deepEqual(reader.failures, []);
  assert.doesNotMatch(sluice.stderr(), /take over/);
});

Deno.test("a name that a discovery finds gets requests only when it can be reached", async () => {
  await using stack = new AsyncDisposableStack();
  const { port } = startOn(stack, "127.0.0.1", "127.0.0.2");
  const dns = stack.use(
    await DnsServer.start({
      "A app.test": { ttl: 1, a: ["127.0.0.2"] },
      "AAAA app.test": "no data",
    }),
  );
  const sluice = stack.use(
    await startSluice({
      config: configFile({
        route: { upstream: "found", retry: { attempts: 0 } },
        server: { name_servers: [dns.address] },
        upstreams: [{
          name: "found",
          discovery: {
            type: "file",
            path: "./members.json",
            allow: [`127.0.0.1:${port}`, `app.test:${port}`],
          },
        }],
      }),
      files: { "members.json": JSON.stringify([`127.0.0.1:${port}`]) },
    }),
  );
  const reader = new Reader(sluice.port());
  await reader.until(all("127.0.0.1"), "the first member to serve");
  await Deno.writeTextFile(
    `${sluice.directory}/members.json`,
    JSON.stringify([`127.0.0.1:${port}`, `app.test:${port}`]),
  );
  await reader.until((last) => new Set(last).size === 2, "the name to serve");
  await Deno.writeTextFile(
    `${sluice.directory}/members.json`,
    JSON.stringify([`127.0.0.1:${port}`]),
  );
  await reader.until(all("127.0.0.1"), "the name to leave");
  await reader.stop();
  assert.deepEqual(reader.failures, []);
});
