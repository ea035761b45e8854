import assert from "node:assert/strict";
import { HTTP2_LIMITS } from "../../src/http2/limits.ts";
import { configOf, errorsOf, minimal } from "./support.ts";

const SET = `
      max_concurrent_streams: 7
      header_list_bytes: 2KiB
      header_block_bytes: 3KiB
      header_string_bytes: 4KiB
      header_table_bytes: 5KiB
      continuations: 2
      frame_bytes: 20000
      stream_window: 70000
      connection_window: 80000
      settings_timeout: 1s
      floods:
        reset_by_peer: { burst: 11, per_second: 1 }
        reset_by_us: { burst: 12, per_second: 2 }
        settings: { burst: 13, per_second: 3 }
        ping: { burst: 14, per_second: 4 }
        empty_data: { burst: 15, per_second: 5 }
        tiny_window_update: { burst: 16, per_second: 6 }
        priority: { burst: 17, per_second: 7 }
        unknown: { burst: 18, per_second: 8 }
`;

function listener(rest: string): string {
  return `version: 1
listeners:
  - address: ":8080"
${rest}
services: [{ name: s, routes: [{ id: r, upstream: u }] }]
upstreams: [{ name: u, endpoints: ["127.0.0.1:1"] }]
`;
}

Deno.test("HTTP/2 is bounded by default as the codec says", async () => {
  const { limits, http2, protocols } = (await configOf(minimal())).listeners[0]!;
  assert.deepEqual(protocols, ["h1", "h2"]);
  assert.deepEqual(http2, { ...HTTP2_LIMITS, fields: limits.fields });
});

Deno.test("every bound of HTTP/2 can be set, and ends up where it belongs", async () => {
  const text = listener(
    `    limits: { fields: 50, header_timeout: 2s, write_timeout: 3s, min_send_rate: 9 }\n    http2:${SET}`,
  );
  const { http2 } = (await configOf(text)).listeners[0]!;
  assert.deepEqual(http2, {
    ...HTTP2_LIMITS,
    maxConcurrentStreams: 7,
    headerListBytes: 2048,
    fields: 50,
    headerBlockBytes: 3072,
    headerStringBytes: 4096,
    headerTableBytes: 5120,
    continuations: 2,
    frameBytes: 20_000,
    streamWindow: 70_000,
    connectionWindow: 80_000,
    settingsTimeout: 1000,
    headerTimeout: 2000,
    writeTimeout: 3000,
    minSendRate: 9,
    guard: {
      resetByPeer: { burst: 11, perSecond: 1 },
      resetByUs: { burst: 12, perSecond: 2 },
      settings: { burst: 13, perSecond: 3 },
      ping: { burst: 14, perSecond: 4 },
      emptyData: { burst: 15, perSecond: 5 },
      tinyWindowUpdate: { burst: 16, perSecond: 6 },
      priority: { burst: 17, perSecond: 7 },
      unknown: { burst: 18, perSecond: 8 },
    },
  });
});

Deno.test("bounds that the protocol does not allow are refused", async () => {
  for (
    const [line, words] of [
      ["frame_bytes: 16383", /frame_bytes/],
      ["frame_bytes: 17MiB", /frame_bytes/],
      ["stream_window: 65534", /stream_window/],
      ["connection_window: 3GiB", /connection_window/],
      ["max_concurrent_streams: 0", /max_concurrent_streams/],
      ["floods: { pings: { burst: 1 } }", /unknown key "pings".*did you mean "ping"/],
    ] as const
  ) {
    const errors = await errorsOf(listener(`    http2: { ${line} }`));
    assert.equal(errors.length, 1, errors.join("\n"));
    assert.match(errors[0]!, words);
  }
});
