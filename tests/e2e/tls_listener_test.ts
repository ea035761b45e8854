/** TLS on listeners, by curl and openssl: versions, names, protocols, sessions, client certificates. */
import assert from "node:assert/strict";
import { Authority, type Signed } from "../support/authority.ts";
import { testCertificates } from "../support/certs.ts";
import { configFile } from "../support/config.ts";
import { curl, type CurlResult } from "../support/curl.ts";
import { eventually } from "../support/deadline.ts";
import { findProgram, testWith } from "../support/require.ts";
import { sClient } from "../support/s_client.ts";
import {
  type SeenRequest,
  type SimpleOrigin,
  startSimpleOrigin,
} from "../support/simple_origin.ts";
import { type Sluice, startSluice } from "../support/sluice.ts";

const able = findProgram("openssl") !== null;
const TOOLS = ["openssl", "curl"] as const;

let origin: SimpleOrigin;
let sluice: Sluice;
let server: Authority;
let folder: string;

/** Listeners by name. Those without an engine get the one that `auto` chooses. */
function listeners(): Record<string, unknown>[] {
  const a = { cert: "a.pem", key: "a.key" };
  const b = { cert: "b.pem", key: "b.key" };
  const client = { mode: "required", ca: "clients.pem" };
  const made = (name: string, tls: Record<string, unknown>) => ({
    name,
    address: "127.0.0.1:0",
    tls: { certificates: [a], ...tls },
  });
  return [
    made("native", { engine: "native" }),
    made("node", { engine: "node" }),
    made("auto", {}),
    made("names", { certificates: [a, b] }),
    made("reject", { certificates: [a, b], unknown_name: "reject" }),
    made("only13", { min_version: "1.3" }),
    made("only12", { max_version: "1.2" }),
    made("required", { client_auth: client, forward_client_cert: "leaf" }),
    made("optional", {
      client_auth: { ...client, mode: "optional" },
      forward_client_cert: "chain",
    }),
    made("hosts", {
      certificates: [{ cert: "all.pem", key: "all.key" }],
      forward_client_cert: "chain",
      client_auth: {
        hosts: [
          { host: "admin.test", ...client },
          { host: "staff.test", mode: "required", ca: "staff.pem" },
        ],
      },
    }),
    made("open", {
      certificates: [{ cert: "all.pem", key: "all.key" }],
      client_auth: { ...client, hosts: [{ host: "open.test", mode: "none" }] },
    }),
    made("loose", { strict_host: false }),
    { ...made("sniff", {}), protocols: ["h1", "h2", "h2c"] },
  ];
}

Deno.test.beforeAll(async () => {
  if (!able) return;
  server = new Authority();
  using staff = new Authority();
  const { ca, client, expired } = testCertificates();
  const files: Record<string, string> = {
    "roots.pem": server.ca,
    "clients.pem": ca,
    "staff.pem": staff.ca,
  };
  const put = (name: string, pair: Signed) => {
    files[`${name}.pem`] = pair.cert;
    files[`${name}.key`] = pair.key;
  };
  put("a", server.sign("a.test", "127.0.0.1"));
  put("b", server.sign("b.test", "*.w.test"));
  put("all", server.sign("open.test", "admin.test", "staff.test"));
  put("client", client);
  put("expired", expired);
  put("staff-client", staff.sign("somebody.test"));
  put("staff-site", staff.signFor(["site.test"], "extendedKeyUsage=serverAuth"));
  origin = await startSimpleOrigin();
  sluice = await startSluice({
    config: configFile({
      origin: origin.address,
      plugins: {},
      route: { plugins: ["tell-tls"] },
      top: { listeners: listeners() },
    }),
    files,
    plugins: {
      "tell-tls.ts": `import { definePlugin } from "@sluice/plugin";
export default definePlugin({
  match: { path: "/tell" },
  requestFilter(session) {
    return session.respond(200, JSON.stringify({ tls: session.client.tls, peer: session.client.peer }));
  },
});
`,
    },
  });
  folder = sluice.directory;
});
Deno.test.afterAll(async () => {
  await sluice?.[Symbol.asyncDispose]();
  await origin?.[Symbol.asyncDispose]();
  server?.[Symbol.dispose]();
});

/** Asks for `https://host/path` of a listener, with what curl is told beside. */
function ask(listener: string, host: string, path: string, ...args: string[]): Promise<CurlResult> {
  const port = sluice.port(listener);
  return curl(
    ...["--cacert", `${folder}/roots.pem`, "--resolve", `${host}:${port}:127.0.0.1`],
    ...args,
    `https://${host}:${port}${path}`,
  );
}

/** Arguments of curl for a client certificate. */
function as(name: string): string[] {
  return ["--cert", `${folder}/${name}.pem`, "--key", `${folder}/${name}.key`];
}

const STATUS = ["-o", "/dev/null", "-w", "%{http_code}"];

async function statusOf(listener: string, host: string, ...args: string[]): Promise<number> {
  return Number((await ask(listener, host, "/bytes/1", ...STATUS, ...args)).stdout);
}

for (const engine of ["native", "node", "auto"]) {
  testWith(
    TOOLS,
    `${engine}: curl is served over TLS 1.3 and 1.2, with HTTP/2 and HTTP/1.1`,
    async () => {
      for (const version of ["--tlsv1.3", "--tls-max=1.2"]) {
        for (const [flag, http] of [["--http2", "2"], ["--http1.1", "1.1"]] as const) {
          const { stdout, stderr } = await ask(
            engine,
            "a.test",
            "/bytes/300000",
            ...["-o", "/dev/null", "-w", "%{http_code} %{http_version} %{size_download}"],
            ...version.split("="),
            flag,
          );
          assert.equal(stdout, `200 ${http} 300000`, stderr);
        }
      }
    },
  );

  testWith(TOOLS, `${engine}: an upload arrives whole, and the upstream hears https`, async () => {
    const { stdout } = await ask(engine, "a.test", "/echo", "-d", "x".repeat(100_000));
    assert.equal(stdout.length, 100_000);
    const seen = JSON.parse((await ask(engine, "a.test", "/request")).stdout) as SeenRequest;
    assert.ok(
      seen.fields.some(([name, value]) => name === "X-Forwarded-Proto" && value === "https"),
    );
  });

  testWith(TOOLS, `${engine}: openssl agrees on protocols, and TLS 1.1 is refused`, async () => {
    const port = sluice.port(engine);
    const h1 = await sClient(port, ["-alpn", "http/1.1"], "a.test");
    assert.deepEqual([h1.alpn, h1.status, h1.protocol], ["http/1.1", 200, "TLSv1.3"], h1.text);
    const none = await sClient(port, [], "a.test");
    assert.deepEqual([none.alpn, none.status], ["", 200]);
    const both = await sClient(port, ["-alpn", "http/1.1,h2"], "");
    assert.equal(both.alpn, "h2", "the order of the server counts");
    const foreign = await sClient(port, ["-alpn", "imap"], "");
    assert.match(foreign.text, /no application protocol/);
    const old = await sClient(port, ["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], "");
    assert.equal(old.protocol, "");
  });

  testWith(TOOLS, `${engine}: a session is taken up again`, async () => {
    const port = sluice.port(engine);
    for (const version of ["-tls1_2", "-tls1_3"]) {
      const file = `${folder}/${engine}${version}.session`;
      const name = ["-servername", "a.test", version];
      const first = await sClient(port, [...name, "-sess_out", file], "a.test");
      assert.equal(first.reused, false);
      const second = await sClient(port, [...name, "-sess_in", file], "a.test");
      assert.equal(second.reused, true, second.text);
      assert.equal(second.status, 200);
    }
  });

  testWith(TOOLS, `${engine}: the first answer of a connection comes at once`, async () => {
    const port = sluice.port(engine);
    const times: number[] = [];
    for (let i = 0; i < 15; i++) {
      const raw = await Deno.connect({ hostname: "127.0.0.1", port });
      // The client's own Nagle would wait for the server's acknowledgement of its last handshake message.
      raw.setNoDelay(true);
      const connection = await Deno.startTls(raw, { hostname: "a.test", caCerts: [server.ca] });
      await connection.handshake();
      const start = performance.now();
      await connection.write(
        new TextEncoder().encode("GET /bytes/1 HTTP/1.1\r\nHost: a.test\r\n\r\n"),
      );
      const length = await connection.read(new Uint8Array(4096));
      times.push(performance.now() - start);
      assert.ok(length! > 0);
      connection.close();
    }
    times.sort((a, b) => a - b);
    // A delayed acknowledgement takes 40 ms, and would be waited for each time.
    assert.ok(times[4]! < 30, times.map((ms) => ms.toFixed(1)).join(" "));
  });
}

testWith(
  TOOLS,
  "a certificate is chosen by an exact name, a wildcard of one label, or none",
  async () => {
    const port = sluice.port("names");
    const shown = async (name: string) => {
      const { text } = await sClient(
        port,
        name === "" ? ["-noservername"] : ["-servername", name],
        "",
      );
      const pem = /-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/.exec(text)![0];
      return ["a", "b"].find((one) =>
        Deno.readTextFileSync(`${folder}/${one}.pem`).replaceAll("\n", "") ===
          pem.replaceAll("\n", "")
      );
    };
    assert.equal(await shown("a.test"), "a");
    assert.equal(await shown("b.test"), "b");
    assert.equal(await shown("B.TEST"), "b");
    assert.equal(await shown("one.w.test"), "b");
    assert.equal(await shown("two.one.w.test"), "a", "the default");
    assert.equal(await shown("w.test"), "a");
    assert.equal(await shown("unknown.test"), "a");
    assert.equal(await shown(""), "a");
  },
);

testWith(
  TOOLS,
  "unknown names and clients without one are rejected where that is wanted",
  async () => {
    const port = sluice.port("reject");
    assert.equal((await sClient(port, ["-servername", "b.test"], "b.test")).status, 200);
    for (const args of [["-servername", "unknown.test"], ["-noservername"]]) {
      assert.equal((await sClient(port, args, "a.test")).protocol, "");
    }
  },
);

testWith(TOOLS, "only the versions that are wanted are spoken", async () => {
  const cases = [["only13", "-tls1_3", "-tls1_2"], ["only12", "-tls1_2", "-tls1_3"]] as const;
  for (const [listener, good, bad] of cases) {
    const port = sluice.port(listener);
    assert.equal((await sClient(port, [good], "a.test")).status, 200);
    assert.equal((await sClient(port, [bad], "a.test")).protocol, "");
  }
});

testWith(
  TOOLS,
  "a host that the certificate is not for is misdirected, unless that is allowed",
  async () => {
    const { stdout } = await ask("names", "b.test", "/bytes/1", "-i", "-H", "Host: a.test");
    assert.match(stdout, /^HTTP\/2 421/);
    assert.match(stdout, /urn:sluice:problem:misdirected_request/);
    assert.equal(await statusOf("names", "one.w.test"), 200);
    assert.equal(await statusOf("names", "one.w.test", "-H", "Host: b.test"), 200);
    assert.equal(await statusOf("native", "a.test", "-H", "Host: b.test"), 421);
    assert.equal(await statusOf("loose", "a.test", "-H", "Host: b.test"), 200);
  },
);

testWith(
  TOOLS,
  "a required client certificate: none, a rogue one and an old one are refused",
  async () => {
    assert.equal(await statusOf("required", "a.test", ...as("client")), 200);
    for (const args of [[], as("staff-client"), as("expired")]) {
      for (const version of ["--tlsv1.3", "--tls-max=1.2"]) {
        const { code, stdout } = await ask(
          "required",
          "a.test",
          "/bytes/1",
          ...STATUS,
          ...version.split("="),
          ...args,
        );
        assert.notEqual(code, 0, `${version} ${args}`);
        assert.equal(stdout, "000");
      }
    }
    assert.equal(origin.count("/secret"), 0);
  },
);

testWith(TOOLS, "an optional client certificate may be missing, but not bad", async () => {
  assert.equal(await statusOf("optional", "a.test"), 200);
  assert.equal(await statusOf("optional", "a.test", ...as("client")), 200);
  assert.equal(await statusOf("optional", "a.test", ...as("staff-client")), 0);
  assert.equal(await statusOf("optional", "a.test", ...as("expired")), 0);
});

testWith(
  TOOLS,
  "plugins, upstreams and the log are told who the client is, and lies are removed",
  async () => {
    const lies = ["-H", "Client-Cert: :bGll:", "-H", "Client-Cert-Chain: :bGll:"];
    const fieldsOf = async (listener: string, ...args: string[]) => {
      const { stdout, stderr } = await ask(listener, "a.test", "/request", ...lies, ...args);
      assert.notEqual(stdout, "", stderr);
      const { fields } = JSON.parse(stdout) as SeenRequest;
      return fields.filter(([name]) => /^client-cert/i.test(name));
    };
    assert.deepEqual(await fieldsOf("optional"), []);
    assert.deepEqual(await fieldsOf("native"), []);
    const pem = Deno.readTextFileSync(`${folder}/client.pem`);
    const der = pem.split("\n").filter((line) => line !== "" && !line.startsWith("--")).join("");
    assert.deepEqual((await fieldsOf("required", ...as("client")))[0], ["Client-Cert", `:${der}:`]);
    assert.deepEqual((await fieldsOf("optional", ...as("client")))[0], ["Client-Cert", `:${der}:`]);

    const told = JSON.parse((await ask("required", "a.test", "/tell", ...as("client"))).stdout).tls;
    assert.equal(told.serverName, "a.test");
    assert.equal(told.version, "TLSv1.3");
    assert.equal(told.alpn, "h2");
    assert.equal(told.resumed, false);
    const { certificate } = told;
    assert.equal(certificate.subject, "CN=client.test");
    assert.equal(certificate.issuer, "CN=ca of the tests");
    assert.deepEqual(certificate.names, ["client.test", "127.0.0.1"]);
    assert.match(certificate.fingerprint, /^[0-9a-f]{64}$/);
    assert.match(certificate.serialNumber, /^[0-9a-f]+$/);
    assert.equal(certificate.verified, true);
    assert.ok(certificate.notBefore < Date.now() && certificate.notAfter > Date.now());
    assert.deepEqual(
      Object.keys(told).sort(),
      ["alpn", "certificate", "cipher", "resumed", "serverName", "version"],
    );

    const lineOf = () => sluice.accessLog().findLast((one) => one["url.path"] === "/tell");
    await eventually(() => lineOf() !== undefined, "the line of /tell");
    const line = lineOf()!;
    assert.equal(line["tls.protocol.version"], "1.3");
    assert.equal(line["tls.client.server_name"], "a.test");
    assert.equal(line["tls.client.subject"], "CN=client.test");
    assert.equal(line["tls.client.hash.sha256"], certificate.fingerprint);
    assert.equal(line["tls.resumed"], false);
    assert.match(String(line["tls.cipher"]), /^TLS_/);
  },
);

testWith(
  TOOLS,
  "hosts have their own rules for client certificates, and the wrong connection is answered 421",
  async () => {
    assert.equal(await statusOf("hosts", "open.test"), 200);
    assert.equal(await statusOf("hosts", "admin.test"), 0);
    assert.equal(await statusOf("hosts", "admin.test", ...as("client")), 200);
    assert.equal(await statusOf("hosts", "staff.test", ...as("staff-client")), 200);
    assert.equal(await statusOf("hosts", "staff.test", ...as("client")), 0);
    // A connection for another name, with or without a certificate that is good there.
    assert.equal(await statusOf("hosts", "open.test", "-H", "Host: admin.test"), 421);
    assert.equal(
      await statusOf("hosts", "admin.test", ...as("client"), "-H", "Host: staff.test"),
      421,
    );
    assert.equal(
      await statusOf("hosts", "admin.test", ...as("client"), "-H", "Host: open.test"),
      200,
    );
  },
);

testWith(TOOLS, "a certificate that nobody has checked is told to nobody", async () => {
  // The client is asked for one, because other names of the listener want it; what it shows here is anything.
  for (const name of ["client", "staff-client", "expired"]) {
    const { stdout } = await ask("hosts", "open.test", "/tell", ...as(name));
    const { tls } = JSON.parse(stdout) as { tls: { certificate: unknown } };
    assert.equal(tls.certificate, null, name);
    const seen = JSON.parse((await ask("hosts", "open.test", "/request", ...as(name))).stdout);
    const names = (seen as SeenRequest).fields.map(([field]) => field.toLowerCase());
    assert.ok(!names.some((field) => field.startsWith("client-cert")), names.join());
  }
  const { stdout } = await ask("hosts", "admin.test", "/tell", ...as("client"));
  assert.match(stdout, /"subject":"CN=client\.test"/);
});

testWith(TOOLS, "a request that names no host gets no further than one for any host", async () => {
  assert.equal(await statusOf("open", "open.test"), 200);
  assert.equal(await statusOf("open", "open.test", "-H", "Host: admin.test"), 421);
  assert.equal(await statusOf("open", "open.test", "--http1.0", "--no-alpn", "-H", "Host:"), 421);
  assert.equal(await statusOf("open", "admin.test"), 0);
  const nameless = ["--http1.0", "--no-alpn", "-H", "Host:", ...as("client")];
  assert.equal(await statusOf("open", "admin.test", ...nameless), 200);
});

testWith(
  TOOLS,
  "a session of another listener does not stand for a client certificate",
  async () => {
    for (const version of ["-tls1_2", "-tls1_3"]) {
      const file = `${folder}/stolen${version}.session`;
      const name = ["-servername", "a.test", version];
      const open = await sClient(sluice.port("node"), [...name, "-sess_out", file], "a.test");
      assert.equal(open.status, 200);
      const stolen = await sClient(sluice.port("required"), [...name, "-sess_in", file], "a.test");
      assert.equal(stolen.status, 0, stolen.text);
      // With a certificate, its own session is taken up again and its facts are those of back then.
      const own = `${folder}/own${version}.session`;
      const pair = ["-cert", `${folder}/client.pem`, "-key", `${folder}/client.key`];
      const port = sluice.port("required");
      const first = await sClient(port, [...name, ...pair, "-sess_out", own], "a.test");
      assert.equal(first.status, 200, first.text);
      const second = await sClient(port, [...name, ...pair, "-sess_in", own], "a.test", "/tell");
      assert.equal(second.reused, true, second.text);
      assert.equal(second.status, 200);
      assert.match(second.text, /"resumed":true/);
      assert.match(second.text, /"subject":"CN=client\.test"/);
    }
  },
);

testWith(
  TOOLS,
  "a session that began with a bad client certificate is not taken up again",
  async () => {
    const port = sluice.port("hosts");
    const pair = ["-cert", `${folder}/staff-site.pem`, "-key", `${folder}/staff-site.key`];
    for (const version of ["-tls1_2", "-tls1_3"]) {
      const file = `${folder}/bad${version}.session`;
      const args = ["-servername", "staff.test", version, ...pair];
      // Signed by the right root, but not for clients: it is refused, and a ticket that has got out all the same is no use.
      const first = await sClient(port, [...args, "-sess_out", file], "staff.test");
      assert.equal(first.status, 0, first.text);
      const again = await sClient(port, [...args, "-sess_in", file], "staff.test");
      assert.equal(again.status, 0, again.text);
    }
  },
);

testWith(TOOLS, "h2c on a listener with TLS breaks neither HTTP/1 nor HTTP/2", async () => {
  for (const [flag, version] of [["--http1.1", "1.1"], ["--http2", "2"]] as const) {
    const { stdout, stderr } = await ask(
      "sniff",
      "a.test",
      "/bytes/1",
      ...["-o", "/dev/null", "-w", "%{http_code} %{http_version}", flag],
    );
    assert.equal(stdout, `200 ${version}`, stderr);
  }
  // In clear text nothing is spoken on it.
  const clear = await curl("--http2-prior-knowledge", `http://127.0.0.1:${sluice.port("sniff")}/`);
  assert.notEqual(clear.code, 0);
});

testWith(TOOLS, "a certificate is good for an address that it bears", async () => {
  assert.equal(await statusOf("node", "127.0.0.1"), 200);
  assert.equal(await statusOf("native", "127.0.0.1"), 200);
});
