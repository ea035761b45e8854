import assert from "node:assert/strict";
import fc from "fast-check";
import type { PendingCall } from "../../src/sandbox/pending_call.ts";
import { PendingCalls } from "../../src/sandbox/pending_calls.ts";

/** As much of a call as the table looks at. */
const callOf = (id: number) => ({ id }) as PendingCall;

Deno.test("calls are found by their numbers, whatever comes and goes between, and no number comes again", () => {
  // Which of those that wait is answered next, by its place among them; `-1` makes a call.
  const steps = fc.array(fc.oneof(fc.constant(-1), fc.constant(-1), fc.nat(500)), {
    maxLength: 600,
    size: "max",
  });
  fc.assert(
    fc.property(steps, (all) => {
      const table = new PendingCalls();
      const model = new Map<number, PendingCall>();
      const over = new Set<number>();
      for (const step of all) {
        if (step < 0 || model.size === 0) {
          const call = callOf(table.nextId());
          assert.ok(!model.has(call.id) && !over.has(call.id));
          table.add(call);
          model.set(call.id, call);
        } else {
          const call = [...model.values()][step % model.size]!;
          table.delete(call);
          model.delete(call.id);
          over.add(call.id);
        }
        assert.equal(table.size, model.size);
      }
      for (const [id, call] of model) assert.equal(table.get(id), call);
      for (const id of over) assert.equal(table.get(id), null);
      assert.deepEqual(new Set(table.all), new Set(model.values()));
    }),
    { numRuns: 50 },
  );
});

Deno.test("a call that takes long is stepped over, however many are made meanwhile", () => {
  const table = new PendingCalls();
  const slow = callOf(table.nextId());
  table.add(slow);
  for (let i = 0; i < 1000; i++) {
    const call = callOf(table.nextId());
    table.add(call);
    assert.equal(table.get(slow.id), slow);
    table.delete(call);
  }
  assert.equal(table.size, 1);
});

Deno.test("what is no number of a call finds none", () => {
  const table = new PendingCalls();
  const call = callOf(table.nextId());
  table.add(call);
  for (const id of [undefined, null, `${call.id}`, call.id + 0.5, call.id + 64, -1, NaN, {}]) {
    assert.equal(table.get(id), null);
  }
});
