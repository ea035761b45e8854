import assert from "node:assert/strict";
import fc from "fast-check";
import type { StickyOptions } from "../../src/balancer/sticky.ts";
import { endpoint, head, input, makeGroup, served } from "./support.ts";

const STICKY: StickyOptions = { cookie: "route", secret: "0123456789abcdef" };
const IDS = ["10.0.0.1:80", "10.0.0.2:80", "unix:/run/app.sock"];
const ENDPOINTS = IDS.map((id) => endpoint(id));

function withCookie(value: string) {
  return input({ head: head("/", [["cookie", `theme=dark; route=${value}; x=1`]]) });
}

Deno.test("a session stays with the backend that its cookie names", () => {
  const { group } = makeGroup(ENDPOINTS, { sticky: STICKY });
  for (const id of IDS) {
    const value = group.stickyValue(group.find(id)!)!;
    assert.equal(group.fromSticky(value)!.id, id);
    assert.deepEqual(served(group, 20, withCookie(value)), [id]);
  }
});

Deno.test("a value tells no address, is not the same for another secret or group, and cannot be guessed", () => {
  const values = new Set<string>();
  for (const name of ["pool", "other"]) {
    for (const secret of [STICKY.secret, "another secret, also long"]) {
      const { group } = makeGroup(ENDPOINTS, { name, sticky: { ...STICKY, secret } });
      for (const backend of group.backends) values.add(group.stickyValue(backend)!);
      const again = makeGroup(ENDPOINTS, { name, sticky: { ...STICKY, secret } }).group;
      assert.equal(
        again.stickyValue(again.find(IDS[0]!)!),
        group.stickyValue(group.find(IDS[0]!)!),
      );
    }
  }
  assert.equal(values.size, 12);
  const { group } = makeGroup(ENDPOINTS, { sticky: STICKY });
  for (const value of values) assert.match(value, /^[\w-]{22}$/);
  for (const id of IDS) assert.equal(group.fromSticky(id), null);
  fc.assert(fc.property(fc.string(), (value) => group.fromSticky(value) === null));
});

Deno.test("a cookie of a backend that is unusable, drained, gone or just failed is replaced", () => {
  const { group, health } = makeGroup(ENDPOINTS, { sticky: STICKY });
  const [first, second] = IDS as [string, string];
  const one = group.find(first)!;
  const by = withCookie(group.stickyValue(one)!);
  const others = () => assert.ok(!served(group, 20, by).includes(first));
  health.set(first);
  others();
  health.set();
  assert.deepEqual(served(group, 20, by), [first]);
  group.setEnabled(first, false);
  others();
  group.setEnabled(first, true);
  assert.notEqual(group.select(by, new Set([one]))!.id, first);
  const all = new Set(group.backends);
  assert.equal(group.select(by, all), one);
  health.set(...IDS);
  assert.equal(group.select(by, null), one);
  health.set();
  group.update([endpoint(second)]);
  assert.deepEqual(served(group, 5, by), [second]);
  assert.equal(group.stickyValue(one), null);
});

Deno.test("the cookie is sent when the client has not the right one, and only then", () => {
  const { group } = makeGroup(ENDPOINTS, {
    sticky: { ...STICKY, path: "/app", maxAge: 3600, secure: true, sameSite: "None" },
  });
  const backend = group.find(IDS[0]!)!;
  const value = group.stickyValue(backend)!;
  const expected = `route=${value}; Path=/app; Max-Age=3600; HttpOnly; Secure; SameSite=None`;
  assert.equal(group.stickyCookie(head(), backend), expected);
  assert.equal(group.stickyCookie(withCookie("old").head!, backend), expected);
  assert.equal(group.stickyCookie(withCookie(value).head!, backend), null);
  const plain = makeGroup(ENDPOINTS, { sticky: STICKY }).group;
  assert.match(
    plain.stickyCookie(head(), plain.find(IDS[0]!)!)!,
    /^route=[\w-]{22}; Path=\/; HttpOnly; SameSite=Lax$/,
  );
});

Deno.test("without sticky sessions there is no cookie", () => {
  const { group } = makeGroup(ENDPOINTS);
  const backend = group.backends[0]!;
  assert.equal(group.stickyValue(backend), null);
  assert.equal(group.fromSticky("x"), null);
  assert.equal(group.stickyCookie(head(), backend), null);
});

Deno.test("options that would make a bad cookie are refused", () => {
  const bad: [Partial<StickyOptions>, RegExp][] = [
    [{ cookie: "a b" }, /"a b" is not a cookie name/],
    [{ cookie: "" }, /is not a cookie name/],
    [{ secret: "short" }, /16 bytes/],
    [{ path: "/a; Domain=x" }, /is not a cookie path/],
    [{ path: "a" }, /is not a cookie path/],
    [{ maxAge: 0 }, /maximum age/],
    [{ maxAge: 1.5 }, /maximum age/],
    [{ sameSite: "None" }, /needs secure/],
  ];
  for (const [options, message] of bad) {
    assert.throws(() => makeGroup(ENDPOINTS, { sticky: { ...STICKY, ...options } }), message);
  }
});
