import assert from "node:assert/strict";
import { isSameAuthority } from "../../src/http/authority.ts";
import { dateLine, httpDate } from "../../src/http/date.ts";
import {
  contentLengthAt,
  parseContentLength,
  readTransferEncoding,
} from "../../src/http/framing.ts";
import { reasonPhrase } from "../../src/http/reason.ts";
import { text } from "../support/http1.ts";

/** The value in the middle of other bytes, which have no say. */
function lengthInBytes(value: string): number {
  const bytes = new TextEncoder().encode(`7${value}7`);
  return contentLengthAt(bytes, 1, bytes.length - 1);
}

Deno.test("a content length is digits up to 2^53 - 1", () => {
  for (
    const [value, length] of [["0", 0], ["7", 7], ["007", 7], [
      "9007199254740991",
      9007199254740991,
    ]] as const
  ) {
    assert.equal(parseContentLength(value), length);
    assert.equal(lengthInBytes(value), length);
  }
  for (
    const value of [
      "",
      " 1",
      "1 ",
      "+1",
      "-1",
      "1,1",
      "0x1",
      "1.0",
      "1e3",
      "\u0661",
      "9007199254740992",
    ]
  ) {
    assert.equal(parseContentLength(value), -1, value);
    assert.equal(lengthInBytes(value), -1, value);
  }
});

Deno.test("a transfer encoding is chunked, unsupported or invalid", () => {
  for (const value of ["chunked", "Chunked", "CHUNKED"]) {
    assert.equal(readTransferEncoding(value), "chunked");
  }
  for (const value of ["gzip, chunked", "gzip ,\tbr,chunked"]) {
    assert.equal(readTransferEncoding(value), "unsupported");
  }
  for (
    const value of [
      "",
      "gzip",
      "identity",
      "chunked,",
      ",chunked",
      "chunked, gzip",
      "chunked, chunked",
      "chunked;a=b",
      "chun ked",
      "chunked\x0b",
    ]
  ) {
    assert.equal(readTransferEncoding(value), "invalid", value);
  }
});

Deno.test("authorities are compared without case and default port", () => {
  assert(isSameAuthority("A.example", "a.example:80", "http"));
  assert(isSameAuthority("a.example:443", "a.example", "https"));
  assert(isSameAuthority("[::1]:", "[::1]", "http"));
  assert(!isSameAuthority("a.example:443", "a.example", "http"));
  assert(!isSameAuthority("a.example:8080", "a.example", "http"));
  assert(!isSameAuthority("a.example", "b.example", "http"));
});

Deno.test("the date is an IMF-fixdate of now", () => {
  const date = httpDate();
  assert.match(date, /^(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d (\w{3}) \d{4} \d\d:\d\d:\d\d GMT$/);
  assert(Math.abs(Date.parse(date) - Date.now()) < 3000);
  assert.match(text(dateLine()), /^Date: .{29}\r\n$/);
});

Deno.test("reason phrases are the usual ones, or empty", () => {
  assert.equal(reasonPhrase(200), "OK");
  assert.equal(reasonPhrase(404), "Not Found");
  assert.equal(reasonPhrase(299), "");
  assert.equal(reasonPhrase(5000), "");
});
