import assert from "node:assert/strict";
import { WeightedSplit } from "../../src/balancer/weighted_split.ts";
import { assertDrawn, head, seeded } from "./support.ts";

const KEY = { kind: "header", name: "x-user" } as const;
const PICKS = 100_000;

function user(i: number) {
  return head("/", [["x-user", `user-${i}`]]);
}

function parts(weights: Readonly<Record<string, number>>) {
  return Object.entries(weights).map(([group, weight]) => ({ group, weight }));
}

function counted(weights: Readonly<Record<string, number>>, pick: (i: number) => string | null) {
  const counts = new Map(Object.keys(weights).map((group) => [group, 0]));
  for (let i = 0; i < PICKS; i++) {
    const group = pick(i)!;
    counts.set(group, counts.get(group)! + 1);
  }
  assertDrawn([...counts.values()], Object.values(weights));
}

Deno.test("requests are split by weight, with a key and without", () => {
  const weights = { stable: 90, canary: 9.5, none: 0, next: 0.5 };
  const drawn = new WeightedSplit({ parts: parts(weights), hashKey: null, random: seeded(1) });
  counted(weights, () => drawn.choose(null, ""));
  const sticky = new WeightedSplit({ parts: parts(weights), hashKey: KEY, random: seeded(1) });
  counted(weights, (i) => sticky.choose(user(i), ""));
  counted(weights, () => sticky.choose(head(), ""));
});

Deno.test("a client stays with its group, and who leaves for a grown canary comes from the others only", () => {
  const at = (canary: number) =>
    new WeightedSplit({
      parts: parts({ blue: 60 - canary, green: 40, canary }),
      hashKey: KEY,
      random: () => assert.fail("nothing is to be drawn"),
    });
  const [five, ten] = [at(5), at(10)];
  for (let i = 0; i < 20_000; i++) {
    const before = five.choose(user(i), "");
    assert.equal(five.choose(user(i), ""), before);
    const after = ten.choose(user(i), "");
    // Blue became lighter and canary heavier: green neither loses to blue nor takes from the canary.
    if (before === "canary") assert.equal(after, "canary");
    if (before === "green") assert.notEqual(after, "blue");
  }
});

Deno.test("the order of the parts is of no matter to keys", () => {
  const weights = { a: 1, b: 2, c: 3 };
  const one = new WeightedSplit({ parts: parts(weights), hashKey: KEY });
  const other = new WeightedSplit({ parts: parts(weights).reverse(), hashKey: KEY });
  for (let i = 0; i < 2_000; i++) {
    assert.equal(one.choose(user(i), ""), other.choose(user(i), ""));
  }
});

Deno.test("one part gets all, no part gets nothing, and bad parts are refused", () => {
  const split = (weights: Readonly<Record<string, number>>) =>
    new WeightedSplit({ parts: parts(weights), hashKey: KEY });
  assert.equal(split({ a: 0, b: 1 }).choose(user(1), ""), "b");
  assert.equal(split({ a: 0 }).choose(user(1), ""), null);
  assert.equal(split({}).choose(user(1), ""), null);
  for (const weight of [-1, NaN, Infinity]) {
    assert.throws(() => split({ a: weight }), /weight of "a" must be a number from 0, found/);
  }
  const twice = [{ group: "a", weight: 1 }, { group: "a", weight: 2 }];
  assert.throws(() => new WeightedSplit({ parts: twice, hashKey: null }), /"a" is named twice/);
});
