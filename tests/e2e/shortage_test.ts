/** What the machine may run out of: descriptors, disk, the file of a log. Requests are served all the same. */
import assert from "node:assert/strict";
import { configFile } from "../support/config.ts";
import { eventually } from "../support/deadline.ts";
import { get, RawClient, rawRequest } from "../support/raw_client.ts";
import { startSimpleOrigin } from "../support/simple_origin.ts";
import { startSluice } from "../support/sluice.ts";

Deno.test("without descriptors it says so, keeps what it has, and takes new connections as soon as it can", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({
    upstream: origin.url,
    shell: 'ulimit -n 160; exec "$@"',
  });
  const port = sluice.port();
  await using kept = await RawClient.connect(port);
  assert.equal((await kept.request(get("/bytes/1"))).status, 200);
  const many: RawClient[] = [];
  try {
    // The kernel takes them all; only some can be accepted.
    for (let i = 0; i < 200; i++) many.push(await RawClient.connect(port));
    await sluice.waitForOutput(
      /Listener .*cannot accept connections.*(EMFILE|too many open files)/i,
    );
    assert.equal((await kept.request(get("/bytes/1"))).status, 200);
  } finally {
    for (const client of many) client.close();
  }
  await eventually(
    async () => {
      try {
        return (await rawRequest(port, get("/bytes/1"))).status === 200;
      } catch {
        return false;
      }
    },
    "an answer on a new connection",
    20_000,
  );
  assert.equal(await sluice.stop(), 0);
});

Deno.test("a full disk costs lines of the access log, is told once, and delays nobody", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({
    upstream: origin.url,
    args: ["--access-log", "stdout"],
    shell: 'exec "$@" >/dev/full',
  });
  const port = sluice.port();
  await using client = await RawClient.connect(port);
  for (let i = 0; i < 20; i++) {
    assert.equal((await client.request(get("/bytes/1"))).status, 200);
  }
  await sluice.waitForOutput(/The access log cannot be written.*(ENOSPC|No space left)/i);
  for (let i = 0; i < 20; i++) {
    assert.equal((await client.request(get("/bytes/1"))).status, 200);
  }
  assert.equal(await sluice.stop(), 0);
  assert.equal([...sluice.stderr().matchAll(/The access log cannot be written/g)].length, 1);
});

Deno.test("an access log that was removed is begun anew, and that is told", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({ config: configFile({ origin: origin.address }) });
  const file = `${sluice.directory}/access.jsonl`;
  await rawRequest(sluice.port(), get("/bytes/1"));
  await sluice.waitForAccessLog(1);
  Deno.removeSync(file);
  await eventually(
    async () => {
      await rawRequest(sluice.port(), get("/bytes/1"));
      return sluice.accessLog().length > 0;
    },
    "a new access log",
    20_000,
  );
  await sluice.waitForOutput(/access\.jsonl was gone; it was begun anew/);
});
