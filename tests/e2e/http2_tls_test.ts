/** HTTP/2 where TLS agrees on it, on both engines. */
import assert from "node:assert/strict";
import tls from "node:tls";
import * as c from "../../src/http2/constants.ts";
import { hasOpenssl, testCertificates } from "../support/certs.ts";
import { configFile } from "../support/config.ts";
import { curl } from "../support/curl.ts";
import { frame, RawHttp2, statusOf } from "../support/raw_http2.ts";
import { testWith } from "../support/require.ts";
import { pattern, startSimpleOrigin } from "../support/simple_origin.ts";
import { startSluice } from "../support/sluice.ts";
import { Wire } from "../support/wire.ts";

function connect(port: number, protocols: string[]): Promise<tls.TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = tls.connect(
      { host: "127.0.0.1", port, ALPNProtocols: protocols, rejectUnauthorized: false },
      () => resolve(socket),
    );
    socket.once("error", reject);
  });
}

async function run(program: string, ...args: string[]): Promise<string> {
  const { stdout, code } = await new Deno.Command(program, { args, stderr: "null" }).output();
  assert.equal(code, 0);
  return new TextDecoder().decode(stdout);
}

for (const engine of ["native", "node"]) {
  testWith(
    ["curl", "nghttp", "h2load", "openssl"],
    `HTTP/2 over TLS, engine ${engine}`,
    async (t) => {
      assert.ok(hasOpenssl);
      const { server } = testCertificates();
      await using origin = await startSimpleOrigin();
      await using sluice = await startSluice({
        config: (directory) =>
          configFile({
            origin: origin.address,
            listener: {
              tls: {
                engine,
                certificates: [{ cert: `${directory}/a.pem`, key: `${directory}/a.key` }],
                strict_host: false,
              },
            },
          }),
        files: { "a.pem": server.cert, "a.key": server.key },
      });
      const port = sluice.port();
      const url = `https://127.0.0.1:${port}`;

      await t.step("curl is served by the version it asks for", async () => {
        for (const [flag, version] of [["--http2", "2"], ["--http1.1", "1.1"]] as const) {
          const { stdout } = await curl(
            "-k",
            flag,
            "-w",
            " %{http_version}",
            `${url}/bytes/100000`,
          );
          assert.equal(stdout, `${pattern(100_000)} ${version}`);
        }
        const file = await Deno.makeTempFile();
        try {
          await Deno.writeTextFile(file, pattern(2_000_000));
          const { stdout } = await curl(
            "-k",
            "--http2",
            "--data-binary",
            `@${file}`,
            `${url}/echo`,
          );
          assert.equal(stdout, pattern(2_000_000));
        } finally {
          await Deno.remove(file);
        }
      });

      await t.step("nghttp and h2load are served", async () => {
        assert.equal(await run("nghttp", `${url}/bytes/70000`), pattern(70_000));
        const report = await run("h2load", "-n", "500", "-c", "3", "-m", "10", `${url}/bytes/5000`);
        assert.match(report, /500 succeeded, 0 failed/);
      });

      await t.step(
        "what was not agreed on is not spoken, whatever the first bytes are",
        async () => {
          await using wire = new Wire(await connect(port, ["http/1.1"]));
          await wire.send(c.PREFACE);
          assert.match(await wire.takeUntil("\r\n"), /^HTTP\/1\.1 505/);
          await using other = new Wire(await connect(port, ["h2"]));
          const client = new RawHttp2(other, {});
          await client.send(c.PREFACE, frame(c.SETTINGS, 0, 0));
          assert.equal(statusOf(await client.get("/")), "200");
          await using wrong = new RawHttp2(new Wire(await connect(port, ["h2"])), {});
          await wrong.wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
          assert.equal(await wrong.goaway(), c.PROTOCOL_ERROR);
        },
      );

      await t.step("the upstream hears of https", async () => {
        const { stdout } = await curl("-k", "--http2", `${url}/request`);
        assert.match(stdout, /"X-Forwarded-Proto","https"/);
      });
    },
  );
}
