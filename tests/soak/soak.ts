/**
 * The long form of what tests/e2e/soak_alone_test.ts shows: everything that may happen to a program, under load, and
 * hundreds of reloads. Prints what it came to; exits 1 if something was lost that need not be, or if memory grows.
 *
 * ```text
 *   deno task soak [operations | memory] [--short] [--engine deno|handle|epoll]
 * ```
 *
 * @module
 */
import { parseArgs } from "node:util";
import type { SocketEngine } from "../../src/transport/socket.ts";
import { excessOf, growthOf, memoryOfReloads } from "./memory.ts";
import { soak } from "./operations.ts";

const say = (text: string) => console.log(`${new Date().toISOString()} ${text}`);
const { values: { short, engine }, positionals: parts } = parseArgs({
  options: {
    short: { type: "boolean", default: false },
    // Of the listener for clear text.
    engine: { type: "string", default: "deno" },
  },
  allowPositionals: true,
});
const wants = (part: string) => parts.length === 0 || parts.includes(part);
let good = true;

if (wants("operations")) {
  const plan = short
    ? { reloads: 10, upgrades: 2, kills: 4, crashes: 4 }
    : { reloads: 50, upgrades: 10, kills: 10, crashes: 20 };
  const { load, failures, kills, generated, stderr } = await soak({
    ...plan,
    engine: engine as SocketEngine,
    generators: true,
    say,
  });
  const sum = (key: keyof typeof kills[0]) => kills.reduce((all, kill) => all + kill[key], 0);
  console.log(JSON.stringify({ ...load.counts, generated }));
  console.log(
    `${kills.length} workers that were ended had ${sum("connections")} connections and ${
      sum("requests")
    } requests; ${sum("lost")} were lost by clients, ${
      sum("running")
    } of them not idle; ${failures.length} else`,
  );
  for (const failure of failures) console.error(failure);
  if (failures.length > 0) {
    console.error(`The end of what the program said:\n${stderr.slice(-8_000)}`);
  }
  good &&= failures.length === 0;
}

if (wants("memory")) {
  const plan = short ? { configs: 60, plugins: 60 } : { configs: 500, plugins: 500 };
  const memory = await memoryOfReloads({ ...plan, say });
  for (const kind of ["configs", "plugins"] as const) {
    const growth = growthOf(memory[kind], plan[kind]);
    console.log(`${kind}: ${JSON.stringify(growth)} for each reload`);
    const excess = excessOf(growth, {
      heap: 20_000,
      resident: short ? 600_000 : 60_000,
      handles: short ? 0.3 : 0.05,
    });
    for (const text of excess) console.error(`${kind}: ${text}`);
    good &&= excess.length === 0;
  }
}
Deno.exit(good ? 0 : 1);
