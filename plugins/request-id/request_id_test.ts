import assert from "node:assert/strict";
import { serveOrigin, startWithPlugin } from "../../tests/support/first_party.ts";
import { incomingId, isRequestId } from "./mod.ts";

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

Deno.test("isRequestId() takes 8 to 128 harmless characters", () => {
  for (const id of ["01234567", "a".repeat(128), "Root=1-67891233-abcdef012345678912345678"]) {
    assert.equal(isRequestId(id), true, id);
  }
  for (
    const id of [
      "",
      "short",
      "a".repeat(129),
      "-leading-dash",
      "has space",
      "new\nline9",
      "<script>x",
    ]
  ) assert.equal(isRequestId(id), false, id);
});

Deno.test("incomingId() takes one well-formed id and nothing else", () => {
  assert.equal(incomingId(["01234567"]), "01234567");
  assert.equal(incomingId([]), null);
  assert.equal(incomingId(["01234567", "01234567"]), null);
  assert.equal(incomingId(["not good"]), null);
});

Deno.test("each request gets its own id, the same for upstream, client and access log", async () => {
  const seen: (string | null)[] = [];
  await using origin = serveOrigin((request) => {
    seen.push(request.headers.get("x-request-id"));
    return new Response("ok");
  });
  await using sluice = await startWithPlugin({
    plugin: "request-id",
    upstreams: { main: origin.port },
  });
  const told: (string | null)[] = [];
  for (let i = 0; i < 2; i++) {
    const response = await fetch(sluice.url, { headers: { "x-request-id": "chosen-by-client" } });
    assert.equal(await response.text(), "ok");
    told.push(response.headers.get("x-request-id"));
  }
  assert.deepEqual(told, seen);
  assert.notEqual(seen[0], seen[1]);
  for (const id of seen) assert.match(id ?? "", UUID);
  const lines = await sluice.waitForAccessLog(2);
  for (const [i, line] of lines.entries()) assert.ok(JSON.stringify(line).includes(seen[i]!));
});

Deno.test("an id of the client is taken over when the config says so, unless it is malformed", async () => {
  await using origin = serveOrigin((request) => new Response(request.headers.get("x-trace")));
  await using sluice = await startWithPlugin({
    plugin: "request-id",
    with: { field: "x-trace", accept_incoming: true, respond: false },
    upstreams: { main: origin.port },
  });
  const ask = async (id: string) => {
    const response = await fetch(sluice.url, { headers: { "x-trace": id } });
    assert.equal(response.headers.get("x-trace"), null);
    return await response.text();
  };
  assert.equal(await ask("client-id-12345"), "client-id-12345");
  assert.match(await ask("<script>alert(1)</script>"), UUID);
});
