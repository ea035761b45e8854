/** What becomes of fields on their way: hop-by-hop ones, and those that say who sent a request. */
import assert from "node:assert/strict";
import { configFile } from "../support/config.ts";
import { field, fieldValues, text } from "../support/http_text.ts";
import { get, rawRequest, type Target } from "../support/raw_client.ts";
import {
  type SeenRequest,
  type SimpleOrigin,
  startSimpleOrigin,
} from "../support/simple_origin.ts";
import { type Sluice, startSluice } from "../support/sluice.ts";

let origin: SimpleOrigin;
/** Believes 127.0.0.2 and 127.0.0.3, and so not the clients of most tests. */
let sluice: Sluice;

Deno.test.beforeAll(async () => {
  origin = await startSimpleOrigin();
  sluice = await startSluice({
    config: configFile({
      origin: origin.address,
      top: { trusted_proxies: ["127.0.0.2/31"] },
      listener: {},
    }),
  });
});
Deno.test.afterAll(async () => {
  await sluice?.[Symbol.asyncDispose]();
  await origin?.[Symbol.asyncDispose]();
});

async function seenBy(lines: string, to: Target = sluice.port()): Promise<SeenRequest> {
  const answer = await rawRequest(to, `GET /request HTTP/1.1\r\n${lines}\r\n`);
  assert.equal(answer.status, 200, text(answer));
  return JSON.parse(text(answer));
}

Deno.test("fields keep their order, spelling and repetition on the way to the origin", async () => {
  const seen = await seenBy(
    "Host: a\r\nX-B: 1\r\nx-a:   two  words \r\nX-B: 3\r\nCOOKIE: a=b\r\nX-Empty:\r\n",
  );
  assert.deepEqual(seen.fields.slice(0, 6), [
    ["Host", "a"],
    ["X-B", "1"],
    ["x-a", "two  words"],
    ["X-B", "3"],
    ["COOKIE", "a=b"],
    ["X-Empty", ""],
  ]);
});

Deno.test("fields keep their order, spelling and repetition on the way to the client", async () => {
  await using behind = await startSimpleOrigin({
    handler: () =>
      "HTTP/1.1 200 OK\r\nSET-cookie: a\r\nX-One: 1\r\nSet-Cookie: b\r\nContent-Length: 0\r\n" +
      "x-latin: \xe9\r\n\r\n",
  });
  await using proxy = await startSluice({ upstream: behind.url });
  const { fields } = await rawRequest(proxy.port(), get("/"));
  const own = fields.filter(([name]) => /cookie|x-/i.test(name));
  assert.deepEqual(own, [
    ["SET-cookie", "a"],
    ["X-One", "1"],
    ["Set-Cookie", "b"],
    ["x-latin", "\xe9"],
  ]);
});

Deno.test("hop-by-hop fields and what Connection nominates stay behind", async () => {
  const seen = await seenBy(
    "Host: a\r\nConnection: keep-alive, X-Mine, x-yours\r\nKeep-Alive: timeout=5\r\n" +
      "Proxy-Connection: keep-alive\r\nProxy-Authenticate: x\r\nX-Mine: 1\r\nX-Yours: 2\r\n" +
      "X-Kept: 3\r\n",
  );
  const names = seen.fields.map(([name]) => name.toLowerCase());
  for (const gone of ["keep-alive", "proxy-connection", "x-mine", "x-yours"]) {
    assert.ok(!names.includes(gone), gone);
  }
  assert.ok(names.includes("x-kept"));
  assert.doesNotMatch(field(seen, "connection") ?? "", /mine|yours/i);
});

// Pingora: CVE-2026-105299
Deno.test("Connection cannot strip Host, X-Forwarded-For, Via or credentials", async () => {
  const seen = await seenBy(
    "Host: a\r\nConnection: close, Host, X-Forwarded-For, X-Forwarded-Proto, Authorization, Via, " +
      "Cookie, Content-Length\r\nAuthorization: Bearer t\r\nCookie: c=1\r\n",
  );
  assert.equal(field(seen, "host"), "a");
  assert.equal(field(seen, "x-forwarded-for"), "127.0.0.1");
  assert.equal(field(seen, "x-forwarded-proto"), "http");
  assert.equal(field(seen, "authorization"), "Bearer t");
  assert.match(field(seen, "via")!, /1\.1 sluice/);
});

Deno.test("hop-by-hop fields of the response stay behind, too", async () => {
  await using behind = await startSimpleOrigin({
    handler: () =>
      "HTTP/1.1 200 OK\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=1\r\nX-End: 2\r\n" +
      "Content-Length: 2\r\n\r\nok",
  });
  await using proxy = await startSluice({ upstream: behind.url });
  const answer = await rawRequest(proxy.port(), get("/"));
  assert.equal(text(answer), "ok");
  assert.equal(field(answer, "x-hop"), null);
  assert.equal(field(answer, "keep-alive"), null);
  assert.equal(field(answer, "x-end"), "2");
});

Deno.test("Via is added behind what is there", async () => {
  assert.deepEqual(fieldValues(await seenBy("Host: a\r\n"), "via"), ["1.1 sluice"]);
  assert.deepEqual(
    fieldValues(await seenBy("Host: a\r\nVia: 1.0 other\r\nVia: 1.1 more\r\n"), "via"),
    [
      "1.0 other, 1.1 more, 1.1 sluice",
    ],
  );
  const old = await rawRequest(sluice.port(), "GET /request HTTP/1.0\r\nHost: a\r\n\r\n");
  assert.equal(field(JSON.parse(text(old)) as SeenRequest, "via"), "1.0 sluice");
});

Deno.test("what an untrusted client says of who it is is thrown away", async () => {
  const seen = await seenBy(
    "Host: a.example\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-For: 5.6.7.8\r\n" +
      "X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Port: 1\r\n" +
      "X-Real-IP: 1.2.3.4\r\nForwarded: for=1.2.3.4\r\n",
  );
  assert.deepEqual(fieldValues(seen, "x-forwarded-for"), ["127.0.0.1"]);
  assert.deepEqual(fieldValues(seen, "x-forwarded-proto"), ["http"]);
  assert.deepEqual(fieldValues(seen, "x-forwarded-host"), ["a.example"]);
  assert.equal(field(seen, "x-forwarded-port"), null);
  assert.equal(field(seen, "x-real-ip"), null);
  assert.equal(field(seen, "forwarded"), null);
});

Deno.test("what a trusted proxy says is kept, and its address is added", async () => {
  const seen = await seenBy(
    "Host: a.example\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\n" +
      "X-Forwarded-Host: outside.example\r\n",
    { port: sluice.port(), from: "127.0.0.2" },
  );
  assert.deepEqual(fieldValues(seen, "x-forwarded-for"), ["1.2.3.4, 127.0.0.2"]);
  assert.deepEqual(fieldValues(seen, "x-forwarded-proto"), ["https"]);
  assert.deepEqual(fieldValues(seen, "x-forwarded-host"), ["outside.example"]);
});

Deno.test("the access log names the client that trusted proxies vouch for", async () => {
  await rawRequest(
    { port: sluice.port(), from: "127.0.0.2" },
    get("/bytes/1?who", { "X-Forwarded-For": "6.6.6.6, 9.9.9.9, 127.0.0.3" }),
  );
  const deadline = Date.now() + 5_000;
  let line;
  while (line === undefined && Date.now() < deadline) {
    line = (await sluice.waitForAccessLog(1)).find((one) => one["url.query"] === "who");
  }
  assert.equal(line?.["client.address"], "9.9.9.9");
  assert.equal(line?.["network.peer.address"], "127.0.0.2");
});

Deno.test("Forwarded is written instead where the listener says so", async () => {
  await using proxy = await startSluice({
    config: configFile({ origin: origin.address, listener: { forwarded: "rfc7239" } }),
  });
  const seen = await seenBy("Host: a.example:81\r\nForwarded: for=1.2.3.4\r\n", proxy.port());
  assert.deepEqual(fieldValues(seen, "forwarded"), [
    'for=127.0.0.1;proto=http;host="a.example:81"',
  ]);
  assert.equal(field(seen, "x-forwarded-for"), null);
});

Deno.test("TE says that trailers are welcome, and nothing else of it is passed on", async () => {
  const seen = await seenBy("Host: a\r\nConnection: TE\r\nTE: trailers, deflate\r\n");
  assert.equal(field(seen, "te"), "trailers");
  assert.match(field(seen, "connection") ?? "", /te/i);
  assert.equal(field(await seenBy("Host: a\r\n"), "te"), null);
});

Deno.test("a sandboxed plugin sees each field that the origin sees, whatever stands around its value", async () => {
  const plugin = (host: string) =>
    `import { definePlugin } from "@sluice/plugin";
export default definePlugin({
  match: { host: "${host}" },
  requestFilter(session) {
    const { headers } = session.request;
    if (headers.get("x-role") === "admin") return session.respond(403, "no");
    session.upstreamRequest.headers.set("Seen", JSON.stringify([...headers]));
  },
});
`;
  await using guarded = await startSluice({
    config: configFile({
      origin: origin.address,
      plugins: { isolation: { outside: "process" } },
    }),
    plugins: { "inside.ts": plugin("inside"), "outside.ts": plugin("outside") },
  });
  const ask = (host: string, lines: string) =>
    rawRequest(guarded.port(), `GET /request HTTP/1.1\r\nHost: ${host}\r\n${lines}\r\n`);
  const own = (fields: readonly (readonly [string, string])[]) =>
    fields.map(([name, value]) => [name.toLowerCase(), value]).filter(([name]) =>
      /^x-(?!forwarded)/.test(name!)
    );
  for (const host of ["inside", "outside"]) {
    for (
      const lines of [
        "X-Role: admin\r\n",
        "X-Role:admin\r\n",
        "X-Role:\t admin \t\r\n",
        "X-Empty:\r\nX-Role: admin\r\n",
        "X-Empty:\r\nX-Role:admin\r\n",
        "X-Empty: \r\nX-None:\t\r\nX-Role:admin\r\nX-End:\r\n",
      ]
    ) assert.equal((await ask(host, lines)).status, 403, `${host} ${JSON.stringify(lines)}`);
    const answer = await ask(
      host,
      "X-A:\r\nX-B:b\r\nX-C:  c c\t\r\nX-D: \t\r\nX-Role:\r\nX-Z:z\r\n",
    );
    assert.equal(answer.status, 200, text(answer));
    const { fields }: SeenRequest = JSON.parse(text(answer));
    const expected = [
      ["x-a", ""],
      ["x-b", "b"],
      ["x-c", "c c"],
      ["x-d", ""],
      ["x-role", ""],
      ["x-z", "z"],
    ];
    assert.deepEqual(own(fields), expected);
    const seen = fields.find(([name]) => name.toLowerCase() === "seen")![1];
    assert.deepEqual(own(JSON.parse(seen)), expected, host);
  }
});
