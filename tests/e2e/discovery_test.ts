/** Endpoints that are found while the program runs: by file, HTTP, DNS, SRV and plugin; and which may be reached. */
import assert from "node:assert/strict";
import { DnsServer } from "../balancer/discovery/dns_server.ts";
import { configFile } from "../support/config.ts";
import { eventually } from "../support/deadline.ts";
import { text } from "../support/http_text.ts";
import { get, RawClient, rawRequest } from "../support/raw_client.ts";
import { response } from "../support/raw_origin.ts";
import { startSimpleOrigin } from "../support/simple_origin.ts";
import { type Sluice, type SluiceOptions, startSluice } from "../support/sluice.ts";
import { startMembers, tally } from "./upstream_support.ts";

function start(
  discovery: Record<string, unknown>,
  options: Omit<SluiceOptions, "config"> = {},
): Promise<Sluice> {
  return startSluice({
    ...options,
    config: configFile({
      route: { upstream: "found", retry: { attempts: 0 } },
      upstreams: [{ name: "found", discovery }],
      ...(options.plugins === undefined ? {} : { plugins: {} }),
    }),
  });
}

/** Waits until exactly these members share the requests. */
async function serving(client: RawClient, names: readonly string[]): Promise<void> {
  let last: string[] = [];
  await eventually(
    async () => {
      last = Object.keys(await tally(client, 2 * names.length)).sort();
      return last.join() === [...names].sort().join();
    },
    `${names} to serve`,
  );
}

Deno.test("a file is read again when it changes, and a broken one changes nothing", async () => {
  await using stack = new AsyncDisposableStack();
  const [a, b, c] = await startMembers(stack, "a", "b", "c");
  const sluice = stack.use(
    await start({ type: "file", path: "./members.yaml" }, {
      files: { "members.yaml": `- ${a.address}\n- ${b.address}\n` },
    }),
  );
  const file = `${sluice.directory}/members.yaml`;
  await using client = await RawClient.connect(sluice.port());
  assert.deepEqual(await tally(client, 10), { a: 5, b: 5 });

  const good = `endpoints:\n  - address: ${b.address}\n    weight: 2\n  - ${c.address}\n`;
  await Deno.writeTextFile(file, good);
  await serving(client, ["b", "c"]);
  await sluice.waitForOutput(/Upstream found: other members/);
  assert.deepEqual(await tally(client, 9), { b: 6, c: 3 });

  const said = (pattern: RegExp) => sluice.stderr().match(pattern)?.length ?? 0;
  const FAILS = /Discovery of upstream found fails: .*its 2 endpoints stay/g;
  const WORKS = /Discovery of upstream found works again/g;
  const broken = [
    "- [",
    `- ${a.address}\n- nonsense nonsense\n`,
    `- address: ${a.address}\n  wieght: 3\n`,
    `- ${a.address}\n- ${a.address}\n`,
    "[]\n",
  ];
  for (const [i, text] of broken.entries()) {
    await Deno.writeTextFile(file, text);
    await eventually(() => said(FAILS) === i + 1, `a word about ${text}`);
    assert.deepEqual(await tally(client, 9), { b: 6, c: 3 }, text);
    await Deno.writeTextFile(file, good);
    await eventually(() => said(WORKS) === i + 1, `a word about the end of ${text}`);
  }
  await Deno.remove(file);
  await eventually(() => said(FAILS) === broken.length + 1, "a word about the missing file");
  assert.deepEqual(await tally(client, 9), { b: 6, c: 3 });

  await Deno.writeTextFile(file, `- ${a.address}\n`);
  await serving(client, ["a"]);
});

Deno.test("a JSON list is polled, for all service workers, and errors keep the last one", async () => {
  await using stack = new AsyncDisposableStack();
  const [a, b] = await startMembers(stack, "a", "b");
  let answer = response(JSON.stringify([a.address]));
  let asked = "";
  const registry = stack.use(
    await startSimpleOrigin({
      handler(request) {
        asked = request.raw;
        return answer;
      },
    }),
  );
  const sluice = stack.use(
    await start({
      type: "http",
      url: `${registry.url}/members?of=found`,
      interval: "300ms",
      timeout: "300ms",
      headers: { Authorization: "Bearer of the list" },
    }, { threads: 2 }),
  );
  const all = () => rawRequest(sluice.port(), get("/"));
  for (let i = 0; i < 4; i++) assert.equal((await all()).status, 200);
  assert.match(asked, /^GET \/members\?of=found HTTP\/1\.1\r\n/);
  assert.match(asked, /Authorization: Bearer of the list\r\n/i);

  answer = response(JSON.stringify({ endpoints: [{ address: b.address, labels: { zone: "x" } }] }));
  await sluice.waitForOutput(/(Upstream found: other members[\s\S]*){2}/);
  const before = a.served;
  for (let i = 0; i < 8; i++) assert.equal((await all()).status, 200);
  assert.equal(a.served, before);

  answer = response("oops", {}, "500 Oops");
  await sluice.waitForOutput(/Discovery of upstream found fails: .*; its 1 endpoints stay/);
  assert.equal((await all()).status, 200);
  answer = response(JSON.stringify([a.address, b.address]));
  await sluice.waitForOutput(/Discovery of upstream found works again/);
  await using client = await RawClient.connect(sluice.port());
  await serving(client, ["a", "b"]);
});

Deno.test("addresses of a name are looked up again when they expire", async () => {
  await using stack = new AsyncDisposableStack();
  const [a] = await startMembers(stack, "a");
  // The same port at another address.
  const second = Deno.serve(
    { hostname: "127.0.0.2", port: a.port, onListen: () => {} },
    () => new Response("second"),
  );
  stack.defer(() => second.shutdown());
  const dns = stack.use(
    await DnsServer.start({
      "A members.test": { ttl: 1, a: ["127.0.0.1"] },
      "AAAA members.test": "no data",
    }),
  );
  const sluice = stack.use(
    await start({ type: "dns", name: "members.test", port: a.port, server: dns.address }),
  );
  await using client = await RawClient.connect(sluice.port());
  assert.deepEqual(await tally(client, 4), { a: 4 });
  dns.zone["A members.test"] = { ttl: 1, a: ["127.0.0.1", "127.0.0.2"] };
  await serving(client, ["a", "second"]);
  dns.zone["A members.test"] = "server failure";
  await sluice.waitForOutput(/Discovery of upstream found fails: .*; its 2 endpoints stay/);
  assert.deepEqual(await tally(client, 4), { a: 2, second: 2 });
  dns.zone["A members.test"] = { ttl: 1, a: ["127.0.0.2"] };
  await serving(client, ["second"]);
});

Deno.test("under load, a member that joins or leaves by DNS costs no request", async () => {
  await using stack = new AsyncDisposableStack();
  const [a] = await startMembers(stack, "a");
  for (const hostname of ["127.0.0.2", "127.0.0.3"]) {
    const one = Deno.serve(
      { hostname, port: a.port, onListen: () => {} },
      () => new Response(hostname),
    );
    stack.defer(() => one.shutdown());
  }
  const dns = stack.use(
    await DnsServer.start({
      "A members.test": { ttl: 1, a: ["127.0.0.1", "127.0.0.2"] },
      "AAAA members.test": "no data",
    }),
  );
  const sluice = stack.use(
    await start({ type: "dns", name: "members.test", port: a.port, server: dns.address }),
  );
  const seen = new Set<string>();
  let asked = 0;
  let stop = false;
  const load = Array.from({ length: 8 }, async () => {
    await using client = await RawClient.connect(sluice.port());
    while (!stop) {
      const answer = await client.request(get("/"));
      assert.equal(answer.status, 200);
      seen.add(text(answer));
      asked++;
    }
  });
  const until = async (who: string) => {
    seen.clear();
    await eventually(() => Promise.resolve(seen.has(who)), `${who} to get requests`);
  };
  await until("127.0.0.2");
  dns.zone["A members.test"] = { ttl: 1, a: ["127.0.0.1", "127.0.0.2", "127.0.0.3"] };
  await until("127.0.0.3");
  dns.zone["A members.test"] = { ttl: 1, a: ["127.0.0.1", "127.0.0.3"] };
  await sluice.waitForOutput(/other members.*removed=.*127\.0\.0\.2/);
  await until("127.0.0.3");
  await until("127.0.0.3");
  assert.equal(seen.has("127.0.0.2"), false);
  stop = true;
  await Promise.all(load);
  assert.ok(asked > 200, `${asked} requests`);
});

Deno.test("SRV records give ports, weights and priorities", async () => {
  await using stack = new AsyncDisposableStack();
  const [a, b, c] = await startMembers(stack, "a", "b", "c");
  const dns = stack.use(
    await DnsServer.start({
      "SRV _web._tcp.test": {
        ttl: 1,
        srv: [[0, 3, a.port, "host.test"], [0, 1, b.port, "host.test"], [
          1,
          1,
          c.port,
          "host.test",
        ]],
      },
      "A host.test": { ttl: 1, a: ["127.0.0.1"] },
      "AAAA host.test": "no data",
    }),
  );
  const sluice = stack.use(
    await start({ type: "srv", name: "_web._tcp.test", server: dns.address, refresh: "1s" }),
  );
  await using client = await RawClient.connect(sluice.port());
  assert.deepEqual(await tally(client, 40), { a: 30, b: 10 });
  dns.zone["SRV _web._tcp.test"] = { ttl: 1, srv: [[0, 1, c.port, "host.test"]] };
  await serving(client, ["c"]);
});

Deno.test("a source that never answers does not keep the program from starting", async () => {
  await using dns = await DnsServer.start({ "A members.test": "server failure" });
  await using sluice = await start({
    type: "dns",
    name: "members.test",
    port: 80,
    server: dns.address,
    family: "ipv4",
  });
  const answer = await rawRequest(sluice.port(), get("/"));
  assert.equal(answer.status, 503);
  await sluice.waitForOutput(/Discovery of upstream found fails: .*; its 0 endpoints stay/);
  await sluice.waitForOutput(/upstream "found" has no endpoints/);
});

Deno.test("what is found may be reached if allow has it, and not otherwise", async () => {
  await using stack = new AsyncDisposableStack();
  const [a, b] = await startMembers(stack, "a", "b");
  const sluice = stack.use(
    await start({ type: "file", path: "./members.yaml", allow: [a.address] }, {
      files: { "members.yaml": `- ${a.address}\n- ${b.address}\n` },
    }),
  );
  await using client = await RawClient.connect(sluice.port());
  assert.deepEqual(await tally(client, 10), { a: 5, 502: 5 });
  assert.equal(b.served, 0);
  await sluice.waitForOutput(
    new RegExp(`Request failed: .*net access.*${b.address.replaceAll(".", "\\.")}`, "i"),
  );
});
