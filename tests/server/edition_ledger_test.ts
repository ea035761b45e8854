import assert from "node:assert/strict";
import { EditionLedger } from "../../src/server/edition_ledger.ts";
import { eventually } from "../support/deadline.ts";

function ledger() {
  const unused: number[][] = [];
  return {
    unused,
    book: new EditionLedger<string>({ onUnused: (slots) => unused.push([...slots]) }),
  };
}

const HOUR = 3_600_000;

Deno.test("plugins go when the last holder of their edition has, and not those of a later one", () => {
  const { book, unused } = ledger();
  book.open(1, [0, 1]);
  book.hold(1, "a");
  book.hold(1, "b");
  book.serve(1, HOUR, 8);
  book.open(2, [0, 2]);
  book.hold(2, "a");
  book.hold(2, "b");
  book.serve(2, HOUR, 8);
  assert.deepEqual(unused, []);
  book.release(1, "a");
  assert.deepEqual(unused, []);
  // It has died: it says nothing any more.
  book.leave("b");
  assert.deepEqual(unused, [[1]]);
  assert.deepEqual(book.editions, [2]);
  book.close();
});

Deno.test("the edition that serves is never let go, nor one that is being made ready", () => {
  const { book, unused } = ledger();
  book.open(1, [0]);
  book.serve(1, HOUR, 8);
  book.open(2, [5]);
  book.hold(2, "a");
  book.release(2, "a");
  book.cancel(2);
  assert.deepEqual(unused, []);
  assert.deepEqual(book.editions, [1]);
  book.close();
});

Deno.test("too many old editions, and too old ones, lose their plugins although somebody has them", async () => {
  const { book, unused } = ledger();
  for (let number = 1; number <= 4; number++) {
    book.open(number, [number]);
    book.hold(number, "tunnel");
    book.serve(number, HOUR, 2);
  }
  assert.deepEqual(unused, [[1]]);
  assert.deepEqual(book.editions, [2, 3, 4]);
  book.close();

  const late = ledger();
  late.book.open(1, [1]);
  late.book.hold(1, "tunnel");
  late.book.serve(1, 20, 8);
  late.book.open(2, [2]);
  late.book.serve(2, 20, 8);
  await eventually(() => late.unused.length === 1, "the time of the first to be over");
  assert.deepEqual(late.unused, [[1]]);
  late.book.close();
});
