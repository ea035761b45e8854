/** Memory that was freed goes back to the system. */
import assert from "node:assert/strict";
import { FreedMemory } from "../../src/server/freed_memory.ts";

/** Bytes: less than what the allocator takes from the system for itself alone, and gives back at once. */
const BLOCK = 64 * 1024;
const BLOCKS = 1_024;

function resident(): number {
  const [, kilobytes] = /VmRSS:\s+(\d+) kB/.exec(Deno.readTextFileSync("/proc/self/status"))!;
  return Number(kilobytes) * 1024;
}

Deno.test({
  name: "freed blocks between others that live on are given back to the system",
  ignore: Deno.build.os !== "linux",
  async fn() {
    const libc = Deno.dlopen("libc.so.6", {
      malloc: { parameters: ["usize"], result: "pointer" },
      free: { parameters: ["pointer"], result: "void" },
      memset: { parameters: ["pointer", "i32", "usize"], result: "pointer" },
    });
    const { malloc, free, memset } = libc.symbols;
    const freed = new FreedMemory();
    assert(freed.able);
    const kept: Deno.PointerValue[] = [];
    const given: Deno.PointerValue[] = [];
    for (let i = 0; i < BLOCKS; i++) {
      given.push(memset(malloc(BigInt(BLOCK)), 1, BigInt(BLOCK)));
      kept.push(malloc(64n));
    }
    for (const block of given) free(block);
    const before = resident();
    await freed.giveBack();
    const after = resident();
    for (const block of kept) free(block);
    freed.close();
    libc.close();
    const half = BLOCK * BLOCKS / 2;
    assert(before - after > half, `${before - after} bytes of ${2 * half} were given back`);
  },
});

Deno.test({
  name: "what is closed while memory is given back waits for that, and does nothing afterwards",
  ignore: Deno.build.os !== "linux",
  async fn() {
    // That no library and no call is left open is what the runner looks for.
    const freed = new FreedMemory();
    const first = freed.giveBack();
    assert.equal(freed.giveBack(), first);
    freed.close();
    freed.close();
    await first;
    await freed.giveBack();
  },
});
