/** What `engine: auto`, the default, stands for. */
import assert from "node:assert/strict";
import { socketEngine } from "../../src/config/socket_engine.ts";
import { libcAvailable } from "../../src/transport/libc.ts";
import { configOf } from "./support.ts";

const ignore = !libcAvailable();

/** Engines of the listeners. */
async function engines(listeners: string, top = ""): Promise<string[]> {
  const config = await configOf(
    `listeners: [${listeners}]
services: [{ name: edge, routes: [{ upstream: app }] }]
upstreams: [{ name: app, endpoints: ["127.0.0.1:3000"] }]
${top}`,
    { plugins: ["a"] },
  );
  return config.listeners.map(({ engine }) => engine);
}

Deno.test({
  name: "a listener that says nothing of its engine is carried by calls of the kernel",
  ignore,
  async fn() {
    assert.deepEqual(await engines(`{ address: ":8080" }`), ["epoll"]);
    assert.deepEqual(await engines(`{ address: "[::1]:8080", engine: auto }`), ["epoll"]);
    assert.deepEqual(await engines(`{ address: ":8080", engine: deno }`), ["deno"]);
  },
});

Deno.test({
  name: "one listener that the runtime has to carry is enough to have no second way to wait",
  ignore,
  async fn() {
    assert.deepEqual(
      await engines(`{ address: ":8080" }, { address: "unix:/tmp/x" }`),
      ["handle", "deno"],
    );
    assert.deepEqual(
      await engines(`{ address: ":8080" }, { address: "localhost:8081" }`),
      ["handle", "deno"],
    );
    assert.deepEqual(
      await engines(`{ address: ":8080" }, { address: ":8081", engine: epoll }`),
      ["epoll", "epoll"],
    );
    assert.deepEqual(
      await engines(`{ address: ":8080" }, { address: ":8081", engine: handle }`),
      ["handle", "handle"],
    );
  },
});

Deno.test({
  name: "listeners of services that share no workers do not decide for each other",
  ignore,
  async fn() {
    const config = await configOf(`
listeners: [{ name: a, address: ":8080" }, { name: b, address: "unix:/tmp/x" }]
services:
  - { name: one, listeners: [a], routes: [{ upstream: app }] }
  - { name: two, listeners: [b], routes: [{ upstream: app }] }
upstreams: [{ name: app, endpoints: ["127.0.0.1:3000"] }]`);
    assert.deepEqual(config.listeners.map(({ engine }) => engine), ["epoll", "deno"]);
  },
});

Deno.test({
  name:
    "inline plugins get no right to call the kernel by default, and sandboxed ones take nothing",
  ignore,
  async fn() {
    const plugins = (rest: string) => `plugins: { directory: p${rest} }`;
    assert.deepEqual(
      await engines(`{ address: ":8080" }`, plugins(", isolation: { a: inline }, trust: [a]")),
      ["handle"],
    );
    assert.deepEqual(await engines(`{ address: ":8080" }`, plugins("")), ["epoll"]);
    assert.deepEqual(
      await engines(
        `{ address: ":8080", engine: epoll }`,
        plugins(", isolation: { a: inline }, trust: [a]"),
      ),
      ["epoll"],
      "who asks for it gets it",
    );
  },
});

Deno.test({
  name: "workers of a program that becomes another user call nothing of the kernel",
  ignore,
  fn() {
    const listener = {
      engine: "auto",
      address: { kind: "tcp", host: "0.0.0.0", port: 80 },
    } as const;
    const around = { siblings: [listener], inline: false };
    assert.equal(socketEngine(listener, { ...around, changesUser: true }), "handle");
    assert.equal(socketEngine(listener, { ...around, changesUser: false }), "epoll");
  },
});
