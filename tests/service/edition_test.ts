/** What an edition of the config leaves behind in a service worker when another has followed: nothing. */
import assert from "node:assert/strict";
import v8 from "node:v8";
import vm from "node:vm";
import { TimerWheel } from "../../src/base/timer_wheel.ts";
import { logger } from "../../src/observe/log.ts";
import type { Edition } from "../../src/service/edition.ts";
import { HttpService } from "../../src/service/http_service.ts";
import { ServiceObserver } from "../../src/service/service_observer.ts";
import { TlsListeners } from "../../src/service/tls_listeners.ts";
import { UpstreamRuntime } from "../../src/service/upstream_runtime.ts";
import { configOf } from "../config/support.ts";
import { configFile } from "../support/config.ts";

const STATE = { endpoints: {}, flips: [], names: {}, settings: [], stickySecret: "secret" };

Deno.test("an edition that another has followed, and that has no request left, is let go", async () => {
  const wheel = new TimerWheel();
  const observer = new ServiceObserver("main", logger("service", "main"), null);
  const released: number[] = [];
  const service = new HttpService({
    service: "main",
    index: 0,
    wheel,
    poolSize: 16,
    observer,
    tls: new TlsListeners({ credentials: {}, engines: {}, surgery: false }, () => {}),
    borrow: () => Promise.resolve(null),
    onLoop: () => {},
    onReleased: (edition) => {
      edition.upstreams.release();
      released.push(edition.number);
    },
  });
  // A function of its own: what it has had in hand does not stay in a frame of this one.
  const follow = async (number: number): Promise<WeakRef<Edition>> => {
    // Some routes change and some do not, as with most reloads.
    const config = await configOf(configFile({
      origin: "127.0.0.1:9",
      route: { rules: [{ response: { set: { "X-Version": String(number >> 1) } } }] },
    }));
    const before = service.edition;
    const upstreams = new UpstreamRuntime({
      config,
      state: STATE,
      wheel,
      listener: observer,
      before: before?.upstreams ?? null,
      onAttempt: null,
    });
    const edition = service.make({
      number,
      config,
      service: config.services[0]!,
      upstreams,
      binds: {},
      handler: () => assert.fail("no plugin is used"),
    });
    upstreams.begin(STATE, service.connector);
    service.use(edition);
    return new WeakRef(edition);
  };
  const made: WeakRef<Edition>[] = [];
  for (let number = 1; number <= 20; number++) made.push(await follow(number));
  assert.deepEqual(released, Array.from({ length: 19 }, (_, i) => i + 1));
  await collectGarbage();
  const kept = made.flatMap((edition, i) => edition.deref() === undefined ? [] : [i + 1]);
  assert.deepEqual(kept, [20]);
  assert.equal(service.edition?.number, 20);
  wheel.close();
});

async function collectGarbage(): Promise<void> {
  v8.setFlagsFromString("--expose-gc");
  const collect = vm.runInNewContext("gc") as () => void;
  // What a WeakRef has told is kept until the turn is over.
  await new Promise((resolve) => setTimeout(resolve, 0));
  collect();
}
