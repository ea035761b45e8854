import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { ProxyError } from "../../src/base/error.ts";
import type { Address, TcpAddress } from "../../src/transport/address.ts";
import { libcAvailable, openLibc } from "../../src/transport/libc.ts";
import type { Listener, ListenOptions } from "../../src/transport/listener.ts";
import { handleEngineAvailable } from "../../src/transport/native_handle.ts";
import type { Socket } from "../../src/transport/socket.ts";
import { descriptorsOf, endText, readTable } from "../../src/transport/socket_table.ts";
import { Recorder, settle } from "../support/recorder.ts";
import { SOCKET_ENGINES } from "../support/socket_engines.ts";
import { listenBy } from "./listen_by.ts";

const HOST = "127.0.0.1";

for (const engine of SOCKET_ENGINES) {
  Deno.test(`${engine}: port 0 takes a free port and tells it; another worker can listen on it too`, async () => {
    const first = await start({ engine });
    const { address } = first.listener;
    ok(address.kind === "tcp" && address.port > 0);
    equal(first.listener.engine, engine);
    const second = await start({ engine, address });
    equal((second.listener.address as typeof address).port, address.port);
    const clients = await Promise.all(Array.from({ length: 40 }, () => connect(address)));
    await until(() => first.sockets.length + second.sockets.length === 40);
    first.listener.close();
    second.listener.close();
    await refusedIn(address);
    for (const one of clients) one.close();
    for (const one of [...first.sockets, ...second.sockets]) one.destroy();
  });

  Deno.test(`${engine}: close stops accepting, and connections go on`, async () => {
    const { listener, sockets } = await start({ engine });
    const client = await connect(listener.address);
    await until(() => sockets.length === 1);
    listener.close();
    listener.close();
    await refusedIn(listener.address);
    const recorder = new Recorder(sockets[0]!);
    sockets[0]!.read();
    await client.write(new TextEncoder().encode("still"));
    await recorder.until(() => recorder.bytes === 5);
    equal(listener.connectionCount, 1);
    sockets[0]!.destroy();
    equal(listener.connectionCount, 0);
    client.close();
  });

  Deno.test(`${engine}: connections are counted in and out, however they end`, async () => {
    const { listener, sockets } = await start({ engine });
    const clients = await Promise.all(Array.from({ length: 3 }, () => connect(listener.address)));
    await until(() => sockets.length === 3);
    equal(listener.connectionCount, 3);
    sockets[0]!.destroy();
    sockets[0]!.destroy();
    sockets[1]!.close();
    equal(listener.connectionCount, 1);
    const recorder = new Recorder(sockets[2]!);
    recorder.onRead = () => {
      throw new Error("a bug");
    };
    sockets[2]!.read();
    clients[2]!.close();
    await recorder.until(() => recorder.errors.length === 1);
    equal(listener.connectionCount, 0);
    equal(listener.accepted, 3);
    for (const one of clients.slice(0, 2)) one.close();
    listener.close();
  });

  Deno.test(`${engine}: what is over maxConnections is closed at once and counted`, async () => {
    const { listener, sockets } = await start({ engine, maxConnections: 2 });
    const clients = [await connect(listener.address), await connect(listener.address)];
    await until(() => sockets.length === 2);
    const third = await connect(listener.address);
    equal(await third.read(new Uint8Array(1)).catch(() => null), null);
    third.close();
    equal(sockets.length, 2);
    equal(listener.rejected, 1);
    sockets[0]!.destroy();
    clients.push(await connect(listener.address));
    await until(() => sockets.length === 3);
    equal(listener.connectionCount, 2);
    equal(listener.accepted, 3);
    for (const one of sockets) one.destroy();
    for (const one of clients) one.close();
    listener.close();
  });

  Deno.test(`${engine}: what onSocket throws is told, and costs one connection`, async () => {
    let calls = 0;
    const errors: ProxyError[] = [];
    const { listener } = await start({
      engine,
      onSocket: () => {
        calls++;
        throw new Error("a bug");
      },
      onError: (error) => {
        errors.push(error);
        throw new Error("another bug");
      },
    });
    for (let i = 1; i <= 2; i++) {
      const client = await connect(listener.address);
      equal(await client.read(new Uint8Array(1)).catch(() => null), null);
      client.close();
      equal(calls, i);
    }
    equal(errors.length, 2);
    equal(errors[0]!.type, "internal_error");
    ok(errors[0]!.message.includes('"test"'));
    equal(listener.connectionCount, 0);
    listener.close();
  });

  Deno.test(`${engine}: an address in use is bind_error and names the listener`, async () => {
    const taken = Deno.listen({ hostname: HOST, port: 0 });
    const { port } = taken.addr;
    await rejects(start({ engine, address: { kind: "tcp", host: HOST, port } }), (error) => {
      ok(error instanceof ProxyError);
      equal(error.type, "bind_error");
      ok(error.message.includes('"test"') && error.message.includes(`${HOST}:${port}`));
      return true;
    });
    taken.close();
  });

  Deno.test(`${engine}: both ends of a connection are told as its client sees them, on any address`, async () => {
    for (const host of [HOST, "0.0.0.0"]) {
      const { listener, sockets } = await start({
        engine,
        address: { kind: "tcp", host, port: 0 },
      });
      const clients = [await connect(listener.address), await connect(listener.address)];
      await until(() => sockets.length === 2);
      const seen = sockets.map(({ local, remote }) => [local, remote]);
      const wanted = clients.map(({ localAddr, remoteAddr }) =>
        [remoteAddr, localAddr].map((end) => {
          const { hostname, port } = end as Deno.NetAddr;
          return { kind: "tcp", host: hostname, port };
        })
      );
      const byPort = (one: Address[], other: Address[]) => portOf(one[1]!) - portOf(other[1]!);
      deepEqual(seen.sort(byPort), (wanted as Address[][]).sort(byPort));
      listener.close();
      for (const one of [...clients, ...sockets.map((socket) => closer(socket))]) one.close();
    }
  });

  Deno.test({
    name: `${engine}: what is accepted sends small pieces at once`,
    ignore: !libcAvailable(),
    async fn() {
      const { listener, sockets } = await start({ engine });
      const client = await connect(listener.address);
      await until(() => sockets.length === 1);
      equal(noDelayOf(sockets[0]!), 1);
      listener.close();
      client.close();
      sockets[0]!.destroy();
    },
  });

  Deno.test(`${engine}: listens on IPv6, and shows an IPv4 client as what it is`, async () => {
    const { listener, sockets } = await start({
      engine,
      address: { kind: "tcp", host: "::", port: 0 },
    });
    ok(listener.address.kind === "tcp");
    const client = await Deno.connect({ hostname: HOST, port: listener.address.port });
    await until(() => sockets.length === 1);
    const [socket] = sockets;
    equal(socket!.remote.kind === "tcp" && socket!.remote.host, HOST);
    socket!.destroy();
    client.close();
    listener.close();
  });
}

const ACCEPTORS: readonly (readonly [name: string, args: string])[] = [
  ...SOCKET_ENGINES.map((engine) => [engine, engine === "epoll" ? "epoll lent" : engine] as const),
  ...(handleEngineAvailable()
    ? [["handle, on a descriptor that it was lent", "handle lent"] as const]
    : []),
];

for (const [name, args] of ACCEPTORS) {
  Deno.test(`${name}: out of descriptors, it says so once, waits, and goes on`, async () => {
    const source = new URL("./descriptor_shortage.ts", import.meta.url).pathname;
    const { code, stdout, stderr } = await new Deno.Command("sh", {
      args: [
        "-c",
        `ulimit -n 256; exec "$0" run -A --no-prompt "$1" ${args}`,
        Deno.execPath(),
        source,
      ],
      env: { DENO_NO_UPDATE_CHECK: "1" },
      stdout: "piped",
      stderr: "piped",
    }).output();
    const decoder = new TextDecoder();
    equal(code, 0, decoder.decode(stderr) + decoder.decode(stdout));
    const { errors, served, types, cpu } = JSON.parse(decoder.decode(stdout));
    equal(errors, 1);
    equal(types, "socket_error");
    equal(served, true);
    ok(cpu < 400, `${cpu} ms of CPU in 700 ms of waiting`);
  });
}

Deno.test("a host name is listened on by the deno engine, whatever was asked for", async () => {
  const { listener } = await start({
    engine: "handle",
    address: { kind: "tcp", host: "localhost", port: 0 },
  });
  equal(listener.engine, "deno");
  listener.close();
});

unixTest("the file gets its mode and is removed on close", async (path) => {
  const { listener, sockets } = await start({ address: { kind: "unix", path }, unixMode: 0o600 });
  const stat = Deno.statSync(path);
  equal(stat.mode! & 0o777, 0o600);
  const client = await Deno.connect({ transport: "unix", path });
  await until(() => sockets.length === 1);
  client.close();
  sockets[0]!.destroy();
  listener.close();
  await rejects(Deno.stat(path), Deno.errors.NotFound);
});

unixTest("a file left behind by a dead process is replaced", async (path) => {
  const { code } = await new Deno.Command(Deno.execPath(), {
    args: [
      "eval",
      `Deno.listen({ transport: "unix", path: ${
        JSON.stringify(path)
      } }); Deno.kill(Deno.pid, "SIGKILL");`,
    ],
    stdout: "null",
    stderr: "null",
  }).output();
  ok(code !== 0 && Deno.lstatSync(path).isSocket);
  const { listener } = await start({ address: { kind: "unix", path } });
  (await Deno.connect({ transport: "unix", path })).close();
  listener.close();
});

unixTest("a socket on which somebody listens is left alone", async (path) => {
  const other = Deno.listen({ transport: "unix", path });
  await rejects(start({ address: { kind: "unix", path } }), (error) => {
    ok(error instanceof ProxyError);
    equal(error.type, "bind_error");
    ok(error.message.includes("another process listens on it"), error.message);
    return true;
  });
  (await Deno.connect({ transport: "unix", path })).close();
  other.close();
});

unixTest("a file that is no socket is left alone", async (path) => {
  Deno.writeTextFileSync(path, "precious");
  await rejects(start({ address: { kind: "unix", path } }), /not a socket/);
  equal(Deno.readTextFileSync(path), "precious");
});

interface Started {
  readonly listener: Listener;
  readonly sockets: Socket[];
}

async function start(options: Partial<ListenOptions>): Promise<Started> {
  const sockets: Socket[] = [];
  const { engine = "deno", ...rest } = options;
  const listener = await listenBy(engine, {
    name: "test",
    address: { kind: "tcp", host: HOST, port: 0 },
    onSocket: (socket) => void sockets.push(socket),
    onError: (error) => {
      throw error;
    },
    ...rest,
  });
  return { listener, sockets };
}

/** Waits until nobody listens any more, which handles see to in a later turn. */
async function refusedIn(address: Address): Promise<void> {
  for (let turn = 0; turn < 1_000; turn++) {
    try {
      (await connect(address)).close();
    } catch {
      return;
    }
    await settle(1);
  }
  throw new Error("somebody still listens");
}

function connect(address: Address): Promise<Deno.TcpConn> {
  ok(address.kind === "tcp");
  return Deno.connect({ hostname: HOST, port: address.port });
}

async function until(condition: () => boolean): Promise<void> {
  for (let turn = 0; turn < 1_000 && !condition(); turn++) await settle(1);
  ok(condition(), "never came true");
}

function unixTest(what: string, run: (path: string) => Promise<void>): void {
  Deno.test(`unix: ${what}`, async () => {
    const directory = Deno.makeTempDirSync();
    try {
      await run(`${directory}/test.sock`);
    } finally {
      Deno.removeSync(directory, { recursive: true });
    }
  });
}

function portOf(address: Address): number {
  return address.kind === "tcp" ? address.port : 0;
}

function closer(socket: Socket): { close(): void } {
  return { close: () => socket.destroy() };
}

/** The option TCP_NODELAY of a socket of this process. */
function noDelayOf({ local, remote }: Socket): number {
  const [own, other] = [endText(local as TcpAddress), endText(remote as TcpAddress)];
  const inodes = new Set<string>();
  for (const row of readTable()) {
    if (row.local === own && row.remote === other) inodes.add(row.inode);
  }
  const [descriptor] = descriptorsOf(inodes).keys();
  const libc = openLibc({
    getsockopt: { parameters: ["i32", "i32", "i32", "buffer", "buffer"], result: "i32" },
  })!;
  const value = new Int32Array(1);
  const length = new Uint32Array([4]);
  // IPPROTO_TCP and TCP_NODELAY.
  const status = libc.symbols.getsockopt(descriptor!, 6, 1, value, length);
  libc.close();
  return status === 0 ? value[0]! : status;
}
