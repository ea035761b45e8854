/** A real origin and a real client: nginx behind Sluice, curl in front of it. */
import assert from "node:assert/strict";
import { configFile } from "../support/config.ts";
import { curl } from "../support/curl.ts";
import { field, text } from "../support/http_text.ts";
import { type Nginx, startNginx } from "../support/nginx.ts";
import { get, RawClient, rawRequest } from "../support/raw_client.ts";
import { findProgram, testWith } from "../support/require.ts";
import { pattern, startSimpleOrigin } from "../support/simple_origin.ts";
import { type Sluice, startSluice } from "../support/sluice.ts";

const PAGE = pattern(50_000);

let nginx: Nginx | undefined;
let sluice: Sluice | undefined;

Deno.test.beforeAll(async () => {
  if (findProgram("nginx") === null) return;
  nginx = await startNginx(
    `location /who { return 200 "$request_method $uri $http_host $http_x_forwarded_for"; }
     location /gone { return 410; }
     location /moved { return 301 /page.txt; }
     location /close { keepalive_timeout 0; return 200 "closed"; }`,
    { "page.txt": PAGE },
  );
  sluice = await startSluice({ config: configFile({ origin: `127.0.0.1:${nginx.port}` }) });
});
Deno.test.afterAll(async () => {
  await sluice?.[Symbol.asyncDispose]();
  await nginx?.[Symbol.asyncDispose]();
});

testWith(["nginx"], "a file of nginx arrives as nginx sends it", async () => {
  const through = await rawRequest(sluice!.port(), get("/page.txt"));
  const direct = await rawRequest(nginx!.port, get("/page.txt"));
  // Framing is of the connection, not of the message: where it stands is up to who writes it.
  const own = (answer: typeof through) =>
    answer.fields.filter(([name]) => !/^(date|connection|content-length)$/i.test(name));
  assert.equal(through.status, 200);
  assert.equal(text(through), PAGE);
  assert.deepEqual(own(through), own(direct));
  assert.equal(field(through, "content-length"), "50000");
});

testWith(["nginx"], "ranges and conditions are nginx's to answer", async () => {
  await using client = await RawClient.connect(sluice!.port());
  const part = await client.request(get("/page.txt", { Range: "bytes=100-199" }));
  assert.equal(part.status, 206);
  assert.equal(text(part), PAGE.slice(100, 200));
  assert.equal(field(part, "content-range"), "bytes 100-199/50000");
  const beyond = await client.request(get("/page.txt", { Range: "bytes=50000-" }));
  assert.equal(beyond.status, 416);
  const etag = field(part, "etag")!;
  const same = await client.request(get("/page.txt", { "If-None-Match": etag }));
  assert.equal(same.status, 304);
  assert.equal((await client.request(get("/gone"))).status, 410);
  assert.equal((await client.request(get("/moved"))).status, 301);
});

testWith(
  ["nginx"],
  "nginx is told the host and the client, and may close when it likes",
  async () => {
    await using client = await RawClient.connect(sluice!.port());
    assert.equal(
      text(await client.request(get("/who"))),
      "GET /who test.example 127.0.0.1",
    );
    for (let i = 0; i < 3; i++) assert.equal(text(await client.request(get("/close"))), "closed");
  },
);

testWith(["nginx", "curl"], "curl gets a file, a HEAD and a range through", async () => {
  const url = `${sluice!.url}/page.txt`;
  const whole = await curl(url);
  assert.equal(whole.code, 0, whole.stderr);
  assert.equal(whole.stdout, PAGE);
  const head = await curl("-I", url);
  assert.match(head.stdout, /^HTTP\/1\.1 200 OK\r\n/);
  assert.match(head.stdout, /Content-Length: 50000\r\n/i);
  assert.equal((await curl("-r", "0-9", url)).stdout, PAGE.slice(0, 10));
});

testWith(["nginx", "curl"], "curl uses one connection for several requests", async () => {
  const url = `${sluice!.url}/page.txt`;
  const { stdout, stderr, code } = await curl(
    "-o",
    "/dev/null",
    "-o",
    "/dev/null",
    "-w",
    "%{num_connects}\n",
    url,
    url,
  );
  assert.equal(code, 0, stderr);
  assert.deepEqual(stdout.trim().split("\n"), ["1", "0"]);
});

testWith(["curl"], "curl uploads with a length, in chunks, and after a 100", async () => {
  await using origin = await startSimpleOrigin({
    handler: async (request, connection) => {
      await connection.send(
        `HTTP/1.1 200 OK\r\nContent-Length: ${request.body.length}\r\n\r\n`,
      );
      await connection.send(request.body);
      return "";
    },
  });
  await using proxy = await startSluice({ upstream: origin.url });
  const file = await Deno.makeTempFile();
  try {
    const content = pattern(2_000_000);
    await Deno.writeTextFile(file, content);
    const ways = [
      [],
      ["-H", "Transfer-Encoding: chunked"],
      ["-H", "Expect: 100-continue", "--expect100-timeout", "1"],
      ["-H", "Expect:"],
    ];
    for (const way of ways) {
      const { code, stdout, stderr } = await curl(
        ...["-X", "POST", "--data-binary", `@${file}`],
        ...way,
        `${proxy.url}/`,
      );
      assert.equal(code, 0, `${way}: ${stderr}`);
      assert.ok(stdout === content, `${way}: ${stdout.length} bytes`);
    }
  } finally {
    await Deno.remove(file);
  }
});

testWith(
  ["curl"],
  "curl reaches a unix socket listener, HTTP/1.0 and an absolute target",
  async () => {
    await using origin = await startSimpleOrigin();
    await using proxy = await startSluice({
      config: (directory) =>
        configFile({
          origin: origin.address,
          top: {
            listeners: [
              { name: "web", address: "127.0.0.1:0" },
              { name: "local", address: `unix:${directory}/local.sock` },
            ],
            services: [{
              name: "main",
              listeners: ["web", "local"],
              routes: [{ id: "all", upstream: "origin" }],
            }],
          },
        }),
    });
    const unix = await curl(
      "--unix-socket",
      `${proxy.directory}/local.sock`,
      "http://any.example/bytes/20",
    );
    assert.equal(unix.stdout, pattern(20));
    assert.equal((await curl("--http1.0", `${proxy.url}/chunked/30`)).stdout, pattern(30));
    const absolute = await curl(
      "--proxy",
      proxy.url,
      "--noproxy",
      "",
      "http://any.example/bytes/9",
    );
    assert.equal(absolute.stdout, pattern(9), absolute.stderr);
  },
);
