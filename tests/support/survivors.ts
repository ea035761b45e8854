/**
 * What short collections of the heap take for living.
 *
 * @module
 */
import assert from "node:assert/strict";

/** Runs a program by itself, and tells how many bytes survived its short collections, each time that they did. */
export async function survivors(program: string): Promise<number> {
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["eval", "--v8-flags=--trace-gc-nvp", program],
    stdout: "piped",
  }).output();
  const text = new TextDecoder().decode(stdout);
  const found = [...text.matchAll(/"promoted":(\d+),"new_space_survived":(\d+)/g)];
  assert(found.length > 0, `no short collection was seen:\n${text.slice(0, 400)}`);
  return found.reduce((sum, [, promoted, kept]) => sum + Number(promoted) + Number(kept), 0);
}
