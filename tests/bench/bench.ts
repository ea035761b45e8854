/**
 * Measures what a request costs in CPU, against nginx doing the same in the same round.
 *
 * `deno run -A tests/bench/bench.ts [--rounds N] [--seconds N] [--scenario NAME]…`. Needs the Debian packages
 * nginx-light and wrk. Machines differ and drift: only the ratio to nginx of the same round means anything.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { type Bench, startBench, type Target } from "./bench_setup.ts";
import { cpuNanoseconds } from "./cpu_time.ts";

interface Scenario {
  readonly name: string;
  readonly connections: number;
  readonly path: string;
  /** Fields of the request besides Host. */
  readonly fields: readonly string[];
}

/** What a browser sends: a bare request would flatter whoever is slow with fields. */
const BROWSER = [
  "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0 Safari/537.36",
  "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
  "Accept-Language: en-GB,en;q=0.9,de;q=0.8",
  "Accept-Encoding: gzip, deflate, br, zstd",
  "Cache-Control: max-age=0",
  "Sec-Fetch-Dest: document",
  "Sec-Fetch-Mode: navigate",
  "Sec-Fetch-Site: same-origin",
  "Upgrade-Insecure-Requests: 1",
  "Referer: https://shop.example.com/catalogue/shoes?page=2",
  "Cookie: session=4f2a9c0e7b6d4f0fa1c3; theme=dark; consent=all",
];

const SCENARIOS: readonly Scenario[] = [
  { name: "small-1", connections: 1, path: "/small", fields: BROWSER },
  { name: "small-64", connections: 64, path: "/small", fields: BROWSER },
  { name: "small-256", connections: 256, path: "/small", fields: BROWSER },
  { name: "100k", connections: 16, path: "/100k", fields: BROWSER },
  { name: "10m", connections: 4, path: "/10m", fields: BROWSER },
];

interface Sample {
  readonly requests: number;
  /** Microseconds of CPU per request. */
  readonly cpu: number;
  readonly perSecond: number;
}

const options = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    seconds: { type: "string", default: "2" },
    scenario: { type: "string", multiple: true, default: ["small-64"] },
  },
}).values;

await using bench = await startBench();
for (const scenario of SCENARIOS) {
  if (options.scenario.includes(scenario.name) || options.scenario.includes("all")) {
    await run(bench, scenario, Number(options.rounds), Number(options.seconds));
  }
}

async function run(bench: Bench, scenario: Scenario, rounds: number, seconds: number) {
  for (const target of bench.targets) await measure(target, scenario, 1);
  const samples = new Map<string, Sample[]>(bench.targets.map(({ name }) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    const order = round % 2 === 0 ? bench.targets : bench.targets.toReversed();
    for (const target of order) {
      samples.get(target.name)!.push(await measure(target, scenario, seconds));
    }
  }
  const base = samples.get("nginx")!;
  for (const [name, own] of samples) {
    const ratios = own.map((sample, round) => sample.cpu / base[round]!.cpu);
    console.log(
      [
        scenario.name.padEnd(10),
        name.padEnd(14),
        `${median(own.map((s) => s.cpu)).toFixed(1).padStart(8)} us/req`,
        `x ${median(ratios).toFixed(2)} [${Math.min(...ratios).toFixed(2)}, ${
          Math.max(...ratios).toFixed(2)
        }]`,
        `${median(own.map((s) => s.perSecond)).toFixed(0).padStart(7)} req/s`,
      ].join("  "),
    );
  }
}

async function measure(target: Target, scenario: Scenario, seconds: number): Promise<Sample> {
  const before = cpuNanoseconds(target.pids());
  const { stdout } = await new Deno.Command("taskset", {
    args: [
      "-c",
      "0",
      "wrk",
      "-t1",
      `-c${scenario.connections}`,
      `-d${seconds}s`,
      ...scenario.fields.flatMap((field) => ["-H", field]),
      `http://127.0.0.1:${target.port}${scenario.path}`,
    ],
  }).output();
  const spent = cpuNanoseconds(target.pids()) - before;
  const text = new TextDecoder().decode(stdout);
  const requests = Number(/(\d+) requests in/.exec(text)?.[1] ?? 0);
  if (requests === 0 || /Non-2xx|Socket errors/.test(text)) {
    throw new Error(`${target.name} did not serve ${scenario.name} properly:\n${text}`);
  }
  return { requests, cpu: spent / requests / 1000, perSecond: requests / seconds };
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)]!;
}
