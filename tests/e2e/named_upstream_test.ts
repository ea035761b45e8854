/** Upstreams by name: all addresses of a name are tried, within the rights of a service worker. */
import assert from "node:assert/strict";
import { lookup } from "node:dns/promises";
import { configFile } from "../support/config.ts";
import { text } from "../support/http_text.ts";
import { get, rawRequest } from "../support/raw_client.ts";
import { startSluice } from "../support/sluice.ts";

/** An origin on one of the addresses of localhost; nobody listens on the others. */
function serveOn(hostname: string): Deno.HttpServer<Deno.NetAddr> | null {
  try {
    return Deno.serve({ hostname, port: 0, onListen: () => {} }, () => new Response(hostname));
  } catch {
    return null;
  }
}

// Which addresses localhost has differs from machine to machine; one has it always.
for (const { address: hostname } of await lookup("localhost", { all: true })) {
  const probe = serveOn(hostname);
  if (probe === null) continue;
  await probe.shutdown();
  Deno.test(`an upstream called localhost is reached on ${hostname}, wherever it listens`, async () => {
    const origin = serveOn(hostname)!;
    try {
      await using sluice = await startSluice({
        config: configFile({ origin: `localhost:${origin.addr.port}` }),
        threads: 2,
      });
      for (let i = 0; i < 4; i++) {
        const answer = await rawRequest(sluice.port(), get("/", { Connection: "close" }));
        assert.equal(answer.status, 200, sluice.stderr());
        assert.equal(text(answer), hostname);
      }
    } finally {
      await origin.shutdown();
    }
  });
}
