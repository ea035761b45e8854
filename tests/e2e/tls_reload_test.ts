/** Certificates and roots that change while the program runs: no request fails, and what is bad is not taken. */
import assert from "node:assert/strict";
import tls from "node:tls";
import { Authority, type Signed } from "../support/authority.ts";
import { configFile } from "../support/config.ts";
import { eventually, withDeadline } from "../support/deadline.ts";
import { reload } from "../support/reload.ts";
import { testWith } from "../support/require.ts";
import { sClient } from "../support/s_client.ts";
import { startSimpleOrigin } from "../support/simple_origin.ts";
import { type Sluice, startSluice } from "../support/sluice.ts";

const encoder = new TextEncoder();
const REQUEST = encoder.encode("GET /bytes/10 HTTP/1.1\r\nHost: a.test\r\n\r\n");

/** Fingerprint of the certificate that a listener shows. */
async function shown(port: number): Promise<string> {
  const { text } = await sClient(port, ["-servername", "a.test"], "");
  return /-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/.exec(text)![0]
    .replaceAll("\n", "");
}

function put(sluice: Sluice, name: string, { cert, key }: Signed): void {
  Deno.writeTextFileSync(`${sluice.directory}/${name}.pem`, cert);
  Deno.writeTextFileSync(`${sluice.directory}/${name}.key`, key);
}

const oneLine = (pem: string) => pem.trim().replaceAll("\n", "");

/** Asks again and again, on kept and on fresh connections, until told to stop. */
class Load {
  requests = 0;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>[];

  constructor(port: number, ca: string) {
    this.#running = [this.#fresh(port, ca), this.#fresh(port, ca), this.#kept(port, ca)];
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#running);
  }

  async #fresh(port: number, ca: string): Promise<void> {
    while (!this.#stop.signal.aborted) {
      const connection = await connect(port, ca);
      await this.#ask(connection);
      connection.close();
    }
  }

  async #kept(port: number, ca: string): Promise<void> {
    const connection = await connect(port, ca);
    while (!this.#stop.signal.aborted) await this.#ask(connection);
    connection.close();
  }

  async #ask(connection: Deno.Conn): Promise<void> {
    await connection.write(REQUEST);
    const buffer = new Uint8Array(4096);
    let text = "";
    while (!/\r\n\r\n.{10}$/s.test(text)) {
      const length = await connection.read(buffer);
      assert.notEqual(length, null, "the connection ended");
      text += new TextDecoder("latin1").decode(buffer.subarray(0, length!));
    }
    assert.match(text, /^HTTP\/1\.1 200 /);
    this.requests++;
  }
}

async function connect(port: number, ca: string): Promise<Deno.TlsConn> {
  const raw = await Deno.connect({ hostname: "127.0.0.1", port });
  raw.setNoDelay(true);
  return await Deno.startTls(raw, { hostname: "a.test", caCerts: [ca] });
}

testWith(
  ["openssl"],
  "on both engines, certificates are replaced under load without a failed request",
  async () => {
    using authority = new Authority();
    const pairs = Array.from({ length: 4 }, () => authority.sign("a.test"));
    await using origin = await startSimpleOrigin();
    const listener = (engine: string) => ({
      name: engine,
      address: "127.0.0.1:0",
      tls: { engine, certificates: [{ cert: "a.pem", key: "a.key" }] },
    });
    await using sluice = await startSluice({
      threads: 2,
      config: configFile({
        origin: origin.address,
        top: { listeners: [listener("native"), listener("node")] },
      }),
      files: { "a.pem": pairs[0]!.cert, "a.key": pairs[0]!.key },
    });
    const ports = ["native", "node"].map((name) => sluice.port(name));
    const loads = ports.map((port) => new Load(port, authority.ca));
    for (const pair of pairs.slice(1)) {
      const before = loads.map(({ requests }) => requests);
      put(sluice, "a", pair);
      await eventually(
        async () => {
          const seen = await Promise.all(ports.map(shown));
          return seen.every((one) => one === oneLine(pair.cert));
        },
        "the new certificate",
        30_000,
      );
      await eventually(
        () => loads.every(({ requests }, i) => requests > before[i]! + 5),
        "requests on the way",
        30_000,
      );
    }
    await Promise.all(loads.map((load) => load.stop()));
  },
);

testWith(
  ["openssl"],
  "a pair that does not match is not taken, and told once with its file",
  async () => {
    using authority = new Authority();
    const [first, second] = [authority.sign("a.test"), authority.sign("a.test")];
    await using origin = await startSimpleOrigin();
    await using sluice = await startSluice({
      config: configFile({
        origin: origin.address,
        listener: { tls: { engine: "node", certificates: [{ cert: "a.pem", key: "a.key" }] } },
      }),
      files: { "a.pem": first.cert, "a.key": first.key },
    });
    const port = sluice.port();
    Deno.writeTextFileSync(`${sluice.directory}/a.pem`, second.cert);
    await sluice.waitForOutput(
      /Listener web: changed certificates are not used: \S+\/a\.pem: the private key belongs to another certificate; those from before stay/,
    );
    assert.equal(await shown(port), oneLine(first.cert));
    Deno.writeTextFileSync(`${sluice.directory}/a.key`, second.key);
    await sluice.waitForOutput(/Listener web: certificates were read again/);
    await eventually(async () => await shown(port) === oneLine(second.cert), "the second pair");
    Deno.writeTextFileSync(`${sluice.directory}/a.pem`, "garbage");
    await sluice.waitForOutput(/a\.pem: it holds no certificate/);
    assert.equal(await shown(port), oneLine(second.cert));
  },
);

testWith(
  ["openssl"],
  "a folder that is a link to another, as orchestrators swap them, is noticed",
  async () => {
    using authority = new Authority();
    const [first, second] = [authority.sign("a.test"), authority.sign("a.test")];
    await using origin = await startSimpleOrigin();
    const root = Deno.makeTempDirSync();
    const fill = (name: string, { cert, key }: Signed) => {
      Deno.mkdirSync(`${root}/${name}`);
      Deno.writeTextFileSync(`${root}/${name}/tls.crt`, cert);
      Deno.writeTextFileSync(`${root}/${name}/tls.key`, key);
    };
    fill("one", first);
    fill("two", second);
    Deno.symlinkSync("one", `${root}/data`);
    Deno.symlinkSync("data/tls.crt", `${root}/tls.crt`);
    Deno.symlinkSync("data/tls.key", `${root}/tls.key`);
    try {
      await using sluice = await startSluice({
        config: configFile({
          origin: origin.address,
          listener: {
            tls: { certificates: [{ cert: `${root}/tls.crt`, key: `${root}/tls.key` }] },
          },
        }),
      });
      assert.equal(await shown(sluice.port()), oneLine(first.cert));
      Deno.symlinkSync("two", `${root}/next`);
      Deno.renameSync(`${root}/next`, `${root}/data`);
      await eventually(
        async () => await shown(sluice.port()) === oneLine(second.cert),
        "the second pair",
        30_000,
      );
    } finally {
      Deno.removeSync(root, { recursive: true });
    }
  },
);

testWith(
  ["openssl"],
  "when the roots for clients change, sessions from before do not count any more",
  async () => {
    using authority = new Authority();
    using old = new Authority();
    using next = new Authority();
    const server = authority.sign("a.test");
    await using origin = await startSimpleOrigin();
    await using sluice = await startSluice({
      config: configFile({
        origin: origin.address,
        listener: {
          protocols: ["h1"],
          tls: {
            certificates: [{ cert: "a.pem", key: "a.key" }],
            client_auth: { mode: "required", ca: "clients.pem" },
          },
        },
      }),
      files: { "a.pem": server.cert, "a.key": server.key, "clients.pem": old.ca },
    });
    put(sluice, "old", old.sign("somebody.test"));
    put(sluice, "next", next.sign("somebody.test"));
    const port = sluice.port();
    const as = (name: string) => [
      ...["-servername", "a.test", "-cert", `${sluice.directory}/${name}.pem`],
      ...["-key", `${sluice.directory}/${name}.key`],
    ];
    const session = (version: string) => `${sluice.directory}/${version}.session`;
    for (const version of ["-tls1_2", "-tls1_3"]) {
      const args = [...as("old"), version];
      const made = await sClient(port, [...args, "-sess_out", session(version)], "a.test");
      assert.equal(made.status, 200, made.text);
      const again = await sClient(port, [...args, "-sess_in", session(version)], "a.test");
      assert.deepEqual([again.reused, again.status], [true, 200]);
    }
    assert.equal((await sClient(port, as("next"), "a.test")).status, 0);

    Deno.writeTextFileSync(`${sluice.directory}/clients.pem`, next.ca);
    await sluice.waitForOutput(/certificates were read again/);
    await eventually(
      async () => (await sClient(port, as("next"), "a.test")).status === 200,
      "the new root",
    );
    for (const version of ["-tls1_2", "-tls1_3"]) {
      const args = [...as("old"), version];
      assert.equal((await sClient(port, args, "a.test")).status, 0);
      const stale = await sClient(port, [...args, "-sess_in", session(version)], "a.test");
      assert.equal(stale.status, 0, stale.text);
    }
  },
);

/** A connection that is kept, of a client that may have a certificate. */
async function keptClient(port: number, ca: string, own: Signed | null) {
  const socket = tls.connect({ host: "127.0.0.1", port, servername: "a.test", ca, ...own });
  const ended = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  let text = "";
  socket.on("data", (bytes) => text += bytes.toString("latin1"));
  socket.on("error", () => {});
  socket.write(REQUEST);
  await eventually(() => /\r\n\r\n.{10}$/s.test(text), "the answer");
  assert.match(text, /^HTTP\/1\.1 200 /);
  return { ended, [Symbol.dispose]: () => void socket.destroy() };
}

testWith(
  ["openssl"],
  "when clients are asked for something else, connections from before end",
  async () => {
    using authority = new Authority();
    using old = new Authority();
    using next = new Authority();
    const server = authority.sign("a.test");
    await using origin = await startSimpleOrigin();
    const config = (auth: Record<string, unknown>) =>
      configFile({
        origin: origin.address,
        listener: { tls: { certificates: [{ cert: "a.pem", key: "a.key" }], ...auth } },
      });
    const required = (ca: string) => ({ client_auth: { mode: "required", ca } });
    await using sluice = await startSluice({
      config: config({ engine: "node" }),
      files: { "a.pem": server.cert, "a.key": server.key, "old.pem": old.ca, "next.pem": next.ca },
    });
    const port = sluice.port();
    {
      using client = await keptClient(port, authority.ca, null);
      assert.equal(await reload(sluice, config(required("old.pem"))), true);
      await withDeadline(client.ended, 30_000, "the end of a client without a certificate");
    }
    const known = old.sign("known.test");
    {
      using client = await keptClient(port, authority.ca, known);
      assert.equal(await reload(sluice, config(required("next.pem"))), true);
      await withDeadline(client.ended, 30_000, "the end after a reload with other roots");
    }
    {
      using client = await keptClient(port, authority.ca, next.sign("new.test"));
      Deno.writeTextFileSync(`${sluice.directory}/next.pem`, old.ca);
      await withDeadline(client.ended, 30_000, "the end after the file of the roots has changed");
    }
  },
);

testWith(["openssl"], "what expires soon, or has expired, is told at the start", async () => {
  using authority = new Authority();
  const { cert, key } = authority.sign("a.test");
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({
    config: configFile({
      origin: origin.address,
      listener: { tls: { certificates: [{ cert, key }], expiry_warning: "3d" } },
    }),
  });
  // The authority signs for two days.
  await sluice.waitForOutput(/WARN.*Listener web: the certificate for a\.test expires in 1 day/);
});
