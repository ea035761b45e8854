import assert from "node:assert/strict";
import { young } from "../../src/base/young.ts";
import { survivors } from "../support/survivors.ts";

/** Makes objects that are garbage at once. */
function withCallback(callback: string): Promise<number> {
  return survivors(`
    const young = ${young};
    class Thing {
      constructor() {
        this.ballast = new Array(200).fill(1);
        this.callback = ${callback};
      }
    }
    let last = null;
    for (let turn = 0; turn < 20; turn++) {
      for (let i = 0; i < 1000; i++) last = new Thing();
      await new Promise((resolve) => setTimeout(resolve));
    }
    if (last === null) throw new Error();`);
}

Deno.test("a function that is an argument dies young with its object, one that is assigned does not", async () => {
  const [assigned, given] = await Promise.all([
    withCallback("() => this.ballast"),
    withCallback("young(() => this.ballast)"),
  ]);
  assert(given * 4 < assigned, `${given} bytes survived instead of ${assigned}`);
});

Deno.test("young gives back what it is given", () => {
  const callback = () => {};
  assert(young(callback) === callback);
});
