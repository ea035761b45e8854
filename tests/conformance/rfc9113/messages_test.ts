/** What RFC 9113 §8 asks of a server and of who carries messages on, against the running program. */
import assert from "node:assert/strict";
import * as c from "../../../src/http2/constants.ts";
import { configFile } from "../../support/config.ts";
import {
  type FieldList,
  frame,
  RawHttp2,
  statusOf,
  valueOf,
  words,
} from "../../support/raw_http2.ts";
import { startRawOrigin } from "../../support/raw_origin.ts";
import { type SeenRequest, startSimpleOrigin } from "../../support/simple_origin.ts";
import { startSluice } from "../../support/sluice.ts";

const METHOD = [":method", "GET"] as const;
const SCHEME = [":scheme", "http"] as const;
const AUTHORITY = [":authority", "test.example"] as const;
const PATH = [":path", "/malformed"] as const;
const GOOD = [METHOD, SCHEME, AUTHORITY, PATH];
const EXTENDED = [[":method", "CONNECT"], [":protocol", "websocket"], SCHEME, AUTHORITY, PATH];

function but(...pairs: readonly (readonly [string, string])[]): FieldList {
  const names = pairs.map(([name]) => name);
  return [...GOOD.filter(([name]) => !names.includes(name)), ...pairs];
}

function and(...pairs: readonly (readonly [string, string])[]): FieldList {
  return [...GOOD, ...pairs];
}

/** Requests that are malformed (§8.1.1): reset by PROTOCOL_ERROR, and never seen by the origin. */
const MALFORMED: [string, FieldList][] = [
  ["§8.2.1: upper case in a name", and(["X-Upper", "a"])],
  ["§8.2.1: a space in a name", and(["x space", "a"])],
  ["§8.2.1: a colon in a name", and(["x:y", "a"])],
  ["§8.2.1: no name", and(["", "a"])],
  ["§8.2.1: a control character in a name", and(["x\u0001", "a"])],
  ["§8.2.1: a byte over 0x7f in a name", and(["x\u00e4", "a"])],
  ["§8.2.1: CR in a value", and(["x-a", "a\rb"])],
  ["§8.2.1: LF in a value", and(["x-a", "a\nb"])],
  ["§8.2.1: NUL in a value", and(["x-a", "a\u0000b"])],
  ["§8.2.1: CR LF and a field in a value", and(["x-a", "a\r\nx-b: c"])],
  ["§8.2.1: a space before a value", and(["x-a", " a"])],
  ["§8.2.1: a tab behind a value", and(["x-a", "a\t"])],
  ["§8.2.2: connection", and(["connection", "close"])],
  ["§8.2.2: keep-alive", and(["keep-alive", "timeout=5"])],
  ["§8.2.2: proxy-connection", and(["proxy-connection", "close"])],
  ["§8.2.2: transfer-encoding", and(["transfer-encoding", "chunked"])],
  ["§8.2.2: upgrade", and(["upgrade", "websocket"])],
  ["§8.2.2: te with something else", and(["te", "trailers, deflate"])],
  ["§8.3: a pseudo-field behind a field", [METHOD, SCHEME, AUTHORITY, ["x-a", "b"], PATH]],
  ["§8.3: a pseudo-field that is not known", [...GOOD, [":foo", "bar"]]],
  ["§8.3: a pseudo-field of responses", [...GOOD, [":status", "200"]]],
  ["§8.3: a pseudo-field twice", [...GOOD, PATH]],
  ["§8.3.1: no :method", GOOD.slice(1)],
  ["§8.3.1: no :scheme", [METHOD, AUTHORITY, PATH]],
  ["§8.3.1: no :path", [METHOD, SCHEME, AUTHORITY]],
  ["§8.3.1: an empty :path", but([":path", ""])],
  ["§8.3.1: a :path that is none", but([":path", "malformed"])],
  ["§8.3.1: an absolute :path", but([":path", "http://other.example/"])],
  ["§8.3.1: * without OPTIONS", but([":path", "*"])],
  ["§8.3.1: a space in :path", but([":path", "/a b"])],
  ["§8.3.1: a second request in :path", but([":path", "/ HTTP/1.1\r\nHost: x\r\n\r\nGET /b"])],
  ["§8.3.1: a fragment in :path", but([":path", "/a#b"])],
  ["§8.3.1: a method that is no token", but([":method", "GET /x HTTP/1.1"])],
  ["§8.3.1: an empty method", but([":method", ""])],
  ["§8.3.1: neither :authority nor Host", [METHOD, SCHEME, PATH]],
  ["§8.3.1: an empty :authority", but([":authority", ""])],
  ["§8.3.1: user information in :authority", but([":authority", "me@test.example"])],
  ["§8.3.1: a space in :authority", but([":authority", "test.example x"])],
  ["§8.3.1: Host against :authority", and(["host", "other.example"])],
  ["§8.3.1: Host twice", and(["host", "test.example"], ["host", "test.example"])],
  ["§8.1.1: Content-Length that is none", and(["content-length", "1x"])],
  ["§8.1.1: two lengths", and(["content-length", "0"], ["content-length", "0"])],
  ["§8.1.1: a length without content", and(["content-length", "5"])],
  ["§8.5: :scheme in CONNECT", [[":method", "CONNECT"], SCHEME, [":authority", "a.example:443"]]],
  ["§8.5: :path in CONNECT", [[":method", "CONNECT"], [":authority", "a.example:443"], PATH]],
  ["§8.5: CONNECT without :authority", [[":method", "CONNECT"]]],
  ["§8.5: CONNECT without a port", [[":method", "CONNECT"], [":authority", "a.example"]]],
  ["RFC 8441 §4: :protocol without CONNECT", [...GOOD, [":protocol", "websocket"]]],
  ["RFC 8441 §4: extended CONNECT without :path", EXTENDED.slice(0, -1) as FieldList],
];

Deno.test("RFC 9113 §8", async (t) => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({
    config: configFile({ origin: origin.address, listener: { protocols: ["h1", "h2c"] } }),
  });
  const port = sluice.port();

  for (const end of [true, false]) {
    await t.step(`malformed requests ${end ? "without" : "with"} content`, async (t) => {
      for (const [name, fields] of MALFORMED) {
        if (!end && name.includes("a length without content")) continue;
        await t.step(name, async () => {
          await using client = await RawHttp2.connect(port);
          const id = client.take();
          await client.send(client.headers(id, fields, end));
          assert.equal((await client.over(id)).reset, c.PROTOCOL_ERROR);
          assert.equal(client.seen(id).sections.length, 0);
          assert.equal(statusOf(await client.get("/")), "200", "the connection goes on");
        });
      }
    });
  }

  await t.step(
    "no malformed request has reached the origin, and each is in the access log",
    async () => {
      assert.deepEqual(origin.requests.filter(({ target }) => target !== "/"), []);
      const lines = await sluice.waitForAccessLog(MALFORMED.length * 4 - 2);
      const refused = lines.filter((line) => line["proxy.error"] === "http_request_error");
      assert.equal(refused.length, MALFORMED.length * 2 - 1);
    },
  );

  await t.step("§8.1.1: more or less content than Content-Length says", async () => {
    for (const [length, content] of [["3", "abcd"], ["5", "abcd"]] as const) {
      await using client = await RawHttp2.connect(port);
      const seen = await client.post("/late", content, [["content-length", length]]);
      assert.equal(seen.reset, c.PROTOCOL_ERROR, `${content} of ${length}`);
      assert.equal(statusOf(await client.post("/echo", "abcd", [["content-length", "4"]])), "200");
    }
  });

  await t.step("§8.1: a second field block that does not end the stream", async () => {
    await using client = await RawHttp2.connect(port);
    const id = client.take();
    await client.send(
      client.request(id, "POST", "/late", { end: false }),
      client.headers(id, [["x-a", "b"]], false),
    );
    assert.equal((await client.over(id)).reset, c.PROTOCOL_ERROR);
  });

  await t.step("§8.1: pseudo-fields in trailers", async () => {
    await using client = await RawHttp2.connect(port);
    const id = client.take();
    await client.send(
      client.request(id, "POST", "/late", { end: false }),
      client.headers(id, [[":path", "/other"]], true),
    );
    assert.equal((await client.over(id)).reset, c.PROTOCOL_ERROR);
  });

  await t.step("§8.2.3, §8.3.1, RFC 8441: what is well-formed arrives", async (t) => {
    await using client = await RawHttp2.connect(port);
    const ask = async (fields: FieldList) => {
      const id = client.take();
      await client.send(client.headers(id, fields, true));
      const seen = await client.over(id);
      assert.equal(statusOf(seen), "200", `reset ${seen.reset}`);
      return JSON.parse(seen.body.toString("latin1")) as SeenRequest;
    };
    const field = ({ fields }: SeenRequest, name: string) =>
      fields.filter(([one]) => one.toLowerCase() === name).map(([, value]) => value);
    const to: readonly [string, string] = [":path", "/request"];
    await t.step("Host alone", async () => {
      const seen = await ask([METHOD, SCHEME, to, ["host", "a.example:8080"]]);
      assert.deepEqual(field(seen, "host"), ["a.example:8080"]);
    });
    await t.step(":authority and Host that say the same", async () => {
      const seen = await ask([METHOD, SCHEME, [":authority", "A.example"], to, [
        "host",
        "a.example:80",
      ]]);
      assert.deepEqual(field(seen, "host"), ["A.example"]);
    });
    await t.step("many crumbs of cookies", async () => {
      const seen = await ask([...but(to), ["cookie", "a"], ["x", "y"], ["cookie", "b"]]);
      assert.deepEqual(field(seen, "cookie"), ["a; b"]);
      assert.deepEqual(field(seen, "x"), ["y"]);
    });
    await t.step("priority (RFC 9218), te: trailers, values over 0x7f", async () => {
      const seen = await ask([
        ...but(to),
        ["priority", "u=1, i"],
        ["te", "trailers"],
        ["x-latin", "\u00e4"],
      ]);
      assert.deepEqual(field(seen, "priority"), ["u=1, i"]);
      assert.deepEqual(field(seen, "x-latin"), ["\u00e4"]);
    });
    await t.step("OPTIONS *", async () => {
      const id = client.take();
      await client.send(client.headers(id, but([":method", "OPTIONS"], [":path", "*"]), true));
      assert.equal(statusOf(await client.over(id)), "200");
      assert.equal(origin.requests.at(-1)!.target, "*");
    });
  });

  await t.step("another scheme is refused with a status", async () => {
    await using client = await RawHttp2.connect(port);
    const id = client.take();
    await client.send(client.headers(id, but([":scheme", "ftp"]), true));
    assert.equal(statusOf(await client.over(id)), "400");
  });

  await t.step(
    "§8.2, §8.2.2, §8.3.2: responses have lower case, :status first and once, nothing of a connection",
    async () => {
      await using strange = await startRawOrigin(async (connection) => {
        await connection.head();
        await connection.send(
          "HTTP/1.1 200 Fine\r\nConnection: X-Hop, keep-alive\r\nKeep-Alive: timeout=5\r\nX-Hop: 1\r\n" +
            "X-Own: Yes\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        );
      });
      await using other = await startSluice({
        config: configFile({ origin: strange.address, listener: { protocols: ["h2c"] } }),
      });
      await using client = await RawHttp2.connect(other.port());
      const [head] = (await client.get("/")).sections;
      assert.deepEqual(head![0], [":status", "200"]);
      assert.deepEqual(head!.filter(([name]) => name.startsWith(":")).length, 1);
      assert.ok(head!.every(([name]) => name === name.toLowerCase()));
      for (const gone of ["connection", "keep-alive", "x-hop", "transfer-encoding"]) {
        assert.equal(valueOf(head, gone), "", gone);
      }
      assert.equal(valueOf(head, "x-own"), "Yes");
      assert.deepEqual(head!.filter(([name]) => name === "set-cookie").map(([, v]) => v), [
        "a",
        "b",
      ]);
      assert.notEqual(valueOf(head, "date"), "");
    },
  );

  await t.step(
    "§8.1: a reset with NO_ERROR follows an answer that was whole before its request",
    async () => {
      await using client = await RawHttp2.connect(port);
      const id = client.take();
      await client.send(
        client.headers(id, but([":method", "POST"], ["expect", "unknown"]), false),
        frame(c.WINDOW_UPDATE, 0, id, words(1000)),
      );
      await client.until(() => client.seen(id).reset >= 0, "the reset");
      assert.equal(statusOf(client.seen(id)), "417");
      assert.equal(client.seen(id).reset, c.NO_ERROR);
    },
  );
});

Deno.test("RFC 8441: an extended CONNECT opens a tunnel to an HTTP/1 origin, half-closed by either side", async (t) => {
  await using origin = await startRawOrigin(async (connection) => {
    const { target, fields } = await connection.head();
    if (target === "/no") {
      return await connection.send("HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno");
    }
    if (target === "/plain") {
      return await connection.send("HTTP/1.1 200 Fine\r\nContent-Length: 2\r\n\r\nok");
    }
    const upgrade = fields.find(([name]) => name.toLowerCase() === "upgrade")?.[1];
    await connection.send(
      `HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: ${upgrade}\r\n\r\nhello:`,
    );
    for (;;) {
      const piece = await connection.takeSome();
      if (piece.length === 0) break;
      await connection.send(piece);
    }
    await connection.send(":bye");
    connection.end();
  });
  await using sluice = await startSluice({
    config: configFile({ origin: origin.address, listener: { protocols: ["h2c"] } }),
  });
  await using client = await RawHttp2.connect(sluice.port());
  const connect = (path: string): FieldList => [
    [":method", "CONNECT"],
    [":protocol", "chat"],
    SCHEME,
    AUTHORITY,
    [":path", path],
  ];

  await t.step("the server says that it can", async () => {
    await client.ping();
    const { payload } = client.frames[0]!;
    assert.match(Array.from(payload).join(), /0,8,0,0,0,1/);
  });

  await t.step("bytes go both ways, and each side ends by itself", async () => {
    const id = client.take();
    await client.send(client.headers(id, connect("/chat"), false));
    await client.until(() => client.seen(id).body.toString() === "hello:", "the greeting");
    assert.equal(statusOf(client.seen(id)), "200");
    assert.equal(valueOf(client.seen(id).sections[0], "upgrade"), "");
    await client.send(frame(c.DATA, 0, id, "one,"));
    await client.until(() => client.seen(id).body.toString() === "hello:one,", "the echo");
    await client.send(frame(c.DATA, c.FLAG_END_STREAM, id, "two"));
    const seen = await client.over(id);
    assert.ok(seen.ended);
    assert.equal(seen.body.toString(), "hello:one,two:bye");
  });

  await t.step("what comes before the answer does not reach the origin before it", async () => {
    const id = client.take();
    await client.send(client.headers(id, connect("/chat"), false), frame(c.DATA, 0, id, "early"));
    await client.until(() => client.seen(id).body.toString() === "hello:early", "the echo");
    await client.send(frame(c.RST_STREAM, 0, id, words(c.CANCEL)));
  });

  await t.step("a refusal is an answer, and a plain 200 is none", async () => {
    for (const [path, status, body] of [["/no", "403", "no"], ["/plain", "502", ""]] as const) {
      const id = client.take();
      await client.send(client.headers(id, connect(path), false));
      const seen = await client.over(id);
      assert.equal(statusOf(seen), status);
      if (body !== "") assert.equal(seen.body.toString(), body);
    }
  });

  await t.step("HTTP through HTTP is refused", async () => {
    const id = client.take();
    const fields = connect("/chat").map(([name, value]) =>
      [name, name === ":protocol" ? "h2c" : value] as const
    );
    await client.send(client.headers(id, fields, false));
    assert.equal(statusOf(await client.over(id)), "501");
  });
});
