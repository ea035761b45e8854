import assert from "node:assert/strict";
import { ManualClock } from "../../src/base/clock.ts";
import { ProxyError } from "../../src/base/error.ts";
import { TimerWheel } from "../../src/base/timer_wheel.ts";
import { PEER_OPTIONS } from "../../src/connector/peer.ts";
import type { Exchange } from "../../src/proxy/exchange.ts";
import { type Leg, mayHedge, raceForHead } from "../../src/proxy/hedge.ts";
import { Upstreams } from "../../src/proxy/upstreams.ts";
import { endpoint, head, input, makeGroup } from "../balancer/support.ts";
import { FakeConnector, settled } from "./fake_upstream.ts";

/** Two members; the first is asked, and the race for its answer begins. */
async function start(max = 1) {
  const clock = new ManualClock();
  const wheel = new TimerWheel({ clock });
  const { group, health } = makeGroup([endpoint("10.0.0.1:80"), endpoint("10.0.0.2:80")]);
  const upstreams = new Upstreams(new Map([["pool", { group, breaker: null }]]), PEER_OPTIONS);
  const fake = new FakeConnector();
  const gone = new AbortController();
  const choice = upstreams.choose("pool", input(), null);
  const exchange = {
    ...input(),
    choice,
    hedges: 0,
    response: null as { status: number } | null,
    route: { peerFor: <T>(peer: T): T => peer },
    downstream: { failure: null as ProxyError | null },
    upstreamRequest: () => head("/"),
  };
  const first: Leg = { choice, upstream: await fake.connect(choice.peer), askedAt: 0 };
  const race = raceForHead(
    exchange as unknown as Exchange,
    { after: 100, max },
    { connector: fake.connector, upstreams, wheel, signal: gone.signal },
    first,
  );
  race.catch(() => {});
  const pass = async (ms: number) => {
    clock.advance(ms);
    wheel.advance();
    await settled();
  };
  const inFlight = () => group.backends.map(({ load }) => load.inFlight);
  return { race, fake, exchange, first, pass, inFlight, gone, health };
}

Deno.test("in time, nobody else is asked", async () => {
  const { race, fake, pass, exchange } = await start();
  await pass(90);
  fake.made[0]!.answer();
  await race;
  await pass(1_000);
  assert.equal(fake.made.length, 1);
  assert.equal(exchange.hedges, 0);
});

Deno.test("the first answer wins; the loser is cut and says nothing about its health", async () => {
  for (const winner of [0, 1]) {
    const { race, fake, pass, exchange, inFlight, health, first } = await start();
    await pass(130);
    assert.deepEqual(fake.made.map(({ peer }) => peer), ["10.0.0.1:80", "10.0.0.2:80"]);
    assert.deepEqual(inFlight(), [1, 1]);
    fake.made[winner]!.answer(200 + winner);
    const leg = await race;
    assert.equal(leg === first, winner === 0);
    assert.equal(exchange.response!.status, 200 + winner);
    assert.equal(exchange.hedges, 1);
    assert.equal(fake.made[winner]!.aborted, 0);
    assert.ok(fake.made[1 - winner]!.aborted > 0);
    assert.equal(inFlight()[winner], 1, "the attempt settles the winner");
    assert.equal(inFlight()[1 - winner], 0);
    assert.deepEqual(health.recorded.map(([, { kind }]) => kind), ["cancelled"]);
  }
});

Deno.test("when all fail, the first failure is told, and only the first leg is left to settle", async () => {
  for (const order of [[0, 1], [1, 0]]) {
    const { race, fake, pass, inFlight, first } = await start();
    await pass(130);
    const failure = (i: number) => new ProxyError("read_error", `${i}`, { source: "upstream" });
    for (const i of order) {
      fake.made[i]!.fail(failure(i));
      await settled();
    }
    await assert.rejects(race, { message: `${order[0]}` });
    assert.equal(inFlight()[1], 0, "nobody else would settle it");
    assert.ok(fake.made[1]!.aborted > 0);
    first.choice.settle({ kind: "failed", status: 0, latency: 1 });
    assert.deepEqual(inFlight(), [0, 0]);
  }
});

Deno.test("somebody else who cannot be connected to leaves the first one its time", async () => {
  const { race, fake, pass, inFlight, first } = await start();
  fake.dead.add("10.0.0.2:80");
  await pass(130);
  assert.deepEqual(inFlight(), [1, 0]);
  fake.made[0]!.answer();
  assert.equal(await race, first);
});

Deno.test("with nobody else to ask, nobody is asked twice", async () => {
  const { race, fake, pass, inFlight } = await start(4);
  for (let i = 0; i < 6; i++) await pass(130);
  assert.equal(fake.made.length, 2);
  assert.deepEqual(inFlight(), [1, 1]);
  fake.made[0]!.answer();
  await race;
});

Deno.test("when the client goes, all are cut", async () => {
  const { race, fake, pass, exchange, gone, inFlight } = await start();
  await pass(130);
  exchange.downstream.failure = new ProxyError("client_closed", "gone", { source: "downstream" });
  gone.abort();
  await assert.rejects(race, { type: "client_closed" });
  assert.ok(fake.made.length === 2 && fake.made.every(({ aborted }) => aborted > 0));
  assert.deepEqual(inFlight(), [0, 0]);
});

Deno.test("when the time of the attempt is over, all are cut, and the limit is told", async () => {
  const { race, fake, pass, gone } = await start();
  await pass(130);
  gone.abort(new ProxyError("first_byte_timeout", "too late", { source: "upstream" }));
  await assert.rejects(race, { message: "too late" });
  assert.ok(fake.made.length === 2 && fake.made.every(({ aborted }) => aborted > 0));
});

Deno.test("only reads without content are hedged, and no upgrades", () => {
  const may = (method: string, length: number, upgrade = "") =>
    mayHedge(
      {
        upstreamRequest: () => ({ method }),
        content: { length },
        downstream: { upgrade },
      } as unknown as Exchange,
    );
  assert.equal(may("GET", 0), true);
  assert.equal(may("HEAD", 0), true);
  assert.equal(may("GET", 1), false);
  assert.equal(may("GET", -1), false);
  assert.equal(may("GET", 0, "websocket"), false);
  for (const method of ["POST", "PUT", "DELETE", "OPTIONS"]) assert.equal(may(method, 0), false);
});
