/** The PROXY protocol on listeners: plain, TLS and unix; by hand, by curl, and by haproxy. */
import assert from "node:assert/strict";
import { proxyHeader } from "../../src/connector/proxy_protocol.ts";
import { Authority } from "../support/authority.ts";
import { configFile } from "../support/config.ts";
import { curl } from "../support/curl.ts";
import { eventually } from "../support/deadline.ts";
import { freePort } from "../support/ports.ts";
import { get, RawClient } from "../support/raw_client.ts";
import { findProgram, testWith } from "../support/require.ts";
import {
  type SeenRequest,
  type SimpleOrigin,
  startSimpleOrigin,
} from "../support/simple_origin.ts";
import { type Sluice, startSluice } from "../support/sluice.ts";

const CLIENT = { kind: "tcp", host: "192.0.2.7", port: 4711 } as const;
const SITE = { kind: "tcp", host: "198.51.100.1", port: 443 } as const;
const header = (version: "v1" | "v2") =>
  proxyHeader(version, { source: CLIENT, destination: SITE });
const able = findProgram("openssl") !== null;

let origin: SimpleOrigin;
let sluice: Sluice;
let authority: Authority;

Deno.test.beforeAll(async () => {
  origin = await startSimpleOrigin();
  const trusted = ["127.0.0.1", "::1"];
  const listener = (name: string, keys: Record<string, unknown>) => ({
    name,
    address: "127.0.0.1:0",
    ...keys,
  });
  authority = new Authority();
  const { cert, key } = able ? authority.sign("a.test") : { cert: "", key: "" };
  sluice = await startSluice({
    config: (directory) =>
      configFile({
        origin: origin.address,
        plugins: {},
        route: { plugins: ["tell"] },
        upstreams: [],
        top: {
          listeners: [
            listener("web", { proxy_protocol: { trusted, timeout: "1500ms" } }),
            listener("must", { proxy_protocol: { trusted, required: true, timeout: "1500ms" } }),
            listener("stranger", { proxy_protocol: { trusted: ["10.9.9.9"] } }),
            listener("closed", { proxy_protocol: { trusted: ["10.9.9.9"], required: true } }),
            ...(able
              ? [listener("tls", {
                tls: { certificates: [{ cert, key }] },
                proxy_protocol: { trusted, required: true },
              })]
              : []),
            {
              name: "local",
              address: `unix:${directory}/web.sock`,
              unix_mode: "0600",
              unix_owner: `${Deno.uid()}:${Deno.gid()}`,
              proxy_protocol: { required: true },
            },
          ],
        },
      }),
    plugins: {
      "tell.ts": `import { definePlugin } from "@sluice/plugin";
export default definePlugin({
  connectionFilter: ({ address }) => address !== "192.0.2.66",
  requestFilter(session) {
    if (session.request.path === "/tell") return session.respond(200, JSON.stringify(session.client));
  },
});
`,
    },
  });
});
Deno.test.afterAll(async () => {
  await sluice?.[Symbol.asyncDispose]();
  await origin?.[Symbol.asyncDispose]();
  authority?.[Symbol.dispose]();
});

/** Sends bytes and a request, in one write, and reads the answer. */
async function after(
  to: number | { path: string },
  bytes: Uint8Array,
  path: string = "/request",
): Promise<string> {
  await using client = await RawClient.connect(to);
  await client.send(Uint8Array.of(...bytes, ...new TextEncoder().encode(get(path))));
  return (await client.response()).body.toString();
}

const forwardedFor = (body: string) =>
  (JSON.parse(body) as SeenRequest).fields.find(([name]) => name === "X-Forwarded-For")?.[1];

for (const version of ["v1", "v2"] as const) {
  Deno.test(`${version}: upstreams, plugins and the log are told of the client behind the proxy`, async () => {
    const port = sluice.port("web");
    assert.equal(forwardedFor(await after(port, header(version))), "192.0.2.7");
    const told = JSON.parse(await after(port, header(version), "/tell"));
    assert.deepEqual([told.address, told.port, told.peer], ["192.0.2.7", 4711, "127.0.0.1"]);
    const find = () =>
      sluice.accessLog().findLast((line) =>
        line["url.path"] === "/tell" && line["sluice.listener"] === "web"
      );
    await eventually(() => find() !== undefined, "the line of /tell");
    const line = find()!;
    assert.equal(line["client.address"], "192.0.2.7");
    assert.equal(line["client.port"], 4711);
    assert.equal(line["network.peer.address"], "127.0.0.1");
  });

  Deno.test(`${version}: a header in single bytes is put together`, async () => {
    await using client = await RawClient.connect(sluice.port("web"));
    for (const byte of header(version)) await client.send(Uint8Array.of(byte));
    await client.send(get("/request"));
    assert.equal(forwardedFor((await client.response()).body.toString()), "192.0.2.7");
    // It stands for the whole connection.
    await client.send(get("/request"));
    assert.equal(forwardedFor((await client.response()).body.toString()), "192.0.2.7");
  });

  Deno.test(`${version}: LOCAL and UNKNOWN stand for the proxy itself`, async () => {
    assert.equal(
      forwardedFor(await after(sluice.port("must"), proxyHeader(version, null))),
      "127.0.0.1",
    );
  });

  Deno.test(`${version}: whoever is on the unix socket is believed`, async () => {
    const path = `${sluice.directory}/web.sock`;
    assert.equal(Deno.statSync(path).mode! & 0o777, 0o600);
    assert.equal(forwardedFor(await after({ path }, header(version))), "192.0.2.7");
  });
}

Deno.test("without a header a trusted peer is an ordinary client, unless one is required", async () => {
  assert.equal(forwardedFor(await after(sluice.port("web"), new Uint8Array())), "127.0.0.1");
  await using client = await RawClient.connect(sluice.port("must"));
  await client.send(get("/request"));
  await client.whenEnded();
  assert.equal(client.received, "");
});

Deno.test("a header from a stranger is refused, and so is a stranger where one is required", async () => {
  assert.equal(forwardedFor(await after(sluice.port("stranger"), new Uint8Array())), "127.0.0.1");
  for (const version of ["v1", "v2"] as const) {
    await using client = await RawClient.connect(sluice.port("stranger"));
    await client.send(
      Uint8Array.of(...header(version), ...new TextEncoder().encode(get("/request"))),
    );
    assert.equal((await client.response()).status, 400);
  }
  await using client = await RawClient.connect(sluice.port("closed"));
  await client.send(header("v2"));
  await client.whenEnded();
  assert.equal(client.received, "");
});

Deno.test("malformed headers, and those that do not end in time, close the connection", async () => {
  for (const text of ["PROXY TCP4 a b c d\r\n", "PROXY TCP4 192.0.2.7", ""]) {
    await using client = await RawClient.connect(sluice.port("web"));
    const start = performance.now();
    await client.send(text);
    await client.whenEnded();
    assert.equal(client.received, "");
    assert.ok(performance.now() - start < 20_000);
  }
});

Deno.test("connectionFilter is asked about the client behind the proxy", async () => {
  const bad = { ...CLIENT, host: "192.0.2.66" };
  await using client = await RawClient.connect(sluice.port("web"));
  await client.send(proxyHeader("v2", { source: bad, destination: SITE }));
  await client.whenEnded();
  assert.equal(client.received, "");
});

testWith(
  ["openssl"],
  "with TLS the header comes first, together with the first record or before it",
  async () => {
    const port = sluice.port("tls");
    for (const version of ["v1", "v2"] as const) {
      for (const together of [true, false]) {
        const raw = together
          ? await prefixed(port, header(version))
          : await Deno.connect({ hostname: "127.0.0.1", port });
        if (!together) {
          await raw.write(header(version));
          await new Promise((resolve) => setTimeout(resolve, 30));
        }
        const text = await tlsExchange(raw, authority.ca, get("/request", { Host: "a.test" }));
        assert.equal(forwardedFor(text), "192.0.2.7", `${version} ${together}`);
      }
    }
    // Without it, the handshake is no header.
    const refused = await Deno.connect({ hostname: "127.0.0.1", port });
    await assert.rejects(tlsExchange(refused, authority.ca, get("/request", { Host: "a.test" })));
  },
);

testWith(
  ["openssl"],
  "connectionFilter is asked before the handshake, about the client behind the proxy",
  async () => {
    const bad = { ...CLIENT, host: "192.0.2.66" };
    const hello = Uint8Array.of(0x16, 0x03, 0x01, 0x00, 0x02, 0x01, 0x00);
    await using client = await RawClient.connect(sluice.port("tls"));
    await client.send(
      Uint8Array.of(...proxyHeader("v2", { source: bad, destination: SITE }), ...hello),
    );
    await client.whenEnded();
    // A handshake would have answered such a record with an alert.
    assert.equal(client.received, "");
  },
);

testWith(["curl"], "curl is believed", async () => {
  const { stdout } = await curl(
    "--haproxy-protocol",
    `http://127.0.0.1:${sluice.port("must")}/tell`,
  );
  const told = JSON.parse(stdout);
  assert.deepEqual([told.address, told.peer], ["127.0.0.1", "127.0.0.1"]);
});

testWith(
  ["haproxy", "curl", "openssl"],
  "haproxy is believed, on plain, TLS and unix listeners",
  async () => {
    const directory = Deno.makeTempDirSync();
    const servers = [
      ["plain1", `127.0.0.1:${sluice.port("must")} send-proxy`],
      ["plain2", `127.0.0.1:${sluice.port("must")} send-proxy-v2`],
      ["tls2", `127.0.0.1:${sluice.port("tls")} send-proxy-v2-ssl-cn`],
      ["unix2", `unix@${sluice.directory}/web.sock send-proxy-v2`],
    ] as const;
    const ports = servers.map(() => freePort());
    Deno.writeTextFileSync(
      `${directory}/haproxy.cfg`,
      `defaults
  mode tcp
  timeout connect 5s
  timeout client 10s
  timeout server 10s
${
        servers.map(([name, target], i) =>
          `listen ${name}
  bind 127.0.0.1:${ports[i]}
  server s ${target}
`
        ).join("")
      }`,
    );
    const child = new Deno.Command(findProgram("haproxy")!, {
      args: ["-db", "-f", `${directory}/haproxy.cfg`],
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    try {
      Deno.writeTextFileSync(`${directory}/ca.pem`, authority.ca);
      for (const [i, [name]] of servers.entries()) {
        const scheme = name.startsWith("tls") ? "https" : "http";
        const { stdout, stderr } = await curl(
          ...["--retry", "20", "--retry-connrefused", "--retry-delay", "1"],
          ...["--interface", "127.0.0.1", "--local-port", `${freePort()}`],
          ...["--cacert", `${directory}/ca.pem`, "--resolve", `a.test:${ports[i]}:127.0.0.1`],
          `${scheme}://a.test:${ports[i]}/tell`,
        );
        const told = JSON.parse(stdout || `"${stderr}"`);
        assert.equal(told.address, "127.0.0.1", name);
        assert.equal(told.peer, name.startsWith("unix") ? "" : "127.0.0.1");
        assert.ok(told.port > 0, name);
        assert.equal(told.tls === null, scheme === "http");
      }
    } finally {
      child.kill("SIGTERM");
      await child.status;
      Deno.removeSync(directory, { recursive: true });
    }
  },
);

/** Connects by way of a relay that puts bytes before the first ones of the client, in the same write. */
async function prefixed(port: number, bytes: Uint8Array): Promise<Deno.TcpConn> {
  const relay = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  void relay.accept().then(async (near) => {
    relay.close();
    const far = await Deno.connect({ hostname: "127.0.0.1", port });
    const pass = async (from: Deno.Conn, to: Deno.Conn, first: Uint8Array) => {
      const buffer = new Uint8Array(64 * 1024);
      for (let before = first;; before = new Uint8Array()) {
        const length = await from.read(buffer).catch(() => null);
        if (length === null) break;
        await to.write(Uint8Array.of(...before, ...buffer.subarray(0, length))).catch(() => {});
      }
      to.close();
    };
    await Promise.allSettled([pass(near, far, bytes), pass(far, near, new Uint8Array())]);
  });
  return await Deno.connect({ hostname: "127.0.0.1", port: relay.addr.port });
}

/** Does a handshake, sends a request, and gives the content of the answer. */
async function tlsExchange(raw: Deno.TcpConn, ca: string, request: string): Promise<string> {
  const secure = await Deno.startTls(raw, { hostname: "a.test", caCerts: [ca] });
  try {
    await secure.write(new TextEncoder().encode(request));
    let text = "";
    const buffer = new Uint8Array(16_384);
    while (!/\r\n\r\n\{.*\}$/s.test(text)) {
      const length = await secure.read(buffer);
      assert.notEqual(length, null);
      text += new TextDecoder().decode(buffer.subarray(0, length!));
    }
    return text.slice(text.indexOf("\r\n\r\n") + 4);
  } finally {
    secure.close();
  }
}
