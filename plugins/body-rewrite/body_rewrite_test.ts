import assert from "node:assert/strict";
import fc from "fast-check";
import { serveOrigin, startWithPlugin } from "../../tests/support/first_party.ts";
import { isEligible, weakTag } from "./eligible.ts";
import { makeReplacer, replaceIn } from "./replacer.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const NO_LIMIT = Number.MAX_SAFE_INTEGER;

function compile(pairs: readonly (readonly [string, string])[]) {
  return makeReplacer(pairs.map(([find, put]) => ({
    search: encoder.encode(find),
    replace: encoder.encode(put),
  })));
}

/** Rewrites a stream that is cut at the given places. */
function rewrite(
  pairs: readonly (readonly [string, string])[],
  bytes: Uint8Array,
  cuts: readonly number[],
): string {
  const replacer = compile(pairs);
  const ends = [...new Set(cuts.filter((cut) => cut < bytes.length))].sort((a, b) => a - b);
  let rest: Uint8Array = new Uint8Array(0);
  let from = 0;
  const out: Uint8Array[] = [];
  for (const to of [...ends, bytes.length]) {
    const result = replaceIn(replacer, rest, bytes.slice(from, to), to === bytes.length, NO_LIMIT);
    out.push(result.output.slice());
    rest = result.rest;
    assert.ok(rest.length < replacer.longest, "held back more than a search");
    from = to;
  }
  assert.equal(rest.length, 0);
  return decoder.decode(new Uint8Array(out.flatMap((part) => [...part])));
}

/** The same for text that is there as a whole, said as plainly as can be. */
function reference(pairs: readonly (readonly [string, string])[], text: string): string {
  let out = "";
  for (let i = 0; i < text.length;) {
    const found = pairs.find(([find]) => text.startsWith(find, i));
    if (found === undefined) out += text[i++];
    else {
      out += found[1];
      i += found[0].length;
    }
  }
  return out;
}

Deno.test("a search is found wherever the stream is cut", () => {
  const pairs = [["http://internal/", "https://public/"], ["internal", "X"]] as const;
  const text = "a http://internal/b http://interna internal http://internal/";
  const bytes = encoder.encode(text);
  const expected = "a https://public/b http://interna X https://public/";
  for (let a = 0; a <= bytes.length; a++) {
    assert.equal(rewrite(pairs, bytes, [a]), expected, `cut at ${a}`);
    assert.equal(rewrite(pairs, bytes, [a, a + 1, a + 3]), expected, `cut from ${a}`);
  }
  assert.equal(rewrite(pairs, bytes, Array.from(bytes.keys())), expected, "cut at each byte");
});

Deno.test("the result is that of the whole text, for any searches, text and cuts", () => {
  const word = (least: number) =>
    fc.array(fc.constantFrom("a", "b", "é"), { minLength: least, maxLength: 4 })
      .map((letters) => letters.join(""));
  fc.assert(fc.property(
    fc.array(fc.tuple(word(1), word(0)), { minLength: 1, maxLength: 4 }),
    fc.array(fc.constantFrom("a", "b", "é", "c"), { maxLength: 60 }).map((all) => all.join("")),
    fc.array(fc.nat(80)),
    (pairs, text, cuts) => {
      assert.equal(rewrite(pairs, encoder.encode(text), cuts), reference(pairs, text));
    },
  ));
});

Deno.test("a piece that would grow without measure is refused", () => {
  const replacer = compile([["a", "x".repeat(4096)]]);
  const piece = encoder.encode("a".repeat(1024));
  assert.throws(() => replaceIn(replacer, new Uint8Array(0), piece, true, 1024 * 1024), RangeError);
});

Deno.test("isEligible() takes whole plain text of the types that are listed", () => {
  const bounds = { types: ["text/*", "application/json"], maxBytes: 100 };
  const page = {
    status: 200,
    contentType: "text/html; charset=UTF-8",
    contentEncoding: null,
    contentLength: "100",
    cacheControl: null,
  };
  assert.equal(isEligible(page, bounds), true);
  assert.equal(isEligible({ ...page, contentType: "Application/JSON" }, bounds), true);
  assert.equal(isEligible({ ...page, contentType: 'text/css;charset="utf-8"' }, bounds), true);
  assert.equal(isEligible({ ...page, contentEncoding: "identity" }, bounds), true);
  for (
    const change of [
      { contentType: null },
      { contentType: "image/png" },
      { contentType: "textual/html" },
      { contentType: "text/html; charset=utf-16" },
      { contentEncoding: "gzip" },
      { contentEncoding: "identity, br" },
      { contentLength: "101" },
      { status: 206 },
      { status: 304 },
      { status: 103 },
      { cacheControl: "public, No-Transform" },
    ]
  ) assert.equal(isEligible({ ...page, ...change }, bounds), false, JSON.stringify(change));
});

Deno.test("weakTag() makes a tag weak once", () => {
  assert.equal(weakTag('"a"'), 'W/"a"');
  assert.equal(weakTag('W/"a"'), 'W/"a"');
});

Deno.test("text is rewritten across the borders of pieces, and other content is left alone", async () => {
  const seen: Headers[] = [];
  const text = "<a href=http://internal.test/x>http://internal.test</a>";
  await using origin = serveOrigin((request) => {
    seen.push(request.headers);
    const { pathname } = new URL(request.url);
    if (pathname === "/image") {
      return new Response(text, { headers: { "content-type": "image/svg+xml", etag: '"i"' } });
    }
    if (pathname === "/whole") {
      return new Response(text, {
        headers: { "content-type": "text/html", etag: '"w"', "accept-ranges": "bytes" },
      });
    }
    // One byte at a time, each in a turn of its own, so that they leave one by one.
    let sent = 0;
    const body = new ReadableStream<Uint8Array>({
      async pull(controller) {
        await new Promise((resolve) => setTimeout(resolve, 0));
        if (sent === text.length) controller.close();
        else controller.enqueue(encoder.encode(text[sent++]!));
      },
    }, { highWaterMark: 0 });
    return new Response(body, { headers: { "content-type": "text/html; charset=utf-8" } });
  });
  await using sluice = await startWithPlugin({
    plugin: "body-rewrite",
    with: { replace: [{ find: "http://internal.test", with: "https://www.example.com" }] },
    upstreams: { main: origin.port },
  });
  const expected = "<a href=https://www.example.com/x>https://www.example.com</a>";
  const drip = await fetch(`${sluice.url}/drip`, { headers: { range: "bytes=0-3" } });
  assert.equal(await drip.text(), expected);
  assert.equal(seen[0]!.get("accept-encoding"), null);
  assert.equal(seen[0]!.get("range"), null);
  const whole = await fetch(`${sluice.url}/whole`);
  assert.equal(await whole.text(), expected);
  assert.equal(whole.headers.get("etag"), 'W/"w"');
  assert.equal(whole.headers.get("accept-ranges"), null);
  const image = await fetch(`${sluice.url}/image`);
  assert.equal(await image.text(), text);
  assert.equal(image.headers.get("etag"), '"i"');
});

Deno.test("a response of unknown length is rewritten up to max_bytes, and loses nothing after", async () => {
  const text = "a".repeat(50) + "b".repeat(3000);
  await using origin = serveOrigin(() => {
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        for (let i = 0; i < text.length; i += 7) {
          controller.enqueue(encoder.encode(text.slice(i, i + 7)));
        }
        controller.close();
      },
    });
    return new Response(body, { headers: { "content-type": "text/plain" } });
  });
  await using sluice = await startWithPlugin({
    plugin: "body-rewrite",
    with: {
      replace: [{ find: "a", with: "A" }, { find: "bbbb", with: "B" }],
      max_bytes: 50,
    },
    upstreams: { main: origin.port },
  });
  assert.equal(await (await fetch(sluice.url)).text(), "A".repeat(50) + "b".repeat(3000));
});

Deno.test("without config, bytes of every kind pass as they are", async () => {
  const bytes = crypto.getRandomValues(new Uint8Array(50_000));
  await using origin = serveOrigin((request) =>
    new Response(bytes, {
      headers: {
        "content-type": "text/plain",
        "x-accept-encoding": request.headers.get("accept-encoding") ?? "",
      },
    })
  );
  await using sluice = await startWithPlugin({
    plugin: "body-rewrite",
    upstreams: { main: origin.port },
  });
  const response = await fetch(sluice.url, { headers: { "accept-encoding": "identity" } });
  assert.deepEqual(await response.bytes(), bytes);
  assert.equal(response.headers.get("x-accept-encoding"), "identity");
});
