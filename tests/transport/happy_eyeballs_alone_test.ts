import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import fc from "fast-check";
import { type ErrorType, ProxyError } from "../../src/base/error.ts";
import { dial } from "../../src/transport/dial.ts";
import {
  interleave,
  MOST_ATTEMPTS,
  race,
  type RaceOptions,
} from "../../src/transport/happy_eyeballs.ts";
import { HostResolver } from "../../src/transport/resolver.ts";
import { deaf } from "../support/deaf.ts";
import { openSockets, socketsDownTo } from "../support/recorder.ts";

Deno.test("families take turns, beginning with that of the first address", () => {
  deepEqual(interleave(["::1", "::2", "10.0.0.1", "10.0.0.2", "::3"]), [
    ...["::1", "10.0.0.1", "::2", "10.0.0.2", "::3"],
  ]);
  deepEqual(interleave(["10.0.0.1", "10.0.0.2", "::1"]), ["10.0.0.1", "::1", "10.0.0.2"]);
  deepEqual(interleave(["10.0.0.1", "10.0.0.2", "10.0.0.3", "::1"], 4), [
    ...["10.0.0.2", "::1", "10.0.0.3", "10.0.0.1"],
  ]);
  deepEqual(interleave([]), []);
});

Deno.test("every address comes exactly once, each first in its turn", () => {
  fc.assert(fc.property(
    fc.uniqueArray(fc.oneof(fc.ipV4(), fc.ipV6()), { minLength: 1, maxLength: 20 }),
    fc.nat(1_000),
    (hosts, turn) => {
      const order = interleave(hosts, turn);
      deepEqual(order.toSorted(), hosts.toSorted());
      equal(order[0]!.includes(":"), hosts[0]!.includes(":"));
    },
  ));
});

Deno.test("the next begins after the delay, the first success wins, the losers are given up", async () => {
  const race = new Runs(["::1", "10.0.0.1", "::2"], { delay: 20 });
  await race.begun(2);
  deepEqual(race.hosts, ["::1", "10.0.0.1"]);
  race.of("10.0.0.1").resolve("won");
  equal(await race.result, "won");
  equal(race.of("::1").signal!.aborted, true);
  equal(race.hosts.length, 2);
  race.of("::1").resolve("late");
  await settled();
  deepEqual(race.dropped, ["late"]);
});

Deno.test("a failure begins the next at once", async () => {
  const race = new Runs(["::1", "10.0.0.1"], { delay: 60_000 });
  await race.begun(1);
  race.of("::1").reject(failed("connect_no_route"));
  await race.begun(2);
  race.of("10.0.0.1").resolve("won");
  equal(await race.result, "won");
});

Deno.test("when all fail, all are told, and no route counts least", async () => {
  const race = new Runs(["10.0.0.1", "::1", "10.0.0.2"], { delay: 60_000 });
  const types = ["connect_refused", "connect_timeout", "connect_no_route"] as const;
  for (const [index, type] of types.entries()) {
    await race.begun(index + 1);
    race.of(race.hosts[index]!).reject(failed(type));
  }
  await rejects(race.result, (error) => {
    ok(error instanceof ProxyError);
    equal(error.type, "connect_timeout");
    for (const [index, type] of types.entries()) {
      ok(error.message.includes(`${race.hosts[index]}: ${type}`), error.message);
    }
    return error.retry === true && error.source === "upstream";
  });
});

Deno.test("the time is that of all together", async () => {
  const hosts = Array.from({ length: 5 }, (_, i) => `10.0.0.${i}`);
  const race = new Runs(hosts, { delay: 20, timeout: 50 });
  await race.begun(2);
  for (const run of race.runs.values()) ok(run.timeout <= 50);
  const failing = rejects(race.result, { type: "connect_timeout" });
  await new Promise((resolve) => setTimeout(resolve, 70));
  for (const run of race.runs.values()) run.reject(failed("connect_timeout"));
  await failing;
  ok(race.runs.size < hosts.length);
});

Deno.test("an abort gives up all of them with its reason", async () => {
  const abort = new AbortController();
  const race = new Runs(["10.0.0.1", "::1"], { delay: 1, signal: abort.signal });
  await race.begun(2);
  const reason = new ProxyError("client_closed", "gone");
  abort.abort(reason);
  await rejects(race.result, reason);
  for (const run of race.runs.values()) equal(run.signal!.aborted, true);
  await rejects(new Runs(["10.0.0.1", "::1"], { signal: abort.signal }).result, reason);
});

Deno.test(`not more than ${MOST_ATTEMPTS} addresses are tried`, async () => {
  const hosts = Array.from({ length: 40 }, (_, i) => `10.0.0.${i}`);
  let tried = 0;
  await rejects(race({
    hosts,
    timeout: 1_000,
    context: "Connecting",
    connect: () => {
      tried++;
      return Promise.reject(failed("connect_refused"));
    },
    drop: () => {},
  }));
  equal(tried, MOST_ATTEMPTS);
});

for (const engine of ["deno", "handle", "node"] as const) {
  Deno.test(`${engine}: a name whose first address does not answer is reached by its second`, async () => {
    const { port, close } = await deaf("127.0.0.1");
    const good = Deno.listen({ hostname: "127.0.0.2", port });
    const before = openSockets();
    const resolver = named(["127.0.0.1", "127.0.0.2"]);
    for (let i = 0; i < 4; i++) {
      const [other, socket] = await Promise.all([
        good.accept(),
        dial({ kind: "tcp", host: "o.test", port }, {
          timeout: 5_000,
          attemptDelay: 30,
          resolver,
          ...(engine === "node" ? { localAddress: "127.0.0.1" } : { engine }),
        }),
      ]);
      equal(socket.remote.kind === "tcp" && socket.remote.host, "127.0.0.2");
      other.close();
      socket.destroy();
    }
    equal(await socketsDownTo(before), before);
    good.close();
    close();
  });

  Deno.test(`${engine}: a name none of whose addresses answers tells of all`, async () => {
    const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const { port } = listener.addr;
    listener.close();
    const before = openSockets();
    await rejects(
      dial({ kind: "tcp", host: "o.test", port }, {
        timeout: 5_000,
        resolver: named(["127.0.0.1", "127.0.0.2"]),
        ...(engine === "node" ? { localAddress: "127.0.0.1" } : { engine }),
      }),
      (error) => {
        ok(error instanceof ProxyError);
        equal(error.type, "connect_refused");
        return error.message.includes("127.0.0.1: ") && error.message.includes("127.0.0.2: ");
      },
    );
    equal(await socketsDownTo(before), before);
  });
}

Deno.test("connections are spread over the addresses of a name", async () => {
  const first = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = first.addr;
  const second = Deno.listen({ hostname: "127.0.0.2", port });
  const seen: string[] = [];
  const resolver = named(["127.0.0.1", "127.0.0.2"]);
  for (let i = 0; i < 4; i++) {
    const socket = await dial({ kind: "tcp", host: "o.test", port }, { timeout: 5_000, resolver });
    seen.push(socket.remote.kind === "tcp" ? socket.remote.host : "");
    socket.destroy();
  }
  equal(seen.filter((host) => host === "127.0.0.1").length, 2, seen.join());
  first.close();
  second.close();
});

Deno.test("a local address chooses the family of the other end", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const socket = await dial({ kind: "tcp", host: "o.test", port: listener.addr.port }, {
    timeout: 5_000,
    localAddress: "127.0.0.1",
    resolver: named(["::1", "127.0.0.1"]),
  });
  equal(socket.remote.kind === "tcp" && socket.remote.host, "127.0.0.1");
  socket.destroy();
  listener.close();
});

interface Run {
  readonly signal: AbortSignal | undefined;
  readonly timeout: number;
  resolve(value: string): void;
  reject(error: unknown): void;
}

/** A race whose attempts end when the test says so. */
class Runs {
  readonly runs = new Map<string, Run>();
  readonly dropped: string[] = [];
  readonly result: Promise<string>;
  #waiting: (() => void) | null = null;

  constructor(hosts: string[], options: Partial<RaceOptions<string>>) {
    this.result = race<string>({
      hosts,
      timeout: 5_000,
      context: "Connecting to o.test:80",
      connect: (host, timeout, signal) => {
        const { promise, resolve, reject } = Promise.withResolvers<string>();
        this.runs.set(host, { signal, timeout, resolve, reject });
        this.#waiting?.();
        return promise;
      },
      drop: (value) => this.dropped.push(value),
      ...options,
    });
  }

  get hosts(): string[] {
    return [...this.runs.keys()];
  }

  of(host: string): Run {
    return this.runs.get(host)!;
  }

  async begun(count: number): Promise<void> {
    while (this.runs.size < count) await new Promise<void>((resolve) => this.#waiting = resolve);
  }
}

function named(addresses: string[]): HostResolver {
  return new HostResolver({ source: () => Promise.resolve({ addresses, ttl: 60_000 }) });
}

function failed(type: ErrorType): ProxyError {
  return new ProxyError(type, "no", { source: "upstream", retry: true });
}

async function settled(): Promise<void> {
  for (let i = 0; i < 5; i++) await Promise.resolve();
}
