/**
 * Measures what a request costs in CPU time of the proxy alone, against nginx doing the same in the same round.
 *
 * `deno task bench`, with `--help` for more. Machines differ and drift: only the ratio to nginx of the same round means
 * anything, and only as far as nginx against itself comes out as 1.
 *
 * @module
 */
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { fileURLToPath } from "node:url";
import { type Baseline, compareWithBaseline, readBaseline, writeBaseline } from "./baseline.ts";
import { cpuBetween, cpuTimes } from "./cpu_time.ts";
import { measureFootprint } from "./footprint.ts";
import { CODE_PATHS, type InMemory, measureInMemory } from "./in_memory.ts";
import { javascriptPeers, PACKAGES } from "./javascript_peers.ts";
import { run, type Seen } from "./load.ts";
import { machine } from "./machine.ts";
import { PEERS } from "./peers.ts";
import { missingPackages, NEEDED } from "./programs.ts";
import { codeLine, footprintLines, header, type Row, scenarioLines } from "./report.ts";
import { type Scenario, SCENARIOS } from "./scenarios.ts";
import { setStage, type Target } from "./stage.ts";
import { estimate, median } from "./statistics.ts";

const HELP = `deno task bench [options]
  --quick           three scenarios and "code", nginx and two engines of Sluice, about a minute
  --only NAME       a scenario, "code", "code-hook", "code-h2" and so on, or "footprint"; may be repeated
  --rounds N        rounds, at least 5 (default 9; quick 5)
  --seconds N       whole seconds per slice (default 2; quick 1)
  --warm N          seconds of load before what is compiled while it runs counts (default 6; quick 2)
  --peer NAME       nginx and this one only; may be repeated
  --packages DIR    a folder with npm's packages, for the proxies of Node
  --json FILE       writes all figures
  --check           fails if a ratio is more than 15 % over that of baseline.json, for sure
  --save            takes the ratios over into baseline.json
  --list            names the scenarios`;

const options = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    only: { type: "string", multiple: true, default: [] },
    rounds: { type: "string" },
    seconds: { type: "string" },
    warm: { type: "string" },
    peer: { type: "string", multiple: true, default: [] },
    packages: { type: "string" },
    json: { type: "string" },
    check: { type: "boolean", default: false },
    save: { type: "boolean", default: false },
    list: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
}).values;

/** Who is compared by --quick. */
const QUICK = ["nginx", "sluice", "sluice deno"];

const BASELINE = fileURLToPath(new URL("./baseline.json", import.meta.url));

await main();

async function main(): Promise<void> {
  if (options.help) return console.log(HELP);
  if (options.list) {
    for (const { name, title } of SCENARIOS) console.log(`${name.padEnd(14)}  ${title}`);
    console.log(
      `${"code".padEnd(14)}  our own code alone, over sockets in memory; also ${
        CODE_PATHS.slice(1).join(", ")
      }`,
    );
    return console.log(`${"footprint".padEnd(14)}  memory and time to start`);
  }
  const names = [...PEERS, ...javascriptPeers(".")].map(({ name }) => name);
  const unknown = options.peer.find((name) => !names.includes(name));
  if (unknown !== undefined) {
    console.error(`--peer: expected one of ${names.join(", ")}, found ${unknown}`);
    Deno.exit(2);
  }
  const missing = missingPackages(NEEDED);
  if (missing.length > 0) {
    console.error(`The bench needs: apt-get install ${missing.join(" ")}`);
    Deno.exit(2);
  }
  const others = missingPackages(PEERS.flatMap(({ needs }) => needs));
  if (others.length > 0 && !options.quick) {
    console.error(`Left out for want of: apt-get install ${others.join(" ")}`);
  }
  if (options.packages === undefined && !options.quick) {
    console.error(
      `Left out without --packages DIR: npm install --prefix DIR ${PACKAGES.join(" ")}`,
    );
  }
  const rounds = Math.max(5, Number(options.rounds ?? (options.quick ? 5 : 9)));
  const seconds = Math.max(1, Math.round(Number(options.seconds ?? (options.quick ? 1 : 2))));
  console.log(header(await machine(), rounds, seconds));
  const code: InMemory[] = [];
  for (const path of CODE_PATHS.filter((name) => isWanted(name, true))) {
    const found = await measureInMemory(path);
    code.push(found);
    console.log(codeLine(found));
  }
  const rows: Row[] = [];
  for (const scenario of SCENARIOS.filter(({ name, quick }) => isWanted(name, quick))) {
    try {
      const found = await measure(scenario, rounds, seconds);
      rows.push(...found);
      console.log(scenarioLines(scenario, found).join("\n"));
    } catch (error) {
      console.log(`${scenario.name}: ${error instanceof Error ? error.message : error}`);
      Deno.exitCode = 1;
    }
  }
  const footprint = isWanted("footprint", false) ? await measureFootprint() : null;
  if (footprint !== null) console.log(footprintLines(footprint).join("\n"));
  if (options.json !== undefined) {
    const all = { machine: await machine(), rounds, seconds, code, rows, footprint };
    await Deno.writeTextFile(options.json, JSON.stringify(all, null, 2) + "\n");
  }
  if (options.save) await writeBaseline(BASELINE, await machine(), rows, code);
  if (options.check) judge(await readBaseline(BASELINE), rows, code);
}

function isWanted(name: string, quick: boolean | undefined): boolean {
  return options.only.length > 0
    ? options.only.includes(name)
    : options.quick
    ? quick === true
    : true;
}

function judge(baseline: Baseline, rows: readonly Row[], code: readonly InMemory[]): void {
  const worse = compareWithBaseline(baseline, rows, code);
  for (const line of worse) console.error(line);
  if (worse.length > 0) Deno.exitCode = 1;
  else console.log("No ratio is worse than the one kept in the repository.");
}

interface Slice extends Seen {
  /** Microseconds per request. */
  readonly cpu: number;
}

async function measure(scenario: Scenario, rounds: number, seconds: number): Promise<Row[]> {
  const packages = options.packages === undefined ? null : resolve(options.packages);
  const all = [...PEERS, ...scenario.javascript ? javascriptPeers(packages) : []];
  const wanted = options.peer.length > 0
    ? ["nginx", ...options.peer]
    : options.quick
    ? QUICK
    : null;
  const peers = wanted === null ? all : all.filter(({ name }) => wanted.includes(name));
  await using stage = await setStage(scenario, peers);
  const { targets, folder } = stage;
  const slice = async ({ name, port, pids }: Target, length: number): Promise<Slice> => {
    const before = cpuTimes(pids());
    try {
      const seen = await run(scenario.load, port, length, folder);
      return { ...seen, cpu: cpuBetween(before, cpuTimes(pids())) / seen.requests / 1000 };
    } catch (error) {
      throw new Error(`${name} did not serve it properly: ${(error as Error).message}`);
    }
  };
  // Code is compiled and pools are filled before anything counts.
  const warm = Number(options.warm ?? (options.quick ? 2 : 6));
  for (const target of targets) await slice(target, target.compiles ? warm : 1);
  const slices = new Map<Target, Slice[]>(targets.map((target) => [target, []]));
  for (let round = 0; round < rounds; round++) {
    const order = round % 2 === 0 ? targets : targets.toReversed();
    for (const target of order) slices.get(target)!.push(await slice(target, seconds));
  }
  const base = slices.get(targets[0]!)!;
  return targets.map((target): Row => {
    const own = slices.get(target)!;
    const middle = (of: (one: Slice) => number | null) => {
      const values = own.map(of).filter((value) => value !== null);
      return values.length === 0 ? null : median(values);
    };
    const cpu = median(own.map((one) => one.cpu));
    return {
      scenario: scenario.name,
      target: target.name,
      cpu,
      ratio: estimate(own.map((one, round) => one.cpu / base[round]!.cpu)),
      perGigabyte: scenario.bytes === undefined ? null : cpu / scenario.bytes * 1000,
      perSecond: median(own.map((one) => one.perSecond)),
      p50: middle((one) => one.p50),
      p99: middle((one) => one.p99),
      startup: target.startup,
    };
  });
}
