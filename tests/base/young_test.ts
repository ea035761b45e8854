import assert from "node:assert/strict";
import { young } from "../../src/base/young.ts";

/** Makes objects that are garbage at once, and tells how many bytes short collections took for living. */
async function survivors(callback: string): Promise<number> {
  const program = `
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
    if (last === null) throw new Error();`;
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["eval", "--v8-flags=--trace-gc-nvp", program],
    stdout: "piped",
  }).output();
  const text = new TextDecoder().decode(stdout);
  const found = [...text.matchAll(/"promoted":(\d+),"new_space_survived":(\d+)/g)];
  assert(found.length > 0, `no short collection was seen:\n${text.slice(0, 400)}`);
  return found.reduce((sum, [, promoted, kept]) => sum + Number(promoted) + Number(kept), 0);
}

Deno.test("a function that is an argument dies young with its object, one that is assigned does not", async () => {
  const [assigned, given] = await Promise.all([
    survivors("() => this.ballast"),
    survivors("young(() => this.ballast)"),
  ]);
  assert(given * 4 < assigned, `${given} bytes survived instead of ${assigned}`);
});

Deno.test("young gives back what it is given", () => {
  const callback = () => {};
  assert(young(callback) === callback);
});
