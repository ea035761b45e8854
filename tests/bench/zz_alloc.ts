import * as m from "./zz_mem.ts";
const { round, requests } = await (m as any).makeRound(
  "code",
  new (await import("../../src/base/timer_wheel.ts")).TimerWheel(),
);
for (let i = 0; i < 3000; i++) await round();
const u = () => Deno.memoryUsage().heapUsed;
const d: number[] = [];
for (let k = 0; k < 200; k++) {
  const a = u();
  for (let i = 0; i < 3; i++) await round();
  const b = u();
  if (b > a) d.push((b - a) / (3 * requests));
}
d.sort((x, y) => x - y);
console.log("bytes per request", d[d.length >> 1]);
Deno.exit(0);
