/**
 * What reloads leave behind in memory.
 *
 * @module
 */
import { configFile } from "../support/config.ts";
import { get, rawRequest } from "../support/raw_client.ts";
import { reload, writePlugin } from "../support/reload.ts";
import { startSimpleOrigin } from "../support/simple_origin.ts";
import { startSluice } from "../support/sluice.ts";

/** How many of each. */
export interface ReloadMemoryPlan {
  /** Reloads of another config. */
  readonly configs: number;
  /** Reloads of another version of a plugin. */
  readonly plugins: number;
  readonly say?: (text: string) => void;
}

/** Resident memory in bytes, after each tenth of the reloads; the first is that of a program that is warm. */
export interface ReloadMemory {
  readonly configs: readonly number[];
  readonly plugins: readonly number[];
  /** What may come on top of the first, in bytes. */
  readonly bound: number;
}

/** Heaps grow to their working size, and shrink when they like. */
const BOUND = 160 * 1024 * 1024;

const PLUGIN = (version: number) =>
  `import { definePlugin } from "@sluice/plugin";
const filling = new Uint8Array(1024 * 1024).fill(${version % 256});
export default definePlugin({
  responseFilter(session) { session.response.headers.set("X-Version", "${version}" + filling[0]); },
});
`;

/** Reloads again and again, and looks at the memory of the program. */
export async function memoryOfReloads(plan: ReloadMemoryPlan): Promise<ReloadMemory> {
  const { say = () => {} } = plan;
  await using origin = await startSimpleOrigin();
  const config = (version: number) =>
    configFile({
      origin: origin.address,
      plugins: {},
      route: { rules: [{ response: { set: { "X-Config": String(version) } } }] },
    });
  await using sluice = await startSluice({
    config: config(0),
    plugins: { "touch.ts": PLUGIN(0) },
    threads: 2,
    args: ["--access-log", "off"],
  });
  const port = sluice.port();
  const step = async (times: number, prepare: (i: number) => string): Promise<number[]> => {
    const sizes: number[] = [];
    const tenth = Math.max(1, Math.floor(times / 10));
    for (let i = 1; i <= times + tenth; i++) {
      if (!await reload(sluice, prepare(i))) throw new Error(`refused:\n${sluice.stderr()}`);
      await rawRequest(port, get("/bytes/100"));
      // The first tenth warms it up.
      if (i % tenth === 0) sizes.push(sluice.rss());
    }
    say(`resident: ${sizes.map((size) => Math.round(size / 1024 / 1024)).join(", ")} MiB`);
    return sizes;
  };
  const configs = await step(plan.configs, (i) => config(i));
  const plugins = await step(plan.plugins, (i) => {
    writePlugin(sluice, "touch.ts", PLUGIN(i));
    return config(0);
  });
  return { configs, plugins, bound: BOUND };
}
