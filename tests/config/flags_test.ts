import assert from "node:assert/strict";
import { configFromFlags } from "../../src/config/flags.ts";
import { pretendPlugins } from "./support.ts";

Deno.test("flags make a whole config", async () => {
  const { config } = await configFromFlags({
    plugins: "p",
    listen: ":9000",
    upstream: "https://api.example",
    threads: 2,
    accessLog: "stdout",
    grant: "as-requested",
  }, pretendPlugins("b", "a"));
  assert.ok(config);
  assert.deepEqual(config.listeners[0]!.address, { kind: "tcp", host: "0.0.0.0", port: 9000 });
  assert.equal(config.upstreams[0]!.tls!.serverName, "api.example");
  assert.equal(config.services[0]!.threads, 2);
  assert.equal(config.services[0]!.routes[0]!.upstream, "upstream");
  assert.equal(config.accessLog.output, "stdout");
  assert.deepEqual(config.plugins.map((one) => [one.name, one.grant]), [
    ["a", "as-requested"],
    ["b", "as-requested"],
  ]);
  assert.equal(config.services[0]!.routes[0]!.plugins.length, 2);
});

Deno.test("a plugin alone is enough, and gets no rights by itself", async () => {
  const { config } = await configFromFlags({ plugins: "p" }, pretendPlugins("a"));
  assert.equal(config!.services[0]!.routes[0]!.upstream, null);
  assert.deepEqual(config!.plugins[0]!.grant, {});
});

Deno.test("bad flags are named", async () => {
  const cases: [Parameters<typeof configFromFlags>[0], string, RegExp][] = [
    [{ upstream: "ftp://x" }, "--upstream", /scheme "ftp" is not known/],
    [{ upstream: "h:1", listen: "nope" }, "--listen", /port is missing|host:port/],
    [{}, "flags", /lead nowhere/],
    [{ upstream: "h:1", threads: 0 }, "--threads", /1 to 256/],
  ];
  for (const [flags, file, words] of cases) {
    const { errors } = await configFromFlags(flags, pretendPlugins());
    assert.equal(errors?.[0]?.file, file);
    assert.match(errors[0].message, words);
  }
  const { errors } = await configFromFlags({ plugins: "p" }, () => {
    throw new Error("no such folder");
  });
  assert.deepEqual([errors![0]!.file, errors![0]!.message], ["--plugins", "no such folder"]);
});
