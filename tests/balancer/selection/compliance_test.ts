import assert from "node:assert/strict";
import fc from "fast-check";
import type { Backend } from "../../../src/balancer/backend.ts";
import {
  type PolicyName,
  type SelectionRow,
  SELECTIONS,
} from "../../../src/balancer/selection/table.ts";
import { backend, candidates, from, makeGroup, seeded, selectionOptions } from "../support.ts";
import { ANSWERED, endpoint, input } from "../support.ts";

const KEYS = [null, "a", "some other key"];

for (const [name, row] of Object.entries(SELECTIONS) as [PolicyName, SelectionRow][]) {
  Deno.test(`${name}: nobody to choose from is nobody chosen, before and after an update`, () => {
    const selection = row.make(selectionOptions());
    for (const key of KEYS) assert.equal(selection.pick(key, null), null);
    selection.update(candidates([1, 2]));
    for (const key of KEYS) assert.notEqual(selection.pick(key, null), null);
    selection.update(candidates([]));
    for (const key of KEYS) {
      assert.equal(selection.pick(key, null), null);
      assert.equal(selection.pick(key, new Set([backend("10.0.0.1:80")])), null);
    }
  });

  Deno.test(`${name}: weight 0 is never picked, and only such members are nobody`, () => {
    const selection = row.make(selectionOptions());
    for (const weights of [[0, 1, 0, 2], [1, 0], [0, 3], [5, 0, 0]]) {
      const set = candidates(weights);
      selection.update(set);
      for (let i = 0; i < 500; i++) {
        const picked = selection.pick(i % 3 === 0 ? null : `key-${i}`, null);
        assert.notEqual(picked?.endpoint.weight ?? 0, 0);
      }
    }
    selection.update(candidates([0, 0, 0]));
    for (const key of KEYS) assert.equal(selection.pick(key, null), null);
  });

  Deno.test(`${name}: a single member is always picked, a unix socket too`, () => {
    const selection = row.make(selectionOptions());
    const only = backend("unix:/run/app.sock", 3);
    selection.update(from([only]));
    for (let i = 0; i < 100; i++) {
      assert.equal(selection.pick(i % 2 === 0 ? null : `${i}`, null), only);
    }
    assert.equal(selection.pick("a", new Set([only])), null);
    assert.equal(selection.pick(null, new Set([only])), null);
  });

  Deno.test(`${name}: tried members do not come again, and each other comes once`, () => {
    const selection = row.make(selectionOptions());
    const set = candidates([1, 5, 0, 2, 1]);
    selection.update(set);
    for (let i = 0; i < 300; i++) {
      const key = i % 3 === 0 ? null : `key-${i}`;
      const tried = new Set<Backend>();
      for (let left = 4; left > 0; left--) {
        const picked = selection.pick(key, tried);
        assert.ok(picked !== null && !tried.has(picked));
        tried.add(picked);
      }
      assert.equal(selection.pick(key, tried), null);
    }
  });

  Deno.test(`${name}: a share that has gone is heeded after refresh, and when it is back, too`, () => {
    const selection = row.make(selectionOptions());
    const set = candidates([2, 3, 4]);
    selection.update(set);
    const seen = () => {
      const ids = new Set<string>();
      for (let i = 0; i < 400; i++) {
        ids.add(selection.pick(row.keyed && i % 5 > 0 ? `k${i}` : null, null)?.id ?? "nobody");
      }
      return [...ids].sort();
    };
    assert.deepEqual(seen(), ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"]);
    set.shares[1] = 0;
    selection.refresh();
    assert.deepEqual(seen(), ["10.0.0.1:80", "10.0.0.3:80"]);
    set.shares.fill(0);
    selection.refresh();
    assert.deepEqual(seen(), ["nobody"]);
    set.shares.set(set.weights);
    selection.refresh();
    assert.deepEqual(seen(), ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"]);
  });

  Deno.test(`${name}: whatever the weights, shares, loads and tried, a pick is one that may be picked`, () => {
    const member = fc.record({
      weight: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 300 })),
      part: fc.oneof(fc.constant(0), fc.constant(1), fc.double({ min: 1e-6, max: 1, noNaN: true })),
      inFlight: fc.nat(1000),
      ewma: fc.oneof(fc.constant(0), fc.double({ min: 1e-3, max: 1e6, noNaN: true })),
      tried: fc.boolean(),
    });
    fc.assert(
      fc.property(
        fc.array(member, { maxLength: 12 }),
        fc.string(),
        fc.integer(),
        (all, key, seed) => {
          const selection = row.make(selectionOptions(seed));
          const set = candidates(all.map(({ weight }) => weight));
          all.forEach(({ weight, part, inFlight, ewma }, i) => {
            set.shares[i] = weight * part;
            Object.assign(set.backends[i]!.load, { inFlight, ewma });
          });
          selection.update(set);
          const tried = new Set(set.backends.filter((_, i) => all[i]!.tried));
          for (const skip of [null, tried]) {
            const allowed = set.backends.filter((one, i) => set.shares[i]! > 0 && !skip?.has(one));
            for (const asked of [null, key]) {
              const picked = selection.pick(asked, skip);
              if (allowed.length === 0) assert.equal(picked, null);
              else assert.ok(picked !== null && allowed.includes(picked));
            }
          }
        },
      ),
      { numRuns: 150 },
    );
  });

  Deno.test(`${name}: over 100 updates with requests in flight, counts are right and end at zero`, () => {
    const { group } = makeGroup([], { policy: name });
    const random = seeded(42);
    const running: Backend[] = [];
    let begun = 0;
    for (let round = 0; round < 100; round++) {
      const size = Math.floor(random() * 6);
      group.update(
        Array.from(
          { length: size },
          () => endpoint(`10.0.0.${Math.floor(random() * 8)}:80`, Math.floor(random() * 4)),
        ),
      );
      for (let i = 0; i < 20; i++) {
        const picked = group.select(input({ clientAddress: `192.0.2.${i}` }), null);
        if (picked === null) {
          assert.ok(group.members.every(({ weight }) => weight === 0));
          continue;
        }
        assert.equal(group.find(picked.id), picked);
        group.begin(picked);
        running.push(picked);
        begun++;
      }
      while (running.length > 30) {
        group.end(running.splice(Math.floor(random() * running.length), 1)[0]!, ANSWERED);
      }
      for (const member of group.members) {
        assert.equal(member.inFlight, running.filter(({ id }) => id === member.id).length);
      }
    }
    assert.ok(begun > 500);
    for (const one of running) group.end(one, ANSWERED);
    assert.ok(running.every(({ load }) => load.inFlight === 0));
    // Who has left and has nothing to do is forgotten.
    assert.equal(group.book.size, group.members.length);
  });
}
