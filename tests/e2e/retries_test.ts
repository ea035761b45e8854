/** Further attempts over real sockets: what asks for them, what forbids them, and what the upstream sees of them. */
import assert from "node:assert/strict";
import { configFile } from "../support/config.ts";
import { type RawResponse, text } from "../support/http_text.ts";
import { chunked, get, RawClient, rawRequest, request } from "../support/raw_client.ts";
import { freePort } from "../support/ports.ts";
import { startRawOrigin } from "../support/raw_origin.ts";
import { pattern, startSimpleOrigin } from "../support/simple_origin.ts";
import { type Sluice, startSluice } from "../support/sluice.ts";
import { latin1 } from "../support/wire.ts";
import { type Member, startMember, startMembers, tally } from "./upstream_support.ts";

const NO_WAIT = { base: "0s", max: "0s" };

/** A proxy in front of members that take turns; the first one begins. */
function startPair(
  origin: readonly string[],
  route: Record<string, unknown>,
  more: Record<string, unknown> = {},
): Promise<Sluice> {
  return startSluice({ config: configFile({ origin, route, ...more }) });
}

/** Starts two members, of which the first behaves badly. */
async function startTwo(
  stack: AsyncDisposableStack,
  bad: Partial<Member["does"]>,
): Promise<[Member, Member]> {
  const [a, b] = await startMembers(stack, "a", "b");
  Object.assign(a.does, bad);
  return [a, b];
}

Deno.test("a connection that cannot be made is tried elsewhere, whatever the method", async () => {
  await using stack = new AsyncDisposableStack();
  const member = stack.use(await startMember("b"));
  const sluice = stack.use(
    await startPair([`127.0.0.1:${freePort()}`, member.address], {
      retry: { attempts: 1, on: ["connect_failure"], backoff: NO_WAIT },
    }),
  );
  for (const method of ["GET", "POST"]) {
    for (let i = 0; i < 4; i++) {
      const answer = await rawRequest(sluice.port(), request(method, "/", {}, "content"));
      assert.equal(text(answer), "b");
    }
  }
  assert.equal(member.served, 8);
  for (const seen of member.requests) assert.equal(latin1(seen.body), "content");
  const lines = await sluice.waitForAccessLog(8);
  assert.ok(lines.some((line) => line["upstream.attempts"] === 2), JSON.stringify(lines[0]));
});

Deno.test("a connection that breaks is tried elsewhere for GET, and not for POST", async () => {
  await using stack = new AsyncDisposableStack();
  const [a, b] = await startTwo(stack, { drop: true });
  const sluice = stack.use(
    await startPair([a.address, b.address], {
      retry: { attempts: 1, on: ["reset"], backoff: NO_WAIT },
    }),
  );
  await using client = await RawClient.connect(sluice.port());
  assert.deepEqual(await tally(client, 10), { b: 10 });
  assert.ok(a.served >= 4, `${a.served}`);
  const [before, beforeB] = [a.served, b.served];
  let refused = 0;
  for (let i = 0; i < 4; i++) {
    const answer = await client.request(request("POST", "/", {}, "once"));
    if (answer.status === 502) refused++;
    else assert.equal(text(answer), "b");
  }
  assert.equal(refused, 2);
  assert.equal(a.served - before, 2);
  assert.equal(b.served - beforeB, 2);
});

Deno.test("what on does not name is not tried again", async () => {
  await using stack = new AsyncDisposableStack();
  const [a, b] = await startTwo(stack, { drop: true });
  const sluice = stack.use(
    await startPair([a.address, b.address], { retry: { attempts: 3, on: ["connect_failure"] } }),
  );
  await using client = await RawClient.connect(sluice.port());
  assert.deepEqual(await tally(client, 4), { b: 2, 502: 2 });
});

Deno.test("a status of the list is tried elsewhere, and the last answer is passed on", async () => {
  await using stack = new AsyncDisposableStack();
  const [a, b] = await startTwo(stack, { status: 503 });
  const sluice = stack.use(
    await startPair([a.address, b.address], {
      retry: { attempts: 1, on: ["502", "503"], backoff: NO_WAIT },
    }),
  );
  await using client = await RawClient.connect(sluice.port());
  assert.deepEqual(await tally(client, 6), { b: 6 });
  b.does.status = 503;
  const last = await client.request(get("/"));
  assert.equal(last.status, 503);
  assert.equal(last.reason, "Said");
  assert.match(text(last), /^[ab]$/);
  b.does.status = 500;
  a.does.status = 500;
  const other = await client.request(get("/"));
  assert.equal(other.status, 500, "a status that the list does not have is an answer");
});

Deno.test("when max_retries ends the attempts, the answer is passed on as well", async () => {
  await using stack = new AsyncDisposableStack();
  const [a, b] = await startTwo(stack, { status: 503 });
  b.does.status = 503;
  const sluice = stack.use(
    await startPair([a.address, b.address], {
      retry: { attempts: 5, on: ["503"], backoff: NO_WAIT },
    }, { server: { max_retries: 1 } }),
  );
  const answer = await rawRequest(sluice.port(), get("/"));
  assert.equal(answer.status, 503);
  assert.match(text(answer), /^[ab]$/);
  assert.equal(a.served + b.served, 2);
});

Deno.test("max_retries 0 sends once, and once only", async () => {
  await using stack = new AsyncDisposableStack();
  const [a, b] = await startTwo(stack, { drop: true });
  const sluice = stack.use(
    await startPair([a.address, b.address], {
      retry: { attempts: 5, on: ["connect_failure", "reset", "5xx"], backoff: NO_WAIT },
    }, { server: { max_retries: 0 } }),
  );
  await using client = await RawClient.connect(sluice.port());
  assert.deepEqual(await tally(client, 4), { b: 2, 502: 2 });
  assert.equal(a.served, 2);
});

Deno.test("per_try_timeout gives an attempt up, and another one answers", async () => {
  await using stack = new AsyncDisposableStack();
  const [a, b] = await startTwo(stack, { delay: 40_000 });
  const sluice = stack.use(
    await startPair([a.address, b.address], {
      retry: { attempts: 1, on: ["timeout"], per_try_timeout: "2s", backoff: NO_WAIT },
    }),
  );
  const began = performance.now();
  assert.equal(text(await rawRequest(sluice.port(), get("/"))), "b");
  const took = performance.now() - began;
  assert.ok(took >= 1_990 && took < 20_000, `${took} ms`);
  b.does.delay = 40_000;
  const late = await rawRequest(sluice.port(), get("/"));
  assert.equal(late.status, 504);
  assert.match(sluice.stderr(), /did not begin within per_try_timeout \(2000 ms\)/);
});

Deno.test("timeouts.request bounds all attempts together", async () => {
  await using stack = new AsyncDisposableStack();
  const [a, b] = await startTwo(stack, { delay: 40_000 });
  b.does.delay = 40_000;
  const sluice = stack.use(
    await startPair([a.address, b.address], {
      retry: { attempts: 9, on: ["timeout"], per_try_timeout: "1s", backoff: NO_WAIT },
      timeouts: { request: "2500ms" },
    }),
  );
  const began = performance.now();
  const answer = await rawRequest(sluice.port(), get("/"));
  const took = performance.now() - began;
  assert.equal(answer.status, 504);
  assert.ok(took >= 2_490 && took < 20_000, `${took} ms`);
  // The tenth would be over after ten seconds.
  const attempts = a.served + b.served;
  assert.ok(attempts >= 2 && attempts <= 3, `${attempts} attempts`);
});

Deno.test("an answer in time may take as long as it likes after its head", async () => {
  await using origin = await startRawOrigin(async (connection) => {
    await connection.request();
    await connection.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nsl");
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    await connection.send("ow");
  });
  await using sluice = await startPair([origin.address], {
    retry: { per_try_timeout: "2s" },
    timeouts: { request: "2s" },
  });
  assert.equal(text(await rawRequest(sluice.port(), get("/"))), "slow");
});

Deno.test("non_idempotent lets POST be sent twice", async () => {
  await using stack = new AsyncDisposableStack();
  const [a, b] = await startTwo(stack, { drop: true });
  const sluice = stack.use(
    await startPair([a.address, b.address], {
      retry: { attempts: 1, on: ["reset"], non_idempotent: true, backoff: NO_WAIT },
    }),
  );
  for (let i = 0; i < 4; i++) {
    const answer = await rawRequest(sluice.port(), request("POST", "/", {}, `number ${i}`));
    assert.equal(text(answer), "b");
  }
  assert.deepEqual(
    b.requests.map(({ body }) => latin1(body)).sort(),
    [0, 1, 2, 3].map((i) => `number ${i}`),
  );
  assert.ok(a.served >= 2);
});

for (const framing of ["length", "chunked"] as const) {
  Deno.test(`content is sent again from the buffer, each byte once per attempt (${framing})`, async () => {
    await using stack = new AsyncDisposableStack();
    const [a, b] = await startTwo(stack, { drop: true });
    const sluice = stack.use(
      await startPair([a.address, b.address], {
        retry: { attempts: 1, on: ["reset"], buffer_bytes: "20KiB", backoff: NO_WAIT },
      }),
    );
    const put = (content: string) =>
      framing === "length"
        ? request("PUT", "/", {}, content)
        : `PUT / HTTP/1.1\r\nHost: test.example\r\nTransfer-Encoding: chunked\r\n\r\n${
          chunked(content.slice(0, 7_000), content.slice(7_000, 12_000), content.slice(12_000))
        }`;
    const content = pattern(18_000);
    const statuses: number[] = [];
    for (let i = 0; i < 2; i++) {
      const answer = await rawRequest(sluice.port(), put(content), "PUT");
      statuses.push(answer.status);
    }
    assert.deepEqual(statuses, [200, 200]);
    for (const seen of [...a.requests, ...b.requests]) assert.ok(latin1(seen.body) === content);
    assert.equal(a.served, 1, "and the other one began with b");
    assert.equal(b.served, 2);

    const long = pattern(40_000);
    const answers: RawResponse[] = [];
    for (let i = 0; i < 2; i++) answers.push(await rawRequest(sluice.port(), put(long), "PUT"));
    assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 502]);
    assert.match(sluice.stderr(), /its content is too long to be sent again|connection_closed/);
    assert.equal(a.served, 2);
    assert.equal(b.served, 3);
    for (const { requests } of [a, b]) assert.ok(latin1(requests.at(-1)!.body) === long);
  });
}

Deno.test("a budget that is used up lets failures through", async () => {
  await using stack = new AsyncDisposableStack();
  const [a, b] = await startTwo(stack, { drop: true });
  b.does.drop = true;
  const sluice = stack.use(
    await startPair([a.address, b.address], {
      retry: {
        attempts: 1,
        on: ["reset"],
        backoff: NO_WAIT,
        budget: { percent: "10%", min_per_second: 0 },
      },
    }),
  );
  await using client = await RawClient.connect(sluice.port());
  assert.deepEqual(await tally(client, 100), { 502: 100 });
  // Pooled connections never come to be here, so that each attempt is one request of an origin.
  assert.equal(a.served + b.served, 110);
});

Deno.test("the wait between attempts is drawn by chance, and kept", async () => {
  await using stack = new AsyncDisposableStack();
  const [a, b] = await startTwo(stack, { drop: true });
  b.does.drop = true;
  const sluice = stack.use(
    await startPair([a.address, b.address], {
      retry: { attempts: 4, on: ["reset"], backoff: { base: "200ms", max: "200ms" } },
    }),
  );
  const times: number[] = [];
  for (let i = 0; i < 3; i++) {
    const began = performance.now();
    assert.equal((await rawRequest(sluice.port(), get("/"))).status, 502);
    times.push(performance.now() - began);
  }
  const sum = times.reduce((all, one) => all + one);
  // Twelve waits of 100 ms on average; less than 300 ms all together would be one chance in a hundred millions.
  assert.ok(sum > 300 && times.every((time) => time < 20_000), `${times}`);
});

Deno.test("nothing is tried again once the head has gone to the client", async () => {
  let asked = 0;
  await using origin = await startRawOrigin(async (connection) => {
    asked++;
    await connection.request();
    await connection.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nthe beginning");
    connection.reset();
  });
  await using sluice = await startPair([origin.address], {
    retry: { attempts: 5, on: ["reset", "timeout", "connect_failure"], backoff: NO_WAIT },
  });
  await using client = await RawClient.connect(sluice.port());
  await assert.rejects(client.request(get("/")));
  assert.equal(asked, 1);
});

Deno.test("hooks decide over the policy, both ways", async () => {
  await using stack = new AsyncDisposableStack();
  const [a, b] = await startTwo(stack, { drop: true });
  const plugins = {
    "judge.ts": `
      import { definePlugin } from "@sluice/plugin";
      const judge = (session, _ctx, failure) => {
        const wish = session.request.headers.get("x-retry");
        if (wish !== null) failure.retry = wish === "yes";
      };
      export default definePlugin({ failToConnect: judge, errorWhileProxy: judge });
    `,
  };
  const dead = `127.0.0.1:${freePort()}`;
  for (const [first, on] of [[dead, "connect_failure"], [a.address, "reset"]] as const) {
    await using strict = await startSluice({
      config: configFile({
        origin: [first, b.address],
        route: { plugins: ["judge"], retry: { attempts: 0 } },
        plugins: {},
      }),
      plugins,
    });
    await using client = await RawClient.connect(strict.port());
    assert.deepEqual(await tally(client, 4, { "X-Retry": "yes" }), { b: 4 }, on);
    assert.deepEqual(await tally(client, 4), { b: 2, 502: 2 }, on);
    await using eager = await startSluice({
      config: configFile({
        origin: [first, b.address],
        route: { plugins: ["judge"], retry: { attempts: 2, on: [on], backoff: NO_WAIT } },
        plugins: {},
      }),
      plugins,
    });
    await using other = await RawClient.connect(eager.port());
    assert.deepEqual(await tally(other, 4), { b: 4 }, on);
    assert.deepEqual(await tally(other, 4, { "X-Retry": "no" }), { b: 2, 502: 2 }, on);
  }
});

Deno.test("a hook that refuses to try a status again leaves the client the answer that was there", async () => {
  await using stack = new AsyncDisposableStack();
  const [a, b] = await startTwo(stack, { status: 503 });
  const sluice = stack.use(
    await startSluice({
      config: configFile({
        origin: [a.address, b.address],
        route: { plugins: ["judge"], retry: { attempts: 2, on: ["503"], backoff: NO_WAIT } },
        plugins: {},
      }),
      plugins: {
        "judge.ts": `
          import { definePlugin } from "@sluice/plugin";
          export default definePlugin({
            errorWhileProxy(session, _ctx, failure) {
              if (failure.type !== "upstream_status" || !failure.retry) throw new Error("not asked");
              if (session.request.headers.get("x-retry") === "no") failure.retry = false;
            },
          });
        `,
      },
    }),
  );
  await using client = await RawClient.connect(sluice.port());
  assert.deepEqual(await tally(client, 4), { b: 4 });
  assert.deepEqual(await tally(client, 4, { "X-Retry": "no" }), { b: 2, 503: 2 });
  const kept = [
    await client.request(get("/", { "X-Retry": "no" })),
    await client.request(get("/", { "X-Retry": "no" })),
  ].find(({ status }) => status === 503)!;
  assert.equal(`${kept.reason} ${text(kept)}`, "Said a");
});

Deno.test("a hook that wants another attempt gets no more of them than max_retries", async () => {
  await using origin = await startSimpleOrigin({ handler: () => null });
  await using sluice = await startSluice({
    config: configFile({
      origin: origin.address,
      route: { plugins: ["eager"] },
      server: { max_retries: 3 },
      plugins: {},
    }),
    plugins: {
      "eager.ts": `
        import { definePlugin } from "@sluice/plugin";
        export default definePlugin({
          errorWhileProxy(_session, _ctx, failure) { failure.retry = true; },
        });
      `,
    },
  });
  assert.equal((await rawRequest(sluice.port(), get("/"))).status, 502);
  assert.equal(origin.requests.length, 4);
});
