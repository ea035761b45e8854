/** The short form of tests/soak: what may happen to a program, under load of every kind. */
import assert from "node:assert/strict";
import { excessOf, growthOf, memoryOfReloads } from "../soak/memory.ts";
import { soak } from "../soak/operations.ts";
import { testWith } from "../support/require.ts";

/** Two threads of the runtime that come for good are no leak; one that each reload leaves behind is. */
const HANDLES = 0.3;

testWith(
  ["openssl"],
  "reloads, upgrades, workers that end and plugins that crash fail no request that they need not fail",
  async () => {
    const { load, failures, kills, stderr } = await soak({
      reloads: 5,
      upgrades: 2,
      kills: 3,
      crashes: 2,
    });
    assert.deepEqual(failures, [], stderr);
    assert.equal(kills.length, 3);
    for (const [kind, count] of Object.entries(load.counts)) {
      assert.ok(count > 0, `no client of the kind ${kind} got through`);
    }
    assert.doesNotMatch(stderr, /nobody listened|nobody caught|internal_error|TypeError/);
  },
);

Deno.test("reloads of configs and plugins leave nothing behind in memory", async () => {
  const plan = { configs: 40, plugins: 16 };
  const memory = await memoryOfReloads(plan);
  const configs = growthOf(memory.configs, plan.configs);
  assert.deepEqual(
    excessOf(configs, { heap: 30_000, resident: 400_000, handles: HANDLES }),
    [],
    JSON.stringify(memory.configs),
  );
  // A sandbox is a thread of its own, and takes 12 MB: the allocator needs more than these few to find its size.
  const plugins = growthOf(memory.plugins, plan.plugins);
  assert.deepEqual(
    excessOf(plugins, { heap: 30_000, resident: 4_000_000, handles: HANDLES }),
    [],
    JSON.stringify(memory.plugins),
  );
});
