import assert from "node:assert/strict";
import { Roster } from "../../src/base/roster.ts";
import { survivors } from "../support/survivors.ts";

interface Named {
  rosterPlace: number;
  readonly name: number;
}

Deno.test("a roster holds what a set would hold, whatever comes and goes", () => {
  const roster = new Roster<Named>();
  const set = new Set<Named>();
  let seed = 7;
  const random = (below: number) => (seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31) % below;
  for (let step = 0; step < 5_000; step++) {
    if (set.size === 0 || random(5) < (step < 2_500 ? 3 : 2)) {
      const member = { rosterPlace: -1, name: step };
      roster.add(member);
      set.add(member);
    } else {
      const member = [...set][random(set.size)]!;
      assert.equal(roster.delete(member), set.delete(member));
      assert.equal(member.rosterPlace, -1);
    }
    assert.equal(roster.size, set.size);
    if (step % 100 === 0) assert.deepEqual(new Set(roster.all), set);
  }
});

Deno.test("who stands in no roster, or in another one, is not let go", () => {
  const [one, other] = [new Roster<Named>(), new Roster<Named>()];
  const member = { rosterPlace: -1, name: 1 };
  assert.equal(one.delete(member), false);
  other.add({ rosterPlace: -1, name: 2 });
  one.add(member);
  assert.equal(other.delete(member), false);
  assert.equal(one.delete(member), true);
  assert.equal(one.delete(member), false);
  assert.equal(other.size, 1);
});

Deno.test("all members are those of the moment: they may go while they are gone through", () => {
  const roster = new Roster<Named>();
  for (let name = 0; name < 10; name++) roster.add({ rosterPlace: -1, name });
  for (const member of roster.all) roster.delete(member);
  assert.equal(roster.size, 0);
});

Deno.test("who has left a roster dies young, who has left a set does not", async () => {
  const among = (books: string) =>
    survivors(`
      ${Roster}
      const books = new ${books}();
      const here = Array.from({ length: 32 });
      const pass = () => new Promise((resolve) => setTimeout(resolve));
      const come = (i) => {
        const one = { rosterPlace: -1, ballast: new Array(200).fill(1) };
        if (here[i % 32] !== undefined) books.delete(here[i % 32]);
        books.add(here[i % 32] = one);
      };
      for (let i = 0; i < 32; i++) come(i);
      // Nobody comes for a while, so that what there is grows old.
      for (let turn = 0; turn < 20; turn++) {
        for (let i = 0; i < 1000; i++) globalThis.waste = new Array(1000).fill(1);
        await pass();
      }
      for (let turn = 0; turn < 40; turn++) {
        for (let i = 0; i < 1000; i++) come(i);
        await pass();
      }
      if (books.size !== 32) throw new Error();`);
  const [set, roster] = await Promise.all([among("Set"), among("Roster")]);
  assert(roster * 3 < set, `${roster} bytes survived instead of ${set}`);
});
