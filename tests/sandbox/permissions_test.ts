import assert from "node:assert/strict";
import type { Permissions } from "../../src/plugin/plugin.ts";
import { processFlags, settleRights, workerPermissions } from "../../src/sandbox/permissions.ts";
import { RestartPolicy } from "../../src/sandbox/restart_policy.ts";
import type { PluginManifest } from "../../src/sandbox/spec.ts";
import { didYouMean, readSize, readTime } from "../../src/sandbox/units.ts";
import { specOf } from "./support.ts";

function settle(asked: Permissions, granted: Permissions | "as-requested") {
  const spec = specOf("/srv/plugins/p/mod.ts", "worker", { grant: granted });
  return settleRights({ permissions: asked } as PluginManifest, spec);
}

Deno.test("a plugin gets what it asks for, not what it is granted beyond that", () => {
  assert.deepEqual(settle({ net: ["a:1"] }, { net: true, env: true, write: ["/"] }), {
    net: ["a:1"],
    read: [],
    write: [],
    env: [],
    sys: [],
  });
});

for (
  const [asked, granted, fits] of [
    [{ net: ["a.example:443"] }, { net: ["a.example"] }, true],
    [{ net: ["a.example"] }, { net: ["a.example:443"] }, false],
    [{ net: ["a.example:443"] }, { net: ["*.example:443"] }, true],
    [{ net: ["a.example:80"] }, { net: ["*.example:443"] }, false],
    [{ net: ["bad-example"] }, { net: ["*.example"] }, false],
    [{ net: ["[::1]:80"] }, { net: ["[::1]"] }, true],
    [{ net: ["::1"] }, { net: [":"] }, false],
    [{ net: true }, { net: ["a.example"] }, false],
    [{ read: ["./data/x"] }, { read: ["data"] }, true],
    [{ read: ["./data/../../secret"] }, { read: ["./data"] }, false],
    [{ read: ["./database"] }, { read: ["./data"] }, false],
    [{ read: ["/anything"] }, { read: ["/"] }, true],
    [{ write: ["./x"] }, { read: ["./x"] }, false],
    [{ env: ["A"] }, { env: ["A", "B"] }, true],
    [{ env: ["AB"] }, { env: ["A"] }, false],
    [{ sys: ["hostname"] }, {}, false],
    [{ net: false, read: [] }, {}, true],
  ] as const
) {
  Deno.test(`asking for ${JSON.stringify(asked)} is ${fits ? "" : "not "}covered by ${JSON.stringify(granted)}`, () => {
    if (fits) settle(asked, granted);
    else assert.throws(() => settle(asked, granted), /asks for rights that it was not granted/);
  });
}

Deno.test("a worker is told all eight kinds, and never gets run, ffi or import", () => {
  const rights = settle({ net: true, read: ["./data"] }, "as-requested");
  assert.deepEqual(workerPermissions(rights, "/srv/plugins/p", ["/own"]), {
    net: true,
    read: ["/srv/plugins/p", "/srv/plugins/p/data", "/own"],
    write: false,
    env: false,
    sys: false,
    run: false,
    ffi: false,
    import: false,
  });
});

Deno.test("a process gets the same by flags, with commas doubled", () => {
  const rights = settle({ read: ["./a,b"], env: true }, "as-requested");
  const flags = processFlags(rights, "/srv/plugins/p", "/run/s.sock");
  for (
    const flag of [
      "--no-prompt",
      "--no-remote",
      "--deny-run",
      "--deny-ffi",
      "--deny-import",
      "--allow-env",
      "--allow-net=unix:/run/s.sock",
      "--allow-read=/srv/plugins/p,/run/s.sock,/srv/plugins/p/a,,b",
      "--allow-write=/run/s.sock",
    ]
  ) assert.ok(flags.includes(flag), `${flag} in ${flags}`);
  assert.ok(
    !flags.some((flag) => flag.startsWith("--allow-sys") || flag.startsWith("--allow-run")),
  );
});

Deno.test("restarts wait twice as long each time, then the breaker opens, then there is one more attempt", () => {
  const policy = new RestartPolicy({ backoff: 100, crashes: 4, window: 10_000, cooldown: 5000 });
  assert.deepEqual([0, 1, 2].map((now) => policy.crashed(now)), [
    { delay: 100, open: false },
    { delay: 200, open: false },
    { delay: 400, open: false },
  ]);
  assert.deepEqual(policy.crashed(3), { delay: 5000, open: true });
  assert.deepEqual(policy.crashed(5010), { delay: 5000, open: true });
  policy.reset();
  assert.deepEqual(policy.crashed(5020), { delay: 100, open: false });
  assert.deepEqual(policy.crashed(50_000), { delay: 100, open: false });
});

Deno.test("times, sizes and guesses are read as plugins write them", () => {
  assert.deepEqual(["50ms", "2s", "1.5m", "0s", "5", "-1s", "1w"].map(readTime), [
    50,
    2000,
    90_000,
    null,
    null,
    null,
    null,
  ]);
  assert.deepEqual(["64MiB", "1KB", "9", ""].map(readSize), [64 << 20, 1000, null, null]);
  assert.equal(
    didYouMean("upstreamPear", ["upstreamPeer", "logging"]),
    ' - did you mean "upstreamPeer"?',
  );
  assert.equal(didYouMean("xyz", ["upstreamPeer", "logging"]), "");
});
