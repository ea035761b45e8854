/** Which members of a group get requests: checks, ejection, panic, slow start, breaker; and what the log says of it. */
import assert from "node:assert/strict";
import { configFile } from "../support/config.ts";
import { eventually } from "../support/deadline.ts";
import { field, text } from "../support/http_text.ts";
import { get, RawClient, rawRequest } from "../support/raw_client.ts";
import { type Sluice, startSluice } from "../support/sluice.ts";
import { type Member, startMembers, tally } from "./upstream_support.ts";

function start(
  members: readonly Member[],
  group: Record<string, unknown>,
  route: Record<string, unknown> = {},
): Promise<Sluice> {
  return startSluice({
    config: configFile({
      route: { upstream: "group", retry: { attempts: 0 }, ...route },
      upstreams: [{ name: "group", endpoints: members.map(({ address }) => address), ...group }],
    }),
  });
}

/** Two seconds until a member is out or back; a busy machine still answers within the timeout. */
const CHECKS = {
  path: "/healthz",
  interval: "1s",
  timeout: "1s",
  jitter: "0%",
  healthy: 2,
  unhealthy: 2,
};

Deno.test("a breaker opens on failures, refuses with 503, probes when half open, and closes", async () => {
  await using stack = new AsyncDisposableStack();
  const [a] = await startMembers(stack, "a");
  a.does.status = 500;
  const sluice = stack.use(
    await start([a], {
      circuit_breaker: { consecutive_failures: 3, open_for: "500ms", max_open_for: "500ms" },
    }),
  );
  await using client = await RawClient.connect(sluice.port());
  assert.deepEqual(await tally(client, 3), { 500: 3 });
  const refused = await client.request(get("/"));
  assert.equal(refused.status, 503);
  assert.match(field(refused, "retry-after")!, /^[1-9]\d*$/);
  assert.match(field(refused, "proxy-status")!, /error=destination_unavailable/);
  assert.equal(JSON.parse(text(refused)).type, "urn:sluice:problem:circuit_open");
  assert.equal(a.served, 3, "the upstream is left alone");
  await sluice.waitForOutput(/WARN.*Upstream group: circuit breaker is open/);

  // The first probe fails, and it opens again.
  await eventually(async () => (await client.request(get("/"))).status === 500, "the first probe");
  await sluice.waitForOutput(/Upstream group: circuit breaker is half open/);
  assert.equal(a.served, 4);
  assert.equal((await client.request(get("/"))).status, 503);

  a.does.status = 200;
  await eventually(async () => (await client.request(get("/"))).status === 200, "the second probe");
  await sluice.waitForOutput(/Upstream group: circuit breaker is closed/);
  assert.deepEqual(await tally(client, 10), { a: 10 });
});

Deno.test("a breaker opens when the share of failures is too high", async () => {
  await using stack = new AsyncDisposableStack();
  const [a, b] = await startMembers(stack, "a", "b");
  a.does.status = 502;
  const sluice = stack.use(
    await start([a, b], {
      circuit_breaker: { error_ratio: "50%", minimum_requests: 10, open_for: "10s" },
    }),
  );
  await using client = await RawClient.connect(sluice.port());
  // Ten are needed, and a success never opens it.
  assert.deepEqual(await tally(client, 11), { b: 5, 502: 6 });
  assert.deepEqual(await tally(client, 5), { 503: 5 });
  const wait = Number(field(await client.request(get("/")), "retry-after"));
  assert.ok(wait > 5 && wait <= 10, `Retry-After: ${wait}, with a breaker that is open for 10 s`);
});

Deno.test("max_requests refuses what is more, and what is refused does not open the breaker", async () => {
  await using stack = new AsyncDisposableStack();
  const [a] = await startMembers(stack, "a");
  const sluice = stack.use(
    await start([a], { circuit_breaker: { max_requests: 2, consecutive_failures: 2 } }),
  );
  let refused = 0;
  a.does.gate = eventually(() => refused === 4, "four to be refused");
  const answers = await Promise.all(
    Array.from({ length: 6 }, async () => {
      const answer = await rawRequest(sluice.port(), get("/"));
      if (answer.status === 503) refused++;
      return answer;
    }),
  );
  const statuses = answers.map(({ status }) => status).sort();
  assert.deepEqual(statuses, [200, 200, 503, 503, 503, 503]);
  await sluice.waitForOutput(/it has as many requests as it may have at a time/);
  assert.equal((await rawRequest(sluice.port(), get("/"))).status, 200);
});

Deno.test("a full waiting line is no fault of the endpoint", async () => {
  await using stack = new AsyncDisposableStack();
  const [a, b] = await startMembers(stack, "a", "b");
  const sluice = stack.use(
    await start([a, b], {
      transport: { max_connections: 1, max_pending: 0 },
      health_check: { passive: { consecutive_failures: 1, eject: "60s" } },
      circuit_breaker: { consecutive_failures: 1, open_for: "60s" },
    }),
  );
  let refused = false;
  a.does.gate = b.does.gate = eventually(() => refused, "one to be refused");
  const answers = await Promise.all(
    Array.from({ length: 8 }, async () => {
      const answer = await rawRequest(sluice.port(), get("/"));
      refused ||= answer.status === 503;
      return answer;
    }),
  );
  const statuses = new Set(answers.map(({ status }) => status));
  assert.deepEqual([...statuses].sort(), [200, 503]);
  await using client = await RawClient.connect(sluice.port());
  assert.deepEqual(await tally(client, 10), { a: 5, b: 5 });
  assert.doesNotMatch(sluice.stderr(), /ejected|circuit breaker/);
});

Deno.test("an endpoint that fails is ejected, and returns when its time is over", async () => {
  await using stack = new AsyncDisposableStack();
  const [a, b, c] = await startMembers(stack, "a", "b", "c");
  const sluice = stack.use(
    await start([a, b, c], {
      health_check: { passive: { consecutive_failures: 2, eject: "700ms", max_eject: "700ms" } },
    }),
  );
  await using client = await RawClient.connect(sluice.port());
  assert.deepEqual(await tally(client, 9), { a: 3, b: 3, c: 3 });
  b.does.status = 500;
  const counts = await tally(client, 60);
  assert.equal(counts["500"], 2, JSON.stringify(counts));
  assert.equal((counts["a"] ?? 0) + (counts["c"] ?? 0), 58);
  await sluice.waitForOutput(
    new RegExp(`WARN.*Upstream group: ${b.address} is ejected: 2 failures in a row`),
  );
  b.does.status = 200;
  await sluice.waitForOutput(new RegExp(`Upstream group: ${b.address} is returned`));
  assert.deepEqual(await tally(client, 9), { a: 3, b: 3, c: 3 });
});

Deno.test("no more endpoints are ejected at a time than max_ejected allows", async () => {
  await using stack = new AsyncDisposableStack();
  const members = await startMembers(stack, "a", "b", "c", "d");
  for (const { does } of members) does.status = 500;
  const sluice = stack.use(
    await start(members, {
      health_check: {
        passive: { consecutive_failures: 1, max_ejected: "50%", eject: "60s" },
      },
      load_balancing: { panic_threshold: "0%" },
    }),
  );
  await using client = await RawClient.connect(sluice.port());
  assert.deepEqual(await tally(client, 40), { 500: 40 });
  const served = members.map((member) => member.served).sort((a, b) => a - b);
  assert.deepEqual(served.slice(0, 2), [1, 1]);
  assert.equal(served[2]! + served[3]!, 38);
});

Deno.test("checks take an endpoint out and bring it back, for all service workers", async () => {
  await using stack = new AsyncDisposableStack();
  const [a, b] = await startMembers(stack, "a", "b");
  const sluice = stack.use(
    await startSluice({
      threads: 2,
      config: configFile({
        route: { upstream: "group", retry: { attempts: 0 } },
        upstreams: [{
          name: "group",
          endpoints: [a.address, b.address],
          health_check: { active: CHECKS },
        }],
      }),
    }),
  );
  b.does.health = 503;
  // Each worker says it for itself.
  const down = new RegExp(`WARN.*Upstream group: ${b.address} is unhealthy[^\n]*`);
  await sluice.waitForOutput(new RegExp(`(${down.source}[\\s\\S]*){2}`));
  const before = b.served;
  for (let i = 0; i < 12; i++) {
    assert.equal(text(await rawRequest(sluice.port(), get("/"))), "a");
  }
  assert.equal(b.served, before);
  b.does.health = 200;
  const up = new RegExp(`INFO.*Upstream group: ${b.address} is healthy`);
  await sluice.waitForOutput(new RegExp(`(${up.source}[\\s\\S]*){2}`));
  for (let i = 0; i < 12; i++) await rawRequest(sluice.port(), get("/"));
  assert.ok(b.served - before >= 4, `${b.served - before}`);
});

Deno.test("when too few endpoints are usable, health is ignored until more are", async () => {
  await using stack = new AsyncDisposableStack();
  const [a, b, c] = await startMembers(stack, "a", "b", "c");
  const sluice = stack.use(
    await start([a, b, c], {
      health_check: { active: CHECKS },
      load_balancing: { panic_threshold: "50%" },
    }),
  );
  await using client = await RawClient.connect(sluice.port());
  a.does.health = 500;
  await sluice.waitForOutput(new RegExp(`${a.address} is unhealthy`));
  assert.deepEqual(await tally(client, 12), { b: 6, c: 6 });
  b.does.health = 500;
  await sluice.waitForOutput(new RegExp(`${b.address} is unhealthy`));
  assert.deepEqual(await tally(client, 12), { a: 4, b: 4, c: 4 });
  await sluice.waitForOutput(/WARN.*Upstream group: too few members are usable/);
  a.does.health = b.does.health = 200;
  await sluice.waitForOutput(new RegExp(`${a.address} is healthy`));
  await sluice.waitForOutput(new RegExp(`${b.address} is healthy`));
  await client.request(get("/"));
  await sluice.waitForOutput(/INFO.*Upstream group: enough members are usable again/);
});

Deno.test("with a panic threshold of 0 nobody answers when nobody is healthy", async () => {
  await using stack = new AsyncDisposableStack();
  const [a] = await startMembers(stack, "a");
  a.does.health = 500;
  const sluice = stack.use(
    await start([a], {
      health_check: { active: { ...CHECKS, initial: "unhealthy" } },
      load_balancing: { panic_threshold: "0%" },
    }),
  );
  const refused = await rawRequest(sluice.port(), get("/"));
  assert.equal(refused.status, 503);
  assert.equal(field(refused, "retry-after"), "1");
  assert.equal(a.served, 0);
  await sluice.waitForOutput(/no endpoint of upstream "group" is usable/);
  a.does.health = 200;
  await sluice.waitForOutput(new RegExp(`${a.address} is healthy`));
  assert.equal(text(await rawRequest(sluice.port(), get("/"))), "a");
});

Deno.test("an endpoint that comes back gets its share little by little", async () => {
  await using stack = new AsyncDisposableStack();
  const [a, b] = await startMembers(stack, "a", "b");
  const sluice = stack.use(
    await start([a, b], {
      health_check: { active: { ...CHECKS, healthy: 1 } },
      load_balancing: { slow_start: "3s", panic_threshold: "0%" },
    }),
  );
  await using client = await RawClient.connect(sluice.port());
  b.does.health = 500;
  await sluice.waitForOutput(new RegExp(`${b.address} is unhealthy`));
  b.does.health = 200;
  await sluice.waitForOutput(new RegExp(`${b.address} is healthy`));
  const began = performance.now();
  const early = await tally(client, 60);
  const took = performance.now() - began;
  // At the end of these requests the share has grown to no more than the time says: `took` of 3 s.
  const most = 60 * Math.max(0.15, took / 3_000 + 0.1) / 1.1 + 3;
  assert.ok((early["b"] ?? 0) <= most, `${early["b"]} of 60, after ${took} ms`);
  assert.ok((early["b"] ?? 0) < 25);
  await eventually(async () => {
    const { b: share = 0 } = await tally(client, 20);
    return share === 10;
  }, "the whole share");
  assert.ok(performance.now() - began > 2_000, "not before its time");
});
