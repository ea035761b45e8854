/**
 * Raw requests and what becomes of them: the corpus against request smuggling.
 *
 * @module
 */

/** One raw request. */
export interface RequestCase {
  readonly name: string;
  readonly raw: string;
  /** The status of the refusal, or `ok` if it is served. */
  readonly verdict: number | "ok";
  /** The target that is handed out, where it is served. */
  readonly target?: string;
  /** The authority that is handed out. */
  readonly authority?: string;
  /** The content that is handed out. */
  readonly body?: string;
}

const HOST = "Host: a.example\r\n";

function get(target: string, fields: string = HOST, version: string = "HTTP/1.1"): string {
  return `GET ${target} ${version}\r\n${fields}\r\n`;
}

function post(fields: string, body: string = "", version: string = "HTTP/1.1"): string {
  return `POST / ${version}\r\n${HOST}${fields}\r\n${body}`;
}

function chunked(body: string, encoding: string = "chunked"): string {
  return post(`Transfer-Encoding: ${encoding}\r\n`, body);
}

const CONTROLS = ["\x00", "\x01", "\x08", "\x0b", "\x0c", "\x1f", "\x7f"];

/** Every case, by the section of RFC 9112 that decides it. */
export const REQUESTS: { readonly [section: string]: readonly RequestCase[] } = {
  "§2.2 message parsing": [
    { name: "a plain request", raw: get("/"), verdict: "ok", target: "/" },
    { name: "one empty line before it", raw: `\r\n${get("/")}`, verdict: "ok" },
    { name: "two empty lines before it", raw: `\r\n\r\n${get("/")}`, verdict: 400 },
    { name: "a bare LF before it", raw: `\n${get("/")}`, verdict: 400 },
    { name: "a bare CR before it", raw: `\r${get("/")}`, verdict: 400 },
    { name: "bare LF behind the request line", raw: `GET / HTTP/1.1\n${HOST}\r\n`, verdict: 400 },
    { name: "bare LF behind a field", raw: "GET / HTTP/1.1\r\nHost: a\n\r\n", verdict: 400 },
    { name: "bare LF as the empty line", raw: `GET / HTTP/1.1\r\n${HOST}\n`, verdict: 400 },
    { name: "LF only", raw: "GET / HTTP/1.1\nHost: a\n\n", verdict: 400 },
    { name: "bare CR in a value", raw: get("/", `${HOST}A: b\rc: d\r\n`), verdict: 400 },
    { name: "CR CR LF", raw: get("/", `${HOST}A: b\r\r\n`), verdict: 400 },
    { name: "white space before the first field", raw: get("/", ` A: b\r\n${HOST}`), verdict: 400 },
    { name: "a TLS hello", raw: "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", verdict: 400 },
  ],
  "§2.3 version": [
    { name: "HTTP/1.0", raw: get("/", HOST, "HTTP/1.0"), verdict: "ok" },
    { name: "HTTP/1.2 counts as 1.1", raw: get("/", HOST, "HTTP/1.2"), verdict: "ok" },
    { name: "HTTP/1.9 counts as 1.1", raw: get("/", HOST, "HTTP/1.9"), verdict: "ok" },
    { name: "HTTP/2.0", raw: get("/", HOST, "HTTP/2.0"), verdict: 505 },
    { name: "HTTP/0.9", raw: get("/", HOST, "HTTP/0.9"), verdict: 505 },
    { name: "the HTTP/2 preface", raw: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", verdict: 505 },
    { name: "an HTTP/0.9 request", raw: "GET /\r\n\r\n", verdict: 400 },
    { name: "lower case", raw: get("/", HOST, "http/1.1"), verdict: 400 },
    { name: "two digits", raw: get("/", HOST, "HTTP/1.10"), verdict: 400 },
    { name: "no minor version", raw: get("/", HOST, "HTTP/1"), verdict: 400 },
    { name: "a comma", raw: get("/", HOST, "HTTP/1,1"), verdict: 400 },
    { name: "something else", raw: get("/", HOST, "ICAP/1.0"), verdict: 400 },
    { name: "a space behind it", raw: get("/", HOST, "HTTP/1.1 "), verdict: 400 },
  ],
  "§3 request line": [
    { name: "two spaces before the target", raw: `GET  / HTTP/1.1\r\n${HOST}\r\n`, verdict: 400 },
    { name: "two spaces before the version", raw: get("/ "), verdict: 400 },
    { name: "a tab before the target", raw: `GET\t/ HTTP/1.1\r\n${HOST}\r\n`, verdict: 400 },
    { name: "a space before the method", raw: ` ${get("/")}`, verdict: 400 },
    { name: "no method", raw: `/ HTTP/1.1\r\n${HOST}\r\n`, verdict: 400 },
    { name: "a method of letters", raw: `PURGE / HTTP/1.1\r\n${HOST}\r\n`, verdict: "ok" },
    { name: "a method that is no token", raw: `GE(T / HTTP/1.1\r\n${HOST}\r\n`, verdict: 400 },
    { name: "a colon in the method", raw: `GET: / HTTP/1.1\r\n${HOST}\r\n`, verdict: 400 },
    { name: "a space in the target", raw: get("/a b"), verdict: 400 },
    { name: "a fragment", raw: get("/a#b"), verdict: 400 },
    { name: "a fragment in the query", raw: get("/a?b#c"), verdict: 400 },
    { name: "letters beyond ASCII", raw: get("/\xc3\xa9"), verdict: 400 },
    { name: "a quotation mark", raw: get('/a"b'), verdict: 400 },
    { name: "an angle bracket", raw: get("/<a>"), verdict: 400 },
    { name: "a backslash in the path", raw: get("/a\\b"), verdict: 400 },
    { name: "a backslash in the query", raw: get("/a?b\\c"), verdict: "ok", target: "/a?b\\c" },
    { name: "what browsers leave", raw: get("/{a|b}^`?[c]={d|e}^`"), verdict: "ok" },
    { name: "two question marks", raw: get("/a?b?c"), verdict: "ok", target: "/a?b?c" },
    { name: "two slashes", raw: get("//a"), verdict: "ok", target: "//a" },
    ...CONTROLS.map((c) => ({
      name: `byte 0x${c.charCodeAt(0).toString(16)} in the target`,
      raw: get(`/a${c}b`),
      verdict: 400,
    })),
  ],
  "§3.2 target forms and Host": [
    { name: "no Host", raw: get("/", ""), verdict: 400 },
    { name: "no Host on HTTP/1.0", raw: get("/", "", "HTTP/1.0"), verdict: "ok", authority: "" },
    { name: "Host twice", raw: get("/", `${HOST}Host: b\r\n`), verdict: 400 },
    { name: "the same Host twice", raw: get("/", HOST + HOST), verdict: 400 },
    { name: "Host twice on HTTP/1.0", raw: get("/", HOST + HOST, "HTTP/1.0"), verdict: 400 },
    { name: "an empty Host", raw: get("/", "Host:\r\n"), verdict: 400 },
    { name: "an empty Host, 1.0", raw: get("/", "Host:\r\n", "HTTP/1.0"), verdict: "ok" },
    { name: "a port", raw: get("/", "Host: a:8080\r\n"), verdict: "ok", authority: "a:8080" },
    { name: "an empty port", raw: get("/", "Host: a:\r\n"), verdict: "ok" },
    { name: "an IPv6 address", raw: get("/", "Host: [::1]:80\r\n"), verdict: "ok" },
    { name: "an IPv6 address, no brackets", raw: get("/", "Host: ::1\r\n"), verdict: 400 },
    { name: "a port over 65535", raw: get("/", "Host: a:65536\r\n"), verdict: 400 },
    { name: "a port of letters", raw: get("/", "Host: a:b\r\n"), verdict: 400 },
    { name: "two ports", raw: get("/", "Host: a:1:2\r\n"), verdict: 400 },
    { name: "user information", raw: get("/", "Host: u@a\r\n"), verdict: 400 },
    { name: "a slash in Host", raw: get("/", "Host: a/b\r\n"), verdict: 400 },
    { name: "a comma in Host", raw: get("/", "Host: a,b\r\n"), verdict: 400 },
    { name: "a space in Host", raw: get("/", "Host: a b\r\n"), verdict: 400 },
    { name: "a bracket left open", raw: get("/", "Host: [::1\r\n"), verdict: 400 },
    { name: "letters beyond ASCII in Host", raw: get("/", "Host: \xe9\r\n"), verdict: 400 },
    {
      name: "absolute-form",
      raw: get("http://a.example/b?c"),
      verdict: "ok",
      target: "/b?c",
      authority: "a.example",
    },
    { name: "absolute-form, other Host", raw: get("http://b.example/"), verdict: 400 },
    {
      name: "absolute-form, Host in another case and with the default port",
      raw: get("http://A.example:80/"),
      verdict: "ok",
      authority: "A.example:80",
    },
    {
      name: "absolute-form, no path",
      raw: get("http://a.example?q"),
      verdict: "ok",
      target: "/?q",
    },
    { name: "absolute-form, user information", raw: get("http://u@a.example/"), verdict: 400 },
    { name: "absolute-form, no authority", raw: get("http:///a"), verdict: 400 },
    { name: "absolute-form, another scheme", raw: get("ftp://a.example/"), verdict: 400 },
    {
      name: "absolute-form on HTTP/1.0 without Host",
      raw: get("http://a.example/", "", "HTTP/1.0"),
      verdict: "ok",
      authority: "a.example",
    },
    { name: "a path without slash", raw: get("a"), verdict: 400 },
    {
      name: "OPTIONS *",
      raw: `OPTIONS * HTTP/1.1\r\n${HOST}\r\n`,
      verdict: "ok",
      target: "*",
    },
    {
      name: "OPTIONS in absolute-form without path",
      raw: `OPTIONS http://a.example HTTP/1.1\r\n${HOST}\r\n`,
      verdict: "ok",
      target: "*",
    },
    { name: "GET *", raw: get("*"), verdict: 400 },
    { name: "OPTIONS **", raw: `OPTIONS ** HTTP/1.1\r\n${HOST}\r\n`, verdict: 400 },
    { name: "GET in authority-form", raw: get("a.example:80"), verdict: 400 },
    { name: "CONNECT", raw: "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", verdict: 405 },
    { name: "CONNECT with a path", raw: `CONNECT / HTTP/1.1\r\n${HOST}\r\n`, verdict: 400 },
    { name: "CONNECT without port", raw: "CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n", verdict: 400 },
    { name: "CONNECT, other Host", raw: "CONNECT a:1 HTTP/1.1\r\nHost: b:1\r\n\r\n", verdict: 400 },
  ],
  "§5 field syntax": [
    { name: "no space behind the colon", raw: get("/", "Host:a\r\n"), verdict: "ok" },
    { name: "white space around a value", raw: get("/", "Host: \t a \t \r\n"), verdict: "ok" },
    { name: "an empty value", raw: get("/", `${HOST}A:\r\n`), verdict: "ok" },
    { name: "a space before the colon", raw: get("/", `${HOST}A : b\r\n`), verdict: 400 },
    { name: "a tab before the colon", raw: get("/", `${HOST}A\t: b\r\n`), verdict: 400 },
    { name: "a space in a name", raw: get("/", `${HOST}A b: c\r\n`), verdict: 400 },
    { name: "no colon", raw: get("/", `${HOST}A\r\n`), verdict: 400 },
    { name: "no name", raw: get("/", `${HOST}: b\r\n`), verdict: 400 },
    { name: "obs-fold with a space", raw: get("/", `${HOST}A: b\r\n c\r\n`), verdict: 400 },
    { name: "obs-fold with a tab", raw: get("/", `${HOST}A: b\r\n\tc\r\n`), verdict: 400 },
    { name: "a bracket in a name", raw: get("/", `${HOST}A[: b\r\n`), verdict: 400 },
    { name: "a name beyond ASCII", raw: get("/", `${HOST}\xe9: b\r\n`), verdict: 400 },
    { name: "obs-text in a value", raw: get("/", `${HOST}A: \xe9\xff\x80\r\n`), verdict: "ok" },
    ...CONTROLS.flatMap((c) => [
      {
        name: `byte 0x${c.charCodeAt(0).toString(16)} in a value`,
        raw: get("/", `${HOST}A: b${c}c\r\n`),
        verdict: 400,
      },
      {
        name: `byte 0x${c.charCodeAt(0).toString(16)} in a name`,
        raw: get("/", `${HOST}A${c}: b\r\n`),
        verdict: 400,
      },
    ]),
  ],
  "§6.1 Transfer-Encoding": [
    { name: "chunked", raw: chunked("3\r\nabc\r\n0\r\n\r\n"), verdict: "ok", body: "abc" },
    { name: "Chunked", raw: chunked("0\r\n\r\n", "Chunked"), verdict: "ok", body: "" },
    {
      name: "with Content-Length",
      raw: post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
      verdict: 400,
    },
    {
      name: "before Content-Length",
      raw: post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"),
      verdict: 400,
    },
    {
      name: "on HTTP/1.0",
      raw: post("Transfer-Encoding: chunked\r\n", "0\r\n\r\n", "HTTP/1.0"),
      verdict: 400,
    },
    {
      name: "twice",
      raw: post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
      verdict: 400,
    },
    {
      name: "twice, hidden",
      raw: post("Transfer-Encoding: chunked\r\nTransfer-encoding: x\r\n"),
      verdict: 400,
    },
    { name: "chunked, chunked", raw: chunked("", "chunked, chunked"), verdict: 400 },
    { name: "chunked, identity", raw: chunked("", "chunked, identity"), verdict: 400 },
    { name: "identity", raw: chunked("", "identity"), verdict: 400 },
    { name: "gzip", raw: chunked("", "gzip"), verdict: 400 },
    { name: "gzip, chunked", raw: chunked("", "gzip, chunked"), verdict: 501 },
    { name: "xchunked", raw: chunked("", "xchunked"), verdict: 400 },
    { name: "chunkedx", raw: chunked("", "chunkedx"), verdict: 400 },
    { name: "a parameter", raw: chunked("", "chunked;q=1"), verdict: 400 },
    { name: "in quotes", raw: chunked("", '"chunked"'), verdict: 400 },
    { name: "a comma before it", raw: chunked("", ", chunked"), verdict: 400 },
    { name: "a comma behind it", raw: chunked("", "chunked,"), verdict: 400 },
    { name: "a space in it", raw: chunked("", "chunk ed"), verdict: 400 },
    { name: "empty", raw: chunked("", ""), verdict: 400 },
    { name: "a vertical tab before it", raw: chunked("", "\x0bchunked"), verdict: 400 },
    { name: "a no-break space before it", raw: chunked("", "\xa0chunked"), verdict: 400 },
    { name: "folded", raw: post("Transfer-Encoding:\r\n chunked\r\n"), verdict: 400 },
    {
      name: "a space before its colon",
      raw: post("Transfer-Encoding : chunked\r\n"),
      verdict: 400,
    },
    {
      name: "a dotless k",
      raw: chunked("", "chun\u212aed".replace("\u212a", "\xe2\x84\xaa")),
      verdict: 400,
    },
  ],
  "§6.2 Content-Length": [
    { name: "a number", raw: post("Content-Length: 3\r\n", "abc"), verdict: "ok", body: "abc" },
    { name: "nothing", raw: post("Content-Length: 0\r\n"), verdict: "ok", body: "" },
    {
      name: "leading zeros",
      raw: post("Content-Length: 003\r\n", "abc"),
      verdict: "ok",
      body: "abc",
    },
    ...[
      "",
      "+3",
      "-3",
      "0x3",
      "3,3",
      "3, 3",
      "3 3",
      "3.0",
      "3e0",
      "abc",
      "3;",
      "\xb3",
      "1_0",
      "9007199254740992",
      "99999999999999999999",
    ].map((value) => ({
      name: `"${value}"`,
      raw: post(`Content-Length: ${value}\r\n`, "abc"),
      verdict: 400,
    })),
    {
      name: "two that differ",
      raw: post("Content-Length: 3\r\nContent-Length: 4\r\n", "abc"),
      verdict: 400,
    },
    {
      name: "two that agree",
      raw: post("Content-Length: 3\r\nContent-Length: 3\r\n", "abc"),
      verdict: 400,
    },
    {
      name: "one in another case",
      raw: post("Content-Length: 3\r\ncontent-length: 4\r\n"),
      verdict: 400,
    },
    {
      name: "on HTTP/1.0",
      raw: post("Content-Length: 3\r\n", "abc", "HTTP/1.0"),
      verdict: "ok",
      body: "abc",
    },
    {
      name: "CONNECT with content",
      raw: "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nContent-Length: 1\r\n\r\nx",
      verdict: 400,
    },
    { name: "an expectation nobody knows", raw: post("Expect: 200-ok\r\n"), verdict: 417 },
  ],
  "§7.1 chunked content": [
    {
      name: "an extension",
      raw: chunked("3;a=b\r\nabc\r\n0;c\r\n\r\n"),
      verdict: "ok",
      body: "abc",
    },
    {
      name: "a quoted extension",
      raw: chunked('3;a="b;c"\r\nabc\r\n0\r\n\r\n'),
      verdict: "ok",
      body: "abc",
    },
    {
      name: "a space before an extension",
      raw: chunked("3 ;a\r\nabc\r\n0\r\n\r\n"),
      verdict: "ok",
      body: "abc",
    },
    {
      name: "digits in both cases",
      raw: chunked("aA\r\n" + "x".repeat(170) + "\r\n0\r\n\r\n"),
      verdict: "ok",
    },
    { name: "trailers", raw: chunked("0\r\nA: b\r\n\r\n"), verdict: "ok", body: "" },
    { name: "several zeros", raw: chunked("03\r\nabc\r\n000\r\n\r\n"), verdict: "ok", body: "abc" },
    ...[
      "",
      "-3",
      "+3",
      "0x3",
      "3g",
      " 3",
      "3 ",
      "3\t",
      "3_",
      "g",
      "\r",
      "3\r",
      "3\n",
      ";a",
      "3,3",
      "20000000000000",
      "fffffffffffffffff",
    ].map((size) => ({
      name: `the size ${JSON.stringify(size)}`,
      raw: chunked(`${size}\r\nabc\r\n0\r\n\r\n`),
      verdict: 400,
    })),
    { name: "bare LF behind a size", raw: chunked("3\nabc\r\n0\r\n\r\n"), verdict: 400 },
    { name: "bare LF in an extension", raw: chunked("3;a\nabc\r\n0\r\n\r\n"), verdict: 400 },
    { name: "bare CR in an extension", raw: chunked("3;a\rb\r\nabc\r\n0\r\n\r\n"), verdict: 400 },
    { name: "NUL in an extension", raw: chunked("3;a\x00\r\nabc\r\n0\r\n\r\n"), verdict: 400 },
    { name: "bare LF behind data", raw: chunked("3\r\nabc\n0\r\n\r\n"), verdict: 400 },
    { name: "no CRLF behind data", raw: chunked("3\r\nabc0\r\n\r\n"), verdict: 400 },
    { name: "two bytes that are not CRLF", raw: chunked("3\r\nabcXX0\r\n\r\n"), verdict: 400 },
    { name: "too much data", raw: chunked("3\r\nabcd\r\n0\r\n\r\n"), verdict: 400 },
    { name: "bare LF at the end", raw: chunked("0\r\n\n"), verdict: 400 },
    { name: "bare LF behind a trailer", raw: chunked("0\r\nA: b\n\r\n"), verdict: 400 },
    { name: "a folded trailer", raw: chunked("0\r\nA: b\r\n c\r\n\r\n"), verdict: 400 },
    { name: "a trailer without colon", raw: chunked("0\r\nA\r\n\r\n"), verdict: 400 },
    { name: "a space before a trailer's colon", raw: chunked("0\r\nA : b\r\n\r\n"), verdict: 400 },
  ],
};
