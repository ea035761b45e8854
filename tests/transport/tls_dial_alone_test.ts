import { equal, ok } from "node:assert/strict";
import { connect as netConnect, createServer as createNetServer } from "node:net";
import { createServer, type TLSSocket } from "node:tls";
import { ProxyError } from "../../src/base/error.ts";
import type { Address } from "../../src/transport/address.ts";
import type { Socket } from "../../src/transport/socket.ts";
import {
  tlsDial,
  type TlsDialIdentity,
  type TlsDialOptions,
} from "../../src/transport/tls_dial.ts";
import { hasOpenssl, testCertificates } from "../support/certs.ts";
import { openSockets, Recorder, socketsDownTo } from "../support/recorder.ts";

const HOST = "127.0.0.1";
const OPTIONS: TlsDialOptions = { timeout: 5_000, tlsTimeout: 5_000 };

tlsTest("shakes hands and tells what was agreed on", async ({ port }) => {
  const socket = await to(port, {});
  equal(socket.tls?.version, "TLSv1.3");
  equal(socket.tls?.serverName, "a.test");
  equal(socket.tls?.alpn, "http/1.1");
  ok(socket.tls?.cipher.startsWith("TLS_"));
  equal(await said(socket), "a.test|none");
});

tlsTest("a certificate for another name is invalid_cert", async ({ port }) => {
  equal((await failure(port, { serverName: "b.test" })).type, "invalid_cert");
});

tlsTest("the alternative name is good enough", async ({ port }) => {
  const socket = await to(port, { serverName: "b.test", alternativeName: "a.test" });
  equal(await said(socket), "b.test|none");
  const error = await failure(port, { serverName: "b.test", alternativeName: "c.test" });
  equal(error.type, "invalid_cert");
});

tlsTest("a root that is not trusted is invalid_cert", async ({ port }) => {
  const { otherCa } = testCertificates();
  equal((await failure(port, { ca: otherCa })).type, "invalid_cert");
  equal((await failure(port, { ca: null })).type, "invalid_cert");
});

tlsTest("a certificate that is over is invalid_cert", async ({ expiredPort }) => {
  equal((await failure(expiredPort, {})).type, "invalid_cert");
});

tlsTest(
  "without verifyHostname the name may differ, but the root must be trusted",
  async ({ port }) => {
    const { otherCa } = testCertificates();
    const socket = await to(port, { serverName: "b.test", verifyHostname: false });
    equal(await said(socket), "b.test|none");
    equal(
      (await failure(port, { serverName: "b.test", verifyHostname: false, ca: otherCa })).type,
      "invalid_cert",
    );
  },
);

tlsTest("without verify anything goes", async ({ expiredPort }) => {
  const socket = await to(expiredPort, { serverName: "b.test", verify: false, ca: null });
  equal(await said(socket), "b.test|none");
});

tlsTest("without a server name the host of the address is checked", async ({ port }) => {
  // The certificate bears 127.0.0.1, and no name is asked for.
  equal(await said(await to(port, { serverName: "" })), "|none");
  equal(await said(await to(port, { serverName: HOST })), "|none");
  const error = await failure(port, { serverName: "" }, "localhost");
  equal(error.type, "invalid_cert");
});

tlsTest("without any name nothing is accepted", async ({ path }) => {
  const error = await failed(
    tlsDial({ kind: "unix", path }, identity({ serverName: "" }), OPTIONS),
  );
  equal(error.type, "invalid_cert");
});

tlsTest("runs over a unix socket", async ({ path }) => {
  const socket = await tlsDial({ kind: "unix", path }, identity({}), OPTIONS);
  equal(socket.remote.kind === "unix" && socket.remote.path, path);
  equal(await said(socket), "a.test|none");
});

tlsTest("shows the client certificate, and only if there is one", async ({ mutualPort }) => {
  const { client } = testCertificates();
  equal(
    await said(await to(mutualPort, { clientCertificate: client })),
    "a.test|client.test",
  );
  // TLS 1.3 lets the client finish first; the refusal arrives where data was expected.
  const socket = await to(mutualPort, {});
  const recorder = new Recorder(socket);
  socket.read();
  await recorder.until(() => recorder.errors.length + recorder.ends > 0);
  equal(recorder.bytes, 0);
  socket.destroy();
});

tlsTest("what does not speak TLS is tls_handshake_failure", async () => {
  const listener = Deno.listen({ hostname: HOST, port: 0 });
  const serving = listener.accept().then(async (other) => {
    await other.write(new TextEncoder().encode("HTTP/1.1 400 Bad Request\r\n\r\n"));
    return other;
  });
  const error = await failure(listener.addr.port, {});
  equal(error.type, "tls_handshake_failure");
  equal(error.source, "upstream");
  (await serving).close();
  listener.close();
});

tlsTest("a peer that hangs up during the handshake is tls_handshake_failure", async () => {
  const listener = Deno.listen({ hostname: HOST, port: 0 });
  const serving = listener.accept().then((other) => other.close());
  equal((await failure(listener.addr.port, {})).type, "tls_handshake_failure");
  await serving;
  listener.close();
});

tlsTest("a peer that says nothing is tls_handshake_timeout, and nothing stays open", async () => {
  const listener = Deno.listen({ hostname: HOST, port: 0 });
  const before = openSockets();
  const serving = listener.accept();
  const error = await failure(listener.addr.port, {}, HOST, { tlsTimeout: 50 });
  equal(error.type, "tls_handshake_timeout");
  equal(await socketsDownTo(before + 1), before + 1);
  const other = await serving;
  equal(await drained(other), null);
  other.close();
  listener.close();
});

tlsTest("an abort during the handshake closes the connection", async () => {
  const listener = Deno.listen({ hostname: HOST, port: 0 });
  const abort = new AbortController();
  const reason = new ProxyError("client_closed", "gone");
  const failing = failure(listener.addr.port, {}, HOST, { signal: abort.signal });
  const other = await listener.accept();
  await other.read(new Uint8Array(1));
  abort.abort(reason);
  equal(await failing, reason);
  equal(await drained(other), null);
  other.close();
  listener.close();
});

tlsTest("a certificate of ours that cannot be used is config_error", async ({ port }) => {
  const { client: { cert }, server: { key } } = testCertificates();
  for (const clientCertificate of [{ cert, key }, { cert, key: "no key" }, { cert: "none", key }]) {
    const error = await failure(port, { clientCertificate });
    equal(error.type, "config_error");
    ok(!error.explain().includes("PRIVATE KEY"));
  }
});

tlsTest("100 handshakes, half of them failed, leave nothing open", async ({ port }) => {
  const before = openSockets();
  for (let round = 0; round < 10; round++) {
    await Promise.all(Array.from({ length: 10 }, async (_, i) => {
      if (i % 2 === 0) (await to(port, {})).destroy();
      else equal((await failure(port, { serverName: "b.test" })).type, "invalid_cert");
    }));
  }
  equal(await socketsDownTo(before), before);
});

interface Servers {
  readonly port: number;
  readonly expiredPort: number;
  readonly mutualPort: number;
  readonly path: string;
}

/** Runs a test against TLS servers that say `<name asked for>|<name of the client certificate>` and end. */
function tlsTest(what: string, run: (servers: Servers) => Promise<void>): void {
  Deno.test(`tlsDial: ${what}`, { ignore: !hasOpenssl }, async () => {
    const { ca, server, expired } = testCertificates();
    const directory = Deno.makeTempDirSync();
    const path = `${directory}/tls.sock`;
    const greet = (socket: TLSSocket) => {
      socket.on("error", () => {});
      const { subject } = socket.getPeerCertificate() ?? {};
      socket.end(
        `${(socket as { servername?: string }).servername || ""}|${subject?.CN ?? "none"}`,
      );
    };
    const alpn = { ALPNProtocols: ["http/1.1"] };
    const plain = createServer({ ...server, ...alpn }, greet);
    const over = createServer({ ...expired, ...alpn }, greet);
    const mutual = createServer({
      ...server,
      ...alpn,
      ca,
      requestCert: true,
      rejectUnauthorized: true,
    }, greet);
    // node:tls does not listen on a path in Deno; a relay in front does.
    let port = 0;
    const relay = createNetServer((from) => {
      const on = netConnect({ host: HOST, port });
      for (const [one, two] of [[from, on], [on, from]] as const) {
        one.on("error", () => two.destroy());
        one.on("close", () => two.destroy());
        one.on("data", (bytes) => two.write(bytes));
        one.on("end", () => two.end());
      }
    });
    const servers = [plain, over, mutual];
    for (const one of servers) one.on("tlsClientError", () => {});
    const ports = await Promise.all(
      servers.map((one) =>
        new Promise<number>((resolve) =>
          one.listen(0, HOST, () => resolve((one.address() as { port: number }).port))
        )
      ),
    );
    port = ports[0]!;
    await new Promise<void>((resolve) => relay.listen(path, () => resolve()));
    try {
      await run({ port, expiredPort: ports[1]!, mutualPort: ports[2]!, path });
    } finally {
      for (const one of [...servers, relay]) await new Promise((resolve) => one.close(resolve));
      Deno.removeSync(directory, { recursive: true });
    }
  });
}

function identity(parts: Partial<TlsDialIdentity>): TlsDialIdentity {
  return {
    serverName: "a.test",
    alternativeName: null,
    verify: true,
    verifyHostname: true,
    ca: testCertificates().ca,
    clientCertificate: null,
    ...parts,
  };
}

function to(port: number, parts: Partial<TlsDialIdentity>): Promise<Socket> {
  return tlsDial({ kind: "tcp", host: HOST, port }, identity(parts), OPTIONS);
}

function failure(
  port: number,
  parts: Partial<TlsDialIdentity>,
  host = HOST,
  options: Partial<TlsDialOptions> = {},
): Promise<ProxyError> {
  const address: Address = { kind: "tcp", host, port };
  return failed(tlsDial(address, identity(parts), { ...OPTIONS, ...options }));
}

async function failed(dialling: Promise<Socket>): Promise<ProxyError> {
  try {
    (await dialling).destroy();
  } catch (error) {
    ok(error instanceof ProxyError, String(error));
    return error;
  }
  throw new Error("connected");
}

async function said(socket: Socket): Promise<string> {
  const recorder = new Recorder(socket);
  recorder.greedy = true;
  socket.read();
  await recorder.until(() => recorder.ends > 0 || recorder.errors.length > 0);
  socket.destroy();
  return recorder.text;
}

/** Reads to the end; `null` once it has come, also by a reset. */
async function drained(other: Deno.Conn): Promise<null> {
  const into = new Uint8Array(4096);
  try {
    while (await other.read(into) !== null);
  } catch {
    // A reset is an end too.
  }
  return null;
}
