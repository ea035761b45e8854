/**
 * A group of three real nginx origins, found by DNS, under steady load while one is killed and started again, one is
 * drained by an operator, and another is added by DNS: no read may fail, no POST may be done twice, and the load must
 * follow the weights.
 */
import assert from "node:assert/strict";
import { DnsServer } from "../balancer/discovery/dns_server.ts";
import { configFile } from "../support/config.ts";
import { eventually } from "../support/deadline.ts";
import { text } from "../support/http_text.ts";
import { type Nginx, startNginx } from "../support/nginx.ts";
import { get, RawClient, rawRequest, request } from "../support/raw_client.ts";
import { response } from "../support/raw_origin.ts";
import { findProgram, testWith } from "../support/require.ts";
import { type SimpleOrigin, startSimpleOrigin } from "../support/simple_origin.ts";
import { startSluice } from "../support/sluice.ts";
import { latin1 } from "../support/wire.ts";

/** An origin that reads say the name of, and that passes POST on to where they are counted. */
function startNamed(name: string, counting: SimpleOrigin): Promise<Nginx> {
  return startNginx(`
    location / { return 200 ${name}; }
    location /post { proxy_pass http://${counting.address}; }
  `);
}

/** Ends an nginx as a crash does: all its processes at once, with nothing said to anybody. */
async function crash(nginx: Nginx): Promise<void> {
  const master = Number(await Deno.readTextFile(`${nginx.directory}/nginx.pid`));
  const children = await Deno.readTextFile(`/proc/${master}/task/${master}/children`);
  Deno.kill(master, "SIGKILL");
  for (const child of children.trim().split(" ")) Deno.kill(Number(child), "SIGKILL");
}

/** Starts a crashed nginx again, on its port. */
async function startAgain(nginx: Nginx): Promise<AsyncDisposable> {
  const { directory, port } = nginx;
  const child = new Deno.Command(findProgram("nginx")!, {
    args: ["-p", directory, "-c", `${directory}/nginx.conf`, "-e", `${directory}/error.log`],
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  await eventually(async () => {
    try {
      (await Deno.connect({ hostname: "127.0.0.1", port })).close();
      return true;
    } catch {
      return false;
    }
  }, "nginx to accept again");
  return {
    async [Symbol.asyncDispose]() {
      child.kill("SIGTERM");
      await child.status;
    },
  };
}

/** Clients that read without pause, and others that post, until they are told to stop. */
class Load {
  readonly answers: string[] = [];
  readonly failures: string[] = [];
  /** Ids of POST requests, and the status that each was answered with. */
  readonly posted = new Map<string, number>();
  #on = true;
  readonly #running: Promise<unknown>;

  constructor(port: number, readers: number, writers: number) {
    this.#running = Promise.all([
      ...Array.from({ length: readers }, () => this.#read(port)),
      ...Array.from({ length: writers }, (_, i) => this.#write(port, i)),
    ]);
  }

  /** How the next `count` reads are shared out. */
  async shares(count: number): Promise<Record<string, number>> {
    const from = this.answers.length;
    await eventually(
      () => this.answers.length >= from + count,
      `${count} answers; failed: ${this.failures}`,
      60_000,
    );
    const shares: Record<string, number> = {};
    for (const name of this.answers.slice(from, from + count)) {
      shares[name] = (shares[name] ?? 0) + 1 / count;
    }
    return shares;
  }

  async stop(): Promise<void> {
    this.#on = false;
    await this.#running;
  }

  async #read(port: number): Promise<void> {
    await using client = await RawClient.connect(port);
    while (this.#on) {
      const answer = await client.request(get("/"));
      if (answer.status === 200) this.answers.push(text(answer));
      else this.failures.push(`${answer.status} ${text(answer)}`);
    }
  }

  async #write(port: number, writer: number): Promise<void> {
    await using client = await RawClient.connect(port);
    for (let i = 0; this.#on; i++) {
      const id = `${writer}-${i}`;
      const answer = await client.request(request("POST", "/post", {}, id));
      this.posted.set(id, answer.status);
    }
  }
}

/** Asserts that shares are those of the weights, within 2 % of all requests. */
function assertShares(shares: Record<string, number>, weights: Record<string, number>): void {
  const total = Object.values(weights).reduce((sum, weight) => sum + weight, 0);
  for (const name of new Set([...Object.keys(shares), ...Object.keys(weights)])) {
    const [share, wanted] = [shares[name] ?? 0, (weights[name] ?? 0) / total];
    assert.ok(Math.abs(share - wanted) <= 0.02, `${name}: ${share} in place of ${wanted}`);
  }
}

testWith(
  ["nginx"],
  "under load, members crash, return, drain and join: no read fails, no POST is done twice",
  async () => {
    await using stack = new AsyncDisposableStack();
    const counts = new Map<string, number>();
    const counting = stack.use(
      await startSimpleOrigin({
        async handler({ body }) {
          const id = latin1(body);
          counts.set(id, (counts.get(id) ?? 0) + 1);
          // Long enough for a crash to find some of them under way.
          await new Promise((resolve) => setTimeout(resolve, 10));
          return response("counted");
        },
      }),
    );
    const members: Record<string, Nginx> = {};
    for (const name of ["a", "b", "c", "d"]) {
      members[name] = stack.use(await startNamed(name, counting));
    }
    const records = (weights: Record<string, number>) => ({
      ttl: 1,
      srv: Object.entries(weights).map(([name, weight]) =>
        [0, weight, members[name]!.port, `${name}.test`] as const
      ),
    });
    const dns = stack.use(
      await DnsServer.start({
        "SRV _web._tcp.group.test": records({ a: 3, b: 2, c: 1 }),
        ...Object.fromEntries(["a", "b", "c", "d"].flatMap((name) => [
          [`A ${name}.test`, { ttl: 1, a: ["127.0.0.1"] }],
          [`AAAA ${name}.test`, "no data"],
        ])),
      }),
    );
    const sluice = stack.use(
      await startSluice({
        config: (directory) =>
          configFile({
            route: {
              upstream: "group",
              retry: { attempts: 2, on: ["connect_failure", "reset"] },
            },
            upstreams: [{
              name: "group",
              discovery: {
                type: "srv",
                name: "_web._tcp.group.test",
                server: dns.address,
                refresh: "1s",
              },
              health_check: {
                passive: { consecutive_failures: 3, eject: "500ms", max_eject: "500ms" },
              },
            }],
            top: { admin: { listen: `unix:${directory}/admin.sock` } },
          }),
      }),
    );
    /** Takes a member out of service, or puts it back, as an operator does. */
    const enable = async (name: string, enabled: boolean) => {
      const path = `/upstreams/group/endpoints/127.0.0.1:${members[name]!.port}`;
      const fields = { "Content-Type": "application/json" };
      const answer = await rawRequest(
        { path: `${sluice.directory}/admin.sock` },
        request("PATCH", path, fields, JSON.stringify({ enabled })),
      );
      assert.equal(answer.status, 200, text(answer));
    };
    const load = new Load(sluice.port(), 4, 2);
    assertShares(await load.shares(600), { a: 3, b: 2, c: 1 });

    await crash(members["b"]!);
    await sluice.waitForOutput(new RegExp(`127.0.0.1:${members["b"]!.port} is ejected`));
    assertShares(await load.shares(300), { a: 3, c: 1 });

    stack.use(await startAgain(members["b"]!));
    await eventually(() => load.answers.slice(-20).includes("b"), "b to serve again");
    assertShares(await load.shares(600), { a: 3, b: 2, c: 1 });

    await enable("c", false);
    await eventually(() => !load.answers.slice(-60).includes("c"), "c to be drained");
    assertShares(await load.shares(500), { a: 3, b: 2 });

    dns.zone["SRV _web._tcp.group.test"] = records({ a: 3, b: 2, c: 1, d: 5 });
    await sluice.waitForOutput(/Upstream group: other members/);
    await eventually(() => load.answers.slice(-20).includes("d"), "d to serve");
    assertShares(await load.shares(600), { a: 3, b: 2, d: 5 });

    await enable("c", true);
    await eventually(() => load.answers.slice(-60).includes("c"), "c to serve again");
    assertShares(await load.shares(600), { a: 3, b: 2, c: 1, d: 5 });

    await load.stop();
    assert.deepEqual(load.failures, []);
    assert.ok(load.posted.size > 50, `${load.posted.size} POST requests`);
    for (const [id, times] of counts) assert.equal(times, 1, `POST ${id} was done ${times} times`);
    for (const [id, status] of load.posted) {
      if (status === 200) assert.equal(counts.get(id), 1, `POST ${id} was answered and not done`);
      else assert.equal(status, 502);
    }
    assert.equal(await sluice.stop(), 0);
  },
);
