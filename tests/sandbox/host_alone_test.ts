/** What replaced and killed sandboxes leave behind, seen by what the process uses. */
import assert from "node:assert/strict";
import { FakeSession } from "../support/fake_session.ts";
import { specOf, start } from "./support.ts";

/** The CPU time that this process has used, in seconds. */
async function cpuSeconds(): Promise<number> {
  const fields = (await Deno.readTextFile("/proc/self/stat")).split(") ")[1]!.split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

for (const isolation of ["worker", "process"] as const) {
  Deno.test(`in isolation "${isolation}", replacing a plugin over and over costs a bounded amount of memory`, async () => {
    const ROUNDS = 30;
    await using bench = await start([specOf("noop.ts", isolation)]);
    const rss: number[] = [];
    for (let round = 1; round <= ROUNDS; round++) {
      await bench.host.replace("noop");
      if (round === ROUNDS / 3 || round === ROUNDS) rss.push(Deno.memoryUsage().rss / 1024 / 1024);
    }
    await bench.handler().call("requestFilter", new FakeSession());
    // Memory of ended threads comes back late. What counts is that 20 more rounds do not add 20 sandboxes.
    assert.ok(rss[1]! - rss[0]! < 100, `from ${rss[0]} to ${rss[1]} MiB`);
  });

  Deno.test(`in isolation "${isolation}", a loop that was killed uses no more CPU`, async () => {
    await using bench = await start([specOf("hostile.ts", isolation)], {
      restart: { backoff: 60_000 },
      lateTimeout: 100,
    });
    await assert.rejects(
      async () =>
        await bench.handler().call("requestFilter", new FakeSession({ target: "/bomb/loop" })),
    );
    await bench.event((event) => event.kind === "crashed");
    await new Promise((resolve) => setTimeout(resolve, 100));
    const before = await cpuSeconds();
    await new Promise((resolve) => setTimeout(resolve, 500));
    assert.ok(await cpuSeconds() - before < 0.25);
  });
}
