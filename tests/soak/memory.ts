/**
 * What reloads leave behind in memory.
 *
 * Resident memory breathes: garbage is collected when V8 likes, and what was freed is kept to be used again. So garbage
 * is collected before anything is weighed, the heaps of main thread and service worker are weighed for themselves, and
 * what counts is how much more there is in the second half of the reloads than in the first.
 *
 * @module
 */
import { configFile } from "../support/config.ts";
import { text } from "../support/http_text.ts";
import { Inspector } from "../support/inspector.ts";
import { get, rawRequest } from "../support/raw_client.ts";
import { reload, writePlugin } from "../support/reload.ts";
import { startSimpleOrigin } from "../support/simple_origin.ts";
import { type Sluice, startSluice } from "../support/sluice.ts";

/** How many of each. */
export interface ReloadMemoryPlan {
  /** Reloads of another config. */
  readonly configs: number;
  /** Reloads of another version of a plugin. */
  readonly plugins: number;
  readonly say?: (text: string) => void;
}

/** Bytes in use. */
export interface Weight {
  /** Heap of the main thread, without garbage. */
  readonly main: number;
  /** Heap of the service worker, without garbage. */
  readonly worker: number;
  /** Resident memory of the process. */
  readonly resident: number;
  /** Threads and descriptors, not bytes. */
  readonly threads: number;
  readonly descriptors: number;
}

/** What the program weighed now and then, when it was warm. */
export interface ReloadMemory {
  readonly configs: readonly Weight[];
  readonly plugins: readonly Weight[];
}

const PLUGIN = (version: number) =>
  `import { definePlugin } from "@sluice/plugin";
const filling = new Uint8Array(4 * 1024 * 1024).fill(${version % 256});
export default definePlugin({
  responseFilter(session) { session.response.headers.set("X-Version", "${version}" + filling[0]); },
});
`;
/** Weighs the heap of the service worker that it runs in. */
const WEIGH = `import { definePlugin } from "@sluice/plugin";
export default definePlugin({
  requestFilter(session) {
    globalThis.gc();
    return session.respond(200, String(Deno.memoryUsage().heapUsed));
  },
});
`;
/** An edition of the config that stays behind is to be seen. */
const ROUTES = 300;
/** Weights that are taken of many reloads. */
const SAMPLES = 20;

/** Reloads again and again, and looks at the memory of the program. */
export async function memoryOfReloads(plan: ReloadMemoryPlan): Promise<ReloadMemory> {
  const { say = () => {} } = plan;
  await using origin = await startSimpleOrigin();
  const config = (version: number) =>
    configFile({
      origin: origin.address,
      plugins: {
        isolation: { weigh: "inline" },
        trust: ["weigh"],
      },
      top: {
        services: [{
          name: "main",
          routes: [
            { match: { path: "/weigh" }, plugins: ["weigh"] },
            ...Array.from({ length: ROUTES }, (_, i) => ({
              match: { path: `/route-${i}/*` },
              upstream: "origin",
              rules: [{ response: { set: { "X-Config": `${version}-${i}` } } }],
            })),
            {
              upstream: "origin",
              plugins: ["touch"],
              rules: [{ response: { set: { "X-Config": String(version) } } }],
            },
          ],
        }],
      },
    });
  await using sluice = await startSluice({
    config: config(0),
    plugins: { "touch.ts": PLUGIN(0), "weigh.ts": WEIGH },
    threads: 1,
    args: ["--access-log", "off"],
    rights: ["-A", "--v8-flags=--expose-gc", "--inspect=127.0.0.1:0"],
  });
  using inspector = await Inspector.connect(sluice);
  const port = sluice.port();
  const step = async (times: number, prepare: (i: number) => string): Promise<Weight[]> => {
    const weights: Weight[] = [];
    const warm = Math.ceil(times / 5);
    const every = Math.max(2, Math.floor(times / SAMPLES));
    for (let i = 1; i <= warm + times; i++) {
      if (!await reload(sluice, prepare(i))) throw new Error(`refused:\n${sluice.stderr()}`);
      await rawRequest(port, get("/bytes/100"));
      if (i > warm && (i - warm) % every === 0) weights.push(await weigh(sluice, inspector, port));
    }
    for (const key of ["main", "worker", "resident"] as const) {
      say(`${key}: ${weights.map((one) => (one[key] / 1e6).toFixed(1)).join(" ")} MB`);
    }
    return weights;
  };
  const configs = await step(plan.configs, (i) => config(i));
  const plugins = await step(plan.plugins, (i) => {
    writePlugin(sluice, "touch.ts", PLUGIN(i));
    return config(0);
  });
  return { configs, plugins };
}

async function weigh(sluice: Sluice, inspector: Inspector, port: number): Promise<Weight> {
  const worker = Number(text(await rawRequest(port, get("/weigh"))));
  const count = (what: string) => [...Deno.readDirSync(`/proc/${sluice.pid}/${what}`)].length;
  const main = await inspector.heap();
  return {
    main,
    worker,
    resident: sluice.rss(),
    threads: count("task"),
    descriptors: count("fd"),
  };
}

/**
 * How much more there is in the second half than in the first, for each reload: bytes from median to median, threads
 * and descriptors from least to least, for what is on its way out or idles for a while is no growth.
 */
export function growthOf(weights: readonly Weight[], reloads: number): Weight {
  const half = Math.floor(weights.length / 2);
  const growth = (key: keyof Weight, place: (count: number) => number) => {
    const at = (some: readonly Weight[]) =>
      some.map((one) => one[key]).sort((a, b) => a - b)[place(some.length)]!;
    return (at(weights.slice(half)) - at(weights.slice(0, half))) / (reloads / 2);
  };
  const median = (count: number) => count >> 1;
  const least = () => 0;
  return {
    main: growth("main", median),
    worker: growth("worker", median),
    resident: growth("resident", median),
    threads: growth("threads", least),
    descriptors: growth("descriptors", least),
  };
}

/** What each reload may leave behind on average. */
export interface GrowthLimits {
  /** Bytes. */
  readonly heap: number;
  /** Bytes. */
  readonly resident: number;
  /** Threads and descriptors, each. */
  readonly handles: number;
}

/** What grows more than it may, in words; nothing is as it should be. */
export function excessOf(growth: Weight, { heap, resident, handles }: GrowthLimits): string[] {
  const most: Weight = {
    main: heap,
    worker: heap,
    resident,
    threads: handles,
    descriptors: handles,
  };
  return (Object.keys(most) as (keyof Weight)[])
    .filter((key) => growth[key] > most[key])
    .map((key) => `${key} grows by ${growth[key].toFixed(2)} with each reload, not ${most[key]}`);
}
