/** A real browser in front of Sluice: HTTP/2 over TLS, WebSocket over HTTP/2, gRPC-web. */
import assert from "node:assert/strict";
import http from "node:http";
import type net from "node:net";
import { Browser } from "../support/browser.ts";
import { testCertificates } from "../support/certs.ts";
import { withDeadline } from "../support/deadline.ts";
import { GrpcPeers } from "../support/grpc_peers.ts";
import { testWith } from "../support/require.ts";
import { startSluice } from "../support/sluice.ts";
import { startWebSocketOrigin } from "../support/websocket_origin.ts";

/** What the page does. It runs in the browser. */
const PAGE = `<!doctype html><meta charset="utf-8"><title>test</title><script type="module">
const report = {};
async function run(name, work) {
  try { report[name] = await work(); } catch (error) { report[name] = "failed: " + error; }
}
function socket(path, words) {
  return new Promise((resolve, reject) => {
    const ws = new WebSocket("wss://" + location.host + path, ["chat"]);
    const got = [];
    ws.onopen = () => ws.send(words[0]);
    ws.onmessage = ({ data }) => {
      got.push(data);
      if (got.length < words.length) ws.send(words[got.length]);
      else ws.close(4005, "done");
    };
    ws.onclose = ({ code, reason, wasClean }) =>
      resolve({ got, code, reason, wasClean, protocol: ws.protocol });
    setTimeout(() => reject(new Error("timeout, got " + JSON.stringify(got))), 20000);
  });
}
await run("fetch", async () => {
  const body = new Uint8Array(300000).map((_, i) => i * 7);
  const answers = await Promise.all(Array.from({ length: 20 }, () =>
    fetch("/echo", { method: "POST", body }).then((answer) => answer.arrayBuffer())));
  return answers.every((answer) => {
    const bytes = new Uint8Array(answer);
    return bytes.length === body.length && bytes.every((byte, i) => byte === body[i]);
  });
});
await run("protocol", () => performance.getEntriesByType("resource").map((one) => one.nextHopProtocol));
const words = ["hello", "wörld", "x".repeat(100000)];
await run("h1", () => socket("/h1/echo", words));
await run("h2c", () => socket("/h2c/echo", words));
await run("close", () => socket("/h2c/echo", ["close"]));
await run("refused", () => socket("/h1/refuse", words).then(({ code }) => code));
await run("grpc", async () => {
  const message = new Uint8Array([0, 0, 0, 0, 2, 104, 105]);
  const answer = await fetch("/test.Peer/Unary", {
    method: "POST", body: message, headers: { "content-type": "application/grpc-web+proto" },
  });
  const bytes = new Uint8Array(await answer.arrayBuffer());
  return [answer.status, [...bytes.subarray(0, 8)], new TextDecoder().decode(bytes.subarray(12))];
});
await fetch("/report", { method: "POST", body: JSON.stringify(report) });
</script>`;

interface Closed {
  readonly got: readonly string[];
  readonly code: number;
  readonly reason: string;
  readonly wasClean: boolean;
  readonly protocol: string;
}

interface Report {
  readonly fetch: boolean;
  readonly protocol: readonly string[];
  readonly h1: Closed;
  readonly h2c: Closed;
  readonly close: Closed;
  readonly refused: number;
  readonly grpc: readonly [number, readonly number[], string];
}

/** Serves the page, echoes, and takes the report. */
async function startPages() {
  const reported = Promise.withResolvers<Report>();
  const server = http.createServer((request, response) => {
    if (request.url === "/echo") return void request.pipe(response);
    if (request.url === "/report") {
      let text = "";
      request.setEncoding("utf8").on("data", (piece: string) => text += piece);
      request.on("end", () => {
        response.end();
        reported.resolve(JSON.parse(text));
      });
      return;
    }
    response.writeHead(200, { "Content-Type": "text/html" });
    response.end(PAGE);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as net.AddressInfo).port,
    reported: reported.promise,
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}

testWith(
  ["chromium", "openssl"],
  "Chromium speaks HTTP/2, WebSocket over it, and gRPC-web",
  async () => {
    const { server: certificate } = testCertificates();
    await using pages = await startPages();
    await using h1 = await startWebSocketOrigin("h1");
    await using h2c = await startWebSocketOrigin("h2c");
    await using peers = new GrpcPeers();
    const upstream = (name: string, port: number, protocol: string) => ({
      name,
      endpoints: [`http://127.0.0.1:${port}`],
      transport: { protocol },
    });
    await using sluice = await startSluice({
      files: { "server.pem": certificate.cert, "server.key": certificate.key },
      config: JSON.stringify({
        version: 1,
        listeners: [{
          address: "127.0.0.1:0",
          tls: { certificates: [{ cert: "server.pem", key: "server.key" }] },
        }],
        services: [{
          name: "main",
          routes: [
            { id: "h1", match: { path: "/h1/*" }, upstream: "h1" },
            { id: "h2c", match: { path: "/h2c/*" }, upstream: "h2c" },
            { id: "grpc", match: { path: "/test.Peer/*" }, upstream: "grpc", grpc_web: true },
            { id: "all", upstream: "pages" },
          ],
        }],
        upstreams: [
          upstream("pages", pages.port, "h1"),
          upstream("h1", h1.port, "h1"),
          upstream("h2c", h2c.port, "h2c"),
          upstream("grpc", await peers.serve(), "h2c"),
        ],
        telemetry: { access_log: { output: "access.jsonl" } },
      }),
    });
    await using _browser = await Browser.open(`https://a.test:${sluice.port()}/`, ["a.test"]);
    const report = await withDeadline(pages.reported, 90_000, "the report of the page");
    assert.equal(report.fetch, true);
    assert.ok(report.protocol.length > 0 && report.protocol.every((protocol) => protocol === "h2"));
    for (const name of ["h1", "h2c"] as const) {
      const { got, ...end } = report[name];
      assert.deepEqual(got, ["hello", "wörld", "x".repeat(100_000)]);
      assert.deepEqual(end, { code: 4005, reason: "done", wasClean: true, protocol: "chat" });
    }
    assert.deepEqual([report.close.code, report.close.reason], [4002, "as you wish"]);
    assert.equal(report.refused, 1006);
    const [status, bytes, trailers] = report.grpc;
    assert.equal(status, 200);
    assert.deepEqual(bytes, [0, 0, 0, 0, 2, 104, 105, 0x80]);
    assert.match(trailers, /^grpc-status: 0\r\n/m);
    // WebSockets came on the connection of the page: as streams of HTTP/2.
    const lines = (await sluice.waitForAccessLog(25)).filter((line) => "tunnel.protocol" in line);
    assert.equal(lines.length, 3);
    for (const line of lines) {
      assert.equal(line["tunnel.protocol"], "websocket");
      assert.equal(line["network.protocol.version"], "2");
      assert.equal(line["http.response.status_code"], 200);
    }
  },
);
