/**
 * Measures what one call of a hook costs at each level of isolation: CPU of all threads and processes, and time. For
 * each request, a request hook and a response hook are called.
 *
 * `deno run -A tests/bench/plugin_call.ts [--seconds N] [--rounds N] [--level NAME]… [--flight N]…`. The levels take
 * turns, so that what else the machine does falls on all of them.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { FakeSession } from "../support/fake_session.ts";
import { type Bench, type Isolation, specOf, start } from "../sandbox/support.ts";
import { cpuBetween, cpuTimes, familyOf } from "./cpu_time.ts";

/** What a browser sends. */
const FIELDS: readonly [string, string][] = [
  ["Host", "shop.example.com"],
  [
    "User-Agent",
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0 Safari/537.36",
  ],
  ["Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"],
  ["Accept-Language", "en-GB,en;q=0.9,de;q=0.8"],
  ["Accept-Encoding", "gzip, deflate, br, zstd"],
  ["Cache-Control", "max-age=0"],
  ["Sec-Fetch-Dest", "document"],
  ["Sec-Fetch-Mode", "navigate"],
  ["Sec-Fetch-Site", "same-origin"],
  ["Upgrade-Insecure-Requests", "1"],
  ["Referer", "https://shop.example.com/catalogue/shoes?page=2"],
  ["Cookie", "session=4f2a9c0e7b6d4f0fa1c3; theme=dark; consent=all"],
];

/** What an origin answers. */
const RESPONSE_FIELDS: readonly [string, string][] = [
  ["Server", "nginx"],
  ["Date", "Wed, 25 Nov 2026 11:00:00 GMT"],
  ["Content-Type", "text/plain"],
  ["Content-Length", "115"],
  ["X-Content-Type-Options", "nosniff"],
  ["X-Frame-Options", "SAMEORIGIN"],
  ["Referrer-Policy", "strict-origin-when-cross-origin"],
  ["Cache-Control", "public, max-age=60"],
  ["Vary", "Accept-Encoding"],
  ["Strict-Transport-Security", "max-age=31536000"],
  ["X-Request-Id", "5f0c3a9e2b7d4e61"],
];

const options = parseArgs({
  options: {
    seconds: { type: "string", default: "1" },
    rounds: { type: "string", default: "5" },
    level: { type: "string", multiple: true, default: ["inline", "worker", "process"] },
    flight: { type: "string", multiple: true, default: ["1", "64"] },
  },
}).values;

interface Sample {
  /** Microseconds of CPU per call, over all threads and processes. */
  readonly cpu: number;
  /** Microseconds from the call to its answer, the median. */
  readonly wait: number;
}

const file = new URL("./fixtures/one_field.ts", import.meta.url).pathname;
const benches: [Isolation, Bench][] = [];
for (const level of options.level as Isolation[]) {
  benches.push([level, await start([specOf(file, level)])]);
}
for (const flight of options.flight.map(Number)) {
  const samples = new Map<Isolation, Sample[]>(benches.map(([level]) => [level, []]));
  for (const [, bench] of benches) await measure(bench, flight, 0.5);
  for (let round = 0; round < Number(options.rounds); round++) {
    for (const [level, bench] of benches) {
      samples.get(level)!.push(await measure(bench, flight, Number(options.seconds)));
    }
  }
  for (const [level, own] of samples) {
    console.log(
      `${level.padEnd(8)} ${String(flight).padStart(3)} in flight  ` +
        `${median(own.map((s) => s.cpu)).toFixed(1).padStart(7)} us CPU per call  ` +
        `${median(own.map((s) => s.wait)).toFixed(0).padStart(6)} us from call to answer`,
    );
  }
}
for (const [, bench] of benches) await bench[Symbol.asyncDispose]();

async function measure(bench: Bench, flight: number, seconds: number): Promise<Sample> {
  const handler = bench.handler();
  const pids = familyOf(Deno.pid);
  const waits: number[] = [];
  let calls = 0;
  const before = cpuTimes(pids);
  const end = performance.now() + seconds * 1000;
  // The session is used again: what it costs to make one is not the sandbox's doing.
  await Promise.all(Array.from({ length: flight }, async () => {
    const session = new FakeSession({ headers: FIELDS, responseHeaders: RESPONSE_FIELDS });
    for (;;) {
      for (const phase of ["requestFilter", "responseFilter"] as const) {
        const began = performance.now();
        if (began >= end) return;
        await handler.call(phase, session);
        calls++;
        if (calls % 16 === 0) waits.push((performance.now() - began) * 1000);
      }
      session.release();
    }
  }));
  return { cpu: cpuBetween(before, cpuTimes(pids)) / 1000 / calls, wait: median(waits) };
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)]!;
}
