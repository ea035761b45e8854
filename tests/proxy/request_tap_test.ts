import assert from "node:assert/strict";
import fc from "fast-check";
import { RequestContent } from "../../src/proxy/request_content.ts";
import { fakeDownstream, type FakeRequest } from "./fake_downstream.ts";

function content(request: FakeRequest): RequestContent {
  return new RequestContent(fakeDownstream(request));
}

async function readAll(from: RequestContent): Promise<string> {
  let text = "";
  while (!from.done) text += new TextDecoder().decode(await from.read());
  return text;
}

async function tapped(tap: Promise<Uint8Array | null>): Promise<string | null> {
  const bytes = await tap;
  return bytes === null ? null : new TextDecoder().decode(bytes);
}

Deno.test("a copy has every byte once, however it came, was cut and was sent again", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.string({ unit: "grapheme-ascii", minLength: 1, maxLength: 20 }), {
        maxLength: 8,
      }),
      fc.boolean(),
      fc.nat(200),
      fc.nat(200),
      fc.nat(8),
      async (pieces, slow, buffer, limit, readBefore) => {
        const whole = pieces.join("");
        const body = content({ pieces, slow, contentLength: -1 });
        const tap = body.tap(limit);
        body.rewind(buffer);
        // An attempt that fails part of the way, and another one where the buffer allows it.
        let first = "";
        for (let i = 0; i < readBefore && !body.done; i++) {
          first += new TextDecoder().decode(await body.read());
        }
        assert.equal(first, whole.slice(0, first.length));
        if (body.replayable) {
          body.rewind(buffer);
          assert.equal(await readAll(body), whole);
        } else assert.equal(first + await readAll(body), whole);
        body.release();
        assert.equal(await tapped(tap), whole.length <= limit ? whole : null);
      },
    ),
    { numRuns: 200 },
  );
});

Deno.test("content that was not read to its end gives no copy", async () => {
  const body = content({ pieces: ["one ", "two"] });
  const tap = body.tap(100);
  body.rewind(100);
  await body.read();
  body.release();
  assert.equal(await tapped(tap), null);
});

Deno.test("content that is known to be too long is not gathered", async () => {
  assert.equal(await tapped(content({ pieces: ["four"], contentLength: 4 }).tap(3)), null);
});

Deno.test("without content, the copy is empty at once", async () => {
  assert.equal(await tapped(content({}).tap(10)), "");
});

Deno.test("what a hook has read already is in the copy", async () => {
  const body = content({ pieces: ["one ", "two"] });
  await body.readAll(100);
  assert.equal(await tapped(body.tap(100)), "one two");
});

Deno.test("several copies do not disturb each other", async () => {
  const body = content({ pieces: ["one ", "two"], contentLength: -1 });
  const taps = [body.tap(100), body.tap(5), body.tap(7)];
  body.rewind(0);
  assert.equal(await readAll(body), "one two");
  assert.deepEqual(await Promise.all(taps.map(tapped)), ["one two", null, "one two"]);
});
