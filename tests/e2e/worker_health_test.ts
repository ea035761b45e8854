/** What a service worker has found out by its traffic goes on in the worker that takes its place, whatever the reason. */
import assert from "node:assert/strict";
import { configFile } from "../support/config.ts";
import { eventually } from "../support/deadline.ts";
import { upgrade } from "../support/handover.ts";
import { field } from "../support/http_text.ts";
import { get, RawClient, rawRequest } from "../support/raw_client.ts";
import { reload, writeConfig } from "../support/reload.ts";
import { type Sluice, startSluice } from "../support/sluice.ts";
import { startMembers, tally } from "./upstream_support.ts";

const END = `import { definePlugin } from "@sluice/plugin";
export default definePlugin({
  requestFilter(session) {
    if (session.request.path === "/end") self.close();
  },
});
`;

const TAKEN = /Goes on with what the worker before has found out ejected=1 open_breakers=1/g;

async function taken(sluice: Sluice, times: number): Promise<void> {
  await eventually(
    () => [...sluice.stderr().matchAll(TAKEN)].length === times,
    `worker ${times} to go on with what is known:\n${sluice.stderr()}`,
    60_000,
  );
}

Deno.test("who is ejected and which breakers are open goes on after a reload, the end of a worker and an upgrade", async () => {
  await using stack = new AsyncDisposableStack();
  const [a, b, bad, frail, other] = await startMembers(stack, "a", "b", "bad", "frail", "other");
  const config = (mark: { eject?: string; more?: boolean } = {}) =>
    configFile({
      top: {
        services: [{
          name: "main",
          routes: [
            { match: { path: "/frail" }, upstream: "frail", retry: { attempts: 0 } },
            { upstream: "group", retry: { attempts: 0 } },
          ],
        }],
      },
      upstreams: [
        {
          name: "group",
          endpoints: [a, b, bad].map(({ address }) => address),
          health_check: {
            passive: {
              consecutive_failures: 1,
              eject: mark.eject ?? "600s",
              max_eject: "900s",
            },
          },
        },
        {
          name: "frail",
          endpoints: [frail.address],
          circuit_breaker: { consecutive_failures: 1, open_for: "600s", max_open_for: "600s" },
        },
        ...mark.more === true ? [{ name: "more", endpoints: [other.address] }] : [],
      ],
      plugins: { isolation: { end: "inline" }, trust: ["end"] },
    });
  const sluice = stack.use(
    await startSluice({ config: config(), plugins: { "end.ts": END } }),
  );
  const port = sluice.port();
  const serves = async (when: string) => {
    await using client = await RawClient.connect(port);
    assert.deepEqual(await tally(client, 8), { a: 4, b: 4 }, when);
    const refused = await client.request(get("/frail"));
    assert.equal(refused.status, 503, when);
    // It opened once: what is left of that is no new time.
    const wait = Number(field(refused, "retry-after"));
    assert.ok(wait > 0 && wait <= 600, `${when}: Retry-After: ${wait}`);
    assert.deepEqual([bad.served, frail.served], [1, 1], when);
  };
  bad.does.status = frail.does.status = 500;
  {
    await using client = await RawClient.connect(port);
    assert.equal((await tally(client, 3))["500"], 1);
    assert.equal((await client.request(get("/frail"))).status, 500);
  }
  bad.does.status = frail.does.status = 200;
  await sluice.waitForOutput(/is ejected: 1 failures in a row/);
  await serves("at first");

  // Another upstream is another right: another worker takes the place of this one.
  assert.equal(await reload(sluice, config({ more: true })), true);
  await taken(sluice, 1);
  // One that is replaced may still take a connection, for one request.
  await sluice.waitForOutput(/Worker 0 of service main, which was replaced, has ended/);
  await serves("after a reload");

  await using victim = await RawClient.connect(port);
  await victim.send(get("/end"));
  await sluice.waitForOutput(/Worker 0 of service main died/, 40_000);
  await taken(sluice, 2);
  await serves("after the end of a worker");

  writeConfig(sluice, config());
  const next = stack.use(await upgrade(sluice));
  await taken(sluice, 3);
  assert.equal(await sluice.exited, 0);
  await serves("after an upgrade");

  // A group that is made from something else is another one.
  Deno.writeTextFileSync(`${sluice.directory}/sluice.yaml`, config({ eject: "500s", more: true }));
  next.signal("SIGHUP");
  await eventually(
    async () => (await rawRequest(port, get("/"))).body.length === 3,
    `an answer of the one that was ejected:\n${sluice.stderr()}`,
    60_000,
  );
  await next.stop();
});

Deno.test("an ejection that another worker goes on with ends when it would have ended", async () => {
  await using stack = new AsyncDisposableStack();
  const [a, bad, other] = await startMembers(stack, "a", "bad", "other");
  const config = (more: boolean) =>
    configFile({
      route: { upstream: "group", retry: { attempts: 0 } },
      upstreams: [
        {
          name: "group",
          endpoints: [a, bad].map(({ address }) => address),
          health_check: { passive: { consecutive_failures: 1, eject: "5s", max_eject: "5s" } },
        },
        ...more ? [{ name: "more", endpoints: [other.address] }] : [],
      ],
    });
  const sluice = stack.use(await startSluice({ config: config(false) }));
  bad.does.status = 500;
  let began = 0;
  await eventually(async () => {
    began = performance.now();
    return (await rawRequest(sluice.port(), get("/"))).status === 500;
  }, "a failure");
  bad.does.status = 200;
  assert.equal(await reload(sluice, config(true)), true);
  await eventually(
    async () => {
      await rawRequest(sluice.port(), get("/"));
      return bad.served > 1;
    },
    `the one that was ejected to be asked again:\n${sluice.stderr()}`,
    60_000,
  );
  const out = performance.now() - began;
  assert.ok(out >= 4_990, `it was asked again ${out} ms after it was ejected for 5,000`);
});
