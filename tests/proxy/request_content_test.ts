import assert from "node:assert/strict";
import { RequestContent } from "../../src/proxy/request_content.ts";
import { fakeDownstream, type FakeRequest } from "./fake_downstream.ts";

function content(request: FakeRequest): RequestContent {
  return new RequestContent(fakeDownstream(request));
}

async function readAttempt(from: RequestContent): Promise<string> {
  let text = "";
  while (!from.done) text += new TextDecoder().decode(await from.read());
  return text;
}

for (const slow of [false, true]) {
  Deno.test(`content within the retry buffer is sent again by the next attempt (slow: ${slow})`, async () => {
    const body = content({ pieces: ["one ", "two ", "three"], slow });
    for (let attempt = 0; attempt < 3; attempt++) {
      body.rewind(100);
      assert.equal(await readAttempt(body), "one two three");
      assert.equal(body.replayable, true);
    }
  });

  Deno.test(`an attempt that stopped half-way leaves the rest to the next one (slow: ${slow})`, async () => {
    const body = content({ pieces: ["one ", "two ", "three"], slow });
    body.rewind(100);
    await body.read();
    body.rewind(100);
    assert.equal(await readAttempt(body), "one two three");
  });

  Deno.test(`content over the retry buffer is sent once and is then not replayable (slow: ${slow})`, async () => {
    const body = content({ pieces: ["one ", "two ", "three"], slow });
    body.rewind(9);
    assert.equal(await readAttempt(body), "one two three");
    assert.equal(body.replayable, false);
  });

  Deno.test(`what a hook read is still sent, also by a second attempt (slow: ${slow})`, async () => {
    const body = content({ pieces: ["one ", "two ", "three"], slow });
    assert.equal(new TextDecoder().decode(await body.readAll(100)), "one two three");
    assert.equal(new TextDecoder().decode(await body.readAll(100)), "one two three");
    assert.equal(body.length, 13);
    for (let attempt = 0; attempt < 2; attempt++) {
      body.rewind(0);
      assert.equal(await readAttempt(body), "one two three");
    }
    assert.equal(body.replayable, true);
  });
}

Deno.test("reading all stops at its limit, and what was read by then is still sent", async () => {
  const body = content({ pieces: ["one ", "two ", "three"], contentLength: -1 });
  await assert.rejects(body.readAll(6), RangeError);
  body.rewind(0);
  assert.equal(await readAttempt(body), "one two three");
});

Deno.test("an announced length over the limit is refused before a byte is read", async () => {
  const downstream = fakeDownstream({ pieces: ["one "], contentLength: 5_000 });
  await assert.rejects(new RequestContent(downstream).readAll(4_999), RangeError);
  assert.equal(downstream.bodyBytes, 0);
});

Deno.test("exactly the limit can be read", async () => {
  const body = content({ pieces: ["1234", "5678"] });
  assert.equal((await body.readAll(8)).length, 8);
});
