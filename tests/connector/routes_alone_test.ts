/**
 * The ways to a peer that are not straight: through a proxy, with a PROXY header, from a local address. Real sockets.
 *
 * @module
 */
import { equal, ok, rejects } from "node:assert/strict";
import type { ErrorType } from "../../src/base/error.ts";
import { ProxyError } from "../../src/base/error.ts";
import { createPeer, type OuterProxy, PEER_OPTIONS, peerFor } from "../../src/connector/peer.ts";
import { handleEngineAvailable } from "../../src/transport/native_handle.ts";
import { hasOpenssl, testCertificates } from "../support/certs.ts";
import { openSockets, settle, socketsDownTo } from "../support/recorder.ts";
import { exchange, HOST, Origin, Use } from "./real_upstream.ts";

const TLS = () => ({
  serverName: "a.test",
  alternativeName: null,
  verify: true,
  verifyHostname: true,
  ca: testCertificates().ca,
  clientCertificate: null,
});

const CLIENT = {
  source: { kind: "tcp", host: "198.51.100.7", port: 4711 },
  destination: { kind: "tcp", host: "203.0.113.1", port: 80 },
} as const;

for (const transport of ["tcp", "unix"] as const) {
  Deno.test(`through a proxy on ${transport}: clear text, over a connection that is used again`, async () => {
    const before = openSockets();
    {
      await using origin = new Origin();
      await using proxy = await Proxy.start(transport);
      await using use = new Use();
      const peer = origin.peer({ proxy: proxy.options([["Proxy-Authorization", "Basic eA=="]]) });
      for (let i = 0; i < 3; i++) equal(await use.fetch(peer), "200 hello");
      equal(proxy.requests.length, 1);
      equal(
        proxy.requests[0],
        `CONNECT ${peer.label} HTTP/1.1\r\nHost: ${peer.label}\r\nProxy-Authorization: Basic eA==\r\n\r\n`,
      );
      ok(!origin.heard[0]!.includes("Proxy-Authorization"), "what is for the proxy stays there");
    }
    equal(await socketsDownTo(before), before);
  });

  Deno.test(`through a proxy on ${transport}: TLS with the peer, whose certificate counts`, {
    ignore: !hasOpenssl,
  }, async () => {
    const before = openSockets();
    {
      const { server, otherCa } = testCertificates();
      await using origin = new Origin(Deno.listenTls({ hostname: HOST, port: 0, ...server }));
      await using proxy = await Proxy.start(transport);
      await using use = new Use();
      const options = { ...PEER_OPTIONS, proxy: proxy.options() };
      const peer = createPeer({ address: origin.address, tls: TLS(), options });
      for (let i = 0; i < 2; i++) equal(await use.fetch(peer), "200 hello");
      equal(proxy.requests.length, 1);
      const history = use.connector.stats().history.get(peer.label)!;
      equal(history.tls.count, 1);
      const strict = createPeer({
        address: origin.address,
        tls: { ...TLS(), ca: otherCa },
        options,
      });
      await rejects(use.connector.connect(strict, "GET"), { type: "invalid_cert" });
    }
    equal(await socketsDownTo(before), before);
  });
}

Deno.test("through a proxy the peer is named as it is: the proxy looks it up", async () => {
  await using origin = new Origin();
  await using proxy = await Proxy.start("tcp");
  await using use = new Use();
  proxy.target = origin.address.port;
  const peer = createPeer({
    address: { kind: "tcp", host: "only.the.proxy.knows.test", port: 8080 },
    options: { ...PEER_OPTIONS, proxy: proxy.options() },
  });
  equal(await use.fetch(peer), "200 hello");
  ok(proxy.requests[0]!.startsWith("CONNECT only.the.proxy.knows.test:8080 HTTP/1.1\r\n"));
});

const REFUSALS: readonly {
  readonly name: string;
  readonly reply: string;
  readonly close?: boolean;
  readonly type: ErrorType;
  readonly message: RegExp;
  readonly status?: number;
  readonly retry?: boolean;
}[] = [
  {
    name: "that wants authentication",
    reply: "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 2\r\n\r\nno",
    type: "connect_proxy_failure",
    message: /answers 407/,
    status: 407,
    retry: false,
  },
  {
    name: "that cannot reach the peer",
    reply: "HTTP/1.1 502 Bad Gateway\r\n\r\n",
    type: "connect_proxy_failure",
    message: /answers 502/,
    status: 502,
    retry: true,
  },
  {
    name: "that redirects",
    reply: "HTTP/1.1 301 Moved\r\nLocation: http://x/\r\n\r\n",
    type: "connect_proxy_failure",
    message: /answers 301/,
    status: 301,
    retry: false,
  },
  {
    name: "that speaks something else",
    reply: "SSH-2.0-x\r\n",
    type: "connect_proxy_failure",
    message: /does not begin with HTTP/,
  },
  {
    name: "that closes",
    reply: "HTTP/1.1 200",
    close: true,
    type: "connect_proxy_failure",
    message: /without an answer/,
  },
  {
    name: "that says more than it was asked",
    reply: "HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    type: "connect_proxy_failure",
    message: /19 bytes behind its answer/,
  },
  {
    name: "that says too much",
    reply: `HTTP/1.1 200 OK\r\nA: ${"x".repeat(20_000)}\r\n\r\n`,
    type: "connect_proxy_failure",
    message: /over 16384 bytes/,
  },
  { name: "that says nothing", reply: "", type: "connect_timeout", message: /through the proxy/ },
  {
    name: "that does not finish",
    reply: "HTTP/1.1 200 OK\r\nA: b\r\n",
    type: "connect_timeout",
    message: /through the proxy/,
  },
];

for (const { name, reply, close = false, type, message, status, retry } of REFUSALS) {
  Deno.test(`a proxy ${name} is ${type}`, async () => {
    const before = openSockets();
    {
      await using proxy = await Proxy.start("tcp");
      await using use = new Use();
      proxy.reply = reply;
      proxy.closes = close;
      const peer = createPeer({
        address: { kind: "tcp", host: "192.0.2.1", port: 80 },
        options: { ...PEER_OPTIONS, connectTimeout: 1_000, proxy: proxy.options() },
      });
      await rejects(use.connector.connect(peer, "GET"), (error) => {
        ok(error instanceof ProxyError);
        equal(error.type, type, error.explain());
        ok(message.test(error.message), error.message);
        equal(error.source, "upstream");
        if (retry !== undefined) equal(error.retry, retry);
        if (status !== undefined) {
          ok(error.cause instanceof ProxyError);
          equal(error.cause.status, status);
          equal(error.status, 502, "the client is not shown it");
        }
        return true;
      });
    }
    equal(await socketsDownTo(before), before);
  });
}

Deno.test("a proxy that cannot be reached is what it is", async () => {
  const listener = Deno.listen({ hostname: HOST, port: 0 });
  const { port } = listener.addr;
  listener.close();
  await using use = new Use();
  const peer = createPeer({
    address: { kind: "tcp", host: "192.0.2.1", port: 80 },
    options: {
      ...PEER_OPTIONS,
      proxy: { address: { kind: "tcp", host: HOST, port }, headers: [] },
    },
  });
  await rejects(use.connector.connect(peer, "GET"), { type: "connect_refused" });
});

Deno.test("a header that cannot be sent to the proxy is config_error, and nothing is sent", async () => {
  await using proxy = await Proxy.start("tcp");
  await using use = new Use();
  const peer = createPeer({
    address: { kind: "tcp", host: "192.0.2.1", port: 80 },
    options: { ...PEER_OPTIONS, proxy: proxy.options([["X", "a\r\nb"]]) },
  });
  await rejects(use.connector.connect(peer, "GET"), { type: "config_error", source: "internal" });
  await settle(1);
  equal(proxy.requests.join(), "");
});

Deno.test("totalConnectTimeout and an abort end the wait for a proxy", async () => {
  const before = openSockets();
  {
    await using proxy = await Proxy.start("tcp");
    await using use = new Use();
    proxy.reply = "";
    const make = (totalConnectTimeout: number) =>
      createPeer({
        address: { kind: "tcp", host: "192.0.2.1", port: 80 },
        options: { ...PEER_OPTIONS, totalConnectTimeout, proxy: proxy.options() },
      });
    await rejects(use.connector.connect(make(60), "GET"), {
      type: "connect_timeout",
      message: /not done within 60 ms/,
    });
    const abort = new AbortController();
    const reason = new ProxyError("client_closed", "gone");
    const failing = rejects(use.connector.connect(make(10_000), "GET", abort.signal), reason);
    while (proxy.requests.length < 2) await settle(1);
    abort.abort(reason);
    await failing;
  }
  equal(await socketsDownTo(before), before);
});

for (const engine of handleEngineAvailable() ? ["deno", "handle"] as const : ["deno"] as const) {
  Deno.test(`${engine}: a PROXY header comes first, once per connection, and one client's is not another's`, async () => {
    await using origin = new Origin();
    await using use = new Use(engine);
    const base = origin.peer({ proxyProtocol: "v1" });
    const peer = peerFor(base, CLIENT);
    for (let i = 0; i < 2; i++) equal(await use.fetch(peer), "200 hello");
    equal(origin.accepted, 1);
    const [header, ...rest] = origin.heard[0]!.split("\r\n");
    equal(header, "PROXY TCP4 198.51.100.7 203.0.113.1 4711 80");
    equal(rest.filter((line) => line.startsWith("PROXY")).length, 0);
    const other = peerFor(base, { ...CLIENT, source: { ...CLIENT.source, port: 4712 } });
    equal(await use.fetch(other), "200 hello");
    equal(origin.accepted, 2);
    ok(origin.heard[1]!.startsWith("PROXY TCP4 198.51.100.7 203.0.113.1 4712 80\r\n"));
    equal(await use.fetch(base), "200 hello");
    ok(origin.heard[2]!.startsWith("PROXY UNKNOWN\r\n"), "nobody's request is nobody's");
  });
}

Deno.test("a PROXY header comes before TLS, and behind the answer of a proxy", {
  ignore: !hasOpenssl,
}, async () => {
  const { server } = testCertificates();
  await using origin = new Origin(Deno.listenTls({ hostname: HOST, port: 0, ...server }));
  // It takes the header off, as a real one would, and keeps it.
  await using front = await Proxy.start("tcp");
  front.isFront = true;
  front.target = origin.address.port;
  await using proxy = await Proxy.start("tcp");
  await using use = new Use();
  for (const through of [null, proxy.options()]) {
    const peer = peerFor(
      createPeer({
        address: front.options().address,
        tls: TLS(),
        options: { ...PEER_OPTIONS, proxyProtocol: "v2", proxy: through },
      }),
      CLIENT,
    );
    equal(await use.fetch(peer), "200 hello");
  }
  equal(front.requests.length, 2);
  for (const header of front.requests) {
    equal(header.length, 28);
    ok(header.startsWith("\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc6\x33\x64\x07"));
  }
});

Deno.test("a local address that is not ours fails, or falls back if that is allowed", async () => {
  await using origin = new Origin();
  await using use = new Use();
  await rejects(use.connector.connect(origin.peer({ localAddress: "192.0.2.1" }), "GET"), {
    type: "bind_error",
  });
  const peer = origin.peer({ localAddress: "192.0.2.1", localAddressFallback: true });
  equal(await use.fetch(peer), "200 hello");
  const own = origin.peer({ localAddress: "127.0.0.9", localAddressFallback: true });
  const session = await use.connector.connect(own, "GET");
  equal(await exchange(session), "200 hello");
  const { local } = session.connection;
  equal(local.kind === "tcp" && local.host, "127.0.0.9");
  session.release();
});

/** A proxy that answers CONNECT and then passes bytes on; as a front, one that takes a PROXY header off. */
class Proxy {
  readonly requests: string[] = [];
  reply: string | null = null;
  closes = false;
  isFront = false;
  /** Port to connect to, whatever was asked for; `0`: that which was. */
  target = 0;
  readonly #listener: Deno.Listener<Deno.Conn>;
  readonly #directory: string | null;
  readonly #open = new Set<Deno.Conn>();
  readonly #serving: Promise<void>;
  readonly #talks: Promise<void>[] = [];

  private constructor(listener: Deno.Listener<Deno.Conn>, directory: string | null) {
    this.#listener = listener;
    this.#directory = directory;
    this.#serving = this.#serve();
  }

  static start(transport: "tcp" | "unix"): Promise<Proxy> {
    if (transport === "tcp") {
      return Promise.resolve(new Proxy(Deno.listen({ hostname: HOST, port: 0 }), null));
    }
    const directory = Deno.makeTempDirSync();
    const listener = Deno.listen({ transport: "unix", path: `${directory}/proxy.sock` });
    return Promise.resolve(new Proxy(listener, directory));
  }

  options(headers: OuterProxy["headers"] = []): OuterProxy {
    const { addr } = this.#listener;
    return {
      address: addr.transport === "tcp"
        ? { kind: "tcp", host: HOST, port: addr.port }
        : { kind: "unix", path: (addr as Deno.UnixAddr).path },
      headers,
    };
  }

  async #serve(): Promise<void> {
    for (;;) {
      try {
        const connection = await this.#listener.accept();
        this.#open.add(connection);
        this.#talks.push(this.#talk(connection).catch(() => {}));
      } catch {
        return;
      }
    }
  }

  async #talk(connection: Deno.Conn): Promise<void> {
    let head = "";
    const one = new Uint8Array(1);
    const isWhole = () => this.isFront ? head.length === 28 : head.endsWith("\r\n\r\n");
    while (!isWhole()) {
      if (await connection.read(one) === null) return this.#drop(connection);
      head += String.fromCharCode(one[0]!);
    }
    this.requests.push(head);
    if (!this.isFront) {
      const reply = this.reply ??
        "HTTP/1.1 200 Connection established\r\nProxy-Agent: test\r\n\r\n";
      await connection.write(new TextEncoder().encode(reply));
      if (this.closes) return this.#drop(connection);
      if (this.reply !== null) {
        // Waits for the other side to give up.
        while (await connection.read(one) !== null);
        return this.#drop(connection);
      }
    }
    const port = this.target || Number(/:(\d+) /.exec(head)![1]);
    const on = await Deno.connect({ hostname: HOST, port });
    this.#open.add(on);
    await Promise.all([pass(connection, on), pass(on, connection)]);
    this.#drop(connection);
    this.#drop(on);
  }

  #drop(connection: Deno.Conn): void {
    if (!this.#open.delete(connection)) return;
    connection.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    await this.#serving;
    for (const one of [...this.#open]) this.#drop(one);
    await Promise.all(this.#talks);
    if (this.#directory !== null) Deno.removeSync(this.#directory, { recursive: true });
  }
}

async function pass(from: Deno.Conn, to: Deno.Conn): Promise<void> {
  const buffer = new Uint8Array(16 * 1024);
  try {
    for (;;) {
      const length = await from.read(buffer);
      if (length === null) break;
      for (let at = 0; at < length;) at += await to.write(buffer.subarray(at, length));
    }
    await to.closeWrite();
  } catch {
    // One of both is gone.
  }
}
