/** What signals that ask to stop come to, one after the other. */
import assert from "node:assert/strict";
import { StopCourse } from "../../src/server/signals.ts";

type Heard = readonly [name: "SIGTERM" | "SIGINT", at: number];

const COURSES: readonly (readonly [
  why: string,
  heard: readonly Heard[],
  comes: readonly ReturnType<StopCourse["hear"]>[],
  interrupted: boolean,
])[] = [
  ["SIGTERM drains", [["SIGTERM", 0]], ["drain"], false],
  ["SIGINT cuts, and that is what was asked", [["SIGINT", 0]], ["cut"], false],
  ["a second SIGTERM cuts", [["SIGTERM", 0], ["SIGTERM", 5000]], ["drain", "cut"], true],
  ["SIGINT cuts a drain", [["SIGTERM", 0], ["SIGINT", 1]], ["drain", "cut"], true],
  [
    "a third one ends the process",
    [["SIGTERM", 0], ["SIGINT", 1], ["SIGINT", 5000]],
    ["drain", "cut", "exit"],
    true,
  ],
  [
    "the same one at the same moment counts once, a moment later again",
    [["SIGINT", 0], ["SIGINT", 249], ["SIGINT", 499]],
    ["cut", null, "exit"],
    false,
  ],
  [
    "so it does with SIGTERM",
    [["SIGTERM", 0], ["SIGTERM", 100], ["SIGTERM", 350]],
    ["drain", null, "cut"],
    true,
  ],
];

for (const [why, heard, comes, interrupted] of COURSES) {
  Deno.test(why, () => {
    const course = new StopCourse();
    assert.deepEqual(heard.map(([name, at]) => course.hear(name, at)), comes);
    assert.equal(course.begun, true);
    assert.equal(course.interrupted, interrupted);
  });
}

Deno.test("after an operator has asked for a drain, SIGTERM is no second signal, and SIGINT cuts", () => {
  const course = new StopCourse();
  assert.equal(course.begun, false);
  course.begin(false);
  assert.equal(course.hear("SIGTERM", 0), "drain");
  assert.equal(course.interrupted, false);
  assert.equal(course.hear("SIGINT", 1), "cut");
  assert.equal(course.interrupted, true);
});

Deno.test("after an upgrade that a signal asked for, SIGTERM cuts", () => {
  const course = new StopCourse();
  course.begin(true);
  assert.equal(course.hear("SIGTERM", 0), "cut");
  assert.equal(course.interrupted, true);
});
