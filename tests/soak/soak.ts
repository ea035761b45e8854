/**
 * The long form of what tests/e2e/soak_alone_test.ts shows: everything that may happen to a program, under load, and
 * hundreds of reloads. Prints what it came to; exits 1 if a request failed that nobody asked to fail.
 *
 * @module
 */
import { memoryOfReloads } from "./memory.ts";
import { soak } from "./operations.ts";

const say = (text: string) => console.log(`${new Date().toISOString()} ${text}`);

const { load } = await soak({ reloads: 50, upgrades: 10, kills: 10, crashes: 20, say });
console.log(JSON.stringify({ ...load.counts, tolerated: load.tolerated }));
for (const failure of load.failures) console.error(failure);
const memory = await memoryOfReloads({ configs: 500, plugins: 500, say });
console.log(JSON.stringify(memory));
const grown = Math.max(...memory.configs) - memory.configs[0]! > memory.bound ||
  Math.max(...memory.plugins) - memory.plugins[0]! > memory.bound;
if (grown) console.error("the memory of reloads grows");
if (load.failures.length > 0 || grown) Deno.exit(1);
