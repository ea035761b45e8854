/** The short form of tests/soak: what may happen to a program, under load of every kind. */
import assert from "node:assert/strict";
import { memoryOfReloads } from "../soak/memory.ts";
import { soak } from "../soak/operations.ts";
import { testWith } from "../support/require.ts";

testWith(
  ["openssl"],
  "reloads, upgrades, workers that end and plugins that crash fail no request that they need not fail",
  async () => {
    const { load, stderr } = await soak({ reloads: 5, upgrades: 2, kills: 2, crashes: 2 });
    assert.deepEqual(load.failures, [], stderr);
    for (const [kind, count] of Object.entries(load.counts)) {
      assert.ok(count > 0, `no client of the kind ${kind} got through`);
    }
    assert.doesNotMatch(stderr, /nobody listened|nobody caught|internal_error|TypeError/);
  },
);

Deno.test("reloads of configs and plugins leave no growing memory", async () => {
  const { configs, plugins, bound } = await memoryOfReloads({ configs: 20, plugins: 10 });
  for (const sizes of [configs, plugins]) {
    const told = sizes.map((size) => Math.round(size / 1024 / 1024)).join(", ");
    assert.ok(sizes.at(-1)! - sizes[0]! < bound, `MiB: ${told}`);
  }
});
