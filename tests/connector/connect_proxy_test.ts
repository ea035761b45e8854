import { equal, ok, throws } from "node:assert/strict";
import fc from "fast-check";
import { ProxyError } from "../../src/base/error.ts";
import { connectRequest, MOST_REPLY_BYTES, Reply } from "../../src/connector/connect_proxy.ts";
import { INCOMPLETE } from "../../src/http1/field_section_parser.ts";

const OK = "HTTP/1.1 200 Connection established\r\nProxy-Agent: x\r\n\r\n";

Deno.test("the request names the target twice, and brings the headers", () => {
  equal(
    connectRequest({ kind: "tcp", host: "a.test", port: 443 }, [[
      "Proxy-Authorization",
      "Basic eA==",
    ]]),
    "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\nProxy-Authorization: Basic eA==\r\n\r\n",
  );
  ok(
    connectRequest({ kind: "tcp", host: "2001:db8::1", port: 1 }, []).startsWith(
      "CONNECT [2001:db8::1]:1 HTTP/1.1\r\nHost: [2001:db8::1]:1\r\n",
    ),
  );
});

Deno.test("neither target nor headers can add anything to the request", () => {
  for (const host of ["a b", "a\r\nX: y", "a\0", "a/b", "é", "", "a@b"]) {
    throws(() => connectRequest({ kind: "tcp", host, port: 1 }, []), host);
  }
  for (
    const header of [
      ["X\r\nY", "z"],
      ["X", "a\r\nb"],
      ["X y", "z"],
      ["", "z"],
      ["Host", "b"],
      ["transfer-encoding", "chunked"],
      ["Content-Length", "5"],
    ] as const
  ) throws(() => connectRequest({ kind: "tcp", host: "a", port: 1 }, [header]), header.join());
});

Deno.test("a reply is read the same however it is cut", () => {
  for (
    const [whole, status, rest] of [
      [OK, 200, 0],
      [`${OK}SSH-`, 200, 4],
      ["HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.0 204\r\n\r\n", 204, 0],
      ["HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 5\r\n\r\nhello", 407, 5],
    ] as const
  ) {
    for (let cut = 0; cut <= whole.length; cut++) {
      const { result, reply } = read(whole.slice(0, cut), whole.slice(cut));
      equal(result, status, `cut at ${cut}`);
      // What comes after the final head was found is not its business any more.
      ok(reply.rest <= rest && (cut < whole.length - rest ? reply.rest === rest : true));
    }
    equal(read(...whole).result, status);
  }
});

Deno.test("what is not strictly HTTP/1 is refused, at once or when it is decided", () => {
  for (
    const bad of [
      "SSH-2.0-x\r\n",
      "HTTP/2 200 OK\r\n\r\n",
      "HTTP/1.1 20 OK\r\n\r\n",
      "HTTP/1.1 200 OK\n\n",
      "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
      "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
      "HTTP/1.1 100 Continue\r\n\r\n".repeat(9),
      `HTTP/1.1 200 OK\r\nA: ${"x".repeat(MOST_REPLY_BYTES)}\r\n\r\n`,
    ]
  ) {
    for (const pieces of [[bad], [...bad.slice(0, 300), bad.slice(300)]]) {
      throws(
        () => {
          equal(read(...pieces).result, "an error");
        },
        (error) => error instanceof ProxyError,
        bad.slice(0, 60),
      );
    }
  }
});

Deno.test("random bytes never crash it, hold it up, or make it say yes", () => {
  fc.assert(fc.property(
    fc.array(
      fc.oneof(
        fc.uint8Array({ maxLength: 3_000 }),
        fc.constantFrom("HTTP/1.1 ", "200 OK\r\n", "\r\n", "100 \r\n\r\n", "A: b\r\n")
          .map((text) => new TextEncoder().encode(text)),
      ),
      { maxLength: 20 },
    ),
    (pieces) => {
      const reply = new Reply();
      let all = "";
      for (const piece of pieces) {
        all += String.fromCharCode(...piece);
        try {
          const status = reply.take(piece);
          if (status === INCOMPLETE) continue;
          ok(status >= 200 && status <= 999);
          ok(all.includes(`HTTP/1.`) && all.includes(` ${status}`) && all.includes("\r\n\r\n"));
        } catch (error) {
          ok(error instanceof ProxyError, String(error));
        }
        return;
      }
    },
  ));
});

function read(...pieces: string[]): { result: number; reply: Reply } {
  const reply = new Reply();
  for (const piece of pieces) {
    const result = reply.take(new TextEncoder().encode(piece));
    if (result !== INCOMPLETE) return { result, reply };
  }
  return { result: INCOMPLETE, reply };
}
