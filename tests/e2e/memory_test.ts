/** Memory stays flat, however much goes through. */
import assert from "node:assert/strict";
import { download, hammer, startBulkOrigin, startQuickOrigin, upload } from "../support/bulk.ts";
import { type Sluice, startSluice } from "../support/sluice.ts";

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;
/** Far below what went through, and far above what buffers and the heap's breathing take. */
const ROOM = 96 * MIB;

/** The most memory that the program had while something went on. */
function watch(sluice: Sluice): { readonly look: () => void; readonly most: () => number } {
  let most = 0;
  const look = () => {
    most = Math.max(most, sluice.rss());
  };
  return { look, most: () => most };
}

/** Calls `look` at most every 50 milliseconds: reading it is not free. */
function seldom(look: () => void): () => void {
  let last = 0;
  return () => {
    if (performance.now() - last < 50) return;
    last = performance.now();
    look();
  };
}

Deno.test("a download of 1 GiB leaves memory flat", async () => {
  await using origin = startBulkOrigin(GIB);
  await using sluice = await startSluice({ upstream: `http://127.0.0.1:${origin.port}` });
  const memory = watch(sluice);
  const before = sluice.rss();
  await download(sluice.port(), GIB, seldom(memory.look));
  assert.ok(memory.most() - before < ROOM, `${(memory.most() - before) / MIB} MiB more`);
});

for (const way of ["length", "chunked"] as const) {
  Deno.test(`an upload of 1 GiB leaves memory flat (${way})`, async () => {
    await using origin = startBulkOrigin(GIB);
    await using sluice = await startSluice({ upstream: `http://127.0.0.1:${origin.port}` });
    const memory = watch(sluice);
    const before = sluice.rss();
    await upload(sluice.port(), GIB, way, seldom(memory.look));
    assert.ok(origin.received >= GIB);
    assert.ok(memory.most() - before < ROOM, `${(memory.most() - before) / MIB} MiB more`);
  });
}

Deno.test("100,000 requests through a plugin leave no growing memory", async () => {
  await using origin = startQuickOrigin();
  await using sluice = await startSluice({
    upstream: `http://127.0.0.1:${origin.port}`,
    plugins: {
      "touch.ts": `import { definePlugin } from "@sluice/plugin";
let count = 0;
export default definePlugin({
  requestFilter(session) {
    session.vars.set("touch.count", ++count);
    session.upstreamRequest.headers.set("X-Count", String(count));
  },
  responseFilter(session) {
    session.response.headers.set("X-Count", String(session.vars.get("touch.count")));
  },
});
`,
    },
    args: ["--access-log", "off"],
  });
  const rounds: number[] = [];
  for (let round = 0; round < 5; round++) {
    await hammer(sluice.port(), 20_000, 32, () => {});
    rounds.push(sluice.rss());
  }
  // The first rounds fill pools and warm the compiler up; from then on nothing may be kept.
  const growth = rounds[4]! - rounds[1]!;
  const told = rounds.map((bytes) => Math.round(bytes / MIB)).join(", ");
  assert.ok(growth < 48 * MIB, `MiB after each 20,000 requests: ${told}`);
});
