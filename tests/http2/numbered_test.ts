import assert from "node:assert/strict";
import { Numbered } from "../../src/http2/numbered.ts";
import { survivors } from "../support/survivors.ts";

Deno.test("numbers find what a map would find, whatever comes and goes", () => {
  let seed = 11;
  const random = (below: number) => (seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31) % below;
  for (const parity of [1, 2]) {
    const numbered = new Numbered<{ readonly id: number }>();
    const map = new Map<number, { readonly id: number }>();
    let next = parity;
    for (let step = 0; step < 20_000; step++) {
      // Few for a while, then many, then few again.
      const most = step % 5_000 < 2_500 ? 10 : 300;
      if (map.size < most && random(2) === 0) {
        const member = { id: next };
        // Numbers are left out, too.
        next += 2 * (1 + random(5) * random(40));
        numbered.add(member);
        map.set(member.id, member);
      } else {
        const ids = [...map.keys()];
        const id = random(4) === 0 ? random(next + 10) : ids[random(ids.length)] ?? 1;
        assert.equal(numbered.get(id), map.get(id) ?? null);
        assert.equal(numbered.delete(id), map.delete(id));
        assert.equal(numbered.get(id), null);
      }
      assert.equal(numbered.size, map.size);
      if (step % 50 === 0) {
        assert.deepEqual(numbered.all, [...map.values()]);
        for (const [id, member] of map) assert.equal(numbered.get(id), member);
      }
    }
  }
});

Deno.test("the highest numbers have a place", () => {
  const numbered = new Numbered<{ readonly id: number }>();
  for (const id of [0x7fff_ffff, 0x7fff_fffd, 1]) numbered.add({ id });
  assert.deepEqual(numbered.all.map(({ id }) => id), [1, 0x7fff_fffd, 0x7fff_ffff]);
  assert.equal(numbered.delete(0x7fff_fffd), true);
  assert.equal(numbered.get(0x7fff_ffff)?.id, 0x7fff_ffff);
});

Deno.test("streams of a connection that was idle for a while die young, in a map they do not", async () => {
  const among = (books: string) =>
    survivors(`
      ${Numbered.toString().replaceAll("FIRST_PLACES", "16")}
      const books = ${books};
      const pass = () => new Promise((resolve) => setTimeout(resolve));
      let next = 1;
      const come = () => {
        const one = { id: next, ballast: new Array(200).fill(1) };
        if (books.add) books.add(one);
        else books.set(one.id, one);
        books.delete(next - 64);
        next += 2;
      };
      for (let i = 0; i < 32; i++) come();
      // Nothing happens on it, and much elsewhere.
      for (let turn = 0; turn < 20; turn++) {
        for (let i = 0; i < 1000; i++) globalThis.waste = new Array(1000).fill(1);
        await pass();
      }
      for (let turn = 0; turn < 40; turn++) {
        for (let i = 0; i < 1000; i++) come();
        await pass();
      }
      if (books.size !== 32) throw new Error();`);
  const [map, numbered] = await Promise.all([among("new Map()"), among("new Numbered()")]);
  assert(numbered * 3 < map, `${numbered} bytes survived instead of ${map}`);
});
