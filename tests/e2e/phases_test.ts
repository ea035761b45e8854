/** Plugins in a running proxy: the order of the hooks, what they may change, and how failures pass through them. */
import assert from "node:assert/strict";
import { configFile } from "../support/config.ts";
import { field, text } from "../support/http_text.ts";
import { plugin } from "../support/plugin_text.ts";
import { chunked, get, RawClient, rawRequest, request } from "../support/raw_client.ts";
import { freePort } from "../support/ports.ts";
import { serveOrigin } from "../support/first_party.ts";
import { pattern, type SeenRequest, startSimpleOrigin } from "../support/simple_origin.ts";
import { startSluice } from "../support/sluice.ts";

/** A plugin that writes down every phase it is called in, and tells it in an answer to `/told`. */
const RECORDER = plugin(
  [
    "onConnectionReuse",
    "earlyRequestFilter",
    "allowSpawningSubrequest",
    "proxyUpstreamFilter",
    "upstreamPeer",
    "failToConnect",
    "connectedToUpstream",
    "upstreamRequestFilter",
    "upstreamResponseFilter",
    "upstreamResponseTrailerFilter",
    "responseFilter",
    "responseTrailerFilter",
    "errorWhileProxy",
    "failToProxy",
    "suppressErrorLog",
    "requestSummary",
    "logging",
  ].map((name) => `  ${name}(session) { note("${name}", session); },`).join("\n") + `
  requestFilter(session) {
    if (session.request.path === "/told") return session.respond(200, told.join("\\n"));
    note("requestFilter", session);
  },
  requestBodyFilter(session, _ctx, chunk, end) { note("requestBodyFilter " + chunk.length + " " + end, session); },
  upstreamResponseBodyFilter(session, _ctx, chunk, end) { note("upstreamResponseBodyFilter " + chunk.length + " " + end, session); },
  responseBodyFilter(session, _ctx, chunk, end) { note("responseBodyFilter " + chunk.length + " " + end, session); },
  persistConnectionContext(session) { note("persistConnectionContext", session); return 1; },`,
  `const told: string[] = [];
function note(name: string, session: { readonly request: { readonly path: string } }): void {
  if (session.request.path !== "/told") told.push(name);
}`,
);

/** What the recorder has written down, without the pieces whose cut is nobody's promise. */
async function told(port: number): Promise<string[]> {
  return text(await rawRequest(port, get("/told"))).split("\n");
}

/** Names in order, repeated pieces once. */
function names(lines: readonly string[]): string[] {
  const all = lines.map((line) => line.split(" ")[0]!);
  return all.filter((name, i) => name !== all[i - 1]);
}

Deno.test("the hooks of a request with content are called in the order of the table", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({
    upstream: origin.url,
    plugins: { "recorder.ts": RECORDER },
  });
  await rawRequest(sluice.port(), request("POST", "/trailers", {}, "content"));
  await sluice.waitForAccessLog(1);
  const lines = await told(sluice.port());
  const got = names(lines);
  // The upload and the response run side by side; their hooks are compared apart.
  const side = (name: string) => name === "requestBodyFilter";
  assert.deepEqual(got.filter((name) => !side(name)), [
    "earlyRequestFilter",
    "allowSpawningSubrequest",
    "requestFilter",
    "proxyUpstreamFilter",
    "upstreamPeer",
    "connectedToUpstream",
    "upstreamRequestFilter",
    "upstreamResponseFilter",
    "responseFilter",
    "upstreamResponseBodyFilter",
    "responseBodyFilter",
    ...(got.filter((name) => name === "responseBodyFilter").length > 1
      ? ["upstreamResponseBodyFilter", "responseBodyFilter"]
      : []),
    "upstreamResponseTrailerFilter",
    "responseTrailerFilter",
    "logging",
    "persistConnectionContext",
  ]);
  assert.ok(got.indexOf("requestBodyFilter") > got.indexOf("upstreamRequestFilter"));
  for (const name of ["requestBodyFilter", "upstreamResponseBodyFilter", "responseBodyFilter"]) {
    const pieces = lines.filter((line) => line.startsWith(`${name} `)).map((line) =>
      line.split(" ")
    );
    assert.equal(pieces.filter(([, , end]) => end === "true").length, 1, `${name} ended once`);
    assert.equal(pieces.at(-1)![2], "true", `${name} ended last`);
    const bytes = pieces.reduce((sum, [, length]) => sum + Number(length), 0);
    assert.equal(bytes, name === "requestBodyFilter" ? 7 : 5, name);
  }
});

Deno.test("a connection that is used again tells the next request what was kept", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({
    upstream: origin.url,
    plugins: {
      "counter.ts": plugin(`
        onConnectionReuse(session, _ctx, kept) { session.vars.set("counter.seen", kept); },
        requestFilter(session) {
          return session.respond(200, String(session.vars.get("counter.seen") ?? "nothing"));
        },
        persistConnectionContext(session) {
          const before = session.vars.get("counter.seen");
          return typeof before === "number" ? before + 1 : 1;
        },`),
    },
  });
  await using client = await RawClient.connect(sluice.port());
  for (const expected of ["nothing", "1", "2", "3"]) {
    assert.equal(text(await client.request(get("/"))), expected);
  }
  assert.equal(text(await rawRequest(sluice.port(), get("/"))), "nothing");
});

Deno.test("an answer of requestFilter is sent as it stands, and the origin is left alone", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({
    upstream: origin.url,
    plugins: {
      "gate.ts": plugin(`
        requestFilter(session) {
          const { path } = session.request;
          if (path === "/text") return session.respond(200, "plain", { headers: { "X-Mine": "1" } });
          if (path === "/bytes") return session.respond(201, new Uint8Array([1, 2, 255]));
          if (path === "/empty") return session.respond(204, null);
          if (path === "/problem") return session.respond(403, { title: "No", detail: "Not you." });
          if (path === "/response") return new Response("web", { status: 418, headers: { "X-Web": "2" } });
        },`),
    },
  });
  const port = sluice.port();
  const plain = await rawRequest(port, get("/text"));
  assert.equal(plain.status, 200);
  assert.equal(text(plain), "plain");
  assert.equal(field(plain, "x-mine"), "1");
  assert.match(field(plain, "content-type")!, /^text\/plain/);
  assert.deepEqual([...(await rawRequest(port, get("/bytes"))).body], [1, 2, 255]);
  assert.equal((await rawRequest(port, get("/empty"))).status, 204);
  const problem = await rawRequest(port, get("/problem"));
  assert.equal(problem.status, 403);
  assert.equal(field(problem, "content-type"), "application/problem+json");
  assert.equal(JSON.parse(text(problem)).detail, "Not you.");
  const web = await rawRequest(port, get("/response"));
  assert.equal(web.status, 418);
  assert.equal(text(web), "web");
  assert.equal(field(web, "x-web"), "2");
  assert.equal(origin.requests.length, 0);
  assert.equal(text(await rawRequest(port, get("/bytes/4"))), pattern(4));
  const lines = await sluice.waitForAccessLog(6);
  assert.match(lines[0]!["plugin.short_circuit"] as string, /^gate\b/);
  assert.equal("plugin.short_circuit" in lines[5]!, false);
});

Deno.test("plugins act in name order, each on what the former left, and vars cross between them", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({
    upstream: origin.url,
    plugins: {
      "a.ts": plugin(`
        requestFilter(session) {
          session.vars.set("a.word", "from a");
          session.upstreamRequest.headers.set("X-Chain", "a");
        },
        responseFilter(session) { session.response.headers.append("X-Seen", "a"); },`),
      "b.ts": plugin(`
        requestFilter(session) {
          const headers = session.upstreamRequest.headers;
          headers.set("X-Chain", headers.get("x-chain") + "b");
          headers.set("X-Var", String(session.vars.get("a.word")));
        },
        responseFilter(session) {
          session.response.headers.append("X-Seen", "b" + session.response.headers.get("X-Seen"));
        },`),
    },
  });
  const answer = await rawRequest(sluice.port(), get("/request"));
  const seen: SeenRequest = JSON.parse(text(answer));
  assert.equal(field(seen, "x-chain"), "ab");
  assert.equal(field(seen, "x-var"), "from a");
  assert.equal(field(answer, "x-seen"), "a, ba");
});

for (const isolation of ["worker", "process"]) {
  Deno.test(`of many requests at once, each hook sees its own, whoever has gone away meanwhile (${isolation})`, async () => {
    await using origin = await startSimpleOrigin();
    await using sluice = await startSluice({
      config: configFile({
        origin: origin.address,
        plugins: { isolation: { own: isolation } },
      }),
      plugins: {
        "own.ts": plugin(`
          limits: { timeout: "30s" },
          async requestFilter({ request }) {
            if (request.path.endsWith("slow")) await new Promise((done) => setTimeout(done, 5));
          },
          upstreamRequestFilter({ request, upstreamRequest }) {
            upstreamRequest.headers.set("X-Up", request.path + request.headers.get("x-own"));
          },
          responseFilter({ request, response }) {
            response.headers.set("X-Down", request.path + request.headers.get("x-own"));
          },`),
      },
    });
    await Promise.all(Array.from({ length: 16 }, async (_, who) => {
      let client = await RawClient.connect(sluice.port());
      for (let i = 0; i < 12; i++) {
        const path = `/request/${who}/${i}/${(who + i) % 3 === 0 ? "slow" : "quick"}`;
        // From none to a few thousand bytes: what is kept lies side by side, or for itself.
        const own = "x".repeat((who * 389 + i * 613) % 6000);
        const sent = get(path, { "X-Own": own });
        if ((who + i) % 5 === 4) {
          await client.send(sent);
          client.close();
          client = await RawClient.connect(sluice.port());
          continue;
        }
        const answer = await client.request(sent, undefined, 30_000);
        assert.equal(field(answer, "x-down"), path + own);
        assert.equal(field(JSON.parse(text(answer)) as SeenRequest, "x-up"), path + own);
      }
      client.close();
    }));
  });
}

Deno.test("hooks change the request to the origin: method, target and fields", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({
    upstream: origin.url,
    plugins: {
      "rewrite.ts": plugin(`
        requestFilter(session) {
          const { upstreamRequest } = session;
          upstreamRequest.method = "PUT";
          upstreamRequest.target = "/request?changed=1";
          upstreamRequest.headers.delete("x-old");
          upstreamRequest.headers.set("X-New", session.request.headers.get("x-old") ?? "");
          upstreamRequest.headers.set("Host", "inside.example");
        },
        upstreamRequestFilter(session) {
          session.upstreamRequest.headers.set("X-Attempt", String(session.attempt));
        },`),
    },
  });
  const answer = await rawRequest(sluice.port(), get("/other", { "X-Old": "value" }));
  const seen: SeenRequest = JSON.parse(text(answer));
  assert.equal(seen.method, "PUT");
  assert.equal(seen.target, "/request?changed=1");
  assert.equal(field(seen, "x-old"), null);
  assert.equal(field(seen, "x-new"), "value");
  assert.equal(field(seen, "x-attempt"), "1");
  assert.equal(field(seen, "host"), "inside.example");
});

Deno.test("hooks change the response: status and fields, and a bad value breaks nothing", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({
    upstream: origin.url,
    plugins: {
      "rewrite.ts": plugin(`
        upstreamResponseFilter(session) {
          session.upstreamResponse.headers.set("X-First", "1");
          session.upstreamResponse.headers.delete("Content-Type");
        },
        responseFilter(session) {
          session.response.status = 203;
          session.response.headers.set("X-Second", session.response.headers.get("x-first") + "2");
          try {
            session.response.headers.set("X-Bad", "a\\r\\nX-Injected: 1");
          } catch (error) {
            session.response.headers.set("X-Caught", String(error instanceof TypeError));
          }
        },`),
    },
  });
  const answer = await rawRequest(sluice.port(), get("/request"));
  assert.equal(answer.status, 203);
  assert.equal(field(answer, "x-second"), "12");
  assert.equal(field(answer, "content-type"), null);
  assert.equal(field(answer, "x-injected"), null);
  assert.equal(field(answer, "x-caught"), "true");
});

Deno.test("readBody gives the whole content, and the origin still gets it", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({
    upstream: origin.url,
    plugins: {
      "reader.ts": plugin(`
        async requestFilter(session) {
          if (session.request.path === "/limit") {
            try {
              await session.readBody(10);
            } catch (error) {
              return session.respond(413, (error as Error).name);
            }
          }
          const body = await session.readBody();
          session.upstreamRequest.headers.set("X-Length", String(body.length));
          session.upstreamRequest.headers.set("X-First", String(body[0] ?? -1));
        },`),
    },
  });
  const port = sluice.port();
  for (const size of [0, 1, 1000, 200_000, 1024 * 1024]) {
    const sent = pattern(size);
    const asks = [
      request("POST", "/request", {}, sent),
      request("POST", "/request", { "Transfer-Encoding": "chunked" }) +
      (size === 0 ? chunked() : chunked(sent)),
    ];
    for (const ask of asks) {
      const answer = await rawRequest(port, ask);
      assert.equal(answer.status, 200, text(answer).slice(0, 300));
      const seen: SeenRequest = JSON.parse(text(answer));
      assert.equal(field(seen, "x-length"), String(size));
      assert.ok(seen.body === sent, `${size} bytes arrive changed`);
    }
  }
  const over = await rawRequest(port, request("POST", "/limit", {}, "x".repeat(11)));
  assert.equal(over.status, 413);
  assert.equal(text(over), "RangeError");
});

Deno.test("readBody lets a client that waits for a 100 go on", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({
    upstream: origin.url,
    plugins: {
      "reader.ts": plugin(`async requestFilter(session) { await session.readBody(); },`),
    },
  });
  await using client = await RawClient.connect(sluice.port());
  await client.send(
    "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n",
  );
  assert.equal((await client.response("POST")).status, 100);
  await client.send("four");
  assert.equal(text(await client.response("POST")), "four");
});

Deno.test("body filters see, change, drop and add content both ways", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({
    upstream: origin.url,
    plugins: {
      "filter.ts": plugin(
        `
        requestBodyFilter(_session, _ctx, chunk, end) {
          return text(chunk).toUpperCase() + (end ? "!" : "");
        },
        upstreamResponseBodyFilter(_session, _ctx, chunk, end) {
          return end ? text(chunk) + "?" : undefined;
        },
        responseBodyFilter(session, _ctx, chunk, end) {
          if (session.request.path === "/bytes/10") return end ? "nothing else" : null;
        },`,
        `const decoder = new TextDecoder();
const text = (bytes: Uint8Array) => decoder.decode(bytes);`,
      ),
    },
  });
  const port = sluice.port();
  assert.equal(text(await rawRequest(port, request("POST", "/echo", {}, "up"))), "UP!?");
  const ask = request("POST", "/echo", { "Transfer-Encoding": "chunked" });
  assert.equal(text(await rawRequest(port, ask + chunked("one", "two"))), "ONETWO!?");
  assert.equal(text(await rawRequest(port, get("/bytes/10"))), "nothing else");
  assert.equal(text(await rawRequest(port, get("/bytes/5"))), `${pattern(5)}?`);
  // A filter may even give content to a request that had none.
  assert.equal(text(await rawRequest(port, get("/echo"))), "!?");
});

for (const isolation of ["worker", "inline"]) {
  Deno.test(`content that a plugin does not want to see passes as it is (${isolation})`, async () => {
    await using origin = await startSimpleOrigin();
    await using sluice = await startSluice({
      config: configFile({
        origin: origin.address,
        plugins: { isolation: { picky: isolation }, trust: ["picky"] },
      }),
      plugins: {
        "picky.ts": plugin(`
          responseFilter(session) {
            if (session.request.path === "/bytes/10") session.response.skipBody();
          },
          responseBodyFilter(_session, _ctx, chunk) { return chunk.length === 0 ? undefined : "seen"; },
        `),
      },
    });
    const skipped = await rawRequest(sluice.port(), get("/bytes/10"));
    assert.equal(text(skipped), pattern(10));
    assert.equal(field(skipped, "content-length"), "10");
    const seen = await rawRequest(sluice.port(), get("/bytes/9"));
    assert.equal(text(seen), "seen");
    assert.equal(field(seen, "transfer-encoding"), "chunked");
  });

  Deno.test(`hooks of the upload and of the response do not get in each other's way (${isolation})`, async () => {
    // The origin answers at once and echoes: both filters are called side by side.
    await using origin = serveOrigin((request) => new Response(request.body));
    await using sluice = await startSluice({
      config: configFile({
        origin: `127.0.0.1:${origin.port}`,
        plugins: { isolation: { both: isolation }, trust: ["both"] },
      }),
      plugins: {
        "both.ts": plugin(`
          async requestBodyFilter(_session, _ctx, chunk) {
            await new Promise((resolve) => setTimeout(resolve, 5));
            return chunk;
          },
          async responseFilter(session) {
            await new Promise((resolve) => setTimeout(resolve, 20));
            session.response.headers.set("x-late", "yes");
          },
        `),
      },
    });
    const ask = request("POST", "/echo", { "Transfer-Encoding": "chunked" });
    await using client = await RawClient.connect(sluice.port());
    await client.send(ask);
    for (let i = 0; i < 20; i++) {
      await client.send("4\r\nabcd\r\n");
      await new Promise((resolve) => setTimeout(resolve, 3));
    }
    await client.send("0\r\n\r\n");
    const answer = await client.response("POST");
    assert.equal(field(answer, "x-late"), "yes");
    assert.equal(text(answer), "abcd".repeat(20));
  });
}

Deno.test("a large download passes a body filter whole and in order", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({
    upstream: origin.url,
    plugins: {
      "count.ts": plugin(`responseBodyFilter(_session, _ctx, chunk) { return chunk; },`),
    },
  });
  const size = 3_000_000;
  const answer = await rawRequest(sluice.port(), get(`/bytes/${size}`), "GET", 40_000);
  assert.equal(answer.status, 200);
  assert.ok(text(answer) === pattern(size));
});

Deno.test("suppressErrorLog and requestSummary shape the error line", async () => {
  await using sluice = await startSluice({
    upstream: `http://127.0.0.1:${freePort()}`,
    plugins: {
      "lines.ts": plugin(`
        suppressErrorLog(session) { return session.request.path === "/quiet"; },
        requestSummary(session) { return "the one called " + session.request.path; },`),
    },
  });
  await rawRequest(sluice.port(), get("/quiet"));
  await rawRequest(sluice.port(), get("/loud"));
  await sluice.waitForOutput(/Request failed: the one called \/loud/);
  assert.equal(await sluice.stop(), 0);
  assert.doesNotMatch(sluice.stderr(), /Request failed: the one called \/quiet/);
});

Deno.test("proxyUpstreamFilter refuses with 502, and answers instead of the origin", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({
    upstream: origin.url,
    plugins: {
      "stop.ts": plugin(`
        proxyUpstreamFilter(session) {
          if (session.request.path === "/no") return false;
          if (session.request.path === "/me") return session.respond(200, "me");
        },`),
    },
  });
  assert.equal((await rawRequest(sluice.port(), get("/no"))).status, 502);
  assert.equal(text(await rawRequest(sluice.port(), get("/me"))), "me");
  assert.equal(origin.requests.length, 0);
  assert.equal((await rawRequest(sluice.port(), get("/bytes/1"))).status, 200);
});

Deno.test("connectionFilter closes a connection before a byte is read", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({
    upstream: origin.url,
    plugins: {
      "door.ts": plugin(`
        connectionFilter(connection) { return connection.address !== "127.0.0.9"; },`),
    },
  });
  await using stranger = await RawClient.connect({ port: sluice.port(), from: "127.0.0.9" });
  await stranger.send(get("/bytes/1"));
  await stranger.whenEnded();
  assert.equal(stranger.received, "");
  assert.equal((await rawRequest(sluice.port(), get("/bytes/1"))).status, 200);
});

Deno.test("logging is called exactly once on every path", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({
    config: configFile({
      origin: origin.address,
      limits: { body_bytes: 100 },
      timeouts: { first_byte: "1s" },
      plugins: {},
    }),
    plugins: {
      "ledger.ts": plugin(
        `
        requestFilter(session) {
          const { path } = session.request;
          if (path === "/ledger") return session.respond(200, JSON.stringify(entries));
          if (path === "/answered") return session.respond(204, null);
          if (path === "/thrown") throw new Error("thrown");
        },
        logging(session) {
          if (session.request.path === "/ledger") return;
          const { outcome } = session;
          entries.push([session.request.path, outcome.status, outcome.error?.type ?? ""]);
        },`,
        "const entries: [string, number, string][] = [];",
      ),
    },
  });
  const port = sluice.port();
  for (const path of ["/bytes/1", "/answered", "/thrown", "/drop", "/delay/40000", "/status/404"]) {
    await rawRequest(port, get(path));
  }
  await rawRequest(port, request("POST", "/large", {}, "x".repeat(101)));
  const gone = await RawClient.connect(port);
  await gone.send(get("/delay/150"));
  await sluice.waitForAccessLog(7);
  gone.reset();
  const lines = await sluice.waitForAccessLog(8);
  const ledger: [string, number, string][] = JSON.parse(
    text(await rawRequest(port, get("/ledger"))),
  );
  // A refused request had no route yet, and so no plugin; it is in the access log all the same.
  const expected = [
    ["/bytes/1", 200, ""],
    ["/answered", 204, ""],
    ["/thrown", 500, "plugin_error"],
    ["/drop", 502, "connection_closed"],
    ["/delay/40000", 504, "first_byte_timeout"],
    ["/status/404", 404, ""],
  ];
  assert.deepEqual(ledger.slice(0, 6), expected);
  for (const path of new Set(lines.map((line) => line["url.path"] as string))) {
    const count = ledger.filter(([one]) => one === path).length;
    assert.ok(count === 1 || (path === "/large" && count <= 1) || path === "", `${path}: ${count}`);
  }
});

Deno.test("match and when keep a plugin away from requests that do not concern it", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({
    config: configFile({
      origin: origin.address,
      route: { plugins: [{ use: "mark", when: { method: "POST" } }] },
      plugins: {},
    }),
    plugins: {
      "mark.ts": plugin(`
        match: { path: "/echo/*" },
        responseFilter(session) { session.response.headers.set("X-Mark", "1"); },`),
    },
  });
  const mark = async (ask: string) => field(await rawRequest(sluice.port(), ask), "x-mark");
  assert.equal(await mark(request("POST", "/echo", {}, "x")), "1");
  assert.equal(await mark(request("POST", "/echo/more", {}, "x")), "1");
  assert.equal(await mark(request("POST", "/echoes", {}, "x")), null);
  assert.equal(await mark(get("/echo")), null);
});

Deno.test("a plugin gets its config from the file, once for each use", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({
    config: configFile({
      origin: origin.address,
      plugins: {},
      top: {
        services: [{
          name: "main",
          routes: ["one", "two"].map((word) => ({
            id: word,
            match: { path: `/${word}` },
            upstream: "origin",
            plugins: [{ use: "say", with: { word } }],
          })),
        }],
      },
    }),
    plugins: {
      "say.ts": plugin(
        `
        config: {
          "~standard": {
            version: 1 as const,
            vendor: "test",
            validate: (value: unknown) => ({ value: value as { word: string } }),
          },
        },
        requestFilter(session, ctx) { return session.respond(200, ctx.config.word); },`,
      ),
    },
  });
  assert.equal(text(await rawRequest(sluice.port(), get("/one"))), "one");
  assert.equal(text(await rawRequest(sluice.port(), get("/two"))), "two");
});
