/** Reloads that are asked for while one runs, and those that fail. */
import assert from "node:assert/strict";
import type { LoadResult } from "../../src/config/load.ts";
import type { Config } from "../../src/config/types.ts";
import { logger } from "../../src/observe/log.ts";
import { ProgramMetrics } from "../../src/server/operations/program_metrics.ts";
import { Reloader } from "../../src/server/reload.ts";

/** A reloader whose files say `now`, and whose changes end when they are let. */
function make() {
  const metrics = new ProgramMetrics();
  const served: string[] = [];
  const states: boolean[] = [];
  const waiting: (() => void)[] = [];
  const files = { now: "one", refuses: null as string | null };
  const reloader = new Reloader({
    load: () => Promise.resolve({ config: files.now as unknown as Config } as LoadResult),
    async change(config) {
      await new Promise<void>((resolve) => waiting.push(resolve));
      if (files.refuses !== null) throw new Error(files.refuses);
      served.push(config as unknown as string);
    },
    metrics,
    log: logger("test"),
    onState: (reloading) => states.push(reloading),
  });
  const next = async () => {
    while (waiting.length === 0) await new Promise((resolve) => setTimeout(resolve, 0));
    waiting.shift()!();
  };
  return { reloader, files, served, states, next, metrics };
}

Deno.test("whoever asks while a reload runs gets the one after it, which reads the files again", async () => {
  const { reloader, files, served, states, next, metrics } = make();
  const first = reloader.reload("first");
  const others = [reloader.reload("second"), reloader.reload("third")];
  files.now = "two";
  await next();
  assert.equal((await first).generation, 2);
  await next();
  const outcomes = await Promise.all(others);
  assert.deepEqual(outcomes.map(({ ok, generation }) => [ok, generation]), [[true, 3], [true, 3]]);
  // The first had read the files before they changed.
  assert.deepEqual(served, ["one", "two"]);
  assert.deepEqual(states, [true, false, true, false]);
  assert.equal(metrics.generation, 3);
});

Deno.test("a reload that fails says why, and neither it nor the one after it is left waiting", async () => {
  const { reloader, files, served, next, metrics } = make();
  const first = reloader.reload("first");
  const second = reloader.reload("second");
  files.refuses = "no such port";
  await next();
  const { ok, generation, error } = await first;
  assert.deepEqual([ok, generation, error], [false, 1, "no such port\n"]);
  assert.equal(metrics.lastReload.successful, false);
  files.refuses = null;
  await next();
  assert.equal((await second).ok, true);
  assert.deepEqual(served, ["one"]);
  assert.equal(metrics.lastReload.successful, true);
});

Deno.test("what is unlikely to be meant of a config that serves from now on stands in the log", async () => {
  const place = { file: "sluice.yaml", line: 3, column: 5, length: 2, source: "    on: 1" };
  const warning = { ...place, message: "it is odd", remedy: "change it" };
  const said: string[] = [];
  const log = { info() {}, error() {}, warn: (line: string) => said.push(line) };
  let refuses = true;
  const reloader = new Reloader({
    load: () => Promise.resolve({ config: {} as Config, warnings: [warning] }),
    change: () => refuses ? Promise.reject(new Error("no")) : Promise.resolve(),
    metrics: new ProgramMetrics(),
    log: log as unknown as ReturnType<typeof logger>,
  });
  assert.equal((await reloader.reload("first")).ok, false);
  assert.deepEqual(said, []);
  refuses = false;
  assert.equal((await reloader.reload("second")).ok, true);
  assert.deepEqual(said, [
    "sluice.yaml:3:5: warning: it is odd",
    "    3 |     on: 1",
    "      |     ^^",
    "   remedy: change it",
  ]);
});
