import { equal, ok, rejects } from "node:assert/strict";
import { ProxyError } from "../../src/base/error.ts";
import { dial, type DialOptions, eachAddress } from "../../src/transport/dial.ts";
import { handleEngineAvailable } from "../../src/transport/native_handle.ts";
import { resolveHost } from "../../src/transport/resolve.ts";
import { deaf } from "../support/deaf.ts";
import { openSockets, Recorder, socketsDownTo } from "../support/recorder.ts";

const HOST = "127.0.0.1";

/** The ways of `dial`, by the options that choose them. */
const WAYS: readonly { readonly name: string; readonly options: Partial<DialOptions> }[] = [
  { name: "deno", options: {} },
  ...(handleEngineAvailable() ? [{ name: "handle", options: { engine: "handle" as const } }] : []),
  { name: "node", options: { localAddress: HOST } },
];

Deno.test("the native handles of this Deno version are usable", () => {
  ok(handleEngineAvailable());
});

for (const { name, options } of WAYS) {
  Deno.test(`${name}: a port on which nobody listens is connect_refused and may be retried`, async () => {
    const listener = Deno.listen({ hostname: HOST, port: 0 });
    const { port } = listener.addr;
    listener.close();
    const error = await failure({ kind: "tcp", host: HOST, port }, options);
    equal(error.type, "connect_refused");
    equal(error.source, "upstream");
    equal(error.retry, true);
    ok(error.message.includes(`${HOST}:${port}`), error.message);
  });

  Deno.test(`${name}: a host that does not answer is connect_timeout, and nothing stays open`, async () => {
    const { port, close } = await deaf();
    const before = openSockets();
    const start = performance.now();
    const error = await failure({ kind: "tcp", host: HOST, port }, { ...options, timeout: 60 });
    equal(error.type, "connect_timeout");
    ok(performance.now() - start < 20_000);
    equal(await socketsDownTo(before), before);
    close();
  });

  Deno.test(`${name}: an abort gives up at once with its reason, and nothing stays open`, async () => {
    const { port, close } = await deaf();
    const before = openSockets();
    const abort = new AbortController();
    const reason = new ProxyError("client_closed", "gone");
    const failed = failure({ kind: "tcp", host: HOST, port }, { ...options, signal: abort.signal });
    abort.abort(reason);
    equal(await failed, reason);
    equal(await socketsDownTo(before), before);
    equal(
      await failure({ kind: "tcp", host: HOST, port }, { ...options, signal: abort.signal }),
      reason,
    );
    close();
  });

  Deno.test(`${name}: a host name is looked up`, async () => {
    const listener = Deno.listen({ hostname: HOST, port: 0 });
    const socket = await dial({ kind: "tcp", host: "localhost", port: listener.addr.port }, {
      timeout: 5_000,
      ...options,
    });
    (await listener.accept()).close();
    const recorder = new Recorder(socket);
    socket.read();
    await recorder.until(() => recorder.ends === 1);
    socket.destroy();
    listener.close();
  });

  Deno.test(`${name}: IPv6 works`, async () => {
    const listener = Deno.listen({ hostname: "::1", port: 0 });
    const socket = await dial({ kind: "tcp", host: "::1", port: listener.addr.port }, {
      timeout: 5_000,
      ...options,
      ...(options.localAddress ? { localAddress: "::1" } : {}),
    });
    const other = await listener.accept();
    equal((other.remoteAddr as Deno.NetAddr).hostname, "::1");
    other.close();
    socket.destroy();
    listener.close();
  });
}

Deno.test("connects from the local address that it is told", async () => {
  const listener = Deno.listen({ hostname: HOST, port: 0 });
  const [other, socket] = await Promise.all([
    listener.accept(),
    dial({ kind: "tcp", host: HOST, port: listener.addr.port }, {
      timeout: 5_000,
      localAddress: "127.0.0.7",
    }),
  ]);
  equal((other.remoteAddr as Deno.NetAddr).hostname, "127.0.0.7");
  equal(socket.local.kind === "tcp" && socket.local.host, "127.0.0.7");
  socket.destroy();
  other.close();
  listener.close();
});

Deno.test("a local address that is not ours is bind_error", async () => {
  const error = await failure({ kind: "tcp", host: HOST, port: 9 }, { localAddress: "192.0.2.1" });
  equal(error.type, "bind_error");
});

Deno.test("a name that does not exist is dns_error", async () => {
  const error = await failure({ kind: "tcp", host: "no-such-host.invalid", port: 80 }, {});
  equal(error.type, "dns_error");
  equal(error.source, "upstream");
});

Deno.test("a unix socket that is not there is connect_error", async () => {
  const error = await failure({ kind: "unix", path: "/nowhere/at/all.sock" }, {});
  equal(error.type, "connect_error");
  ok(error.message.includes("unix:/nowhere/at/all.sock"));
});

Deno.test("all addresses are tried in order, and the last failure is told", async () => {
  const tried: string[] = [];
  const refused = new ProxyError("connect_refused", "no");
  await rejects(
    eachAddress({ kind: "tcp", host: HOST, port: 1 }, { timeout: 1_000 }, (to) => {
      tried.push(`${to.host}:${to.port}`);
      return Promise.reject(refused);
    }, () => {}),
    refused,
  );
  equal(tried.join(), `${HOST}:1`);
});

Deno.test("an IP literal is not looked up", async () => {
  equal((await resolveHost("192.0.2.1", { timeout: 1 })).join(), "192.0.2.1");
  equal((await resolveHost("::1", { timeout: 1 })).join(), "::1");
});

for (const { name, options } of WAYS) {
  Deno.test({
    name: `${name}: without the right to connect it is connect_error`,
    permissions: { net: ["127.0.0.1:1", "127.0.0.1:0"], read: true, env: true, sys: true },
    fn: async () => {
      const error = await failure({ kind: "tcp", host: HOST, port: 2 }, options);
      equal(error.type, "connect_error");
      ok(/net access/.test(error.message), error.message);
    },
  });
}

Deno.test({
  name: "without the right to bind the local address it is bind_error",
  permissions: { net: ["127.0.0.1:1"], read: true, env: true, sys: true },
  fn: async () => {
    const error = await failure({ kind: "tcp", host: HOST, port: 1 }, { localAddress: HOST });
    equal(error.type, "bind_error");
    ok(/net access/.test(error.message), error.message);
  },
});

Deno.test("500 connects, aborted at random, leave nothing open", async () => {
  const listener = Deno.listen({ hostname: HOST, port: 0 });
  const accepting = (async () => {
    for (;;) {
      try {
        (await listener.accept()).close();
      } catch {
        return;
      }
    }
  })();
  const before = openSockets();
  const address = { kind: "tcp", host: HOST, port: listener.addr.port } as const;
  let connected = 0;
  let aborted = 0;
  for (let round = 0; round < 50; round++) {
    await Promise.all(Array.from({ length: 10 }, async (_, i) => {
      const abort = new AbortController();
      const way = WAYS[(round + i) % WAYS.length]!;
      const connecting = dial(address, { timeout: 5_000, ...way.options, signal: abort.signal });
      if (i % 3 === 0) abort.abort();
      else if (i % 3 === 1) setTimeout(() => abort.abort(), 0);
      try {
        (await connecting).destroy();
        connected++;
      } catch (error) {
        ok(error instanceof ProxyError);
        aborted++;
      }
    }));
  }
  ok(connected > 0 && aborted > 0);
  equal(await socketsDownTo(before), before);
  listener.close();
  await accepting;
});

async function failure(
  address: Parameters<typeof dial>[0],
  options: Partial<DialOptions>,
): Promise<ProxyError> {
  try {
    const socket = await dial(address, { timeout: 5_000, ...options });
    socket.destroy();
  } catch (error) {
    ok(error instanceof ProxyError, String(error));
    return error;
  }
  throw new Error("connected");
}
