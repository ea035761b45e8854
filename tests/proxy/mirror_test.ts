import assert from "node:assert/strict";
import { ManualClock } from "../../src/base/clock.ts";
import { TimerWheel } from "../../src/base/timer_wheel.ts";
import { PEER_OPTIONS } from "../../src/connector/peer.ts";
import { Mirror, type MirrorSettings, type MirrorSubject } from "../../src/proxy/mirror.ts";
import { Upstreams } from "../../src/proxy/upstreams.ts";
import { endpoint, head, makeGroup } from "../balancer/support.ts";
import { FakeConnector, settled } from "./fake_upstream.ts";

const SETTINGS: MirrorSettings = {
  upstream: "pool",
  share: 1,
  maxBody: 100,
  maxConcurrent: 10,
  timeout: 1_000,
};

function make(more: Partial<MirrorSettings> = {}, random?: () => number) {
  const clock = new ManualClock();
  const wheel = new TimerWheel({ clock });
  const { group } = makeGroup([endpoint("10.0.0.1:80")]);
  const upstreams = new Upstreams(new Map([["pool", { group, breaker: null }]]), PEER_OPTIONS);
  const fake = new FakeConnector();
  const mirror = new Mirror({ ...SETTINGS, ...more }, {
    connector: fake.connector,
    upstreams,
    wheel,
    ...(random === undefined ? {} : { random }),
  });
  const inFlight = () => group.backends[0]!.load.inFlight;
  return { mirror, fake, clock, wheel, inFlight };
}

function subject(content: string | null = "", upgrade = ""): MirrorSubject {
  return {
    clientAddress: "192.0.2.1",
    downstream: { upgrade },
    content: {
      tap: () => Promise.resolve(content === null ? null : new TextEncoder().encode(content)),
    },
    upstreamRequest: () => head("/copied"),
  };
}

Deno.test("a copy is sent with its content, answered, counted and released", async () => {
  const { mirror, fake, inFlight } = make();
  mirror.copy(subject("content"));
  await settled();
  const [upstream] = fake.made;
  assert.equal(upstream!.head!.target, "/copied");
  assert.deepEqual(upstream!.framing, { kind: "length", length: 7 });
  assert.equal(upstream!.body, "content");
  assert.equal(inFlight(), 1);
  upstream!.answer(500);
  await settled();
  assert.equal(upstream!.released, 1);
  assert.equal(inFlight(), 0);
  assert.deepEqual(mirror.counts, { sent: 1, failed: 0, skipped: 0 });
});

Deno.test("too much content, an upgrade and too many at a time are skipped", async () => {
  const { mirror, fake } = make({ maxConcurrent: 2 });
  mirror.copy(subject(null));
  await settled();
  mirror.copy(subject("", "websocket"));
  for (let i = 0; i < 3; i++) mirror.copy(subject());
  await settled();
  assert.deepEqual(mirror.counts, { sent: 0, failed: 0, skipped: 3 });
  assert.equal(fake.made.length, 2);
  for (const upstream of fake.made) upstream.answer();
  await settled();
  mirror.copy(subject());
  await settled();
  assert.equal(fake.made.length, 3, "there is room again");
});

Deno.test("a copy that is not answered in time is cut, and makes room", async () => {
  const { mirror, fake, clock, wheel, inFlight } = make({ maxConcurrent: 1 });
  mirror.copy(subject());
  await settled();
  clock.advance(900);
  wheel.advance();
  assert.equal(fake.made[0]!.aborted, 0);
  clock.advance(200);
  wheel.advance();
  await settled();
  assert.ok(fake.made[0]!.aborted >= 1);
  assert.equal(inFlight(), 0);
  assert.deepEqual(mirror.counts, { sent: 0, failed: 1, skipped: 0 });
  mirror.copy(subject());
  await settled();
  assert.equal(fake.made.length, 2);
});

Deno.test("a mirror that cannot be connected to is a failed copy and nothing else", async () => {
  const { mirror, fake, inFlight } = make();
  fake.dead.add("10.0.0.1:80");
  mirror.copy(subject());
  await settled();
  assert.deepEqual(mirror.counts, { sent: 0, failed: 1, skipped: 0 });
  assert.equal(inFlight(), 0);
});

Deno.test("share is drawn for each request", async () => {
  const draws = [0.1, 0.3, 0.249, 0.25, 0.9];
  const { mirror, fake } = make({ share: 0.25 }, () => draws.shift()!);
  for (let i = 0; i < 5; i++) mirror.copy(subject());
  await settled();
  assert.equal(fake.made.length, 2);
});
