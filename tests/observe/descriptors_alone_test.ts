import assert from "node:assert/strict";
import {
  descriptors,
  DescriptorShortage,
  reserveDescriptors,
} from "../../src/observe/descriptors.ts";

const ignore = Deno.build.os !== "linux";

Deno.test({
  name: "what is reserved is not there for others, until it is let go of, which may be done twice",
  ignore,
  fn() {
    const { open, most } = descriptors();
    const half = Math.floor((most! - open!) / 2);
    const first = reserveDescriptors(half, "one half");
    assert.throws(
      () => reserveDescriptors(half + 1, "the other"),
      (error) =>
        error instanceof DescriptorShortage &&
        new RegExp(
          `^the other cannot be started: that takes ${
            half + 1
          } file descriptors, and \\d+ are free`,
        )
          .test(error.message),
    );
    first();
    first();
    const again = reserveDescriptors(half + 1, "the other");
    assert.throws(() => reserveDescriptors(half, "one half"), DescriptorShortage);
    again();
    reserveDescriptors(half, "one half")();
  },
});
