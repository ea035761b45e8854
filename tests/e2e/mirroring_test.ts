/** Mirroring through the program: what the mirror gets, and that the client never notices it. */
import assert from "node:assert/strict";
import { configFile } from "../support/config.ts";
import { eventually } from "../support/deadline.ts";
import { field, text } from "../support/http_text.ts";
import { chunked, get, RawClient, rawRequest, request } from "../support/raw_client.ts";
import { freePort } from "../support/ports.ts";
import { response, startRawOrigin } from "../support/raw_origin.ts";
import { pattern, type SimpleOrigin, startSimpleOrigin } from "../support/simple_origin.ts";
import { type Sluice, startSluice } from "../support/sluice.ts";
import { latin1 } from "../support/wire.ts";
import { startMember } from "./upstream_support.ts";

function start(
  origin: string,
  mirror: string,
  settings: Record<string, unknown> = {},
  transport: Record<string, unknown> = {},
): Promise<Sluice> {
  return startSluice({
    config: configFile({
      origin,
      route: { mirror: [{ upstream: "mirror", ...settings }] },
      upstreams: [{ name: "mirror", endpoints: [mirror], transport }],
    }),
  });
}

function hasHad(origin: SimpleOrigin, count: number): Promise<void> {
  return eventually(() => origin.requests.length >= count, `${count} copies`);
}

/** The time that half of the requests stay below, in milliseconds: what a pause of the machine does not change. */
async function usualTime(port: number, count: number): Promise<number> {
  await using client = await RawClient.connect(port);
  const times: number[] = [];
  for (let i = 0; i < count; i++) {
    const began = performance.now();
    assert.equal(text(await client.request(get("/"))), "main");
    times.push(performance.now() - began);
  }
  return times.sort((a, b) => a - b)[count >> 1]!;
}

Deno.test("the mirror gets the same request as the upstream, content and all", async () => {
  await using stack = new AsyncDisposableStack();
  const main = stack.use(await startMember("main"));
  const mirror = stack.use(await startMember("mirror"));
  const sluice = stack.use(await start(main.address, mirror.address));
  const content = pattern(50_000);
  await using client = await RawClient.connect(sluice.port());
  const requests = [
    get("/path?query=1", { "X-Own": "field" }),
    request("POST", "/post", {}, content),
    `PUT /chunks HTTP/1.1\r\nHost: test.example\r\nTransfer-Encoding: chunked\r\n\r\n${
      chunked(content.slice(0, 30_000), content.slice(30_000))
    }`,
  ];
  for (const [i, one] of requests.entries()) {
    assert.equal(text(await client.request(one)), "main");
    await hasHad(mirror, i + 1);
  }
  for (const [i, copy] of mirror.requests.entries()) {
    const original = main.requests[i]!;
    assert.equal(copy.method, original.method);
    assert.equal(copy.target, original.target);
    assert.ok(latin1(copy.body) === latin1(original.body), copy.target);
    for (const name of ["host", "x-own", "x-forwarded-for", "via"]) {
      assert.equal(field(copy, name), field(original, name), name);
    }
  }
  assert.equal(mirror.requests[0]!.framing, "none");
});

Deno.test("what a client says with Expect is done by the time of the copy", async () => {
  await using stack = new AsyncDisposableStack();
  const main = stack.use(await startSimpleOrigin());
  const mirror = stack.use(await startSimpleOrigin());
  const sluice = stack.use(await start(main.address, mirror.address));
  await using client = await RawClient.connect(sluice.port());
  await client.send(
    "POST /echo HTTP/1.1\r\nHost: test.example\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
  );
  // This origin reads content before it answers, so the client must not wait for ever.
  await client.send("hello");
  const answers = await client.responses("POST");
  assert.equal(text(answers.at(-1)!), "hello");
  await hasHad(mirror, 1);
  assert.equal(latin1(mirror.requests[0]!.body), "hello");
});

Deno.test("a mirror that is dead or mute takes no time from the client", async () => {
  await using stack = new AsyncDisposableStack();
  const main = stack.use(await startMember("main"));
  const mute = stack.use(
    await startRawOrigin(async (connection) => {
      while (await connection.fill(30_000)) { /* It never answers. */ }
    }),
  );
  const plain = stack.use(await startSluice({ config: configFile({ origin: main.address }) }));
  const dead = stack.use(await start(main.address, `127.0.0.1:${freePort()}`));
  const slow = stack.use(
    await start(main.address, mute.address, { max_concurrent: 10, timeout: "60s" }),
  );
  await usualTime(plain.port(), 20);
  const alone = await usualTime(plain.port(), 100);
  for (const [name, sluice] of [["dead", dead], ["mute", slow]] as const) {
    await usualTime(sluice.port(), 20);
    const mirrored = await usualTime(sluice.port(), 100);
    // Against a minute of waiting for each: the margin is for a busy machine.
    assert.ok(mirrored < alone + 1_000, `${name}: ${mirrored} ms against ${alone} ms`);
  }
  assert.ok(mute.connections.length <= 10, `${mute.connections.length} copies at a time`);
});

Deno.test("content over max_body is not copied, known length or not", async () => {
  await using stack = new AsyncDisposableStack();
  const main = stack.use(await startMember("main"));
  const mirror = stack.use(await startMember("mirror"));
  const sluice = stack.use(await start(main.address, mirror.address, { max_body: "1KiB" }));
  await using client = await RawClient.connect(sluice.port());
  await client.request(request("POST", "/long", {}, pattern(1025)));
  await client.request(
    `POST /chunks HTTP/1.1\r\nHost: test.example\r\nTransfer-Encoding: chunked\r\n\r\n${
      chunked(pattern(700), pattern(700))
    }`,
  );
  await client.request(request("POST", "/fits", {}, pattern(1024)));
  await hasHad(mirror, 1);
  await client.request(get("/last"));
  await hasHad(mirror, 2);
  assert.deepEqual(mirror.requests.map(({ target }) => target).sort(), ["/fits", "/last"]);
  assert.equal(main.requests.length, 4);
});

Deno.test("no more copies run at a time than max_concurrent", async () => {
  await using stack = new AsyncDisposableStack();
  const main = stack.use(await startMember("main"));
  const mirror = stack.use(await startMember("mirror", { gate: Promise.withResolvers().promise }));
  const sluice = stack.use(await start(main.address, mirror.address, { max_concurrent: 3 }));
  await using client = await RawClient.connect(sluice.port());
  for (let i = 0; i < 10; i++) await client.request(get(`/${i}`));
  await hasHad(mirror, 3);
  assert.equal(mirror.requests.length, 3);
});

Deno.test("a copy that is not answered within its timeout is given up", async () => {
  await using stack = new AsyncDisposableStack();
  const main = stack.use(await startMember("main"));
  const mirror = stack.use(
    await startRawOrigin(async (connection) => {
      while (await connection.fill(30_000)) { /* It never answers. */ }
    }),
  );
  const sluice = stack.use(await start(main.address, mirror.address, { timeout: "200ms" }));
  assert.equal(text(await rawRequest(sluice.port(), get("/"))), "main");
  await mirror.waitForConnections(1);
  const { socket } = mirror.connections[0]!;
  await eventually(() => socket.destroyed || socket.readableEnded, "the copy to be given up");
});

Deno.test("percent is the share of the requests that is copied", async () => {
  await using stack = new AsyncDisposableStack();
  const main = stack.use(await startMember("main"));
  const mirror = stack.use(await startMember("mirror"));
  const sluice = stack.use(await start(main.address, mirror.address, { percent: "25%" }));
  await using client = await RawClient.connect(sluice.port());
  for (let i = 0; i < 1_000; i++) await client.request(get("/"));
  await sluice.stop();
  // Six standard deviations around 250.
  assert.ok(mirror.served > 165 && mirror.served < 335, `${mirror.served}`);
});

Deno.test("answers of a mirror are dropped, whatever they are, and its connection is used again", async () => {
  await using stack = new AsyncDisposableStack();
  const main = stack.use(await startMember("main"));
  const mirror = stack.use(
    await startRawOrigin((connection) =>
      connection.answerAll(response(pattern(5_000), { "Set-Cookie": "a=b" }, "500 Broken"))
    ),
  );
  const sluice = stack.use(await start(main.address, mirror.address));
  await using client = await RawClient.connect(sluice.port());
  let copies = 0;
  const copiesOf = ({ received }: { received: string }) => received.split("GET / ").length - 1;
  await eventually(async () => {
    const answer = await client.request(get("/"));
    assert.equal(text(answer), "main");
    assert.equal(field(answer, "set-cookie"), null);
    copies++;
    await eventually(() => copiesOf(mirror) === copies, "the copy");
    // The answer, too, has to be through before its connection is free, which no event tells.
    return mirror.connections.some((connection) => copiesOf(connection) >= 5);
  }, () => `a connection to be used again, after ${mirror.connections.length} of them`);
});

Deno.test("a request that is tried again is copied once", async () => {
  await using stack = new AsyncDisposableStack();
  const bad = stack.use(await startMember("bad", { drop: true }));
  const main = stack.use(await startMember("main"));
  const mirror = stack.use(await startMember("mirror"));
  const sluice = stack.use(
    await startSluice({
      config: configFile({
        origin: [bad.address, main.address],
        route: {
          mirror: [{ upstream: "mirror" }],
          retry: { attempts: 1, on: ["reset"], backoff: { base: "0s", max: "0s" } },
        },
        upstreams: [{ name: "mirror", endpoints: [mirror.address] }],
      }),
    }),
  );
  await using client = await RawClient.connect(sluice.port());
  for (let i = 0; i < 4; i++) {
    assert.equal(text(await client.request(request("PUT", `/${i}`, {}, `number ${i}`))), "main");
  }
  await hasHad(mirror, 4);
  await sluice.stop();
  assert.deepEqual(
    mirror.requests.map(({ target, body }) => `${target} ${latin1(body)}`).sort(),
    [0, 1, 2, 3].map((i) => `/${i} number ${i}`),
  );
});
