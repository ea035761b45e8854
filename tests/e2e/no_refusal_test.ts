/** Upgrades, reloads and changes of engine under load: no connection is refused or reset, no request is lost. */
import assert from "node:assert/strict";
import { handleEngineAvailable } from "../../src/transport/native_handle.ts";
import type { SocketEngine } from "../../src/transport/socket.ts";
import { testCertificates } from "../support/certs.ts";
import { connectLoad } from "../support/connect_load.ts";
import { Successor, upgrade } from "../support/handover.ts";
import { get, rawRequest } from "../support/raw_client.ts";
import { reload } from "../support/reload.ts";
import { testWith } from "../support/require.ts";
import { text } from "../support/http_text.ts";
import { startSimpleOrigin } from "../support/simple_origin.ts";
import { startSluice } from "../support/sluice.ts";
import { SOCKET_ENGINES } from "../support/socket_engines.ts";

/** The engines of the listener in clear text and of the one with TLS. */
interface Engines {
  readonly clear: SocketEngine;
  readonly secure: "native" | "node";
}

const OWN: Engines = { clear: "deno", secure: "native" };

testWith(
  ["openssl"],
  "upgrades, replaced workers and other engines under load: clear text, TLS and HTTP/2 lose nothing",
  async (t) => {
    assert.ok(handleEngineAvailable());
    const { server } = testCertificates();
    await using one = await startSimpleOrigin();
    await using two = await startSimpleOrigin();
    const config = (directory: string, { clear, secure }: Engines, origin: string) =>
      JSON.stringify({
        version: 1,
        // What runs has its time, however busy the machine is; nobody waits for it when it is done.
        server: { grace_period: "20s", upgrade_timeout: "120s" },
        admin: { listen: `unix:${directory}/admin.sock` },
        listeners: [
          { name: "clear", address: "127.0.0.1:0", engine: clear, protocols: ["h1", "h2c"] },
          {
            name: "secure",
            address: "127.0.0.1:0",
            tls: {
              engine: secure,
              certificates: [{ cert: `${directory}/a.pem`, key: `${directory}/a.key` }],
              strict_host: false,
            },
          },
        ],
        services: [{ name: "main", routes: [{ upstream: "origin" }] }],
        upstreams: [{ name: "origin", endpoints: [origin] }],
      });
    await using sluice = await startSluice({
      config: (directory) => config(directory, OWN, one.address),
      files: { "a.pem": server.cert, "a.key": server.key },
      threads: 2,
    });
    const { directory } = sluice;
    const engines = async () => {
      const answer = await rawRequest(
        { path: `${directory}/admin.sock` },
        get("/config", { Host: "localhost" }),
      );
      const { listeners } = JSON.parse(text(answer));
      return [listeners[0].engine, listeners[1].tls.engine];
    };
    let serving: Pick<Successor, "pid"> = sluice;
    const load = connectLoad(sluice.port("clear"), sluice.port("secure"), 1);
    const settled = async () => {
      await load.more(5);
      assert.deepEqual(load.failures, [], sluice.stderr());
    };
    const change = async (to: Engines, origin: string) => {
      assert.ok(await reload(sluice, config(directory, to, origin), serving.pid), sluice.stderr());
      assert.deepEqual(await engines(), [to.clear, to.secure]);
      await settled();
    };
    try {
      await settled();
      for (const clear of SOCKET_ENGINES.filter((one) => one !== "deno")) {
        const other = { clear, secure: "node" } as const;
        await t.step(
          `from engine deno to ${clear}, native to node`,
          () => change(other, one.address),
        );
        await t.step(`engine ${clear}: another process`, async () => {
          const before = serving;
          serving = await upgrade(sluice, serving.pid);
          await settled();
          if (before === sluice) assert.equal(await sluice.exited, 0);
        });
        await t.step(
          `engine ${clear}, inherited: other workers`,
          () => change(other, two.address),
        );
        await t.step(
          `from engine ${clear} to deno, node to native`,
          () => change(OWN, two.address),
        );
      }
      await t.step("engine deno: another process", async () => {
        serving = await upgrade(sluice, serving.pid);
        await settled();
      });
      await load.stop();
      assert.deepEqual(load.failures, []);
    } finally {
      await load.stop();
      // The first one is the test's own child, and goes with it.
      if (serving.pid !== sluice.pid) await new Successor(serving.pid)[Symbol.asyncDispose]();
    }
  },
);
