/**
 * Clients that misuse HTTP/2, each against a live listener while an ordinary client asks on and on: they lose
 * their connection, or one request; the ordinary one is served; memory stays within bounds.
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import * as c from "../../src/http2/constants.ts";
import { configFile } from "../support/config.ts";
import { RawClient } from "../support/raw_client.ts";
import { frame, RawHttp2, statusOf, words } from "../support/raw_http2.ts";
import { startSimpleOrigin } from "../support/simple_origin.ts";
import { startSluice } from "../support/sluice.ts";

const CALM = c.ENHANCE_YOUR_CALM;
const MANY = 20_000;

/** Sends until the other side has had enough; what it has closed takes no more. */
async function flood(client: RawHttp2, piece: (i: number) => Uint8Array, count: number = MANY) {
  for (let sent = 0; sent < count && client.wire.ended === null;) {
    const batch: Uint8Array[] = [];
    for (let i = 0; i < 200 && sent < count; i++) batch.push(piece(sent++));
    try {
      await client.send(...batch);
    } catch {
      return;
    }
    while (client.wire.buffered.length > 0) await client.read(1_000);
  }
}

interface Attack {
  readonly name: string;
  /** Code of the GOAWAY. Default: ENHANCE_YOUR_CALM. */
  readonly code?: number;
  readonly run: (client: RawHttp2) => Promise<void>;
}

/** A field block of one field that is there already, over and over. */
function bomb(client: RawHttp2): Buffer {
  const first = client.block([
    [":method", "GET"],
    [":scheme", "http"],
    [":authority", "test.example"],
    [":path", "/"],
    ["x-bomb", "x".repeat(3000)],
  ]);
  return Buffer.concat([first, Buffer.alloc(16_000 - first.length, 0xbe)]);
}

const ATTACKS: Attack[] = [
  {
    name: "rapid reset",
    run: (client) =>
      flood(client, () => {
        const id = client.take();
        return Buffer.concat([
          client.request(id, "GET", "/delay/60000"),
          frame(c.RST_STREAM, 0, id, words(c.CANCEL)),
        ]);
      }),
  },
  {
    name: "made you reset",
    run: (client) =>
      flood(client, () => {
        const id = client.take();
        return Buffer.concat([
          client.request(id, "GET", "/delay/60000"),
          frame(c.WINDOW_UPDATE, 0, id, words(0)),
        ]);
      }),
  },
  {
    name: "malformed requests",
    run: (client) => flood(client, () => client.request(client.take(), "G T", "/")),
  },
  {
    name: "more streams than allowed",
    run: async (client) => {
      await client.ping();
      await flood(client, () => client.request(client.take(), "GET", "/delay/60000"));
    },
  },
  {
    name: "SETTINGS",
    run: (client) => flood(client, () => frame(c.SETTINGS, 0, 0)),
  },
  {
    name: "PING",
    run: (client) => flood(client, () => frame(c.PING, 0, 0, new Uint8Array(8))),
  },
  {
    name: "empty DATA",
    run: async (client) => {
      const id = client.take();
      await client.send(client.request(id, "POST", "/echo", { end: false }));
      await flood(client, () => frame(c.DATA, 0, id));
    },
  },
  {
    name: "DATA of padding alone",
    run: async (client) => {
      const id = client.take();
      await client.send(client.request(id, "POST", "/echo", { end: false }));
      const padded = frame(c.DATA, c.FLAG_PADDED, id, Uint8Array.of(1, 0));
      await flood(client, () => padded);
    },
  },
  {
    name: "tiny WINDOW_UPDATE",
    run: (client) => flood(client, () => frame(c.WINDOW_UPDATE, 0, 0, words(1))),
  },
  {
    name: "PRIORITY",
    run: (client) => flood(client, (i) => frame(c.PRIORITY, 0, 2 * i + 1, new Uint8Array(5))),
  },
  {
    name: "PRIORITY_UPDATE",
    run: (client) => flood(client, () => frame(16, 0, 0, Uint8Array.of(0, 0, 0, 1, 117))),
  },
  {
    name: "unknown frames",
    run: (client) => flood(client, () => frame(0xee, 0, 0, "x")),
  },
  {
    name: "CONTINUATION frames",
    run: async (client) => {
      await client.send(frame(c.HEADERS, 0, client.take(), client.block([[":method", "GET"]])));
      await flood(client, () => frame(c.CONTINUATION, 0, 1, Uint8Array.of(0x82)));
    },
  },
  {
    name: "empty CONTINUATION frames",
    run: async (client) => {
      await client.send(frame(c.HEADERS, 0, client.take(), client.block([[":method", "GET"]])));
      await flood(client, () => frame(c.CONTINUATION, 0, 1));
    },
  },
  {
    name: "a field block without end",
    run: async (client) => {
      await client.send(frame(c.HEADERS, 0, client.take(), new Uint8Array(16_000)));
      await flood(client, () => frame(c.CONTINUATION, 0, 1, new Uint8Array(16_000)), 6);
    },
  },
  {
    name: "an HPACK string without measure",
    code: c.COMPRESSION_ERROR,
    run: async (client) => {
      const block = Buffer.concat([
        Uint8Array.of(0x00, 0x01, 0x61, 0x7f, 0x81, 0xff, 0x01),
        new Uint8Array(40_000),
      ]);
      const id = client.take();
      await client.send(
        frame(c.HEADERS, 0, id, block.subarray(0, 16_000)),
        frame(c.CONTINUATION, 0, id, block.subarray(16_000, 32_000)),
        frame(c.CONTINUATION, c.FLAG_END_HEADERS, id, block.subarray(32_000)),
      );
    },
  },
  {
    name: "an HPACK table over what is allowed",
    code: c.COMPRESSION_ERROR,
    run: (client) =>
      client.send(
        frame(c.HEADERS, c.FLAG_END_HEADERS, 1, Uint8Array.of(0x3f, 0xe1, 0xff, 0x03)),
      ),
  },
  {
    name: "SETTINGS that are never acknowledged",
    code: c.SETTINGS_TIMEOUT,
    run: async () => {},
  },
  {
    name: "a field block that does not go on",
    code: c.NO_ERROR,
    run: async (client) => {
      await client.ping();
      await client.send(frame(c.HEADERS, 0, 1, client.block([[":method", "GET"]])));
    },
  },
];

Deno.test("HTTP/2 connections that are misused", async (t) => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({
    config: configFile({
      origin: origin.address,
      listener: { protocols: ["h1", "h2c"], http2: { settings_timeout: "700ms" } },
      limits: {
        header_timeout: "1s",
        body_timeout: "1s",
        write_timeout: "1s",
        body_min_rate: 1000,
        requests_per_connection: 0,
      },
    }),
  });
  const port = sluice.port();
  await using good = await RawHttp2.connect(port);
  assert.equal(statusOf(await good.get("/")), "200");
  const before = sluice.rss();

  /** Runs something while the ordinary client asks, and until it was served some more. */
  const beside = async <T>(work: Promise<T>): Promise<T> => {
    let over = false;
    const done = work.finally(() => over = true);
    const ordinary = (async () => {
      for (let served = 0; !over || served < 5; served++) {
        assert.equal(statusOf(await good.get("/bytes/100")), "200");
      }
    })();
    return (await Promise.all([done, ordinary]))[0];
  };

  for (const { name, code = CALM, run } of ATTACKS) {
    await t.step(`${name} end the connection`, async () => {
      await using client = await RawHttp2.connect(port, {
        acknowledges: code !== c.SETTINGS_TIMEOUT,
      });
      const got = await beside(run(client).then(() => client.goaway()));
      // Who sends on and on may lose the GOAWAY with its connection.
      if (got >= 0) assert.equal(got, code);
      await client.end().catch(() => {});
      assert.notEqual(client.wire.ended, null);
    });
  }

  await t.step("each flood stands in the access log and in the operational log", async () => {
    const floods = ATTACKS.filter(({ code = CALM }) => code === CALM).length;
    const lines = await sluice.waitForAccessLog(1);
    const denied = lines.filter((line) =>
      line["proxy.error"] === "http_request_denied" && line["http.route"] === undefined
    );
    assert.equal(denied.length, floods);
    assert.ok(denied.every((line) => line["sluice.listener"] === "web"));
    assert.match(sluice.stderr(), /Closed a connection: peer_flood: HTTP\/2: ENHANCE_YOUR_CALM/);
  });

  await t.step(
    "a window that stays closed, or opens by crumbs, costs the stream alone",
    async () => {
      await using client = await RawHttp2.connect(port, {
        settings: [[c.SETTINGS_INITIAL_WINDOW_SIZE, 0]],
        opensWindows: false,
      });
      const ids = Array.from({ length: 50 }, () => client.take());
      await client.send(...ids.map((id) => client.request(id, "GET", "/bytes/50000")));
      const crumbs = client.take();
      await client.send(client.request(crumbs, "GET", "/bytes/50000"));
      let eating = true;
      const eater = (async () => {
        while (eating) {
          await client.send(frame(c.WINDOW_UPDATE, 0, crumbs, words(1)));
          await new Promise((resolve) => setTimeout(resolve, 100));
        }
      })();
      await beside((async () => {
        for (const id of [...ids, crumbs]) {
          const seen = await client.over(id);
          assert.equal(seen.reset, c.CANCEL);
        }
      })());
      eating = false;
      await eater;
      assert.ok(client.seen(crumbs).body.length < 100);
      assert.equal(statusOf(await client.get("/status/204")), "204");
    },
  );

  await t.step("a client that reads nothing loses its connection, having cost little", async () => {
    await using client = await RawHttp2.connect(port, {
      settings: [[c.SETTINGS_INITIAL_WINDOW_SIZE, 2 ** 31 - 1]],
    });
    const ids = Array.from({ length: 100 }, () => client.take());
    await client.send(
      frame(c.WINDOW_UPDATE, 0, 0, words(2 ** 30)),
      ...ids.map((id) => client.request(id, "GET", "/bytes/1000000")),
    );
    const gone = sluice.waitForOutput(/write_timeout|peer_flood/).catch(() => {});
    await beside(Promise.race([gone, new Promise((resolve) => setTimeout(resolve, 3_000))]));
    assert.ok(sluice.rss() - before < 150e6, `${(sluice.rss() - before) / 1e6} MB`);
    const lines = await sluice.waitForAccessLog(1);
    assert.ok(lines.some((line) => line["proxy.error"] === "connection_write_timeout"));
  });

  await t.step("content that comes too slowly, or not at all, is 408", async () => {
    await using client = await RawHttp2.connect(port);
    const slow = client.take();
    const silent = client.take();
    await client.send(
      client.request(slow, "POST", "/echo", { end: false }),
      client.request(silent, "POST", "/echo", { end: false }),
    );
    let dripping = true;
    const drip = (async () => {
      while (dripping) {
        await client.send(frame(c.DATA, 0, slow, "x"));
        await new Promise((resolve) => setTimeout(resolve, 200));
      }
    })();
    await beside((async () => {
      for (const id of [slow, silent]) assert.equal(statusOf(await client.over(id)), "408");
    })());
    dripping = false;
    await drip;
  });

  await t.step("a field section of many tiny fields, or of one over and over, is 431", async () => {
    await using client = await RawHttp2.connect(port);
    const many = Array.from({ length: 900 }, (_, i) => [`x${i}`, ""] as const);
    assert.equal(statusOf(await beside(client.get("/", many))), "431");
    const id = client.take();
    await client.send(frame(c.HEADERS, c.FLAG_END_HEADERS | c.FLAG_END_STREAM, id, bomb(client)));
    assert.equal(statusOf(await beside(client.over(id))), "431");
    assert.equal(statusOf(await client.get("/")), "200");
  });

  await t.step(
    "a preface that does not come, and SETTINGS that do not follow, are not waited for",
    async () => {
      for (const part of [c.PREFACE.subarray(0, 20), c.PREFACE]) {
        await using client = await RawClient.connect(port);
        await client.send(part);
        await beside(client.whenEnded(5_000));
      }
    },
  );

  await t.step("memory is what it was, give or take what the runtime keeps", () => {
    assert.ok(sluice.rss() - before < 150e6, `${(sluice.rss() - before) / 1e6} MB more`);
    assert.doesNotMatch(sluice.stderr(), /internal_error|Uncaught|TypeError/);
  });
});
