/** Upstreams that speak HTTP/2, through the whole program: real servers, and one that counts and misbehaves on purpose. */
import assert from "node:assert/strict";
import {
  HTTP_1_1_REQUIRED,
  REFUSED_STREAM,
  SETTINGS_MAX_CONCURRENT_STREAMS,
} from "../../src/http2/constants.ts";
import { testCertificates } from "../support/certs.ts";
import { configFile } from "../support/config.ts";
import { curl } from "../support/curl.ts";
import { eventually } from "../support/deadline.ts";
import { type RawResponse, text } from "../support/http_text.ts";
import { Http2Origin, type OriginRequest } from "../support/http2_origin.ts";
import { startNghttpd } from "../support/nghttpd.ts";
import { startNginx } from "../support/nginx.ts";
import { freePort } from "../support/ports.ts";
import { get, RawClient, rawRequest, request } from "../support/raw_client.ts";
import { findProgram, testWith } from "../support/require.ts";
import { pattern, startSimpleOrigin } from "../support/simple_origin.ts";
import { startSluice } from "../support/sluice.ts";

const H2C = { protocol: "h2c" };

testWith(
  ["nghttpd", "nginx", "openssl", "curl", "nghttp"],
  "nghttpd and nginx are asked by HTTP/2",
  async (t) => {
    const { server, ca } = testCertificates();
    const large = pattern(4_000_000);
    const files = { "small.txt": "small", "large.txt": large };
    await using echo = await startSimpleOrigin();
    await using clear = await startNghttpd({ files, args: ["--trailer", "x-sum: 42"] });
    await using secure = await startNghttpd({ files, tls: server });
    const [clearPort, securePort] = [freePort(), freePort()];
    const pems = await Deno.makeTempDir();
    await Deno.writeTextFile(`${pems}/cert.pem`, server.cert);
    await Deno.writeTextFile(`${pems}/key.pem`, server.key);
    await using nginx = await startNginx(
      `
    listen 127.0.0.1:${clearPort} http2;
    listen 127.0.0.1:${securePort} ssl http2;
    ssl_certificate ${pems}/cert.pem;
    ssl_certificate_key ${pems}/key.pem;
    add_header X-Spoken $server_protocol;
    location /echo { proxy_pass ${echo.url}; proxy_http_version 1.1; }
  `,
      files,
    );
    const tls = { ca: `${pems}/ca.pem`, server_name: "a.test" };
    await Deno.writeTextFile(tls.ca, ca);
    const upstreams: [string, string, Record<string, unknown>][] = [
      ["nghttpd-h2c", clear.address, H2C],
      ["nghttpd-h2", secure.address, { protocol: "h2", tls }],
      ["nginx-h2c", `127.0.0.1:${clearPort}`, H2C],
      ["nginx-auto", `127.0.0.1:${securePort}`, { protocol: "auto", tls }],
      ["nginx-h1", `127.0.0.1:${nginx.port}`, { protocol: "auto" }],
    ];
    await using sluice = await startSluice({
      config: JSON.stringify({
        version: 1,
        listeners: [
          { name: "clear", address: "127.0.0.1:0", protocols: ["h1", "h2c"] },
          {
            name: "secure",
            address: "127.0.0.1:0",
            tls: { certificates: [{ cert: `${pems}/cert.pem`, key: `${pems}/key.pem` }] },
          },
        ],
        services: [{
          name: "main",
          routes: upstreams.map(([name]) => ({
            id: name,
            match: { header: { "x-to": name } },
            upstream: name,
          })),
        }],
        upstreams: upstreams.map(([name, endpoint, transport]) => ({
          name,
          endpoints: [endpoint],
          transport,
        })),
      }),
    });
    const upload = `${pems}/upload`;
    await Deno.writeTextFile(upload, large);
    try {
      for (const [name] of upstreams) {
        for (const version of ["--http1.1", "--http2-prior-knowledge", "--http2"]) {
          const url = version === "--http2"
            ? `https://127.0.0.1:${sluice.port("secure")}`
            : sluice.url;
          await t.step(`${version.slice(2)} to ${name}`, async () => {
            const ask = async (...args: string[]) => {
              const { code, stdout, stderr } = await curl(
                version,
                "-k",
                "-H",
                `X-To: ${name}`,
                ...args,
              );
              assert.equal(`${code} ${stderr}`, "0 ");
              return stdout;
            };
            const small = await ask("-i", `${url}/small.txt`);
            const own = version === "--http1.1" ? "1.1" : "2";
            assert.match(small, new RegExp(`^HTTP/${own} 200[^]*\\r\\n\\r\\nsmall$`));
            if (name.startsWith("nginx")) {
              const spoken = name === "nginx-h1" ? "HTTP/1.1" : "HTTP/2.0";
              assert.match(small, new RegExp(`x-spoken: ${spoken}`, "i"));
            }
            assert.equal(await ask(`${url}/large.txt`), large);
            assert.match(await ask("-I", `${url}/large.txt`), /content-length: 4000000/i);
            assert.match(await ask("-i", `${url}/none`), /^HTTP\/\S+ 404/);
            const back = await ask("--data-binary", `@${upload}`, `${url}/echo`);
            assert.equal(back.length, large.length);
            assert.equal(back, large);
          });
        }
      }
      await t.step("a trailer of nghttpd arrives", async () => {
        const { stdout } = await new Deno.Command(findProgram("nghttp")!, {
          args: ["-v", "-H", "x-to: nghttpd-h2c", `${sluice.url}/small.txt`],
        }).output();
        assert.match(new TextDecoder().decode(stdout), /small[^]*x-sum: 42/);
      });
    } finally {
      await Deno.remove(pems, { recursive: true });
    }
  },
);

Deno.test("hundreds of clients share few connections to an HTTP/2 upstream", async () => {
  const held: OriginRequest[] = [];
  await using origin = new Http2Origin({
    settings: [SETTINGS_MAX_CONCURRENT_STREAMS, 128],
    onRequest: (one) => held.push(one),
  });
  await using sluice = await startSluice({
    config: configFile({
      origin: origin.address,
      transport: { ...H2C, http2: { max_streams: 200 } },
    }),
  });
  const clients = await Promise.all(
    Array.from({ length: 250 }, () => RawClient.connect(sluice.port())),
  );
  try {
    const answers = Promise.all(clients.map((client, i) => client.request(get(`/${i}`))));
    await eventually(() => held.length === 250, "all requests to be there at a time", 40_000);
    // One for the first 128; while it was made it was not known that it would take no more.
    assert.ok(origin.connections.length <= 3, `${origin.connections.length} connections`);
    for (const one of held) await one.respond(200, one.path);
    assert.deepEqual((await answers).map(text), clients.map((_, i) => `/${i}`));
  } finally {
    for (const client of clients) await client[Symbol.asyncDispose]();
  }
});

testWith(
  ["nghttpd"],
  "clients that do not read hold little of a shared connection, and hold up nobody else",
  async () => {
    const size = 32 * 1024 * 1024;
    await using origin = await startNghttpd({
      files: { "large.bin": new Uint8Array(size), "small.txt": "small" },
    });
    await using sluice = await startSluice({
      config: configFile({ origin: origin.address, transport: H2C }),
    });
    assert.equal(text(await rawRequest(sluice.port(), get("/small.txt"))), "small");
    const before = sluice.rss();
    const clients: RawClient[] = [];
    try {
      for (let i = 0; i < 40; i++) {
        const client = await RawClient.connect(sluice.port());
        clients.push(client);
        await client.send(get("/large.bin"));
      }
      for (let i = 0; i < 20; i++) {
        const answer = await rawRequest(sluice.port(), get("/small.txt"), "GET", 5_000);
        assert.equal(text(answer), "small");
      }
      const more = (sluice.rss() - before) / 1024 / 1024;
      // More than a gigabyte would like to come.
      assert.ok(more < 128, `${Math.round(more)} MiB more`);
    } finally {
      for (const client of clients) await client[Symbol.asyncDispose]();
    }
  },
);

/** Sends requests of both kinds on a few connections, and gives status and id of each. */
async function load(port: number, each: number): Promise<[string, RawResponse][]> {
  const answers = await Promise.all(Array.from({ length: 6 }, async (_, c) => {
    const seen: [string, RawResponse][] = [];
    let client = await RawClient.connect(port);
    for (let i = 0; i < each; i++) {
      const method = i % 2 === 0 ? "GET" : "POST";
      const id = `${method} ${c}.${i}`;
      const answer = await client.request(
        request(method, "/", { "X-Id": id }, method === "POST" ? `content of ${id}` : null),
      );
      seen.push([id, answer]);
      if (answer.fields.some(([name, value]) => name === "Connection" && value === "close")) {
        await client[Symbol.asyncDispose]();
        client = await RawClient.connect(port);
      }
    }
    await client[Symbol.asyncDispose]();
    return seen;
  }));
  return answers.flat();
}

Deno.test("GOAWAY under load loses no request and has none executed twice", async () => {
  const executed = new Map<string, number>();
  await using origin = new Http2Origin({
    async onRequest(one) {
      const { connection, stream } = one;
      const number = connection.requests.length;
      // Every twentieth request of a connection is not taken any more, nor what comes behind it.
      if (number > 20) return;
      if (number === 20) return await connection.goaway(stream - 2);
      const id = one.fields.get("x-id")!;
      const content = new TextDecoder().decode(await one.content);
      if (id.startsWith("POST")) assert.equal(content, `content of ${id}`);
      executed.set(id, (executed.get(id) ?? 0) + 1);
      await one.respond(200, id);
    },
  });
  await using sluice = await startSluice({
    config: configFile({ origin: origin.address, transport: H2C }),
  });
  const answers = await load(sluice.port(), 100);
  for (const [id, answer] of answers) assert.equal(`${answer.status} ${text(answer)}`, `200 ${id}`);
  const [line] = await sluice.waitForAccessLog(600);
  assert.equal(line!["upstream.protocol.version"], "2");
  assert.equal(executed.size, 600);
  assert.deepEqual([...executed].filter(([, times]) => times !== 1), []);
  assert.ok(origin.connections.length > 20, `${origin.connections.length} connections`);
  // That is how connections end in good order, and nothing to warn of.
  assert.doesNotMatch(sluice.stderr(), /WARN/);
});

testWith(
  ["nginx", "h2load"],
  "nginx that ends its connections every hundred requests is asked as if it did not",
  async () => {
    await using echo = await startSimpleOrigin();
    const port = freePort();
    await using nginx = await startNginx(`
    listen 127.0.0.1:${port} http2;
    keepalive_requests 100;
    location / { proxy_pass ${echo.url}; proxy_http_version 1.1; }
  `);
    await using sluice = await startSluice({
      config: configFile({
        origin: `127.0.0.1:${port}`,
        listener: { protocols: ["h1", "h2c"] },
        transport: H2C,
        route: { retry: { attempts: 0 } },
      }),
    });
    const body = `${nginx.directory}/upload`;
    await Deno.writeTextFile(body, pattern(2_000));
    for (const args of [["-n", "2000"], ["-n", "1000", "-d", body]]) {
      const { stdout } = await new Deno.Command(findProgram("h2load")!, {
        args: ["-c", "4", "-m", "25", ...args, `${sluice.url}/echo`],
      }).output();
      const total = args[1];
      const report = new TextDecoder().decode(stdout);
      assert.match(report, new RegExp(`${total} done, ${total} succeeded, 0 failed`), report);
      assert.match(report, new RegExp(`status codes: ${total} 2xx`), report);
    }
    // None was executed twice.
    assert.equal(echo.requests.filter(({ method }) => method === "POST").length, 1_000);
    assert.equal(echo.requests.filter(({ method }) => method === "GET").length, 2_000);
  },
);

Deno.test("a stream that is refused is sent again whatever its method, once executed", async () => {
  const executed = new Map<string, number>();
  const refused = new Set<string>();
  await using origin = new Http2Origin({
    async onRequest(one) {
      const id = one.fields.get("x-id")!;
      if (!refused.has(id)) {
        refused.add(id);
        return await one.rst(REFUSED_STREAM);
      }
      await one.content;
      executed.set(id, (executed.get(id) ?? 0) + 1);
      await one.respond(200, id);
    },
  });
  await using sluice = await startSluice({
    config: configFile({
      origin: origin.address,
      transport: H2C,
      route: { retry: { attempts: 0 } },
    }),
  });
  for (const [id, answer] of await load(sluice.port(), 10)) {
    assert.equal(`${answer.status} ${text(answer)}`, `200 ${id}`);
  }
  assert.deepEqual([...executed.values()], Array(60).fill(1));
  // Who refuses everything is believed in the end.
  await using never = new Http2Origin({ onRequest: (one) => one.rst(REFUSED_STREAM) });
  await using other = await startSluice({
    config: configFile({
      origin: never.address,
      transport: H2C,
      route: { retry: { attempts: 0 } },
    }),
  });
  const answer = await rawRequest(other.port(), get("/"));
  assert.equal(answer.status, 502);
  assert.equal(never.requests.length, 3);
});

Deno.test("a connection that breaks costs no GET, and no POST is executed twice", async () => {
  const executed = new Map<string, number>();
  await using origin = new Http2Origin({
    async onRequest(one) {
      const id = one.fields.get("x-id")!;
      await one.content;
      executed.set(id, (executed.get(id) ?? 0) + 1);
      // Executed, and then not a word.
      const { length } = one.connection.requests;
      if (length >= 25 && one.method === "POST") return one.connection.close();
      await one.respond(200, id);
    },
  });
  await using sluice = await startSluice({
    config: configFile({
      origin: origin.address,
      transport: H2C,
      route: { retry: { attempts: 2, on: ["reset", "connect_failure"], backoff: { base: "0s" } } },
    }),
  });
  const answers = await load(sluice.port(), 80);
  let lost = 0;
  for (const [id, answer] of answers) {
    if (id.startsWith("GET")) assert.equal(`${answer.status} ${text(answer)}`, `200 ${id}`);
    else if (answer.status !== 200) {
      assert.equal(answer.status, 502);
      lost++;
    }
  }
  for (const [id, times] of executed) if (id.startsWith("POST")) assert.equal(times, 1, id);
  assert.ok(lost > 0, "nothing was lost, so nothing was shown");
});

Deno.test("a black-holed upstream is found out by PING, and its requests are answered", async () => {
  await using origin = new Http2Origin({ pong: false });
  await using sluice = await startSluice({
    config: configFile({
      origin: origin.address,
      transport: { ...H2C, http2: { ping_interval: "100ms", ping_timeout: "150ms" } },
    }),
  });
  const answers = await Promise.all([1, 2, 3].map(() => rawRequest(sluice.port(), get("/"))));
  for (const { status, fields } of answers) {
    assert.equal(status, 504);
    assert.match(
      fields.find(([name]) => name === "Proxy-Status")![1],
      /error=connection_read_timeout/,
    );
  }
  assert.equal(origin.connections.length, 1);
  await origin.connections[0]!.closed;
  await sluice.waitForOutput(/ping_timeout.*PING was not answered within 150 ms/);
});

testWith(
  ["openssl"],
  "an upstream that wants HTTP/1.1 for a request gets it, and the client notices nothing",
  async () => {
    const { server: { cert, key }, ca } = testCertificates();
    let required = false;
    await using origin = new Http2Origin({
      tls: { cert, key },
      alpn: ["h2", "http/1.1"],
      onConnection: (connection) => {
        if (!required) return;
        const answer = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nX-Spoken: 1\r\n\r\nold\n";
        void connection.write(new TextEncoder().encode(answer));
        return false;
      },
      onRequest(one) {
        if (one.path === "/modern") return one.respond(200, "modern");
        required = true;
        return one.rst(HTTP_1_1_REQUIRED);
      },
    });
    await using sluice = await startSluice({
      config: (directory) =>
        configFile({
          origin: origin.address,
          transport: {
            protocol: "auto",
            tls: { server_name: "a.test", ca: `${directory}/ca.pem` },
          },
          route: { retry: { attempts: 0 } },
        }),
      files: { "ca.pem": ca },
    });
    assert.equal(text(await rawRequest(sluice.port(), get("/modern"))), "modern");
    const answer = await rawRequest(sluice.port(), request("POST", "/old", {}, "content"));
    assert.equal(`${answer.status} ${text(answer)}`, "200 old\n");
    assert.equal(origin.connections.length, 2);
  },
);

Deno.test("a plugin names a peer that speaks HTTP/2", async () => {
  await using origin = new Http2Origin({ onRequest: (one) => one.respond(200, one.path) });
  await using sluice = await startSluice({
    config: configFile({
      route: { plugins: ["name"] },
      server: { allowed_peers: [origin.address] },
      plugins: {},
    }),
    plugins: {
      "name.ts": `
        import { definePlugin } from "@sluice/plugin";
        export default definePlugin({
          upstreamPeer: (session) => ({
            address: "${origin.address}",
            protocol: session.request.path === "/wrong" ? "h2" : "h2c",
            http2: { maxStreams: 7, pingInterval: 0 },
          }),
        });
      `,
    },
  });
  assert.equal(text(await rawRequest(sluice.port(), get("/named"))), "/named");
  assert.equal(origin.requests.length, 1);
  assert.equal((await rawRequest(sluice.port(), get("/wrong"))).status, 500);
  await sluice.waitForOutput(/protocol h2 needs tls; without it, write h2c/);
});

testWith(
  ["curl"],
  "a Host that a plugin sets is the :authority of an HTTP/2 upstream",
  async () => {
    await using origin = new Http2Origin({
      onRequest: (one) =>
        one.respond(200, `${one.fields.get(":authority")} ${one.fields.get("host") ?? "alone"}`),
    });
    await using sluice = await startSluice({
      config: JSON.stringify({
        version: 1,
        listeners: [{ address: "127.0.0.1:0", protocols: ["h1", "h2c"] }],
        services: [{ name: "main", routes: [{ upstream: "app", plugins: ["host"] }] }],
        upstreams: [{ name: "app", endpoints: [origin.address], transport: H2C }],
        plugins: { directory: "plugins" },
      }),
      plugins: {
        "host.ts": `
        import { definePlugin } from "@sluice/plugin";
        export default definePlugin({
          upstreamRequestFilter(session) {
            if (session.request.path === "/other") {
              session.upstreamRequest.headers.set("host", "other.test:81");
            }
          },
        });
      `,
      },
    });
    for (const version of ["--http2-prior-knowledge", "--http1.1"]) {
      for (const [path, authority] of [["/other", "other.test:81"], ["/own", "own.test"]]) {
        const host = "Host: own.test";
        const { stdout, stderr } = await curl(version, "-H", host, `${sluice.url}${path}`);
        assert.equal(`${stdout}${stderr}`, `${authority} alone`, `${version} ${path}`);
      }
    }
  },
);

Deno.test("a gRPC health check decides who gets requests", async () => {
  let serving = false;
  await using origin = new Http2Origin({
    async onRequest(one) {
      if (one.path !== "/grpc.health.v1.Health/Check") return await one.respond(200, "traffic");
      await one.content;
      await one.headers([[":status", "200"], ["content-type", "application/grpc"]]);
      await one.data(Uint8Array.of(0, 0, 0, 0, 2, 8, serving ? 1 : 2));
      await one.headers([["grpc-status", "0"]], true);
    },
  });
  await using sluice = await startSluice({
    config: JSON.stringify({
      version: 1,
      listeners: [{ address: "127.0.0.1:0" }],
      services: [{ name: "main", routes: [{ upstream: "app" }] }],
      upstreams: [{
        name: "app",
        endpoints: [origin.address],
        load_balancing: { panic_threshold: "0%" },
        transport: H2C,
        health_check: {
          active: {
            type: "grpc",
            service: "shop.Cart",
            interval: "3s",
            timeout: "3s",
            healthy: 1,
            unhealthy: 1,
          },
        },
      }],
    }),
  });
  await sluice.waitForOutput(/NOT_SERVING, expected SERVING/);
  await eventually(
    async () => (await rawRequest(sluice.port(), get("/"))).status === 503,
    "the endpoint to be left alone",
  );
  serving = true;
  await eventually(
    async () => text(await rawRequest(sluice.port(), get("/"))) === "traffic",
    "the endpoint to be asked again",
  );
});
